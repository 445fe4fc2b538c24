//go:build e2e

package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/proc"
	"github.com/reprise-io/reprise/e2e/shop"
)

// status of a GET at an admin address.
func status(t *testing.T, admin, path string) int {
	t.Helper()
	resp, err := http.Get("http://" + admin + path)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode
}

func TestMetricsTellWhatTheContractSays(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	_, production := serveShop(t, shop.Options{})
	tap := startTap(t, prefix, production)
	tap.waitTopics(t, names)
	_, target := serveShop(t, shop.PreProduction())
	admin := freeAddr(t)
	live := start(t, "replayer", replayArgs("live", prefix, target, "--admin", admin)...)
	require.NoError(t, live.Ready(within(t, 2*time.Minute), admin))
	visits, err := shop.Visit{URL: tap.url(), Rate: 200, Seed: 61, Requests: 300}.Run(t.Context())
	require.NoError(t, err)
	tap.settled(t, visits.Requests)
	var of proc.Metrics
	waitFor(t, 2*time.Minute, func() error {
		if of, err = proc.Scrape(t.Context(), admin); err != nil {
			return err
		}
		if n := of.Sum("reprise_replay_fired_total") + of.Sum("reprise_replay_refused_total"); int(n) < visits.Requests {
			return fmt.Errorf("%.0f of %d dealt with", n, visits.Requests)
		}
		return nil
	})
	require.InDelta(t, visits.Writes, of.Sum("reprise_replay_refused_total", `reason="write_not_allowed"`), 0)
	require.InDelta(t, 17, of.Sum("reprise_replay_lag_seconds"), 15, "3 s, and what a machine that stands still adds")
	for _, name := range []string{"reprise_replay_lateness_seconds_count", "reprise_replay_target_seconds_count"} {
		require.InDelta(t, visits.Requests-visits.Writes, of.Sum(name), 0, name)
	}
	taps, err := proc.Scrape(t.Context(), tap.admin)
	require.NoError(t, err)
	for _, name := range []string{
		"reprise_tap_seen_total", "reprise_tap_exchanges_total", "reprise_tap_pending", "reprise_tap_connections", "reprise_tap_memory_bytes",
	} {
		require.True(t, taps.Has(name), name)
	}
	require.LessOrEqual(t, taps.Sum("reprise_tap_memory_bytes"), float64(64<<20))

	// No path, host, user or id is ever in a label.
	for _, m := range []proc.Metrics{of, taps} {
		for sample := range m {
			for _, bad := range []string{"/items", "/cart", "127.0.0.1", "session=", "shop"} {
				require.NotContains(t, sample, bad)
			}
			require.LessOrEqual(t, strings.Count(sample, "="), 4, sample)
		}
	}
	for _, a := range []string{tap.admin, admin} {
		require.Equal(t, http.StatusOK, status(t, a, "/healthz"))
		require.Equal(t, http.StatusOK, status(t, a, "/readyz"))
		require.Equal(t, http.StatusNotFound, status(t, a, "/debug/pprof/"), "profiles are behind a flag")
	}
}
