package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reprise-io/reprise/cmd/internal/cli"
	"github.com/reprise-io/reprise/internal/capture/importer"
)

// progress tells on stderr how far an import is: one line that is redrawn on a terminal, else a line every 5 s.
type progress struct {
	file      atomic.Pointer[importer.File]
	exchanges atomic.Int64
	started   atomic.Int64 // of the file, Unix ns
	redraw    bool
	stop      chan struct{}
	ended     sync.WaitGroup
}

// The times between two lines.
const (
	redrawEvery = 200 * time.Millisecond
	lineEvery   = 5 * time.Second
)

// startProgress shows nothing before the first file, and ends with close.
func startProgress(redraw bool) *progress {
	p := &progress{redraw: redraw && cli.IsTerminal(os.Stderr), stop: make(chan struct{})}
	every := lineEvery
	if p.redraw {
		every = redrawEvery
	}
	p.ended.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-p.stop:
				return
			case now := <-tick.C:
				p.show(now)
			}
		}
	})
	return p
}

// begin tells about a file; end takes its line away.
func (p *progress) begin(f *importer.File) {
	p.exchanges.Store(0)
	p.started.Store(time.Now().UnixNano())
	p.file.Store(f)
}

func (p *progress) end() {
	p.file.Store(nil)
	if p.redraw {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
	}
}

func (p *progress) close() {
	close(p.stop)
	p.ended.Wait()
}

func (p *progress) show(now time.Time) {
	f := p.file.Load()
	if f == nil {
		return
	}
	line := progressLine(f.Name(), f.Progress(), f.Size(), p.exchanges.Load(), now.Sub(time.Unix(0, p.started.Load())))
	if p.redraw {
		fmt.Fprint(os.Stderr, "\r"+line+"\x1b[K")
		return
	}
	fmt.Fprintln(os.Stderr, line)
}

// progressLine is "name 62 % ▕██████    ▏ 75 of 121 MB, 158,000 exchanges, 31,000/s, 2 s left".
func progressLine(name string, done float64, size, exchanges int64, took time.Duration) string {
	const width = 20
	done = min(max(done, 0), 1)
	full := int(done * width)
	line := fmt.Sprintf("%s %3.0f %% ▕%s%s▏ %.1f of %.1f MB, %d exchanges", name, 100*done,
		strings.Repeat("█", full), strings.Repeat(" ", width-full), done*float64(size)/1e6, float64(size)/1e6, exchanges)
	if seconds := took.Seconds(); seconds >= 1 {
		line += fmt.Sprintf(", %.0f/s", float64(exchanges)/seconds)
		if done > 0.01 && done < 1 {
			line += fmt.Sprintf(", %s left", time.Duration(float64(took)*(1-done)/done).Round(time.Second))
		}
	}
	return line
}
