//go:build e2e

package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/reprise-io/reprise/e2e/nginx"
	"github.com/reprise-io/reprise/e2e/proc"
	"github.com/reprise-io/reprise/internal/traffic"
)

// startMirror runs tap mirror.
func startMirror(t *testing.T, prefix string, more ...string) *tapped {
	t.Helper()
	return startBeside(t, "mirror", prefix, more...)
}

// startBeside runs a tap that gateways send copies to.
func startBeside(t *testing.T, command, prefix string, more ...string) *tapped {
	t.Helper()
	p := &tapped{addr: freeAddr(t), admin: freeAddr(t)}
	args := []string{
		command, "--listen", p.addr, "--admin", p.admin, "--topic-prefix", prefix, "--name", "e2e",
		"--redact", "off", "--brokers", shared.broker.Addr(),
	}
	p.Process = start(t, "tap", append(args, more...)...)
	require.NoError(t, p.Ready(within(t, 2*time.Minute), p.admin))
	return p
}

// gateway is an nginx with the files of deploy/nginx as they are, but for the lines that users change.
type gateway struct {
	tap    string // address; "": nothing is mirrored
	share  string // "": 100%
	server string // more for the server block
	nobody bool   // without bodies
	app    string
}

// start returns the address.
func (g gateway) start(t *testing.T) (addr string) {
	t.Helper()
	dir := t.TempDir()
	deployed := func(name string, edit ...string) {
		text, err := os.ReadFile(filepath.Join(shared.root, "deploy", "nginx", name))
		require.NoError(t, err)
		for i := 0; i < len(edit); i += 2 {
			require.Contains(t, string(text), edit[i], name)
			text = []byte(strings.ReplaceAll(string(text), edit[i], edit[i+1]))
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	if g.share == "" {
		g.share = "100%"
	}
	mirrored := ""
	if g.tap != "" {
		deployed("reprise-mirror.conf", "127.0.0.1:18081", g.tap, "25% 1;", g.share+" 1;")
		deployed("reprise-mirror-server.conf")
		if g.nobody {
			edited := run1(t, "sed", "-E", "/# with bodies$/s/^( *)/\\1#/; /# without bodies$/s/#//", filepath.Join(dir, "reprise-mirror-server.conf"))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "reprise-mirror-server.conf"), []byte(edited), 0o600))
		}
		mirrored = "include reprise-mirror.conf;"
		g.server += " include reprise-mirror-server.conf;"
	}
	addr = freeAddr(t)
	p, err := nginx.Start(within(t, 2*time.Minute), nginx.Options{Dir: dir, Addr: addr, HTTP: fmt.Sprintf(`%s
upstream app { server %s; keepalive 32; }
server {
  listen %s;
  client_max_body_size 50m;
  keepalive_requests 100000;
  %s
  location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; }
}`, mirrored, g.app, addr, g.server)})
	require.NoError(t, err)
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("nginx said:\n%s", tail(p.Stderr(), 20))
		}
	})
	return addr
}

// run1 runs a program of the system and returns what it wrote.
func run1(t *testing.T, path string, args ...string) string {
	t.Helper()
	got, err := proc.Run(within(t, time.Minute), proc.Options{Path: "/usr/bin/env", Args: append([]string{path}, args...)})
	require.NoError(t, err)
	require.Zero(t, got.Code, got.Stderr)
	return got.Stdout
}

// application answers everything, and tells what it got.
func application(t *testing.T) (addr string) {
	return serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%s %s %d", r.Method, r.RequestURI, n)
	}))
}

// sent is a request as it goes over the wire.
type sent struct {
	method, target string
	fields         []string // as they stand there
	body           string
	chunked        bool
}

func (s sent) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: shop.example:8443\r\n", s.method, s.target)
	for _, f := range s.fields {
		fmt.Fprintf(&b, "%s\r\n", f)
	}
	if !s.chunked {
		return b.String() + "\r\n" + s.body
	}
	b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
	for part := range slices.Chunk([]byte(s.body), 7000) {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(part), part)
	}
	return b.String() + "0\r\n\r\n"
}

