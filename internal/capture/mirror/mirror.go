// Package mirror is the tap behind a gateway that sends copies: nginx mirror, Envoy, Istio and Gateway API shadowing,
// Traefik, APISIX. It listens, answers every copy with an empty 204 and keeps the request. It never sees the response.
//
// Gateways hold production's connection until the copy is answered, or push back on production's upload while the copy
// is not read. So every request is read to its end whatever its size, answered before anything else is done with it, and
// offered to a Sink that never blocks. HTTP/1.0, HTTP/1.1 and HTTP/2 with prior knowledge are served on one port, for
// any method, target and Host. A request that did not arrive whole is none: it is counted, never offered.
package mirror

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/wire"
)

// Sink takes what was captured. Its methods are called from one goroutine for each connection and must never block.
type Sink interface {
	// Offer passes on whole requests with their Budget (Captured.Bytes each). The slice is valid during the call only;
	// the exchanges are the Sink's from then on.
	Offer(batch []wire.Captured)
	// Shed counts n requests that came and are not kept: "marked" (they carry MarkHeader), "memory" (Budget refused),
	// "incomplete" and so on. Nothing of Budget passes.
	Shed(reason string, n int)
}

// Config of a Mirror. Listen and Sink are required.
type Config struct {
	Listen         string                                         // "host:port", ":8080", "[::1]:0"
	Bind           func(address string) (*net.TCPListener, error) // of Listen; nil: a new socket
	Name           string                                         // of the source, for Exchange.Source
	BodyMax        int                                            // bytes kept of each body; 0: none
	MaxConnections int                                            // further ones are closed at once; 0: 4096
	Descriptors    Descriptors                                    // one for each connection; those without are closed at once. nil: as many as the kernel gives
	IdleTimeout    time.Duration                                  // of a connection between requests; 0: 10 min, which is longer than gateways keep theirs
	DrainTimeout   time.Duration                                  // for requests under way after Run's context ended; 0: none
	MarkHeader     string                                         // requests with this field are answered and not captured; "": "Reprise-Replay"
	Budget         wire.Budget                                    // nil: no bound
	Sink           Sink
	Logger         *slog.Logger // nil: discard
}

// Descriptors are file descriptors that connections share with others.
type Descriptors interface {
	// Take takes n, if so many are left; anyway takes them even then, and returns true.
	Take(n int, anyway bool) bool
	Give(n int)
}

const (
	defaultConnections = 4096
	defaultIdle        = 10 * time.Minute
	defaultMark        = "reprise-replay"

	acceptPause = 100 * time.Millisecond // when descriptors have run out
	complainGap = 10 * time.Second       // between log lines about the same thing
)

// Mirror is a listening sink. Listen makes it, Run serves.
type Mirror struct {
	cfg    Config
	ln     net.Listener
	source traffic.Source
	stats  counters

	mu       sync.Mutex
	conns    map[*conn]struct{}
	drainBy  time.Time // set before draining
	draining atomic.Bool

	large      sync.Pool    // of *[bodySize]byte
	complained atomic.Int64 // Unix ns
}

// Listen binds the address; a *fault.Error says why it cannot.
func Listen(cfg Config) (*Mirror, error) {
	var ln net.Listener
	var err error
	if cfg.Bind != nil {
		ln, err = cfg.Bind(cfg.Listen)
	} else {
		ln, err = net.Listen("tcp", cfg.Listen)
	}
	if err != nil {
		return nil, fault.Listening(cfg.Listen, err)
	}
	return on(ln, cfg), nil
}

