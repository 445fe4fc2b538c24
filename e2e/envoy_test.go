//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/reprise-io/reprise/e2e/envoy"
)

// edge is an Envoy in front of a service, with one of the configurations in deploy/envoy.
type edge struct {
	*envoy.Envoy
	addr string // for clients
}

func (e *edge) url() string { return "http://" + e.addr }

func (e *edge) stat(t *testing.T, name string) int {
	t.Helper()
	n, err := e.Stat(within(t, 2*time.Minute), name)
	require.NoError(t, err)
	return n
}

func envoyBinary() string { return filepath.Join(shared.root, ".cache", "envoy", envoy.Binary) }

// startEdge runs an Envoy. The addresses that the configuration marks and that are not given are free ones; edits change
// its text, each with something that must be there.
func startEdge(t *testing.T, file string, addresses map[string]string, edits ...string) *edge {
	t.Helper()
	e := &edge{addr: freeAddr(t)}
	admin := freeAddr(t)
	addresses["edge"], addresses["admin"] = e.addr, admin
	config, err := envoy.Configure(filepath.Join(shared.root, "deploy", "envoy", file), addresses)
	require.NoError(t, err)
	for i := 0; i < len(edits); i += 2 {
		require.Contains(t, config, edits[i])
		config = strings.ReplaceAll(config, edits[i], edits[i+1])
	}
	e.Envoy, err = envoy.Start(within(t, time.Minute), envoyBinary(), t.TempDir(), config, admin)
	require.NoError(t, err)
	t.Cleanup(func() {
		e.Kill()
		if t.Failed() {
			t.Logf("envoy said:\n%s", tail(e.Stderr(), 20))
		}
	})
	return e
}

// origin is the service behind Envoy. By the first segment of the path: /echo gives back what it gets, /count its size,
// /give?n= so many bytes, /hang nothing until the client has gone. It is no ServeMux, which would redirect odd paths.
func origin() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // a server of Go's reads no more once it has begun to write
		first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		switch first {
		case "echo":
			w.Header()["X-Twice"] = []string{"a", "b"}
			_, _ = w.Write(body)
		case "count":
			fmt.Fprint(w, len(body))
		case "give":
			n, _ := strconv.Atoi(r.URL.Query().Get("n"))
			_, _ = io.WriteString(w, big(n))
		case "hang":
			<-r.Context().Done()
		default:
			fmt.Fprint(w, "ok")
		}
	})
}

// serveGRPC runs a gRPC service that sends trailers.
func serveGRPC(t *testing.T) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := grpc.NewServer(grpc.UnaryInterceptor(
		func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			_ = grpc.SetTrailer(ctx, metadata.Pairs("x-sum", "42"))
			return next(ctx, req)
		}))
	services := health.NewServer()
	services.SetServingStatus("shop", grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(s, services)
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	t.Cleanup(func() {
		s.Stop()
		require.NoError(t, <-done)
	})
	return ln.Addr().String()
}

// newClient has connections of its own, which it keeps alive.
func newClient(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 60 * time.Second}
}

// fetch sends a request and returns status and body of the answer.
func fetch(ctx context.Context, c *http.Client, method, url, body string, header ...string) (status int, answer string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// inTurns calls do for 0 to n-1, that many at a time, and until one fails.
func inTurns(t *testing.T, n, atATime int, do func(ctx context.Context, i int) error) {
	t.Helper()
	ctx, stop := context.WithCancelCause(within(t, 2*time.Minute))
	defer stop(nil)
	var next atomic.Int64
	var turns sync.WaitGroup
	for range atATime {
		turns.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := do(ctx, i); err != nil {
					stop(fmt.Errorf("request %d: %w", i, err))
				}
			}
		})
	}
	turns.Wait()
	require.NoError(t, context.Cause(ctx))
}

// load posts bodies of none and 10 KiB in turns while something happens; each must come back as it was sent.
func (e *edge) load(t *testing.T, c *http.Client, requests int, happens func()) (slowest time.Duration) {
	t.Helper()
	var most atomic.Int64
	inTurns(t, requests, 8, func(ctx context.Context, i int) error {
		if i == requests/4 {
			happens()
		}
		from := time.Now()
		want := strings.Repeat("x", 10<<10*(i%2))
		status, answer, err := fetch(ctx, c, "POST", e.url()+"/echo", want)
		if err == nil && (status != 200 || answer != want) {
			err = fmt.Errorf("%d %.50q", status, answer)
		}
		for took := int64(time.Since(from)); took > most.Load(); {
			most.Store(took)
		}
		return err
	})
	return time.Duration(most.Load())
}
