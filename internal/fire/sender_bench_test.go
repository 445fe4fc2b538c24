package fire_test

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/traffic"
)

// BenchmarkFire reports requests per second from 64 workers to nginx on the same machine, beside what wrk and net/http
// reach there:
//
//	go test ./internal/fire -run xxx -bench Fire -benchtime 3s
//
// Without nginx (or wrk) on the machine it is skipped.
func BenchmarkFire(b *testing.B) {
	target := startNginx(b)
	b.Run("wrk", func(b *testing.B) { runWrk(b, target) })
	procs := runtime.GOMAXPROCS(runtime.NumCPU() + 1)
	defer runtime.GOMAXPROCS(procs)
	for _, workers := range []int{32, 64, 128} {
		b.Run("reprise/"+strconv.Itoa(workers), func(b *testing.B) {
			s := benchSender(b, target, workers)
			shot, reason := s.Prepare(benchExchange(), fire.Mark{})
			require.Empty(b, reason)
			perSecond(b, workers, func(ctx context.Context) bool {
				a := s.Fire(ctx, shot)
				return a.Response != nil && a.Response.Status == http.StatusOK
			})
		})
	}
	b.Run("prepare", func(b *testing.B) {
		s := benchSender(b, target, 64)
		x := benchExchange()
		perSecond(b, 64, func(ctx context.Context) bool {
			shot, _ := s.Prepare(x, fire.Mark{})
			a := s.Fire(ctx, shot)
			s.Recycle(shot)
			return a.Response != nil && a.Response.Status == http.StatusOK
		})
	})
	b.Run("nethttp", func(b *testing.B) {
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
		perSecond(b, 64, func(ctx context.Context) bool {
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, target.String()+"/items/42", nil)
			resp, err := client.Do(req)
			if err != nil {
				return false
			}
			var buf [4096]byte
			for err == nil {
				_, err = resp.Body.Read(buf[:])
			}
			resp.Body.Close()
			return resp.StatusCode == http.StatusOK
		})
	})
}

func BenchmarkPrepare(b *testing.B) {
	for _, protocol := range []fire.Protocol{fire.OnlyHTTP1, fire.OnlyHTTP2} {
		b.Run(string(protocol), func(b *testing.B) {
			target := &url.URL{Scheme: "http", Host: "127.0.0.1:1"}
			s := sender(b, target, func(cfg *fire.SenderConfig) { cfg.Protocol = protocol })
			x := benchExchange()
			b.ReportAllocs()
			for b.Loop() {
				shot, reason := s.Prepare(x, fire.Mark{Loop: 1})
				if reason != "" {
					b.Fatal(reason)
				}
				s.Recycle(shot)
			}
		})
	}
}

// BenchmarkFireHTTP2 is with net/http as the target, in the same process: its allocations are among those shown.
func BenchmarkFireHTTP2(b *testing.B) {
	target := h2Server(b, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	s := sender(b, target, overH2)
	shot, reason := s.Prepare(benchExchange(), fire.Mark{})
	require.Empty(b, reason)
	perSecond(b, 64, func(ctx context.Context) bool {
		a := s.Fire(ctx, shot)
		return a.Response != nil && a.Response.Status == http.StatusOK
	})
}

func benchSender(b *testing.B, target *url.URL, workers int) *fire.Sender {
	g, err := fire.NewGuard(b.Context(), fire.GuardConfig{Target: target, Allow: []string{target.Host}})
	require.NoError(b, err)
	s, err := fire.NewSender(fire.SenderConfig{Target: target, Guard: g, Run: "bench", Concurrency: workers})
	require.NoError(b, err)
	b.Cleanup(func() { s.Close() })
	return s
}

func benchExchange() *traffic.Exchange {
	return &traffic.Exchange{
		ID: traffic.MakeID([16]byte{1}, 42), CaptureTime: time.Unix(1790000000, 123456789),
		Request: traffic.Request{
			Method: []byte("GET"), Scheme: []byte("http"), Authority: []byte("shop.example.com"),
			Target: []byte("/items/42?ref=home"), Protocol: []byte("HTTP/1.1"),
			Headers: []traffic.Field{
				{Name: []byte("Host"), Value: []byte("shop.example.com")},
				{Name: []byte("User-Agent"), Value: []byte("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")},
				{Name: []byte("Accept"), Value: []byte("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")},
				{Name: []byte("Accept-Language"), Value: []byte("en-US,en;q=0.5")},
				{Name: []byte("Accept-Encoding"), Value: []byte("gzip, deflate, br")},
				{Name: []byte("X-Forwarded-For"), Value: []byte("203.0.113.9")},
				{Name: []byte("Connection"), Value: []byte("keep-alive")},
				{Name: []byte("Cookie"), Value: []byte("session=2b1f7c8c9d6e4f1aa0c1d2e3f4a5b6c7")},
				{Name: []byte("traceparent"), Value: []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")},
			},
		},
	}
}

// perSecond calls once from workers until b.N calls are made.
func perSecond(b *testing.B, workers int, once func(context.Context) bool) {
	var left, failed atomic.Int64
	left.Store(int64(b.N))
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	b.ReportAllocs()
	start := time.Now()
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if !once(ctx) {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	require.Zero(b, failed.Load())
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "req/s")
}

func runWrk(b *testing.B, target *url.URL) {
	wrk, err := exec.LookPath("wrk")
	if err != nil {
		b.Skip("no wrk on this machine")
	}
	out, err := exec.CommandContext(b.Context(), wrk, "-t1", "-c64", "-d3s", target.String()+"/items/42").Output()
	require.NoError(b, err)
	b.Logf("%s", out)
}

func startNginx(b *testing.B) *url.URL {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		b.Skip("no nginx on this machine")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	addr := l.Addr().String()
	require.NoError(b, l.Close())
	dir := b.TempDir()
	conf := `daemon off; master_process off; worker_processes 1; pid ` + dir + `/pid; error_log /dev/null crit;
events { worker_connections 1024; }
http { access_log off; keepalive_requests 100000000; keepalive_timeout 60s;
client_body_temp_path ` + dir + `; proxy_temp_path ` + dir + `; fastcgi_temp_path ` + dir + `; uwsgi_temp_path ` + dir + `; scgi_temp_path ` + dir + `;
server { listen ` + addr + `; location / { default_type application/json; return 200 '{"id":42,"name":"tea pot","price":1990}'; } } }`
	path := filepath.Join(dir, "nginx.conf")
	require.NoError(b, os.WriteFile(path, []byte(conf), 0o600))
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, nginx, "-c", path, "-p", dir)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() { cancel(); _ = cmd.Wait() })
	require.Eventually(b, func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	}, 5*time.Second, 20*time.Millisecond)
	return &url.URL{Scheme: "http", Host: addr}
}
