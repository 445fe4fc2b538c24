//go:build e2e

package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/reprise-io/reprise/e2e/proc"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// watched is an Envoy with a service behind it and a tap that it sends copies to.
type watched struct {
	*edge
	tap     *tapped
	names   topic.Names
	service *httptest.Server
	client  *http.Client
}

// startWatched starts them with deploy/envoy/extproc.yaml, edited.
func startWatched(t *testing.T, edits ...string) *watched {
	t.Helper()
	startKafka(t)
	prefix, names := newPrefix()
	w := &watched{names: names, client: newClient(t), service: httptest.NewServer(origin())}
	t.Cleanup(w.service.Close)
	w.tap = startBeside(t, "extproc", prefix)
	w.tap.waitTopics(t, names)
	w.edge = startEdge(t, "extproc.yaml", map[string]string{
		"service": w.service.Listener.Addr().String(), "service-grpc": serveGRPC(t), "tap": w.tap.addr,
	}, edits...)
	return w
}

// get sends one request that must be answered with 200.
func (w *watched) get(t *testing.T, method, path, body string, header ...string) string {
	t.Helper()
	status, answer, err := fetch(within(t, 2*time.Minute), w.client, method, w.url()+path, body, header...)
	require.NoError(t, err)
	require.Equal(t, 200, status, path)
	return answer
}

// stored waits until the tap has that many exchanges stored, and returns them by target.
func (w *watched) stored(t *testing.T, n int) map[string][]*traffic.Exchange {
	t.Helper()
	c := w.tap.settled(t, n)
	require.Zero(t, c.dropped+c.unknown, "%+v", c)
	return exchanges(t, w.names)
}

// Envoy's default limits would let 1,024 of them pass to a server that does not end its streams.
func TestExtprocMissesNothingUnderEnvoysDefaultLimits(t *testing.T) {
	const requests = 3500
	w := startWatched(t, "max_requests: 4096", "max_requests: 1024",
		`- match: {prefix: /}
                route: {cluster: service}`, `- match: {prefix: /shop}
                route: {cluster: service, prefix_rewrite: /echo}
              - match: {prefix: /}
                route: {cluster: service}`)
	started := time.Now()
	inTurns(t, requests, 8, func(ctx context.Context, i int) error {
		want := fmt.Sprintf("body %d of %d", i, requests)
		status, answer, err := fetch(ctx, w.client, http.MethodPost, fmt.Sprintf("%s/shop?i=%d", w.url(), i), want, "X-Dup", "1", "X-Dup", "2")
		if err == nil && (status != 200 || answer != want) {
			err = fmt.Errorf("%d %q", status, answer)
		}
		return err
	})
	took := time.Since(started)
	all := w.stored(t, requests)
	t.Logf("%d requests in %s; %d streams overflowed", requests, took, w.stat(t, "cluster.reprise-tap.upstream_rq_pending_overflow"))
	connections := map[string]bool{}
	for i := range requests {
		x := one(t, all, fmt.Sprintf("/shop?i=%d", i)) // as the client sent it: the route makes /echo of it
		want := fmt.Sprintf("body %d of %d", i, requests)
		require.Equal(t, want, string(x.Request.Body))
		require.Equal(t, want, string(x.Response.Body))
		require.Equal(t, 200, x.Response.Status)
		require.Zero(t, x.Flags, x.Flags)
		require.Equal(t, traffic.GatewayTime, x.TimeSource)
		require.WithinRange(t, x.CaptureTime, started.Add(-time.Millisecond), started.Add(took))
		require.Positive(t, x.Response.TTFB)
		require.GreaterOrEqual(t, x.Response.Duration, x.Response.TTFB)
		require.Equal(t, "POST http "+w.addr+" HTTP/1.1",
			fmt.Sprintf("%s %s %s %s", x.Request.Method, x.Request.Scheme, x.Request.Authority, x.Request.Protocol))
		require.Equal(t, []string{"1", "2"}, values(x.Request.Headers, "x-dup"))
		require.Equal(t, []string{"a", "b"}, values(x.Response.Headers, "x-twice"))
		require.Contains(t, string(x.Connection.Client), "127.0.0.1:")
		connections[string(x.Connection.ID)] = true
	}
	require.LessOrEqual(t, len(connections), 16, "a connection for each that the client kept, not for each request")
	require.NotContains(t, connections, "")
	require.Zero(t, w.stat(t, "http.edge.ext_proc.reprise.streams_failed"))
}

