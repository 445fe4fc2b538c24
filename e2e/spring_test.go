//go:build e2e

package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/reprise-io/reprise/e2e/proc"
	"github.com/reprise-io/reprise/e2e/shop"
	"github.com/reprise-io/reprise/internal/traffic"
)

// springGateway is the example of middleware/spring-cloud-gateway in its own process.
type springGateway struct {
	*proc.Process
	addr string
}

// startSpring starts it in front of app; without a tap nothing is copied.
func startSpring(t *testing.T, app, tap string, more ...string) *springGateway {
	t.Helper()
	java, err := exec.LookPath("java")
	require.NoError(t, err)
	g := &springGateway{addr: freeAddr(t)}
	_, port, err := net.SplitHostPort(g.addr)
	require.NoError(t, err)
	began := time.Now()
	g.Process, err = proc.Start(proc.Options{
		Path: java,
		Args: append([]string{
			"-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", filepath.Join(shared.root, ".cache", "spring", "*"),
			"io.reprise.gateway.example.Example", "--server.address=127.0.0.1",
		}, more...),
		Env: []string{"PORT=" + port, "APP_URL=http://" + app, "TAP_URL=" + tap},
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		g.Kill()
		if t.Failed() {
			t.Logf("the gateway said:\n%s", tail(g.Stdout(), 40))
		}
	})
	_, err = g.WaitLine(within(t, 2*time.Minute), "Started Example")
	require.NoError(t, err)
	t.Logf("the gateway was up after %s", time.Since(began).Round(time.Millisecond))
	return g
}

// stop ends it, and returns what it says became of the requests.
func (g *springGateway) stop(t *testing.T) map[string]int {
	t.Helper()
	_, err := g.Stop(time.Minute)
	require.NoError(t, err)
	line, err := g.WaitLine(within(t, 2*time.Minute), "copies ended: TapStats[")
	require.NoError(t, err)
	counts := make(map[string]int)
	for _, m := range regexp.MustCompile(`(\w+)=(\d+)`).FindAllStringSubmatch(line, -1) {
		counts[m[1]], err = strconv.Atoi(m[2])
		require.NoError(t, err)
	}
	require.Equal(t, counts["seen"],
		counts["sampledOut"]+counts["marked"]+counts["unreachable"]+counts["full"]+counts["broken"]+counts["queued"], line)
	require.Equal(t, counts["queued"], counts["accepted"]+counts["rejected"]+counts["shed"]+counts["failed"], line)
	require.Zero(t, counts["broken"], line)
	return counts
}

// production is the shop, and what it has no page for: /raw tells the target that came, /steps answers step by step, /hang not at all.
func production(t *testing.T) (addr string, step, hanging chan struct{}) {
	t.Helper()
	s := shop.New(shop.Options{})
	step, hanging = make(chan struct{}), make(chan struct{}, 1)
	addr = serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.RequestURI, "/raw"):
			w.Header()["X-Two"] = []string{"a", "b"}
			_, _ = io.WriteString(w, r.RequestURI)
		case r.URL.Path == "/steps":
			w.Header().Set("Content-Type", "text/event-stream")
			for i := range 3 {
				_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
				_ = http.NewResponseController(w).Flush()
				select {
				case <-step:
				case <-r.Context().Done():
					return
				}
			}
		case r.URL.Path == "/hang":
			hanging <- struct{}{}
			<-r.Context().Done()
		default:
			s.ServeHTTP(w, r)
		}
	}))
	return addr, step, hanging
}

