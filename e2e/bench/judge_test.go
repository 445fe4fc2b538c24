package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/sink"
)

// arrivalsAt are a thousand requests, one a ms, each late by what late says.
func arrivalsAt(base time.Time, late func(i int) time.Duration) (all []sink.Arrival, after map[string]time.Duration) {
	after = make(map[string]time.Duration)
	for i := range 1000 {
		id := fmt.Sprint(i)
		after[id] = time.Duration(i) * time.Millisecond
		all = append(all, sink.Arrival{ID: id, At: base.Add(after[id] + late(i))})
	}
	return all, after
}

func TestErrorsAreJudgedByTheDueTimes(t *testing.T) {
	base := time.Unix(1000, 0)
	all, after := arrivalsAt(base, func(i int) time.Duration {
		switch {
		case i >= 995:
			return 9 * time.Millisecond // after the 99th percentile
		case i%2 == 0:
			return -200 * time.Microsecond // early is wrong too
		}
		return 200 * time.Microsecond
	})
	due := make(map[string]time.Time)
	for id, d := range after {
		due[id] = base.Add(d)
	}
	got := judge(all, due)
	require.InDelta(t, 0.2, got.p50, 1e-9)
	require.InDelta(t, 0.2, got.p99, 1e-9)
	require.InDelta(t, 9, got.p999, 1e-9)
	require.InDelta(t, 9, got.max, 1e-9)
	require.GreaterOrEqual(t, got.maxAfter, 0.995)
	require.InDelta(t, 1000, got.perSecond, 10)
	require.Equal(t, "yes", got.whole())

	again := judge(append(all[:999:999], all[0]), due)
	require.Equal(t, 1, again.missing)
	require.Equal(t, 1, again.repeated)
	require.Contains(t, again.whole(), "1 missing, 1 repeated")
	require.Equal(t, 1000, judge(nil, due).missing)
}

func TestAScheduleThatNobodyTellsBeginsWhereItsFirstTenthSays(t *testing.T) {
	base := time.Unix(1000, 0)
	all, after := arrivalsAt(base, func(i int) time.Duration { // falls behind by a thousandth
		return time.Hour + time.Duration(i)*time.Microsecond
	})
	got := judge(all, anchored(all, after))
	require.InDelta(t, 0.45, got.p50, 0.02, "half of the run behind the middle of its first tenth")
	require.InDelta(t, 0.9, got.drift, 0.02)
	require.Zero(t, got.missing)
	require.Equal(t, 1000, judge(nil, anchored(nil, after)).missing)
}