// say sends it and returns the status and the body of production's answer.
func (s sent) say(t *testing.T, nc net.Conn, r *bufio.Reader) (int, string) {
	t.Helper()
	_, err := io.WriteString(nc, s.String())
	require.NoError(t, err)
	res, err := http.ReadResponse(r, &http.Request{Method: s.method})
	require.NoError(t, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	return res.StatusCode, string(body)
}

func TestMirrorRecordsWhatTheClientSent(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	tap := startMirror(t, prefix)
	at := gateway{tap: tap.addr, app: application(t)}.start(t)

	long := strings.Repeat("0123456789", 30000)
	forged := []string{
		"X-Tap-Host: evil", "X-Tap-Time: 1", "X-Tap-Time-Us: 1", "X-Tap-Client: 6.6.6.6:6", "X-Tap-Conn: 666-6", "X-Tap-Truncated: true",
		"X-Tap-Body-Len: 99", "X-Tap-Proto: HTTP/3", "X-Original-URI: /forged", "X-Tap-Original-URI: /forged", "X-Original-Method: DELETE",
		"X-Original-Length: 77", "X-Forwarded-Proto: https", "x-envoy-original-path: /forged", "x-envoy-original-host: evil", "X-Forwarded-Host: evil",
		"X-Tap-TE: forged",
	}
	all := []sent{
		{method: "GET", target: "/a%2Fb/../c;x=1//d?a=b&c=%20%2f&&", fields: []string{"X-Dup: 1", "x-other: 2", "X-Dup: 3", "Accept: */*", "x-DUP: 4", "TE: trailers"}},
		{method: "POST", target: "/form", fields: []string{"Content-Type: text/plain", "Content-Length: 5"}, body: "a=b\r\n"},
		{method: "PUT", target: "/put", fields: []string{"Content-Length: 3", "X-After: 1"}, body: "\x00\xff\n"},
		{method: "DELETE", target: "/delete?id=1"},
		{method: "HEAD", target: "/head"},
		{method: "OPTIONS", target: "/options", fields: []string{"Origin: http://x"}},
		{method: "POST", target: "/empty", fields: []string{"Content-Length: 0"}},
		{method: "POST", target: "/chunked", body: long[:20000], chunked: true},
		{method: "POST", target: "/long", fields: []string{"Content-Length: 300000"}, body: long},
		{method: "GET", target: "/forged", fields: forged},
	}
	nc := dial(t, at)
	answers := bufio.NewReader(nc)
	began := time.Now()
	for _, s := range all {
		status, body := s.say(t, nc, answers)
		require.Equal(t, 200, status, s.target)
		if s.method != "HEAD" {
			require.Equal(t, fmt.Sprintf("%s %s %d", s.method, s.target, len(s.body)), body, "production")
		}
	}
	over := dial(t, at) // too large to be copied, and production's all the same
	status, _ := sent{method: "POST", target: "/over", fields: []string{"Content-Length: 1000000"}, body: strings.Repeat("x", 1000000)}.say(t, over, bufio.NewReader(over))
	require.Equal(t, 200, status)
	tap.settled(t, len(all))

	got := exchanges(t, names)
	theGateways := regexp.MustCompile(`(?i)^(x-tap-|x-original-|x-envoy-original-|x-forwarded-proto:|te:|content-length:)`)
	ids := map[string]bool{}
	for i, s := range all {
		require.Len(t, got[s.target], 1, s.target)
		x := got[s.target][0]
		q := x.Request
		require.Equal(t, s.method+" http shop.example:8443 HTTP/1.1", fmt.Sprintf("%s %s %s %s", q.Method, q.Scheme, q.Authority, q.Protocol), s.target)
		require.Equal(t, s.body[:min(len(s.body), 256<<10)], string(q.Body), s.target)
		require.EqualValues(t, len(s.body), q.BodySize, s.target)
		want := traffic.RequestOnly
		if s.target == "/long" {
			want |= traffic.TruncatedRequest
		}
		require.Equal(t, want, x.Flags, s.target)
		require.Equal(t, traffic.GatewayTime, x.TimeSource, s.target)
		require.WithinRange(t, x.CaptureTime, began.Add(-time.Second), time.Now().Add(time.Second))
		require.Equal(t, nc.LocalAddr().String(), string(x.Connection.Client), s.target)
		require.EqualValues(t, i+1, x.Connection.Sequence, s.target)
		require.Contains(t, string(x.Connection.ID), "127.0.0.1/")
		ids[string(x.Connection.ID)] = true
		var fields, have []string
		for _, f := range s.fields {
			if !theGateways.MatchString(f) {
				fields = append(fields, f)
			}
		}
		for _, f := range q.Headers {
			switch strings.ToLower(string(f.Name)) {
			case "x-request-id", "x-forwarded-proto": // the gateway's
			case "host":
				require.Equal(t, "shop.example:8443", string(f.Value))
			case "content-length":
				require.Equal(t, fmt.Sprint(len(s.body)), string(f.Value))
			case "te":
				require.Equal(t, all[0].target, s.target)
				require.Equal(t, "trailers", string(f.Value))
			default:
				have = append(have, fmt.Sprintf("%s: %s", f.Name, f.Value))
			}
		}
		require.Equal(t, fields, have, "fields of %s, in their order and case", s.target)
	}
	require.Len(t, ids, 1)
	_, te := traffic.Get(got[all[0].target][0].Request.Headers, "TE")
	require.True(t, te)
	require.Empty(t, got["/over"])

	var mu sync.Mutex
	fired := map[string]http.Header{}
	target := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		fired[r.Method+" "+r.RequestURI] = r.Header
	}))
	replay(t, time.Minute, replayArgs("run", prefix, target, "--speed", "max")...)
	mu.Lock()
	defer mu.Unlock()
	require.Len(t, fired, 4, "GET, GET, HEAD and OPTIONS are replayed")
	require.Equal(t, []string{"1", "3", "4"}, fired["GET "+all[0].target]["X-Dup"])
	for _, h := range fired {
		require.Empty(t, h.Get("X-Tap-Host")+h.Get("X-Original-Uri")+h.Get("X-Forwarded-Proto"))
	}
}

