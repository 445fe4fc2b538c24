package meter

import (
	"net"
	"sync"
	"sync/atomic"
)

// Listener accepts connections as far as there are descriptors for them. Those above are closed at once: left in the kernel they would keep
// waiting whoever sends a copy.
type Listener struct {
	net.Listener
	of     *Descriptors
	refuse func()
	closed atomic.Int64
}

// Listener makes one of ln. refused is called for each connection that is closed for want of a descriptor.
func (d *Descriptors) Listener(ln net.Listener, refused func()) *Listener {
	return &Listener{Listener: ln, of: d, refuse: refused}
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		switch {
		case err != nil:
			return nil, err
		case l.of.Take(1, false):
			return &taken{Conn: c, of: l.of}, nil
		}
		_ = c.Close()
		l.closed.Add(1)
		l.refuse()
	}
}

// Refused is how many were closed at once so far.
func (l *Listener) Refused() int64 { return l.closed.Load() }

// taken is a connection that gives its descriptor back, once.
type taken struct {
	net.Conn
	of   *Descriptors
	once sync.Once
}

// Close implements net.Conn.
func (c *taken) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { c.of.Give(1) })
	return err
}