func values(fields []traffic.Field, name string) (all []string) {
	for _, f := range fields {
		if traffic.EqualName(f.Name, name) {
			all = append(all, string(f.Value))
		}
	}
	return all
}

func TestExtprocCutsLargeBodiesAndLetsThemPass(t *testing.T) {
	w := startWatched(t)
	upload := big(20 << 20)
	require.Equal(t, fmt.Sprint(len(upload)), w.get(t, "PUT", "/count", upload))
	require.Len(t, w.get(t, "GET", fmt.Sprintf("/give?n=%d", 5<<20), ""), 5<<20)
	require.Equal(t, fmt.Sprint(len(upload)), w.get(t, "PUT", "/count?marked", upload, "Reprise-Replay", "a-run;loop=0;clone=0"))
	w.get(t, "GET", "/healthz", "") // its route leaves the filter out

	c := w.tap.settled(t, 3)
	require.Equal(t, counts{seen: 3, produced: 2, filtered: 1}, c, "what a replayer sent is never captured")
	all := exchanges(t, w.names)
	x := one(t, all, "/count")
	require.EqualValues(t, len(upload), x.Request.BodySize)
	require.Equal(t, upload[:256<<10], string(x.Request.Body))
	require.Equal(t, traffic.TruncatedRequest, x.Flags, x.Flags)
	x = one(t, all, fmt.Sprintf("/give?n=%d", 5<<20))
	require.EqualValues(t, 5<<20, x.Response.BodySize)
	require.Len(t, x.Response.Body, 256<<10)
	require.Equal(t, traffic.TruncatedResponse, x.Flags, x.Flags)
}

func TestExtprocTellsEnvoysOwnAnswersAndThoseThatNobodyGot(t *testing.T) {
	w := startWatched(t)
	w.get(t, "POST", "/echo", "hello")
	ctx, leave := context.WithCancel(within(t, 2*time.Minute))
	done := make(chan error, 1)
	go func() {
		_, _, err := fetch(ctx, w.client, "POST", w.url()+"/hang", "patience")
		done <- err
	}()
	waitFor(t, 2*time.Minute, func() error {
		if n := w.tap.metric(t, "reprise_tap_client_bytes_total"); n < len("hello"+"patience") {
			return fmt.Errorf("the tap has got %d bytes", n)
		}
		return nil
	})
	leave()
	require.ErrorIs(t, <-done, context.Canceled)
	w.service.CloseClientConnections()
	w.service.Close()
	status, _, err := fetch(within(t, 2*time.Minute), w.client, "GET", w.url()+"/nobody", "")
	require.NoError(t, err)
	require.Equal(t, 503, status)

	all := w.stored(t, 3)
	require.Zero(t, one(t, all, "/echo").Flags)
	x := one(t, all, "/nobody")
	require.Equal(t, 503, x.Response.Status)
	require.Equal(t, traffic.LocalReply, x.Flags, x.Flags)
	require.Len(t, all["/hang"], 1)
	x = all["/hang"][0]
	require.Nil(t, x.Response)
	require.Equal(t, "patience", string(x.Request.Body))
	require.Equal(t, traffic.ClientAborted, x.Flags, x.Flags)
}

