package fire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/reprise-io/reprise/internal/wire"
)

// errHandshake is wrapped by what a failed TLS handshake returns.
var errHandshake = errors.New("TLS handshake failed")

// conn is one connection to the target. One shot at a time has it.
type conn struct {
	net.Conn
	socket     net.Conn        // below TLS; else the same
	raw        syscall.RawConn // of the socket
	http2      bool            // agreed on in the TLS handshake
	remote     netip.AddrPort
	generation uint64 // of the production addresses it was checked against
	answer     wire.Answer
	deadline   time.Time // as set on the connection
	idleSince  time.Time
	used       bool // was idle before, most often after a whole answer: the target may have closed it since
	watch      atomic.Pointer[watch]
	ended      bool // by its watch; guarded by the pool
}

// dial connects, with TLS where the target wants it.
func (s *Sender) dial(ctx context.Context, deadline time.Time, way route) (*conn, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	nc, err := s.cfg.Guard.Dial(ctx)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc, socket: nc, http2: s.tls == nil && way == viaHTTP2}
	if t, ok := nc.(*net.TCPConn); ok {
		c.raw, _ = t.SyscallConn()
	}
	if addr, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		c.remote = addr.AddrPort()
	}
	if s.tls != nil {
		secured := tls.Client(nc, s.tls[way])
		if err := secured.HandshakeContext(ctx); err != nil {
			nc.Close()
			if timedOut(err) {
				return nil, err
			}
			return nil, fmt.Errorf("%w: %w", errHandshake, err)
		}
		c.Conn, c.http2 = secured, secured.ConnectionState().NegotiatedProtocol == alpnHTTP2
	}
	return c, nil
}

// extend makes reads and writes end at deadline or a little later: setting a deadline costs more than looking at one, so
// it is set a sixteenth of the timeout ahead and then serves the requests of that time.
func (c *conn) extend(deadline time.Time, timeout time.Duration) error {
	if !c.deadline.Before(deadline) {
		return nil
	}
	c.deadline = deadline.Add(timeout / 16)
	return c.SetDeadline(c.deadline)
}

// quiet reports whether a kept connection is still open and has nothing to read, without waiting. What TLS has to say
// between two answers counts as something: it is most often goodbye.
func (c *conn) quiet() bool {
	if c.raw == nil {
		return true // cannot be told
	}
	var quiet bool
	err := c.raw.Control(func(fd uintptr) { quiet = nothingToRead(int(fd)) })
	return err == nil && quiet
}

// tryWrite writes what the socket takes at once. ok is false when the connection is of no use.
func (c *conn) tryWrite(b []byte) (n int, ok bool) {
	err := c.raw.Control(func(fd uintptr) {
		if !nothingToRead(int(fd)) {
			return
		}
		var err error
		n, err = writeNow(int(fd), b)
		ok = err == nil
	})
	return n, ok && err == nil
}

// nothingToRead reports whether a read would have to wait: anything else is the end, or bytes that nobody asked for.
func nothingToRead(fd int) bool {
	var b [1]byte
	_, _, err := syscall.Recvfrom(fd, b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return errors.Is(err, syscall.EAGAIN)
}

// writeNow writes what a socket takes without waiting.
func writeNow(fd int, b []byte) (n int, err error) {
	n, err = syscall.Write(fd, b)
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) {
		return 0, nil
	}
	return max(n, 0), err
}