func TestSpringGatewaysTrafficIsStoredAsItWas(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	tap := startIngest(t, prefix, "--redact", "off")
	app, step, hanging := production(t)
	g := startSpring(t, app, tap.url())

	odd := "/raw//a%2Fb/..;x=1/%7e?q=1&q=%20"
	login := `{"phone":"13800138000","password":"abcd"}`
	large := strings.Repeat("0123456789abcdef", 4<<20/16)
	all := []sent{
		{method: "GET", target: odd, fields: []string{"X-Dup: 1", "x-other: 2", "X-Dup: 3", "Accept: */*", "x-DUP: 4"}},
		{method: "GET", target: "/items/7"},
		{method: "GET", target: "/items/100000"},
		{method: "HEAD", target: "/items/8"},
		{method: "POST", target: "/login", fields: []string{"Content-Type: application/json", "Content-Length: " + strconv.Itoa(len(login))}, body: login},
		{method: "POST", target: "/echo?bytes", fields: []string{"Content-Length: 4"}, body: "\x00\xff\n!"},
		{method: "POST", target: "/echo?chunked", fields: []string{"Content-Type: text/plain"}, body: large[:20000], chunked: true},
		{method: "POST", target: "/echo?large", fields: []string{"Content-Type: text/plain", "Content-Length: " + strconv.Itoa(len(large))}, body: large},
		{method: "GET", target: "/status/503"},
	}
	nc := dial(t, g.addr)
	answers := bufio.NewReader(nc)
	began := time.Now()
	status, body := make(map[string]int), make(map[string]string)
	for _, s := range all {
		status[s.target], body[s.target] = s.say(t, nc, answers)
	}
	marked := sent{method: "GET", target: "/items/9", fields: []string{"Reprise-Replay: run;loop=0;clone=0"}}
	marked.say(t, nc, answers)
	require.Equal(t, large, body["/echo?large"], "production gets all of it")

	readSteps(t, g.addr, step)
	leave(t, g.addr, "/steps?left", func(nc net.Conn) {
		for got, b := "", make([]byte, 1024); !strings.Contains(got, "data: 0"); {
			n, err := nc.Read(b)
			require.NoError(t, err)
			got += string(b[:n])
		}
	})
	leave(t, g.addr, "/hang", func(net.Conn) { <-hanging })
	require.Eventually(t, func() bool { return tap.counts(t).seen == len(all)+3 }, 2*time.Minute, 20*time.Millisecond)
	ended := g.stop(t)
	require.Equal(t, len(all)+4, ended["seen"])
	require.Equal(t, 1, ended["marked"])
	require.Equal(t, len(all)+3, ended["accepted"])
	require.Equal(t, len(all)+3, tap.settled(t, len(all)+3).produced)

	stored := exchanges(t, names)
	for _, s := range all {
		require.Len(t, stored[s.target], 1, s.target)
		x := stored[s.target][0]
		kept := func(body string) string { return body[:min(len(body), 64<<10)] }
		require.Equal(t, s.method, string(x.Request.Method))
		require.Equal(t, "shop.example:8443", string(x.Request.Authority))
		fields := []string{"Host: shop.example:8443"}
		if fields = append(fields, s.fields...); s.chunked {
			fields = append(fields, "Transfer-Encoding: chunked")
		}
		require.Equal(t, fields, lines(x.Request.Headers), s.target)
		require.Equal(t, kept(s.body), string(x.Request.Body), s.target)
		require.EqualValues(t, len(s.body), x.Request.BodySize)
		require.Equal(t, nc.LocalAddr().String(), string(x.Connection.Client))
		require.WithinRange(t, x.CaptureTime, began, time.Now())
		require.Equal(t, status[s.target], x.Response.Status, s.target)
		require.Equal(t, kept(body[s.target]), string(x.Response.Body), s.target)
		require.EqualValues(t, len(body[s.target]), x.Response.BodySize)
		require.Positive(t, x.Response.TTFB)
		require.GreaterOrEqual(t, x.Response.Duration, x.Response.TTFB)
		want := traffic.Flags(0)
		if len(s.body) > 64<<10 {
			want = traffic.TruncatedRequest | traffic.TruncatedResponse
		}
		require.Equal(t, want.String(), x.Flags.String(), s.target)
	}
	require.Subset(t, lines(stored[odd][0].Response.Headers), []string{"X-Two: a", "X-Two: b"})
	require.Equal(t, "data: 0\n\ndata: 1\n\ndata: 2\n\n", string(stored["/steps"][0].Response.Body))
	require.Equal(t, (traffic.ClientAborted | traffic.TruncatedResponse).String(), stored["/steps?left"][0].Flags.String())
	require.True(t, stored["/hang"][0].Flags.Has(traffic.ClientAborted), stored["/hang"][0].Flags)
	require.Nil(t, stored["/hang"][0].Response)
}

