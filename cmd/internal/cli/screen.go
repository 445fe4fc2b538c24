package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/term"
)

// Screen keeps some lines at the bottom of a terminal, which are drawn anew in place, below what else is written to it. It is
// safe for concurrent use.
type Screen struct {
	w     io.Writer
	width func() int // in columns; 0: not known

	mu    sync.Mutex
	lines []string // as they stand there
}

// NewScreen returns a screen of a terminal; nil when f is none.
func NewScreen(f *os.File) *Screen {
	if !IsTerminal(f) {
		return nil
	}
	return &Screen{w: f, width: func() int {
		w, _, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return 0
		}
		return w
	}}
}

// Draw puts these lines in the place of the last ones. Lines that are too long are cut: one that wraps could not be drawn over.
func (s *Screen) Draw(lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.put(nil, lines) // a terminal that has gone: what is written next says so
}

// Write writes above the lines.
func (s *Screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.put(b, s.lines); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Close leaves the lines as they are and goes on below them.
func (s *Screen) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = nil
}

func (s *Screen) put(above []byte, lines []string) error {
	var b strings.Builder
	if n := len(s.lines); n > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\x1b[J", n)
	}
	b.Write(above)
	width := s.width()
	cut := make([]string, 0, len(lines))
	for _, l := range lines {
		if width > 1 && utf8.RuneCountInString(l) >= width {
			l = string([]rune(l)[:width-2]) + "…"
		}
		cut = append(cut, l)
		b.WriteString(l + "\n")
	}
	s.lines = cut
	_, err := io.WriteString(s.w, b.String())
	return err
}
