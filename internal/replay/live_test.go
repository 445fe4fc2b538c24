package replay_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/replay"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/traffic"
)

// live starts a live replay and returns once it is ready; end stops it and returns its report.
func (s *stand) live(o replay.Options) (end func() *report.Report) {
	s.t.Helper()
	ctx, cancel := context.WithCancelCause(s.t.Context())
	ready := make(chan struct{})
	o.Live, o.Ready = true, func() { close(ready) }
	type result struct {
		r   *report.Report
		err error
	}
	done := make(chan result, 1)
	go func() {
		r, err := replay.Run(ctx, o)
		done <- result{r, err}
	}()
	select {
	case <-ready:
	case got := <-done:
		s.t.Fatalf("live ended: %v", got.err)
	case <-time.After(20 * time.Second):
		s.t.Fatal("live is not ready")
	}
	return func() *report.Report {
		cancel(errSignal)
		got := <-done
		require.ErrorIs(s.t, got.err, errSignal)
		require.Equal(s.t, "stopped", got.r.State)
		return got.r
	}
}

func (s *stand) await(g *target, n int) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return len(g.all()) >= n }, time.Minute, 5*time.Millisecond)
}

func TestLiveFiresTheLagAfterTheCapture(t *testing.T) {
	s, g := newStand(t, 3), newTarget(t)
	s.some(50, time.Millisecond) // of before: not live's
	o := s.options(g)
	o.Run, o.Lag = "live", 400*time.Millisecond
	end := s.live(o)
	captured := make(map[traffic.ID]time.Time)
	for i := range 20 {
		at := time.Now().Add(-time.Duration(i%3) * 20 * time.Millisecond) // partitions are not sorted
		x := s.exchange(at)
		captured[x.ID] = at
		s.write(x)
	}
	s.await(g, 20)
	r := end()
	require.EqualValues(t, 20, r.Fired)
	require.True(t, r.Live)
	for _, a := range g.all() {
		require.InDelta(t, o.Lag.Seconds(), a.at.Sub(captured[a.id]).Seconds(), 0.3)
	}
	require.Less(t, r.Lateness.P50, 50.0)
}

func TestLiveResumesAndLeavesOutWhatIsStale(t *testing.T) {
	s, g := newStand(t, 2), newTarget(t)
	o := s.options(g)
	o.Run, o.Lag, o.MaxStale = "live", 200*time.Millisecond, time.Second
	end := s.live(o)
	x := s.exchange(time.Now())
	s.write(x)
	s.await(g, 1)
	end()

	stale := s.exchange(time.Now())
	s.write(stale)
	<-time.After(time.Until(stale.CaptureTime.Add(o.MaxStale + 100*time.Millisecond)))
	fresh := s.exchange(time.Now())
	s.write(fresh)
	end = s.live(o)
	s.await(g, 2)
	r := end()
	require.EqualValues(t, 1, r.Fired)
	require.EqualValues(t, 1, r.Late)
	require.Equal(t, map[string]int64{"stale": 1}, r.LateWhy)
	require.Equal(t, map[traffic.ID]int{x.ID: 1, fresh.ID: 1}, g.byID())
}

func TestLiveEndsByItselfAfterItsDuration(t *testing.T) {
	s, g := newStand(t, 1), newTarget(t)
	o := s.options(g)
	o.Run, o.Live, o.Lag, o.Duration = "live", true, 100*time.Millisecond, 300*time.Millisecond
	r, err := replay.Run(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, "stopped", r.State)
	r, err = replay.Run(t.Context(), o)
	require.NoError(t, err, "and can be resumed")
	require.EqualValues(t, 1, r.Generation)
}

func TestLagHasToBeBelowMaxStale(t *testing.T) {
	s, g := newStand(t, 1), newTarget(t)
	o := s.options(g)
	o.Live, o.Lag, o.MaxStale = true, time.Minute, time.Second
	fails(t, g, o, fault.Usage, "--max-stale")
}