func TestMirrorWithoutBodiesSaysSo(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	tap := startMirror(t, prefix)
	at := gateway{tap: tap.addr, app: application(t), nobody: true}.start(t)
	all := []struct {
		sent
		size int // as recorded
		cut  bool
	}{
		{sent{method: "GET", target: "/get"}, 0, false},
		{sent{method: "POST", target: "/none", fields: []string{"Content-Length: 0"}}, 0, false},
		{sent{method: "POST", target: "/posted", fields: []string{"Content-Length: 5"}, body: "hello"}, 5, true},
		{sent{method: "DELETE", target: "/deleted", fields: []string{"Content-Length: 3"}, body: "abc"}, 3, true},
		{sent{method: "PUT", target: "/chunked", body: "hello", chunked: true}, 0, true}, // its size is not known
	}
	for _, c := range all {
		nc := dial(t, at)
		status, body := c.say(t, nc, bufio.NewReader(nc))
		require.Equal(t, 200, status)
		require.Equal(t, fmt.Sprintf("%s %s %d", c.method, c.target, len(c.body)), body)
	}
	tap.settled(t, len(all))
	got := exchanges(t, names)
	for _, c := range all {
		x := got[c.target][0]
		require.Empty(t, x.Request.Body)
		require.EqualValues(t, c.size, x.Request.BodySize, c.target)
		require.Equal(t, c.cut, x.Flags.Has(traffic.TruncatedRequest), "%s: a request without its body is not to be replayed", c.target)
	}
}

func TestMirrorTellsHTTP2Clients(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	tap := startMirror(t, prefix)
	h2 := freeAddr(t)
	gateway{tap: tap.addr, app: application(t), server: "listen " + h2 + " http2;"}.start(t)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Post("http://"+h2+"/a%2Fb", "text/plain", strings.NewReader("hello"))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	tap.settled(t, 1)
	q := exchanges(t, names)["/a%2Fb"][0].Request
	require.Equal(t, "HTTP/2.0 "+h2+" hello", fmt.Sprintf("%s %s %s", q.Protocol, q.Authority, q.Body))
}

func TestMirrorSamples(t *testing.T) {
	startKafka(t)
	prefix, _ := newPrefix()
	tap := startMirror(t, prefix)
	at := gateway{tap: tap.addr, app: application(t), share: "25%"}.start(t)
	const n = 4000
	load{at: at, workers: 4, each: n / 4}.run(t)
	var seen int
	waitFor(t, 2*time.Minute, func() error {
		c := tap.counts(t)
		if c.seen != seen || c.pending > 0 {
			seen = c.seen
			return fmt.Errorf("%d seen", seen)
		}
		return nil
	})
	tap.settled(t, seen)
	require.InDelta(t, 0.25, float64(seen)/n, 0.04, "%d of %d", seen, n)
	m, err := proc.Scrape(within(t, 2*time.Minute), tap.admin)
	require.NoError(t, err)
	require.Less(t, m.Sum("reprise_tap_accepted_total"), 40.0, "nginx keeps its connections to the tap")
}