func TestExtprocLetsUpgradedConnectionsBe(t *testing.T) {
	w := startWatched(t, "use_remote_address: true", "use_remote_address: true\n          upgrade_configs: [{upgrade_type: websocket}]")
	w.service.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		conn, both, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = both.WriteString(message("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket"))
		_ = both.Flush()
		_, _ = io.Copy(conn, both)
	})
	conn := dial(t, w.addr)
	_, err := io.WriteString(conn, message("GET /socket HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: websocket"))
	require.NoError(t, err)
	answer := bufio.NewReader(conn)
	resp, err := http.ReadResponse(answer, nil)
	require.NoError(t, err)
	require.Equal(t, 101, resp.StatusCode)
	x := w.stored(t, 1)["/socket"][0] // while the connection goes on
	require.Equal(t, traffic.Upgraded, x.Flags, x.Flags)
	said := big(3 << 20)
	go func() { _, _ = io.WriteString(conn, said) }()
	got := make([]byte, len(said))
	_, err = io.ReadFull(answer, got)
	require.NoError(t, err)
	require.Equal(t, said, string(got))
	require.Equal(t, 1, w.tap.counts(t).seen)
}

func TestExtprocTellsAnUploadThatBrokeOff(t *testing.T) {
	w := startWatched(t)
	conn := dial(t, w.addr)
	_, err := io.WriteString(conn, message("POST /count HTTP/1.1", "Host: a", "Content-Length: 100")+"only this")
	require.NoError(t, err)
	waitFor(t, 2*time.Minute, func() error {
		m, err := proc.Scrape(t.Context(), w.tap.admin)
		if err == nil && m.Sum("reprise_tap_client_bytes_total") != 9 {
			err = errors.New("the tap has not got it yet")
		}
		return err
	})
	require.NoError(t, conn.Close())
	x := w.stored(t, 1)["/count"][0]
	require.Equal(t, traffic.ClientAborted|traffic.TruncatedRequest, x.Flags, x.Flags)
	require.Equal(t, "only this", string(x.Request.Body))
	require.EqualValues(t, 100, x.Request.BodySize)
}

func TestExtprocRecordsGRPC(t *testing.T) {
	w := startWatched(t)
	conn, err := grpc.NewClient("passthrough:///"+w.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	client := grpc_health_v1.NewHealthClient(conn)
	ctx := metadata.AppendToOutgoingContext(within(t, 2*time.Minute), "x-visitor", "7")
	var trailer metadata.MD
	answer, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: "shop"}, grpc.Trailer(&trailer))
	require.NoError(t, err)
	require.Equal(t, grpc_health_v1.HealthCheckResponse_SERVING, answer.GetStatus())
	require.Equal(t, []string{"42"}, trailer.Get("x-sum"))
	_, err = client.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: "unknown"})
	require.Error(t, err)

	all := w.stored(t, 2)["/grpc.health.v1.Health/Check"]
	require.Len(t, all, 2)
	if len(all[0].Response.Trailers) == 0 || string(all[0].Response.Body) == "" {
		all[0], all[1] = all[1], all[0]
	}
	x := all[0]
	require.Equal(t, "\x00\x00\x00\x00\x06\x0a\x04shop", string(x.Request.Body))
	require.Equal(t, "\x00\x00\x00\x00\x02\x08\x01", string(x.Response.Body))
	require.Equal(t, []string{"42"}, values(x.Response.Trailers, "x-sum"))
	require.Equal(t, []string{"0"}, values(x.Response.Trailers, "grpc-status"))
	require.Equal(t, []string{"7"}, values(x.Request.Headers, "x-visitor"))
	require.Equal(t, "HTTP/2.0", string(x.Request.Protocol))
	require.Zero(t, x.Flags, x.Flags)
	missing := append(values(all[1].Response.Trailers, "grpc-status"), values(all[1].Response.Headers, "grpc-status")...)
	require.Equal(t, []string{"5"}, missing, "NOT_FOUND")
}

func TestExtprocNeverTouchesProduction(t *testing.T) {
	w := startWatched(t)
	load := func(happens func()) time.Duration { return w.load(t, w.client, 500, happens) }
	t.Logf("tap up: slowest %s", load(func() {}))
	t.Logf("tap frozen: slowest %s", load(func() { w.tap.Signal(syscall.SIGSTOP) }))
	for _, size := range []int{8 << 20, 20 << 20} { // below and above what the configuration lets Envoy hold
		from := time.Now()
		require.Equal(t, fmt.Sprint(size), w.get(t, "PUT", "/count", big(size)))
		up := time.Since(from)
		require.Len(t, w.get(t, "GET", fmt.Sprintf("/give?n=%d", size), ""), size)
		t.Logf("tap frozen: %d MiB up in %s, down in %s", size>>20, up, time.Since(from)-up)
	}
	w.tap.Signal(syscall.SIGCONT)
	t.Logf("tap killed: slowest %s", load(w.tap.Kill))
	t.Logf("tap down: slowest %s", load(func() {}))
	upload := big(20 << 20)
	require.Equal(t, fmt.Sprint(len(upload)), w.get(t, "PUT", "/count", upload), "also large ones")
	require.Positive(t, w.stat(t, "http.edge.ext_proc.reprise.failure_mode_allowed"))
}

