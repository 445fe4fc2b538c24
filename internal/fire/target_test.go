package fire_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/traffic"
)

// listen serves raw connections on loopback until the test ends; n counts from 1.
func listen(t testing.TB, serve func(c net.Conn, n int)) *url.URL {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var mu sync.Mutex
	var conns []net.Conn
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 1; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				serve(c, n)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return &url.URL{Scheme: "http", Host: l.Addr().String()}
}

// readRequest reads one request as it stands on the wire, its body by Content-Length or in chunks.
func readRequest(r *bufio.Reader) (string, error) {
	var raw strings.Builder
	length, chunked := 0, false
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return raw.String(), err
		}
		raw.WriteString(line)
		if name, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(name, "content-length") {
			length, _ = strconv.Atoi(strings.TrimSpace(value))
		} else if ok && strings.EqualFold(name, "transfer-encoding") {
			chunked = true
		}
		if line == "\r\n" {
			break
		}
	}
	if !chunked {
		_, err := io.CopyN(&raw, r, int64(length))
		return raw.String(), err
	}
	for size := int64(-1); size != 0; {
		line, err := r.ReadString('\n')
		if err != nil {
			return raw.String(), err
		}
		raw.WriteString(line)
		if size, err = strconv.ParseInt(strings.TrimSpace(line), 16, 64); err != nil {
			return raw.String(), err
		}
		if size > 0 {
			if _, err := io.CopyN(&raw, r, size+2); err != nil {
				return raw.String(), err
			}
		}
	}
	for { // trailers
		line, err := r.ReadString('\n')
		raw.WriteString(line)
		if err != nil || line == "\r\n" {
			return raw.String(), err
		}
	}
}

// answering answers every request with the same bytes.
func answering(answer string) func(net.Conn, int) {
	return func(c net.Conn, _ int) {
		r := bufio.NewReader(c)
		for {
			if _, err := readRequest(r); err != nil {
				return
			}
			if _, err := io.WriteString(c, answer); err != nil {
				return
			}
		}
	}
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func guard(t testing.TB, target *url.URL, change func(*fire.GuardConfig)) *fire.Guard {
	cfg := fire.GuardConfig{Target: target, Allow: []string{target.Host}, HostID: "here"}
	if change != nil {
		change(&cfg)
	}
	g, err := fire.NewGuard(t.Context(), cfg)
	require.NoError(t, err)
	return g
}

func anything(*traffic.Exchange) (bool, error) { return true, nil }

func sender(t testing.TB, target *url.URL, change func(*fire.SenderConfig)) *fire.Sender {
	cfg := fire.SenderConfig{Target: target, Run: "test", Timeout: time.Minute}
	if change != nil {
		change(&cfg)
	}
	if cfg.Guard == nil {
		cfg.Guard = guard(t, target, func(cfg *fire.GuardConfig) { cfg.AllowWrites = []fire.Matcher{matcher(anything)} })
	}
	s, err := fire.NewSender(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// piped is a sender in a bubble, for one target that is in memory: nothing that another process does makes anything late.
func piped(t *testing.T, serve func(c net.Conn, n int), change func(*fire.SenderConfig)) *fire.Sender {
	t.Helper()
	target := &url.URL{Scheme: "http", Host: "127.0.0.1:80"}
	var dialed atomic.Int64
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait) // once the sender is closed
	g := guard(t, target, func(cfg *fire.GuardConfig) {
		cfg.Dialer = func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			n := int(dialed.Add(1))
			serving.Go(func() {
				defer there.Close()
				serve(there, n)
			})
			return here, nil
		}
	})
	return sender(t, target, func(cfg *fire.SenderConfig) {
		cfg.Guard = g
		change(cfg)
	})
}

// exchange makes a recorded request from its head as it stood on the wire and its body.
func exchange(head, body string) *traffic.Exchange {
	x := &traffic.Exchange{
		ID: traffic.MakeID([16]byte{0xab}, 7), CaptureTime: time.Date(2026, 11, 22, 13, 42, 10, 118_000_000, time.UTC),
	}
	lines := strings.Split(head, "\n")
	method, rest, _ := strings.Cut(lines[0], " ")
	r := &x.Request
	r.Method, r.Target, r.Scheme, r.Protocol = []byte(method), []byte(rest), []byte("http"), []byte("HTTP/1.1")
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		r.Headers = append(r.Headers, traffic.Field{Name: []byte(name), Value: []byte(value)})
		if strings.EqualFold(name, "host") {
			r.Authority = []byte(value)
		}
	}
	if body != "" {
		r.Body, r.BodySize = []byte(body), int64(len(body))
	}
	return x
}

func get() *traffic.Exchange { return exchange("GET /\nHost: shop.example.com", "") }

func post() *traffic.Exchange {
	return exchange("POST /cart\nHost: shop.example.com\nContent-Length: 5", "hello")
}

func fireOne(t testing.TB, s *fire.Sender, x *traffic.Exchange) fire.Answer {
	t.Helper()
	shot, reason := s.Prepare(x, fire.Mark{})
	require.Empty(t, reason)
	defer s.Recycle(shot)
	return s.Fire(t.Context(), shot)
}

func parseURL(t testing.TB, s string) *url.URL {
	u, err := url.Parse(s)
	require.NoError(t, err)
	return u
}

// resolver answers from a table that can be changed.
type resolver struct {
	mu    sync.Mutex
	names map[string][]string
	asked int
}

func (r *resolver) set(name string, addrs ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.names == nil {
		r.names = make(map[string][]string)
	}
	r.names[name] = addrs
}

func (r *resolver) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	var addrs []netip.Addr
	for _, s := range r.names[host] {
		addrs = append(addrs, netip.MustParseAddr(s))
	}
	if len(addrs) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return addrs, nil
}

// mustParse reads what is meant to be exactly one request with net/http.
func mustParse(t testing.TB, raw []byte) (*http.Request, []byte) {
	r := bufio.NewReader(bytes.NewReader(raw))
	req, err := http.ReadRequest(r)
	require.NoError(t, err, "%q", raw)
	body, err := io.ReadAll(req.Body)
	require.NoError(t, err)
	rest, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Empty(t, rest, "more than one request in %q", raw)
	return req, body
}
