package proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/wire"
)

// patience is how long a test waits for what must happen. It ends one that hangs, and nothing else: a machine may stand still for
// seconds.
const patience = time.Minute

// shelf is a Sink and a Budget that a test can look into.
type shelf struct {
	mu    sync.Mutex
	news  chan struct{} // something came
	kept  []*traffic.Exchange
	shed  map[string]int
	limit atomic.Int64 // 0: none
	used  atomic.Int64
}

func newShelf() *shelf { return &shelf{news: make(chan struct{}, 1), shed: map[string]int{}} }

func (s *shelf) Offer(batch []wire.Captured) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range batch {
		s.kept = append(s.kept, c.Exchange)
		s.used.Add(-c.Bytes)
	}
	s.tell()
}

func (s *shelf) Shed(reason string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shed[reason] += n
	s.tell()
}

func (s *shelf) tell() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}

func (s *shelf) TryAcquire(n int64) bool {
	if limit := s.limit.Load(); s.used.Add(n) > limit && limit > 0 {
		s.used.Add(-n)
		return false
	}
	return true
}

func (s *shelf) Release(n int64) { s.used.Add(-n) }

// exchanges waits until n have come, and returns a copy.
func (s *shelf) exchanges(t *testing.T, n int) []*traffic.Exchange {
	t.Helper()
	var kept []*traffic.Exchange
	s.until(t, func() bool { kept = append(kept[:0], s.kept...); return len(kept) >= n })
	require.Len(t, kept, n)
	return kept
}

// until waits until what came makes the condition true.
func (s *shelf) until(t *testing.T, met func() bool) {
	t.Helper()
	timeout := time.After(patience)
	for {
		s.mu.Lock()
		ok := met()
		s.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-s.news:
		case <-timeout:
			s.mu.Lock()
			defer s.mu.Unlock()
			require.FailNow(t, "did not come", "%d exchanges, shed %v", len(s.kept), s.shed)
		}
	}
}

// eventually waits for what nothing tells.
func eventually(t *testing.T, met func() bool) {
	t.Helper()
	require.Eventually(t, met, patience, time.Millisecond)
}

// places are Descriptors that a test counts.
type places struct{ most, taken atomic.Int64 }

func (p *places) Take(n int, anyway bool) bool {
	if p.taken.Add(int64(n)) <= p.most.Load() || anyway {
		return true
	}
	p.taken.Add(-int64(n))
	return false
}

func (p *places) Give(n int) { p.taken.Add(-int64(n)) }

// rig is a proxy between a test's client and its server.
type rig struct {
	*Proxy
	t     *testing.T
	shelf *shelf
	fds   places
	logs  *lines
	stop  context.CancelFunc
	ended chan error
}

// lines is a log.
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

// newRig starts a proxy in front of an address. It is stopped, without draining, when the test ends.
func newRig(t *testing.T, upstream string, options ...func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, shelf: newShelf(), logs: new(lines), ended: make(chan error, 1)}
	cfg := Config{
		Listen: "127.0.0.1:0", Upstreams: []string{upstream}, Name: "test", BodyMax: 256 << 10, Sink: r.shelf, Budget: r.shelf,
		ResponseWait: patience, // an answer that this machine is late with is not one that is missing
		Logger:       slog.New(slog.NewTextHandler(r.logs, nil)),
	}
	for _, option := range options {
		option(&cfg)
	}
	r.fds.most.Store(1 << 20)
	cfg.Descriptors = &r.fds
	var err error
	r.Proxy, err = Listen(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.ended <- r.Run(ctx) }()
	t.Cleanup(func() { r.end() })
	return r
}

// end stops the proxy and checks that the books are closed.
func (r *rig) end() {
	if r.ended == nil {
		return
	}
	r.stop()
	select {
	case err := <-r.ended:
		require.NoError(r.t, err)
	case <-time.After(2 * patience):
		require.FailNow(r.t, "the proxy did not end")
	}
	r.ended = nil
	require.Zero(r.t, r.Stats().Connections)
	require.Zero(r.t, r.shelf.used.Load(), "the budget is given back")
	require.EqualValues(r.t, perLoop*len(r.loops), r.fds.taken.Load(), "and so are descriptors")
	lost := 0
	for _, n := range r.shelf.shed {
		lost += n
	}
	require.Equal(r.t, r.Stats().Seen, int64(len(r.shelf.kept)+lost), "what was seen was offered or shed")
}

// dial connects a client.
func (r *rig) dial() *net.TCPConn {
	r.t.Helper()
	return dial(r.t, r.Addr().String())
}

func dial(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(2*patience)))
	return c.(*net.TCPConn)
}

// listen opens a server without a proxy's knowledge; accepted connections come from the function.
func listen(t *testing.T) (address string, accept func() *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	return ln.Addr().String(), func() *net.TCPConn {
		t.Helper()
		require.NoError(t, ln.(*net.TCPListener).SetDeadline(time.Now().Add(patience)))
		c, err := ln.Accept()
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		require.NoError(t, c.SetDeadline(time.Now().Add(2*patience)))
		return c.(*net.TCPConn)
	}
}

// reserve returns an address that nobody listens on, and that is given to nobody else: whoever listens there and shuts, listens
// there again.
func reserve(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	require.NoError(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	name, err := unix.Getsockname(fd)
	require.NoError(t, err)
	return fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
}

// pair returns the two ends of a connection through a new proxy.
func pair(t *testing.T, options ...func(*Config)) (r *rig, client, server *net.TCPConn) {
	t.Helper()
	address, accept := listen(t)
	r = newRig(t, address, options...)
	client = r.dial()
	return r, client, accept()
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(c, text)
	require.NoError(t, err)
}

// expect reads exactly the text.
func expect(t *testing.T, c net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	n, err := io.ReadFull(c, got)
	require.NoError(t, err, "after %q", got[:n])
	require.Equal(t, text, string(got))
}

// tell sends a text through the proxy and sees it arrive unchanged.
func tell(t *testing.T, from, to net.Conn, text string) {
	t.Helper()
	send(t, from, text)
	expect(t, to, text)
}

// line is an exchange in short.
func line(x *traffic.Exchange) string {
	text := fmt.Sprintf("%d %s %s %q", x.Connection.Sequence, x.Request.Method, x.Request.Target, x.Request.Body)
	if x.Response != nil {
		text += fmt.Sprintf(" → %d %q", x.Response.Status, x.Response.Body)
	}
	if x.Flags != 0 {
		text += " " + x.Flags.String()
	}
	return text
}

func lineOf(xs []*traffic.Exchange) []string {
	out := make([]string, 0, len(xs))
	for _, x := range xs {
		out = append(out, line(x))
	}
	return out
}

func newLogger(t *testing.T) *slog.Logger {
	t.Helper()
	return slog.New(slog.NewTextHandler(new(lines), nil))
}
