package mirror

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/wire"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

// shelf is a Sink and a Budget that a test can look into.
type shelf struct {
	mu    sync.Mutex
	kept  []*traffic.Exchange
	shed  map[string]int
	limit atomic.Int64 // 0: none
	used  atomic.Int64
	most  atomic.Int64 // of used
}

func newShelf() *shelf { return &shelf{shed: map[string]int{}} }

func (s *shelf) Offer(batch []wire.Captured) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range batch {
		s.kept = append(s.kept, c.Exchange)
		s.used.Add(-c.Bytes)
	}
}

func (s *shelf) Shed(reason string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shed[reason] += n
}

func (s *shelf) TryAcquire(n int64) bool {
	now := s.used.Add(n)
	if limit := s.limit.Load(); now > limit && limit > 0 {
		s.used.Add(-n)
		return false
	}
	for most := s.most.Load(); now > most && !s.most.CompareAndSwap(most, now); most = s.most.Load() {
	}
	return true
}

func (s *shelf) Release(n int64) { s.used.Add(-n) }

// look returns copies of what is there.
func (s *shelf) look() (kept []*traffic.Exchange, shed map[string]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	shed = make(map[string]int, len(s.shed))
	for reason, n := range s.shed {
		shed[reason] = n
	}
	return append(kept, s.kept...), shed
}

// exchanges waits until n have come.
func (s *shelf) exchanges(t *testing.T, n int) []*traffic.Exchange {
	t.Helper()
	var kept []*traffic.Exchange
	require.Eventually(t, func() bool { kept, _ = s.look(); return len(kept) >= n }, patience, time.Millisecond)
	require.Len(t, kept, n)
	return kept
}

// rig is a Mirror that runs until the test ends.
type rig struct {
	*Mirror
	t     *testing.T
	shelf *shelf
	log   *lines
	stop  context.CancelFunc
	ended chan error
}

type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func prepared(t *testing.T, cfg Config) *rig {
	r := &rig{t: t, shelf: newShelf(), log: new(lines), ended: make(chan error, 1)}
	if cfg.BodyMax == 0 {
		cfg.BodyMax = 256 << 10
	}
	cfg.Sink, cfg.Budget, cfg.Logger = r.shelf, r.shelf, slog.New(slog.NewTextHandler(r.log, nil))
	cfg.Listen = "127.0.0.1:0"
	r.Mirror = &Mirror{cfg: cfg}
	return r
}

func (r *rig) run(ln net.Listener) {
	r.Mirror = on(ln, r.Mirror.cfg)
	ctx, cancel := context.WithCancel(r.t.Context())
	r.stop = cancel
	go func() { r.ended <- r.Run(ctx) }()
}

// start runs a Mirror over TCP.
func start(t *testing.T, cfg Config) *rig {
	t.Helper()
	r := prepared(t, cfg)
	ln, err := net.Listen("tcp", r.cfg.Listen)
	require.NoError(t, err)
	r.run(ln)
	t.Cleanup(r.end)
	return r
}

// end stops the Mirror and checks that the books are even.
func (r *rig) end() {
	r.stop()
	select {
	case err := <-r.ended:
		require.NoError(r.t, err)
		r.ended <- nil
	case <-time.After(patience):
		require.FailNow(r.t, "the mirror does not end")
	}
	require.Zero(r.t, r.shelf.used.Load(), "bytes of the budget that nobody gave back")
	require.Zero(r.t, r.Stats().Connections)
}

// dial opens a gateway's connection.
func (r *rig) dial() *net.TCPConn {
	r.t.Helper()
	nc, err := net.Dial("tcp", r.Addr().String())
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = nc.Close() })
	require.NoError(r.t, nc.SetDeadline(time.Now().Add(patience)))
	return nc.(*net.TCPConn)
}

// say sends requests as they are on a connection of their own, ends its side and returns all that was answered.
func (r *rig) say(format string, args ...any) string {
	r.t.Helper()
	nc := r.dial()
	send(r.t, nc, fmt.Sprintf(format, args...))
	require.NoError(r.t, nc.CloseWrite())
	return rest(r.t, nc)
}

func send(t *testing.T, nc net.Conn, s string) {
	t.Helper()
	_, err := nc.Write([]byte(s))
	require.NoError(t, err)
}

// rest reads until the mirror closes.
func rest(t *testing.T, nc net.Conn) string {
	t.Helper()
	var got bytes.Buffer
	_, err := got.ReadFrom(nc)
	require.NoError(t, err)
	return got.String()
}

// expect reads exactly that answer.
func expect(t *testing.T, nc net.Conn, answer string) {
	t.Helper()
	got := make([]byte, len(answer))
	for n := 0; n < len(got); {
		more, err := nc.Read(got[n:])
		require.NoError(t, err, "after %q", got[:n])
		n += more
	}
	require.Equal(t, answer, string(got))
}

// pipes is a listener without a network.
type pipes struct {
	news   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{news: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case nc := <-p.news:
		return nc, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.news <- theirs
	return ours
}

// lined writes a head as the wire has it.
func lined(fields []traffic.Field) string {
	var b bytes.Buffer
	for _, f := range fields {
		fmt.Fprintf(&b, "%s: %s\n", f.Name, f.Value)
	}
	return b.String()
}
