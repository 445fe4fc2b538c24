package mirror

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime/debug"
	"time"

	"github.com/reprise-io/reprise/internal/wire"
)

const (
	readSize = 4 << 10 // what an idle connection holds
	// stall is how long a request under way may bring nothing: mirrored uploads are as slow as the client's.
	stall = 2 * time.Minute
	// unread is how long a gateway may leave its answers unread before its connection is given up.
	unread = 5 * time.Second
	// linger is how long a draining connection waits for a request that is on its way.
	linger = 50 * time.Millisecond
	// flushAt is how many bytes of answers wait for company at most.
	flushAt = 16 << 10
)

// errDrained ends a connection of a Mirror that ends.
var errDrained = errors.New("the mirror drains")

// conn is a gateway's connection. Everything in it belongs to the goroutine of serve.
type conn struct {
	m       *Mirror
	nc      net.Conn
	gateway []byte      // its address without the port
	busy    func() bool // a request is under way

	readBy, writeBy time.Time // the deadlines that are set
	at              time.Time // of the last read
	out             []byte    // answers on their way
	batch           []wire.Captured
	lost            [losses]int
}

func newConn(m *Mirror, nc net.Conn) *conn {
	c := &conn{m: m, nc: nc, busy: func() bool { return false }}
	if remote := nc.RemoteAddr(); remote != nil {
		host, _, err := net.SplitHostPort(remote.String())
		if err != nil {
			host = remote.String()
		}
		c.gateway = []byte(host)
	}
	return c
}

// serve reads until the gateway or the Mirror ends the connection.
func (c *conn) serve() {
	defer c.m.leave(c)
	defer c.nc.Close()
	defer c.flush()
	buf := make([]byte, readSize)
	n, err := c.Read(buf)
	for err == nil && n < len(preface) && string(buf[:n]) == preface[:n] {
		var more int
		more, err = c.Read(buf[n:])
		n += more
	}
	if n >= len(preface) && string(buf[:len(preface)]) == preface {
		h := newHTTP2(c, buf[len(preface):n])
		defer h.close()
		defer c.survive()
		h.run()
		return
	}
	h := newHTTP1(c)
	defer h.close()
	defer c.survive()
	h.run(buf, n, err)
}

// survive keeps a fault in the parser to this connection.
func (c *conn) survive() {
	if r := recover(); r != nil {
		c.m.stats.panics.Add(1)
		c.m.cfg.Logger.Error("a connection's parser failed; the connection is closed", "panic", r, "stack", string(debug.Stack()))
	}
}

// Read sends what is due and then reads what comes next, for as long as that may take. Its errors are final.
func (c *conn) Read(p []byte) (int, error) {
	if err := c.flush(); err != nil {
		return 0, err
	}
	for {
		draining := c.await()
		n, err := c.nc.Read(p)
		c.at = time.Now()
		c.m.stats.bytes.Add(int64(n))
		switch {
		case n > 0:
			return n, nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return 0, err
		case draining:
			return 0, errDrained
		case !c.m.draining.Load():
			return 0, err
		}
	}
}

// await sets the deadline of the next read and reports whether it is a drain's. Setting one costs more than looking at
// it: a deadline that is nearly right stays.
func (c *conn) await() (draining bool) {
	busy := c.busy()
	if c.m.draining.Load() {
		by := c.m.drainBy
		if soon := time.Now().Add(linger); !busy && soon.Before(by) {
			by = soon
		}
		_ = c.nc.SetReadDeadline(by)
		return true
	}
	wait := c.m.cfg.IdleTimeout
	if busy {
		wait = max(wait, stall)
	}
	by := time.Now().Add(wait)
	if off := by.Sub(c.readBy); off < -wait/8 || off > wait/8 {
		c.readBy = by
		_ = c.nc.SetReadDeadline(by)
		if c.m.draining.Load() { // wake came before
			c.wake()
		}
	}
	return false
}

// wake ends a read that waits. It may be called from any goroutine.
func (c *conn) wake() { _ = c.nc.SetReadDeadline(time.Unix(1, 0)) }

// flush sends the answers, and then hands over what they were for.
func (c *conn) flush() error {
	var err error
	if len(c.out) > 0 {
		now := time.Now()
		if c.writeBy.Sub(now) < unread/2 {
			c.writeBy = now.Add(unread)
			_ = c.nc.SetWriteDeadline(c.writeBy)
		}
		_, err = c.nc.Write(c.out)
		c.out = c.out[:0]
	}
	for why, n := range c.lost {
		if n > 0 {
			c.lost[why] = 0
			c.m.cfg.Sink.Shed(loss(why).String(), n)
		}
	}
	if batch := c.batch; len(batch) > 0 {
		c.batch = nil
		c.m.cfg.Sink.Offer(batch)
		clear(batch)
		c.batch = batch[:0]
	}
	return err
}

// ending says for the books why a connection ended.
func ending(err error) cut {
	switch {
	case errors.Is(err, errDrained):
		return cutDrained
	case errors.Is(err, os.ErrDeadlineExceeded):
		return cutTimeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return cutClosed
	}
	return cutReset
}
