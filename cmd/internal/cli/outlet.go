package cli

import (
	"os"
	"sync"
	"time"
)

// mostWaiting is how many bytes of a log wait for a reader that is slow.
const mostWaiting = 256 << 10

// Outlet passes on what is written to it, a line at a time, and never lets who writes wait: behind stderr may be a pipe that nobody
// reads, and whoever logs may be what passes traffic on. What does not fit is dropped, counted and told when there is room again.
type Outlet struct {
	to   *os.File
	tell func(lost int)

	mu      sync.Mutex
	more    sync.Cond
	waiting [][]byte
	bytes   int
	lost    int
	closed  bool
	ended   chan struct{}
}

// NewOutlet begins to pass on to a file; Close ends it.
func NewOutlet(to *os.File) *Outlet {
	o := &Outlet{to: to, tell: func(int) {}, ended: make(chan struct{})}
	o.more.L = &o.mu
	go o.run()
	return o
}

// Tell has lines that were lost told by tell, which may write here.
func (o *Outlet) Tell(tell func(lost int)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tell = tell
}

// Write takes a line. It never fails.
func (o *Outlet) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.bytes+len(line) > mostWaiting {
		o.lost++
		return len(line), nil
	}
	o.waiting = append(o.waiting, append([]byte(nil), line...))
	o.bytes += len(line)
	o.more.Signal()
	return len(line), nil
}

func (o *Outlet) run() {
	defer close(o.ended)
	for {
		o.mu.Lock()
		for len(o.waiting) == 0 && !o.closed {
			o.more.Wait()
		}
		if len(o.waiting) == 0 {
			o.mu.Unlock()
			return
		}
		line := o.waiting[0]
		o.waiting[0] = nil
		o.waiting = o.waiting[1:]
		o.mu.Unlock()
		_, _ = o.to.Write(line) // whom could it be told?
		o.mu.Lock()
		o.bytes -= len(line)
		lost, tell := o.lost, o.tell
		if o.closed {
			lost = 0
		}
		o.lost -= lost
		o.mu.Unlock()
		if lost > 0 {
			tell(lost)
		}
	}
}

// Close passes on what waits, if that takes no longer than patience.
func (o *Outlet) Close(patience time.Duration) {
	o.mu.Lock()
	o.closed = true
	o.more.Signal()
	o.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-o.ended:
	case <-timer.C:
	}
}
