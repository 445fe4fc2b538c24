package topic

import (
	"context"
	"net"
	"sync"
	"time"
)

// lines are the connections of a group member, made so that it neither gives up too early nor holds on for too long.
//
// A refused connection is tried again for up to patience before it fails, once there was one, and only to the one broker
// there is. For a group member a failed dial is the loss of its partitions, although the broker, back from a restart, would
// take the next heartbeat as if nothing had been. With several brokers another one takes over, and the client should turn
// to it without delay.
//
// And they can be hung up: the client, when it is closed, waits for every answer, for up to three quarters of a minute.
type lines struct {
	dialFunc DialFunc
	patience time.Duration

	mu      sync.Mutex
	open    map[*line]bool
	met     map[string]bool // addresses that were connected to
	closing bool            // no more patience
	hungUp  bool            // no more connections
}

func newLines(dial DialFunc, patience time.Duration) *lines {
	return &lines{dialFunc: dial, patience: patience, open: make(map[*line]bool), met: make(map[string]bool)}
}

func (l *lines) dial(ctx context.Context, network, address string) (net.Conn, error) {
	start := time.Now()
	for try := 0; ; try++ {
		conn, err := l.dialFunc(ctx, network, address)
		if err == nil {
			return l.add(conn, network)
		}
		pause := backoff(try)
		if !l.worthWaiting() || time.Since(start)+pause > l.patience || !sleep(ctx, pause) {
			return nil, err
		}
	}
}

func (l *lines) worthWaiting() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.met) == 1 && !l.closing
}

func (l *lines) add(conn net.Conn, network string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hungUp {
		_ = conn.Close()
		return nil, &net.OpError{Op: "dial", Net: network, Err: net.ErrClosed}
	}
	l.met[conn.RemoteAddr().String()] = true
	c := &line{Conn: conn, of: l}
	l.open[c] = true
	return c, nil
}

// close ends the patience.
func (l *lines) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closing = true
}

// hangUp ends all connections and lets no new ones come.
func (l *lines) hangUp() {
	l.mu.Lock()
	l.closing, l.hungUp = true, true
	open := l.open
	l.open = nil
	l.mu.Unlock()
	for c := range open {
		_ = c.Conn.Close()
	}
}

type line struct {
	net.Conn
	of *lines
}

// Close ends the connection.
func (c *line) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}
