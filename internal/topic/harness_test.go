package topic

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
)

// testNet is the network between the code under test and a kfake cluster, with the ways in which networks fail. It is in
// memory, so that it works under fake time.
type testNet struct {
	virtual *kfake.VirtualNetwork // shared by the ways to one cluster

	mu      sync.Mutex
	conns   map[*testConn]bool
	refused bool
	deaf    bool // what brokers answer does not arrive
}

// cluster starts a broker on the network. It is stopped at the test's end.
func (n *testNet) cluster(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	n.virtual = new(kfake.VirtualNetwork)
	c, err := kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(n.virtual.Listen),
	}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// config has no compression: a zstd decoder of a test's bubble is closed by a finalizer, outside of it.
func (n *testNet) config() Config {
	return Config{Brokers: []string{"127.0.0.1:9092"}, Dialer: n.dial, Compression: NoCompression}
}

func (n *testNet) dial(ctx context.Context, network, address string) (net.Conn, error) {
	n.mu.Lock()
	refused := n.refused
	n.mu.Unlock()
	refusal := &net.OpError{Op: "dial", Net: network, Err: errors.Join(syscall.ECONNREFUSED)}
	if refused || n.virtual == nil {
		return nil, refusal
	}
	conn, err := n.virtual.DialContext(ctx, network, address)
	if err != nil {
		refusal.Err = err
		return nil, refusal
	}
	c := &testConn{Conn: conn, net: n}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conns == nil {
		n.conns = make(map[*testConn]bool)
	}
	n.conns[c] = true
	return c, nil
}

// down cuts all connections and refuses new ones; up undoes it.
func (n *testNet) down() {
	n.set(func() { n.refused = true })
	n.cutAll()
}

func (n *testNet) up() { n.set(func() { n.refused, n.deaf = false, false }) }

// mute lets requests through and no answers.
func (n *testNet) mute() { n.set(func() { n.deaf = true }) }

func (n *testNet) set(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}

func (n *testNet) cutAll() {
	n.mu.Lock()
	conns := n.conns
	n.conns = nil
	n.mu.Unlock()
	for c := range conns {
		c.Close()
	}
}

type testConn struct {
	net.Conn
	net  *testNet
	deaf bool // only Read, which one goroutine calls at a time, looks
}

func (c *testConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if c.net.isDeaf() {
			c.deaf = true // for good: what follows in a stream cannot arrive without what was lost
		}
		if err != nil || !c.deaf {
			return n, err
		}
	}
}

func (n *testNet) isDeaf() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.deaf
}

// logBuffer holds what was logged; it is safe for concurrent use.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *logBuffer) count(s string) int { return strings.Count(b.String(), s) }
