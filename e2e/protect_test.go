//go:build e2e

package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/proc"
)

// Under a load that takes more CPU than the tap is to use, it gives capture up and not the traffic; without, it comes back.
func TestCaptureSwitchesItselfOffAndOnAgain(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	origin := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
		_, _ = io.WriteString(w, "ok")
	}))
	tap := startTap(t, prefix, origin, "--max-cpu", "1%")
	off := func() float64 {
		m, err := proc.Scrape(within(t, 2*time.Minute), tap.admin)
		require.NoError(t, err)
		return m.Sum("reprise_tap_self_protection_off", `cause="cpu"`)
	}
	until := func(limit time.Duration, want float64) {
		require.NoError(t, proc.Poll(within(t, limit), func() error {
			if want == 0 {
				sleep(t, 2*time.Second) // being looked at takes CPU too
			}
			if is := off(); is != want {
				return fmt.Errorf("off is %g, not %g", is, want)
			}
			return nil
		}), "%s", tail(tap.Stderr(), 20))
	}

	var asked, failed atomic.Int64
	var stopped atomic.Bool
	var running sync.WaitGroup
	for i := range 16 {
		method, body := []string{"GET", "POST"}[i%2], []string{"", "body"}[i%2]
		client := &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}
		running.Go(func() {
			defer client.CloseIdleConnections()
			for !stopped.Load() {
				asked.Add(1)
				if err := request(client, method, tap.url()+"/load", body); err != nil {
					failed.Add(1)
				}
			}
		})
	}
	until(2*time.Minute, 1)
	before := asked.Load()
	require.NoError(t, proc.Poll(within(t, time.Minute), func() error {
		if n := asked.Load() - before; n < 1000 {
			return fmt.Errorf("%d more requests", n)
		}
		return nil
	}))
	set := run(t, time.Minute, "tap", "set", "--brokers", shared.broker.Addr(), "--topic-prefix", prefix, "-o", "table")
	require.Zero(t, set.Code, set.Stderr)
	require.Contains(t, set.Stdout, "OFF (cpu)")
	require.Contains(t, set.Stdout, "OFF: by itself")
	stopped.Store(true)
	running.Wait()
	require.Zero(t, failed.Load(), "of %d requests", asked.Load())

	until(3*time.Minute, 0)
	require.NoError(t, request(http.DefaultClient, "GET", tap.url()+"/after", ""))
	http.DefaultClient.CloseIdleConnections()
	seen := int(asked.Load()) + 1
	c := tap.settled(t, seen)
	m, err := proc.Scrape(within(t, 2*time.Minute), tap.admin)
	require.NoError(t, err)
	shed := int(m.Sum("reprise_tap_exchanges_total", `result="dropped"`, `reason="self_protection"`))
	t.Logf("%d requests, %d failed; %d recorded, %d not as capture was off by itself", seen, failed.Load(), c.produced, shed)
	require.Positive(t, shed)
	require.Equal(t, seen, c.produced+c.dropped, "nothing else became of them")
	require.Len(t, exchanges(t, names)["/after"], 1)
	require.Equal(t, c.produced, stored(t, names.Exchanges))
	_, err = tap.WaitLine(within(t, 2*time.Minute), "CAPTURE SWITCHED ITSELF ON AGAIN")
	require.NoError(t, err)
}