func on(ln net.Listener, cfg Config) *Mirror {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxConnections <= 0 {
		cfg.MaxConnections = defaultConnections
	}
	if cfg.IdleTimeout <= 0 {
		cfg.IdleTimeout = defaultIdle
	}
	if cfg.MarkHeader == "" {
		cfg.MarkHeader = defaultMark
	}
	if cfg.Budget == nil {
		cfg.Budget = unbounded{}
	}
	if cfg.Descriptors == nil {
		cfg.Descriptors = unbounded{}
	}
	cfg.MarkHeader = strings.ToLower(cfg.MarkHeader)
	cfg.BodyMax = max(cfg.BodyMax, 0)
	source := traffic.Source{Kind: traffic.Mirror, Name: []byte(cfg.Name)}
	return &Mirror{cfg: cfg, ln: ln, source: source, conns: make(map[*conn]struct{})}
}

type unbounded struct{}

func (unbounded) TryAcquire(int64) bool { return true }
func (unbounded) Release(int64)         {}
func (unbounded) Take(int, bool) bool   { return true }
func (unbounded) Give(int)              {}

// Addr is the bound address.
func (m *Mirror) Addr() net.Addr { return m.ln.Addr() }

// Close gives the address of a Mirror back that does not Run.
func (m *Mirror) Close() { _ = m.ln.Close() }

// Run serves until ctx ends, then accepts no more and gives the requests under way DrainTimeout. Everything captured has
// been offered when it returns. It can be called once.
func (m *Mirror) Run(ctx context.Context) error {
	var serving sync.WaitGroup
	serving.Go(func() { m.accept(ctx, &serving) })
	<-ctx.Done()
	_ = m.ln.Close()
	m.drain()
	serving.Wait()
	return nil
}

func (m *Mirror) accept(ctx context.Context, serving *sync.WaitGroup) {
	for {
		nc, err := m.ln.Accept()
		switch {
		case err == nil:
			m.stats.accepted.Add(1)
			if c := m.enter(nc); c != nil {
				serving.Go(c.serve)
			}
		case errors.Is(err, net.ErrClosed):
			return
		default: // no descriptor or no memory: those that are there go on
			m.complain("cannot accept connections for now", "error", err)
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
		}
	}
}

// enter makes a connection known, or closes it when there are too many.
func (m *Mirror) enter(nc net.Conn) *conn {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case len(m.conns) >= m.cfg.MaxConnections:
		m.refuse(nc, "max_connections", m.cfg.MaxConnections)
		return nil
	case !m.cfg.Descriptors.Take(1, false): // left in the kernel, they would keep the gateway waiting
		m.refuse(nc, "open", len(m.conns), "error", "the descriptors that are left are kept for Kafka, spool and metrics",
			"try", "more of them (ulimit -n, LimitNOFILE=)")
		return nil
	}
	c := newConn(m, nc)
	m.conns[c] = struct{}{}
	m.stats.connections.Add(1)
	return c
}

func (m *Mirror) refuse(nc net.Conn, why ...any) {
	m.stats.refused.Add(1)
	m.complain("too many connections: new ones are closed at once", why...)
	_ = nc.Close()
}

func (m *Mirror) leave(c *conn) {
	m.cfg.Descriptors.Give(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.conns, c)
	m.stats.connections.Add(-1)
}

// drain lets every connection know that it is to end.
func (m *Mirror) drain() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drainBy = time.Now().Add(max(m.cfg.DrainTimeout, 0))
	m.draining.Store(true)
	for c := range m.conns {
		c.wake()
	}
}

// complain logs what would repeat for every connection once in a while.
func (m *Mirror) complain(what string, args ...any) {
	now, last := time.Now().UnixNano(), m.complained.Load()
	if now-last >= int64(complainGap) && m.complained.CompareAndSwap(last, now) {
		m.cfg.Logger.Warn(what, args...)
	}
}

// lend lends a buffer to a connection while a long body comes.
func (m *Mirror) lend() *[bodySize]byte {
	if b, ok := m.large.Get().(*[bodySize]byte); ok {
		return b
	}
	return new([bodySize]byte)
}

func (m *Mirror) giveBack(b *[bodySize]byte) {
	if b != nil {
		m.large.Put(b)
	}
}
