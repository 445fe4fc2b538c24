package replay_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/traffic"
)

func TestLiveFiresTheLagAfterTheCapture(t *testing.T) {
	t.Parallel()
	inBubble(t, 3, func(t *testing.T, s *stand, g *target) {
		s.some(50, time.Millisecond) // of before: not live's
		o := s.options(g)
		o.Run, o.Lag = "live", 400*time.Millisecond
		p := s.live(o)
		captured := make(map[traffic.ID]time.Time)
		for i := range 20 {
			at := time.Now().Add(-time.Duration(i%3) * 20 * time.Millisecond) // partitions are not sorted
			x := s.exchange(at)
			captured[x.ID] = at
			s.write(x)
		}
		s.await(g, 20, p)
		r := p.interrupt()
		require.EqualValues(t, 20, r.Fired)
		require.True(t, r.Live)
		for _, a := range g.all() {
			require.WithinDuration(t, captured[a.id].Add(o.Lag), a.at, time.Millisecond)
		}
		require.Less(t, r.Lateness.P50, 1.0)
	})
}

func TestLiveResumesAndLeavesOutWhatIsStale(t *testing.T) {
	t.Parallel()
	inBubble(t, 2, func(t *testing.T, s *stand, g *target) {
		o := s.options(g)
		o.Run, o.Lag, o.MaxStale = "live", 200*time.Millisecond, time.Second
		p := s.live(o)
		x := s.exchange(time.Now())
		s.write(x)
		s.await(g, 1, p)
		p.interrupt()

		stale := s.exchange(time.Now())
		s.write(stale)
		time.Sleep(time.Until(stale.CaptureTime.Add(o.MaxStale + 100*time.Millisecond)))
		fresh := s.exchange(time.Now())
		s.write(fresh)
		p = s.live(o)
		s.await(g, 2, p)
		r := p.interrupt()
		require.EqualValues(t, 1, r.Fired)
		require.EqualValues(t, 1, r.Late)
		require.Equal(t, map[string]int64{"stale": 1}, r.LateWhy)
		require.Equal(t, map[traffic.ID]int{x.ID: 1, fresh.ID: 1}, g.byID())
	})
}

func TestLiveEndsByItselfAfterItsDuration(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(t *testing.T, s *stand, g *target) {
		o := s.options(g)
		o.Run, o.Live, o.Lag, o.Duration = "live", true, 100*time.Millisecond, 300*time.Millisecond
		require.Equal(t, "stopped", s.start(o).finishes().State)
		r := s.start(o).finishes() // and can be resumed
		require.EqualValues(t, 1, r.Generation)
	})
}

func TestLagHasToBeBelowMaxStale(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 1)
	o := s.options(g)
	o.Live, o.Lag, o.MaxStale = true, time.Minute, time.Second
	fails(t, g, o, fault.Usage, "--max-stale")
}
