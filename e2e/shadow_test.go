//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// overHTTP1 makes the copies of deploy/envoy/shadow.yaml HTTP/1.1; as it stands they are HTTP/2.
func overHTTP1() []string {
	return []string{
		`          http2_protocol_options:
            initial_stream_window_size: 16777216
            initial_connection_window_size: 67108864
            connection_keepalive: {interval: 2s, timeout: 2s}
`, `          http_protocol_options: {}
`,
	}
}

// shadowed is an Envoy with a service behind it and a tap that it sends shadows to.
type shadowed struct {
	*edge
	tap    *tapped
	names  topic.Names
	client *http.Client
}

func startShadowed(t *testing.T, service http.Handler, edits ...string) *shadowed {
	t.Helper()
	startKafka(t)
	prefix, names := newPrefix()
	s := &shadowed{names: names, client: newClient(t)}
	server := httptest.NewServer(service)
	t.Cleanup(server.Close)
	s.tap = startMirror(t, prefix)
	s.tap.waitTopics(t, names)
	s.edge = startEdge(t, "shadow.yaml", map[string]string{
		"service": server.Listener.Addr().String(), "service-grpc": serveGRPC(t), "tap": s.tap.addr,
	}, edits...)
	return s
}

// get sends one request that must be answered with 200.
func (s *shadowed) get(t *testing.T, method, path, body string, header ...string) string {
	t.Helper()
	status, answer, err := fetch(within(t, 60*time.Second), s.client, method, s.url()+path, body, header...)
	require.NoError(t, err)
	require.Equal(t, 200, status, path)
	return answer
}

// rewritten has routes that change path and host, and one that tries again.
const rewritten = `- match: {prefix: /shop}
                route: {cluster: service, prefix_rewrite: /echo, host_rewrite_literal: inner.example}
              - match: {prefix: /flaky}
                route: {cluster: service, retry_policy: {retry_on: 5xx, num_retries: 3}}
              - match: {prefix: /}
                route: {cluster: service}`

const routed = `- match: {prefix: /}
                route: {cluster: service}`

func TestShadowsHaveWhatTheClientSent(t *testing.T) {
	for name, version := range map[string][]string{"HTTP/1.1": overHTTP1(), "HTTP/2": nil} {
		t.Run(name, func(t *testing.T) {
			var tries atomic.Int64
			service := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/flaky" && tries.Add(1) < 3 {
					w.WriteHeader(503)
					return
				}
				origin().ServeHTTP(w, r)
			})
			s := startShadowed(t, service, append([]string{routed, rewritten}, version...)...)
			from := time.Now()
			require.Equal(t, "hello", s.get(t, "POST", "/shop/a%2Fb/../c?x=1&y=%20", "hello", "X-Dup", "1", "X-Dup", "2"))
			s.get(t, "GET", "/flaky", "")
			require.EqualValues(t, 3, tries.Load())
			upload := big(5 << 20)
			require.Equal(t, fmt.Sprint(len(upload)), s.get(t, "PUT", "/count", upload))
			forged := []string{
				"X-Tap-Time", "1795398827.000001", "X-Tap-Client", "6.6.6.6:6", "X-Tap-Conn", "666", "X-Tap-Proto", "HTTP/1.0",
				"X-Tap-Host", "evil.example", "X-Tap-Original-Uri", "/evil", "X-Original-Uri", "/evil", "X-Original-Method", "DELETE",
				"X-Original-Length", "666", "X-Tap-Truncated", "true", "X-Tap-Te", "evil", "X-Tap-Body-Len", "666", "X-Tap-Time-Us", "1",
				"X-Envoy-Original-Path", "/evil", "X-Envoy-Original-Host", "evil.example", "X-Forwarded-Host", "evil.example",
				"X-Forwarded-Proto", "https", "X-Envoy-External-Address", "6.6.6.6",
			}
			s.get(t, "POST", "/plain?q=1", "truth", forged...)
			s.get(t, "POST", "/shop/plain", "truth", forged...)
			s.get(t, "GET", "/marked", "", "Reprise-Replay", "a-run;loop=0;clone=0")
			to := time.Now()

			require.Equal(t, counts{seen: 6, produced: 5, filtered: 1}, s.tap.settled(t, 6))
			all := exchanges(t, s.names)
			connections := map[string]bool{}
			for _, target := range []string{"/shop/a%2Fb/../c?x=1&y=%20", "/flaky", "/count", "/plain?q=1", "/shop/plain"} {
				require.Len(t, all[target], 1, target)
				x := all[target][0]
				require.Equal(t, s.addr, string(x.Request.Authority), target)
				require.Equal(t, traffic.GatewayTime, x.TimeSource, target)
				require.WithinRange(t, x.CaptureTime, from.Add(-time.Millisecond), to)
				require.Contains(t, string(x.Connection.Client), "127.0.0.1:")
				require.Equal(t, "HTTP/1.1", string(x.Request.Protocol), "the client's, not the copy's")
				require.Equal(t, "http", string(x.Request.Scheme))
				require.True(t, x.Flags.Has(traffic.RequestOnly))
				for _, f := range x.Request.Headers {
					require.NotRegexp(t, `(?i)^x-(tap|original)-`, string(f.Name))
				}
				connections[string(x.Connection.ID)] = true
			}
			require.Len(t, connections, 1, "the client's, which it kept")
			require.NotContains(t, connections, "")
			x := all["/shop/a%2Fb/../c?x=1&y=%20"][0]
			require.Equal(t, "hello", string(x.Request.Body))
			require.Equal(t, []string{"1", "2"}, values(x.Request.Headers, "x-dup"))
			for _, target := range []string{"/plain?q=1", "/shop/plain"} {
				x = all[target][0]
				require.Equal(t, "POST", string(x.Request.Method))
				require.Equal(t, "truth", string(x.Request.Body))
				require.Equal(t, traffic.RequestOnly, x.Flags, x.Flags)
			}
			x = all["/count"][0]
			require.EqualValues(t, len(upload), x.Request.BodySize)
			require.Equal(t, traffic.RequestOnly|traffic.TruncatedRequest, x.Flags, x.Flags)
		})
	}
}

