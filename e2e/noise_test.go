//go:build e2e

package e2e_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// holds tries up to three times what a machine that stands still for a moment can spoil: a fault of ours spoils every one.
func holds(t *testing.T, try func() error) {
	t.Helper()
	var err error
	for n := range 3 {
		if err = try(); err == nil {
			return
		}
		t.Logf("try %d: %v", n+1, err)
	}
	require.NoError(t, err)
}

// longestLull is far beyond every gap between requests that are due all the time.
const longestLull = 50 * time.Millisecond

// still tells which times somebody's standing still may have spoiled, by what arrived, in order, where something was due all the
// time: whoever is stopped, be it the replayer, Kafka or the sink, nothing arrives. What had to wait comes after it, for half as long.
func still(arrived []time.Time) (spoiled func(due time.Time) bool) {
	type lull struct{ from, to time.Time }
	var lulls []lull
	for i := 1; i < len(arrived); i++ {
		if gap := arrived[i].Sub(arrived[i-1]); gap > longestLull {
			lulls = append(lulls, lull{arrived[i-1], arrived[i].Add(gap / 2)})
		}
	}
	return func(due time.Time) bool {
		return slices.ContainsFunc(lulls, func(l lull) bool { return !due.Before(l.from) && due.Before(l.to) })
	}
}

// noise measures how late this machine wakes a sleeper, until the returned function is called, which gives the p99: what other
// work on the machine adds to every time that a test takes, whatever our programs do.
func noise(t *testing.T) (p99 func() time.Duration) {
	t.Helper()
	stop, late := make(chan struct{}), make(chan []time.Duration, 1)
	go func() {
		var all []time.Duration
		for {
			due := time.Now().Add(2 * time.Millisecond)
			select {
			case <-stop:
				late <- all
				return
			case <-time.After(time.Until(due)):
				all = append(all, time.Since(due))
			}
		}
	}()
	return func() time.Duration {
		close(stop)
		all := <-late
		if len(all) == 0 {
			return 0
		}
		slices.Sort(all)
		return all[len(all)*99/100]
	}
}
