package importer

import "bufio"

const (
	// longString is how much of a string in a HAR is read at least, in bytes of the file.
	longString = 16 << 20
	// cutMark ends a string that was cut. It is made of noncharacters, which no text has.
	cutMark = "\ufdd0\ufdef\ufdd0"
)

// longStrings passes JSON on and cuts the strings in it behind most bytes: an entry is decoded as a whole, so one body would
// be held several times over. What is cut ends with cutMark.
type longStrings struct {
	src    *bufio.Reader
	most   int
	n      int    // bytes of the string that goes by
	in     bool   // a string
	left   bool   // its rest is left out
	escape int    // digits to come of an escape; -1: the character behind its backslash
	mark   string // to be given out next
}

func (l *longStrings) Read(p []byte) (int, error) {
	for len(p) > 0 {
		if l.mark != "" {
			n := copy(p, l.mark)
			l.mark = l.mark[n:]
			return n, nil
		}
		if _, err := l.src.Peek(1); err != nil {
			return 0, err
		}
		piece, _ := l.src.Peek(min(l.src.Buffered(), len(p)))
		used, kept := l.pass(piece)
		n := copy(p, piece[:kept])
		_, _ = l.src.Discard(used)
		if n > 0 {
			return n, nil
		}
	}
	return 0, nil
}

// pass returns how much of a piece it has used, and how much of it, from its beginning, goes on.
func (l *longStrings) pass(piece []byte) (used, kept int) {
	for i, c := range piece {
		if !l.in {
			l.in, l.n = c == '"', 0
			continue
		}
		begins := l.escape == 0 && (c < 0x80 || c >= 0xc0) // a character or an escape
		switch {
		case l.escape < 0:
			if l.escape = 0; c == 'u' {
				l.escape = 4
			}
		case l.escape > 0:
			l.escape--
		case c == '\\':
			l.escape = -1
		case c == '"':
			if l.in = false; l.left {
				l.left, l.mark = false, cutMark+`"`
				return i + 1, 0
			}
			continue
		}
		if l.n++; begins && l.n > l.most && !l.left {
			l.left = true
			return i + 1, i
		}
	}
	if l.left {
		return len(piece), 0
	}
	return len(piece), len(piece)
}
