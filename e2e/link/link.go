// Package link passes TCP connections on to an address as badly as it is told: slowly, or not at all while they stay open.
package link

import (
	"errors"
	"net"
	"sync"
	"time"
)

// Fault is how badly. The zero value is not at all.
type Fault struct {
	Hang  bool          // nothing passes, nothing is read, nothing is closed, nothing is accepted
	Delay time.Duration // of every byte, in either direction
	Rate  int           // bytes a second of each connection, in either direction; 0: no bound
}

// Link listens on a loopback port.
type Link struct {
	listener net.Listener
	passing  sync.WaitGroup

	mu      sync.Mutex
	to      string
	fault   Fault
	changed chan struct{}     // closed when the fault is another
	open    map[net.Conn]bool // nil: closed
}

// New listens on a free port and passes connections on once it is told where to.
func New() (*Link, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &Link{listener: listener, changed: make(chan struct{}), open: make(map[net.Conn]bool)}
	l.passing.Go(func() {
		for {
			l.wait(func(f Fault) bool { return !f.Hang })
			client, err := listener.Accept()
			if err != nil {
				return
			}
			l.passing.Go(func() { l.pass(client) })
		}
	})
	return l, nil
}

// Addr is where it listens.
func (l *Link) Addr() string { return l.listener.Addr().String() }

// To says where to.
func (l *Link) To(addr string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to = addr
}

// Set says how badly, for all connections, from now on.
func (l *Link) Set(f Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = f
	close(l.changed)
	l.changed = make(chan struct{})
}

// Close ends all connections and waits.
func (l *Link) Close() {
	_ = l.listener.Close()
	l.mu.Lock()
	for conn := range l.open {
		_ = conn.Close()
	}
	l.open = nil
	l.mu.Unlock()
	l.Set(Fault{})
	l.passing.Wait()
}

// wait returns the fault once it suits.
func (l *Link) wait(suits func(Fault) bool) Fault {
	for {
		l.mu.Lock()
		f, changed := l.fault, l.changed
		l.mu.Unlock()
		if suits(f) {
			return f
		}
		<-changed
	}
}

func (l *Link) keep(conns ...net.Conn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		return errors.New("closed")
	}
	for _, c := range conns {
		l.open[c] = true
	}
	return nil
}

func (l *Link) pass(client net.Conn) {
	defer client.Close()
	l.mu.Lock()
	to := l.to
	l.mu.Unlock()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	if l.keep(client, server) != nil {
		return
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() { l.one(way[0], way[1]) })
	}
	both.Wait()
	l.mu.Lock()
	delete(l.open, client)
	delete(l.open, server)
	l.mu.Unlock()
}

// piece is what was read at once.
type piece struct {
	bytes []byte
	at    time.Time
}

// one passes one direction on. When it ends, both connections do.
func (l *Link) one(from, to net.Conn) {
	pieces := make(chan piece, 64)
	var writing sync.WaitGroup
	writing.Go(func() {
		var err error
		for p := range pieces {
			f := l.wait(func(f Fault) bool { return !f.Hang })
			if err != nil {
				continue
			}
			time.Sleep(time.Until(p.at.Add(f.Delay)))
			_, err = to.Write(p.bytes)
			if f.Rate > 0 {
				time.Sleep(time.Duration(len(p.bytes)) * time.Second / time.Duration(f.Rate))
			}
			if err != nil {
				_ = from.Close()
			}
		}
	})
	for {
		l.wait(func(f Fault) bool { return !f.Hang })
		buf := make([]byte, 16<<10)
		n, err := from.Read(buf)
		if n > 0 {
			pieces <- piece{buf[:n], time.Now()}
		}
		if err != nil {
			break
		}
	}
	close(pieces)
	writing.Wait()
	_ = to.Close()
}
