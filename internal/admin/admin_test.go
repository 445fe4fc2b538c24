package admin_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/admin"
	"github.com/reprise-io/reprise/internal/fault"
)

func start(t *testing.T, o admin.Options) string {
	t.Helper()
	o.Listen, o.Logger = "127.0.0.1:0", slog.New(slog.DiscardHandler)
	if o.Gatherer == nil {
		o.Gatherer = prometheus.NewRegistry()
	}
	s, err := admin.Listen(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	return "http://" + s.Addr().String()
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

func TestServesMetricsAndHealth(t *testing.T) {
	reg := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "reprise_test_total", Help: "x"})
	reg.MustRegister(c)
	c.Inc()
	ready := false
	url := start(t, admin.Options{Gatherer: reg, Ready: func() bool { return ready }})

	status, body := get(t, url+"/metrics")
	require.Equal(t, 200, status)
	require.Contains(t, body, "reprise_test_total 1")
	status, _ = get(t, url+"/healthz")
	require.Equal(t, 200, status)
	status, _ = get(t, url+"/readyz")
	require.Equal(t, 503, status)
	ready = true
	status, _ = get(t, url+"/readyz")
	require.Equal(t, 200, status)
}

func TestPprofOnlyWhenAskedFor(t *testing.T) {
	status, _ := get(t, start(t, admin.Options{})+"/debug/pprof/")
	require.Equal(t, 404, status)
	status, _ = get(t, start(t, admin.Options{Pprof: true})+"/debug/pprof/")
	require.Equal(t, 200, status)
}

func TestPortInUseNamesTheAddress(t *testing.T) {
	url := start(t, admin.Options{})
	_, err := admin.Listen(admin.Options{Listen: url[len("http://"):], Logger: slog.New(slog.DiscardHandler)})
	require.ErrorContains(t, err, url[len("http://"):])
	require.Equal(t, fault.Failure, fault.Code(err))
}