func TestShadowsAreAShareOfTheRequests(t *testing.T) {
	const requests = 2000
	for name, version := range map[string][]string{"HTTP/1.1": overHTTP1(), "HTTP/2": nil} {
		t.Run(name, func(t *testing.T) {
			s := startShadowed(t, origin(), append([]string{"numerator: 100", "numerator: 50"}, version...)...)
			inTurns(t, requests, 8, func(ctx context.Context, i int) error {
				status, _, err := fetch(ctx, s.client, "GET", fmt.Sprintf("%s/%d", s.url(), i), "")
				if err == nil && status != 200 {
					err = fmt.Errorf("status %d", status)
				}
				return err
			})
			copies := s.stat(t, "cluster.reprise-tap.upstream_rq_total")
			require.InDelta(t, requests/2, copies, requests*0.05)
			c := s.tap.settled(t, copies)
			require.Equal(t, copies, c.produced, "%+v", c)
			require.Len(t, exchanges(t, s.names), copies, "each once")
		})
	}
}

func TestShadowsNeverTouchProduction(t *testing.T) {
	for name, version := range map[string][]string{"HTTP/1.1": overHTTP1(), "HTTP/2": nil} {
		t.Run(name, func(t *testing.T) {
			s := startShadowed(t, origin(), version...)
			load := func(happens func()) time.Duration { return s.load(t, s.client, 500, happens) }
			t.Logf("tap up: slowest %s", load(func() {}))
			t.Logf("tap frozen: slowest %s", load(func() { s.tap.Signal(syscall.SIGSTOP) }))
			if version == nil { // HTTP/1.1 has no keepalive: there such an upload stands until the route's timeout
				for _, size := range []int{8 << 20, 20 << 20} {
					from := time.Now()
					require.Equal(t, fmt.Sprint(size), s.get(t, "PUT", "/count", big(size)))
					t.Logf("tap frozen: %d MiB up in %s", size>>20, time.Since(from))
				}
			}
			s.tap.Signal(syscall.SIGCONT)
			t.Logf("tap killed: slowest %s", load(s.tap.Kill))
			t.Logf("tap down: slowest %s", load(func() {}))
			from := time.Now()
			require.Equal(t, fmt.Sprint(20<<20), s.get(t, "PUT", "/count", big(20<<20)))
			t.Logf("tap down: 20 MiB up in %s", time.Since(from))
		})
	}
}

func TestShadowsOfGRPC(t *testing.T) {
	s := startShadowed(t, origin())
	conn, err := grpc.NewClient("passthrough:///"+s.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(within(t, 2*time.Minute), &grpc_health_v1.HealthCheckRequest{Service: "shop"})
	require.NoError(t, err)
	require.Equal(t, grpc_health_v1.HealthCheckResponse_SERVING, answer.GetStatus())
	s.tap.settled(t, 1)
	all := exchanges(t, s.names)["/grpc.health.v1.Health/Check"]
	require.Len(t, all, 1)
	x := all[0]
	require.Equal(t, "\x00\x00\x00\x00\x06\x0a\x04shop", string(x.Request.Body))
	require.Equal(t, "HTTP/2.0", string(x.Request.Protocol))
	require.Equal(t, []string{"application/grpc"}, values(x.Request.Headers, "content-type"))
	require.Equal(t, traffic.RequestOnly, x.Flags, x.Flags)
}
