//go:build e2e

package e2e_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/feed"
	"github.com/reprise-io/reprise/internal/report"
)

// ailing is a target that is sick while it is told to be.
type ailing struct {
	*httptest.Server
	sick atomic.Bool

	mu   sync.Mutex
	well map[string]int // answers that were not 503, by exchange
}

func newAiling(t *testing.T) *ailing {
	t.Helper()
	a := &ailing{well: make(map[string]int)}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.sick.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		a.well[r.Header.Get("Reprise-Exchange-Id")]++
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *ailing) addr() string { return strings.TrimPrefix(a.URL, "http://") }

// served returns how many exchanges were answered.
func (a *ailing) served() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.well)
}

// A run against a target that fails ends with 3 and says so; the same command goes on once the target is well.
func TestTooManyErrorsEndARunWithExitCode3(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	const n = 4000
	_, err := (feed.Made{Count: n, Rate: 1000, Seed: 61, Start: time.Now().Add(-time.Minute)}).
		Write(within(t, time.Minute), shared.broker.Addr(), names)
	require.NoError(t, err)
	target := newAiling(t)
	target.sick.Store(true)
	args := replayArgs("run", prefix, target.addr(), "--run", "sick", "--speed", "max", "--concurrency", "8", "-o", "json")
	got := run(t, time.Minute, "replayer", append(args, "--max-error-rate", "5%")...)
	require.Equal(t, 3, got.Code, got.Stderr)
	requireExplained(t, got.Stderr, "replayer", "was stopped: ", "--max-error-rate")
	r, err := report.Parse([]byte(got.Stdout))
	require.NoError(t, err)
	require.Equal(t, "stopped", r.State)
	require.Contains(t, r.StoppedBy, "100 % of ")
	require.Less(t, r.Fired, int64(n))

	// Left alone instead, it gets all that is left, once.
	held := start(t, "replayer", append(args, "--breaker", "error_rate > 20%/10s")...)
	_, err = held.WaitLine(within(t, time.Minute), "breaker open")
	require.NoError(t, err)
	target.sick.Store(false)
	code, err := held.Wait(within(t, time.Minute))
	require.NoError(t, err)
	require.Zero(t, code)
	again, err := report.Parse([]byte(held.Stdout()))
	require.NoError(t, err)
	require.Equal(t, "finished", again.State)
	require.EqualValues(t, 1, again.Limits.Breaker.OpenedByErrors)
	require.Positive(t, again.Limits.Breaker.OpenMs)
	require.EqualValues(t, again.Statuses["200"], target.served())
	require.EqualValues(t, n, r.Fired+again.Fired+report.Total(r.Skipped)+report.Total(again.Skipped)+report.Total(r.Refused)+report.Total(again.Refused))
}