func TestExtprocWithoutObservabilityModeHoldsNobodyUp(t *testing.T) {
	w := startWatched(t, "observability_mode: true", "observability_mode: false")
	require.Equal(t, "hello", w.get(t, "POST", "/echo?1", "hello"))
	require.Equal(t, fmt.Sprint(5<<20), w.get(t, "PUT", "/count", big(5<<20)))
	require.Len(t, w.get(t, "GET", "/give?n=3000000", ""), 3000000)
	all := w.stored(t, 3)
	require.Equal(t, "hello", string(one(t, all, "/echo?1").Response.Body))
	require.EqualValues(t, 5<<20, one(t, all, "/count").Request.BodySize)
	require.EqualValues(t, 3000000, one(t, all, "/give?n=3000000").Response.BodySize)
	require.Equal(t, 1, strings.Count(w.tap.Stderr(), "observability_mode: true"), "said loudly, and once:\n%s", w.tap.Stderr())
}

// In this mode Envoy has given the bodies away, and passes on what comes back.
func TestExtprocSendsBackWhatEnvoyGaveAway(t *testing.T) {
	w := startWatched(t, "observability_mode: true", "observability_mode: false",
		"request_body_mode: STREAMED", "request_body_mode: FULL_DUPLEX_STREAMED",
		"response_body_mode: STREAMED", "response_body_mode: FULL_DUPLEX_STREAMED")
	bodies := []string{"", "hello", big(3 << 20)}
	for i, body := range bodies {
		require.Equal(t, body, w.get(t, "POST", fmt.Sprint("/echo?", i), body))
		require.Equal(t, body, w.get(t, "POST", "/echo?marked", body, "Reprise-Replay", "a-run;loop=0;clone=0"))
	}
	require.Equal(t, counts{seen: 6, produced: 3, filtered: 3}, w.tap.settled(t, 6))
	all := exchanges(t, w.names)
	for i, body := range bodies {
		require.EqualValues(t, len(body), one(t, all, fmt.Sprint("/echo?", i)).Request.BodySize)
		require.EqualValues(t, len(body), one(t, all, fmt.Sprint("/echo?", i)).Response.BodySize)
	}
}

func TestExtprocStopsAfterWhatIsUnderWay(t *testing.T) {
	w := startWatched(t)
	w.get(t, "GET", "/before", "")
	hanging, leave := context.WithCancel(within(t, 2*time.Minute))
	done := make(chan error, 1)
	go func() {
		_, _, err := fetch(hanging, w.client, "GET", w.url()+"/hang", "")
		done <- err
	}()
	waitFor(t, 2*time.Minute, func() error {
		m, err := proc.Scrape(t.Context(), w.tap.admin)
		if err == nil && (m.Sum("reprise_tap_connections") != 1 || m.Sum("reprise_tap_seen_total") != 1) {
			err = errors.New("the tap has not got both yet")
		}
		return err
	})
	w.tap.Signal(syscall.SIGTERM)
	leave()
	require.ErrorIs(t, <-done, context.Canceled)
	code, err := w.tap.Wait(within(t, 2*time.Minute))
	require.NoError(t, err)
	require.Equal(t, 130, code)
	require.Contains(t, w.tap.Stderr(), "tap stopped")
	all := exchanges(t, w.names)
	require.Len(t, all["/before"], 1)
	require.Len(t, all["/hang"], 1)
	require.Equal(t, 200, func() int {
		resp, err := w.client.Get(w.url() + "/after")
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, resp.Body)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}())
}