func TestMirrorIgnoresWhatIsNotWhole(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	tap := startMirror(t, prefix)
	at := gateway{tap: tap.addr, app: application(t)}.start(t)
	gone := dial(t, at) // a client that goes away in the middle
	_, err := io.WriteString(gone, "POST /gone HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nhalf")
	require.NoError(t, err)
	require.NoError(t, gone.Close())
	direct := dial(t, tap.addr) // a gateway that cuts its copy
	_, err = io.WriteString(direct, "POST /cut HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
	require.NoError(t, err)
	require.NoError(t, direct.Close())
	nc := dial(t, at)
	status, _ := sent{method: "GET", target: "/whole"}.say(t, nc, bufio.NewReader(nc))
	require.Equal(t, 200, status)
	c := tap.settled(t, 2)
	require.Equal(t, 1, c.dropped)
	m, err := proc.Scrape(within(t, 2*time.Minute), tap.admin)
	require.NoError(t, err)
	require.EqualValues(t, 1, m.Sum("reprise_tap_exchanges_total", `result="dropped"`, `reason="incomplete"`))
	require.EqualValues(t, 1, m.Sum("reprise_tap_incomplete_total", `reason="closed"`))
	got := exchanges(t, names)
	require.Len(t, got, 1)
	require.Len(t, got["/whole"], 1)
}

func TestMirrorAnswersWithoutKafka(t *testing.T) {
	p := &tapped{addr: freeAddr(t), admin: freeAddr(t)}
	p.Process = start(t, "tap", "mirror", "--listen", p.addr, "--admin", p.admin, "--brokers", blackhole(t), "--memory-max", "1MiB")
	require.NoError(t, p.Ready(within(t, 2*time.Minute), p.admin))
	nc := dial(t, p.addr)
	answers := bufio.NewReader(nc)
	const n = 300
	for i := range n { // more than its memory takes
		status, body := sent{method: "POST", target: "/x", fields: []string{"Content-Length: 20000"}, body: strings.Repeat("x", 20000)}.say(t, nc, answers)
		require.Equal(t, 204, status, i)
		require.Empty(t, body)
	}
	waitFor(t, 2*time.Minute, func() error {
		if c := p.counts(t); c.seen != n || c.dropped == 0 {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
}

// load asks on kept connections, each request when the one before was answered.
type load struct {
	at            string
	workers, each int
}

// run returns how long each took, sorted. All of them were answered with 200.
func (l load) run(t *testing.T) []time.Duration {
	t.Helper()
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	for range l.workers {
		nc := dial(t, l.at)
		require.NoError(t, nc.SetDeadline(time.Now().Add(5*time.Minute)))
		wg.Go(func() {
			answers := bufio.NewReader(nc)
			for i := range l.each {
				began := time.Now()
				status, _ := sent{method: "GET", target: fmt.Sprintf("/item/%d", i)}.say(t, nc, answers)
				d := time.Since(began)
				mu.Lock()
				took = append(took, d)
				mu.Unlock()
				if status != 200 {
					t.Errorf("status %d", status)
					return
				}
			}
		})
	}
	wg.Wait()
	require.Len(t, took, l.workers*l.each, "errors in production")
	slices.Sort(took)
	return took
}

func TestMirrorCostsProductionAtMostItsTimeout(t *testing.T) {
	startKafka(t)
	prefix, _ := newPrefix()
	app := application(t)
	const timeout = 150 * time.Millisecond // proxy_connect_timeout and proxy_read_timeout of deploy/nginx
	const slack = 1500 * time.Millisecond  // of a busy machine; nginx's own default would be 60 s
	try := func(name, at string, each int) {
		t.Run(name, func(t *testing.T) {
			holds(t, func() error {
				took := load{at: at, workers: 2, each: each}.run(t)
				p50, p99, most := took[len(took)/2], took[len(took)*99/100], took[len(took)-1]
				text := fmt.Sprintf("%-28s p50 %6.2f ms   p99 %6.2f ms   most %6.2f ms   of %d", name, ms(p50), ms(p99), ms(most), len(took))
				if most >= timeout+slack || p50 >= 2*timeout+200*time.Millisecond {
					return errors.New(text)
				}
				t.Log(text)
				return nil
			})
		})
	}
	try("without mirror", gateway{app: app}.start(t), 1500)

	tap := startMirror(t, prefix)
	at := gateway{tap: tap.addr, app: app}.start(t)
	at25 := gateway{tap: tap.addr, app: app, share: "25%"}.start(t)
	try("tap healthy, 100 %", at, 1500)
	try("tap healthy, 25 %", at25, 1500)
	tap.Signal(unix.SIGSTOP)
	try("tap hangs (SIGSTOP), 100 %", at, 60)
	try("tap hangs (SIGSTOP), 25 %", at25, 200)
	tap.Signal(unix.SIGCONT)
	tap.Kill()
	try("tap dead, 100 %", at, 1500)

	slow := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(2 * time.Second):
		case <-r.Context().Done():
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	try("answers after 2 s, 100 %", gateway{tap: slow, app: app}.start(t), 60)
	try("connecting hangs, 100 %", gateway{tap: blackhole(t), app: app}.start(t), 100)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// blackhole is an address that answers no SYN: its queue is full and nobody accepts.
func blackhole(t *testing.T) (addr string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, unix.Listen(fd, 0))
	name, err := unix.Getsockname(fd)
	require.NoError(t, err)
	addr = fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
	for range 20 {
		nc, err := net.DialTimeout("tcp", addr, 300*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { _ = nc.Close() })
	}
	require.Fail(t, "the queue does not fill")
	return ""
}