func lines(fields []traffic.Field) []string {
	all := make([]string, 0, len(fields))
	for _, f := range fields {
		all = append(all, string(f.Name)+": "+string(f.Value))
	}
	return all
}

// readSteps lets the origin go on only when what it has answered so far has arrived: nobody may hold an answer back.
func readSteps(t *testing.T, addr string, step chan<- struct{}) {
	t.Helper()
	resp, err := http.Get("http://" + addr + "/steps")
	require.NoError(t, err)
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	for i := range 3 {
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("data: %d\n", i), line)
		_, err = r.ReadString('\n')
		require.NoError(t, err)
		select {
		case step <- struct{}{}:
		case <-time.After(2 * time.Minute):
			t.Fatal("the origin does not wait for its next step")
		}
	}
	rest, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Empty(t, rest)
}

// leave asks, and is gone when ready returns.
func leave(t *testing.T, addr, target string, ready func(nc net.Conn)) {
	t.Helper()
	nc := dial(t, addr)
	_, err := io.WriteString(nc, "GET "+target+" HTTP/1.1\r\nHost: shop.example\r\n\r\n")
	require.NoError(t, err)
	ready(nc)
	require.NoError(t, nc.Close())
}

// Whatever becomes of the tap, production answers, at the same pace, and what is not copied is counted.
func TestSpringGatewayOutlivesItsTap(t *testing.T) {
	startKafka(t)
	prefix, _ := newPrefix()
	tap := startIngest(t, prefix)
	app, _, _ := production(t)
	g := startSpring(t, app, tap.url(), "--reprise.tap.queue-bytes=256KB", "--reprise.tap.timeout=30s")

	asked := 0
	try := func(when string, requests int) {
		t.Helper()
		took := ask(t, g.addr, requests)
		asked += requests
		t.Logf("%-24s %d requests, 0 errors, p50 %s, p99 %s, slowest %s", when, requests, took(0.5), took(0.99), took(1))
		require.Less(t, took(1), 15*time.Second, "nobody waits for the tap, which has 30 s")
	}
	try("first ones", 500)
	try("tap is there", 2000)
	require.Eventually(t, func() bool { return tap.counts(t).seen > 0 }, 2*time.Minute, 20*time.Millisecond)
	tap.Signal(unix.SIGSTOP)
	try("tap hangs (SIGSTOP)", 4000)
	tap.Signal(unix.SIGCONT)
	tap.Kill()
	try("tap is dead", 2000)

	ended := g.stop(t)
	t.Logf("%v", ended)
	require.Equal(t, asked, ended["seen"])
	require.Positive(t, ended["accepted"])
	require.Positive(t, ended["full"]+ended["unreachable"], "requests that were not copied")
}

// ask sends requests over four connections, each of which must be answered well. It returns quantiles of what they took.
func ask(t *testing.T, addr string, requests int) func(q float64) time.Duration {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}, Timeout: time.Minute}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range requests / 4 {
				began := time.Now()
				resp, err := client.Get(fmt.Sprintf("http://%s/items/%d", addr, i%100+1))
				if err != nil {
					t.Errorf("production: %v", err)
					return
				}
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Errorf("production: %d, %v", resp.StatusCode, err)
					return
				}
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.False(t, t.Failed())
	slices.Sort(took)
	return func(q float64) time.Duration {
		return took[min(int(q*float64(len(took))), len(took)-1)].Round(10 * time.Microsecond)
	}
}
