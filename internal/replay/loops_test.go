package replay_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/replay"
	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// marked are the copies of some exchanges: loops of clones.
func marked(all []*traffic.Exchange, loops, clones int) []copyOf {
	var want []copyOf
	for _, x := range all {
		for loop := range loops {
			for clone := range clones {
				want = append(want, copyOf{x.ID, fmt.Sprintf("loop=%d;clone=%d", loop, clone)})
			}
		}
	}
	return want
}

func (c *copies) keys() []copyOf {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []copyOf
	for at := range c.seen {
		all = append(all, at)
	}
	return all
}

// are asserts that just these have come.
func (c *copies) are(t *testing.T, want []copyOf) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range want {
		require.Positive(t, c.seen[one], "%s %s is missing", one.id, one.clone)
	}
	require.Len(t, c.seen, len(want))
}

func TestALoopBeginsWhenTheOneBeforeHasFinished(t *testing.T) {
	t.Parallel()
	inBubble(t, 3, func(t *testing.T, s *stand, g *target) {
		all := s.users(60, 4, 10*time.Millisecond)
		c := g.copies()
		o := s.cloning(g, 2)
		o.Profile, o.Loops = schedule.ConstantSpeed(2), 3
		r := s.run(o)
		c.are(t, marked(all, 3, 2))
		require.EqualValues(t, 360, r.Fired)
		require.EqualValues(t, 180, r.Read)
		require.Equal(t, 3, r.Loops)
		require.InDelta(t, 2, r.Speed.Achieved, 0.3)
		keys := map[string]bool{}
		for _, h := range c.who {
			keys[h.Get("Idempotency-Key")] = true
		}
		require.Len(t, keys, 360)
		require.Len(t, c.line, 8, "the same users in every loop")

		// One time base for each: the window again, as it was recorded, from when the one before had ended.
		outcomes := s.outcomes()
		ended := time.Time{}
		for loop := range uint32(3) {
			var first, latest time.Time
			for i, x := range all {
				for _, one := range outcomes[x.ID] {
					if one.Loop != loop {
						continue
					}
					if latest = later(latest, one.FireTime); one.Clone > 0 {
						continue
					}
					if i == 0 {
						first = one.DueTime
						require.True(t, first.After(ended))
					}
					require.InDelta(t, time.Duration(i)*5*time.Millisecond, one.DueTime.Sub(first), float64(time.Millisecond))
				}
			}
			ended = latest
		}
		_, err := s.start(o).ends()
		require.ErrorContains(t, err, "has finished")
	})
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func TestAtFullSpeedEveryLoopIsWhole(t *testing.T) {
	t.Parallel()
	inBubble(t, 2, func(t *testing.T, s *stand, g *target) {
		all := s.some(200, time.Millisecond)
		c := g.copies()
		o := s.options(g)
		o.Loops = 6
		require.EqualValues(t, 1200, s.run(o).Fired)
		c.are(t, marked(all, 6, 1))

		// The oldest group is cleared away.
		admin, err := topic.NewAdmin(s.cfg)
		require.NoError(t, err)
		defer admin.Close()
		for id, kept := range map[string]bool{"test.monday": false, "test.monday~1~1": true, "test.monday~1~5": true} {
			at, err := admin.Committed(t.Context(), id, s.names.Exchanges)
			require.NoError(t, err)
			require.Equal(t, kept, len(at) > 0, id)
		}
	})
}

func TestWhoIsOvertakenLeavesTheLoop(t *testing.T) {
	t.Parallel()
	inBubble(t, 2, func(t *testing.T, s *stand, g *target) {
		all := s.some(60, 50*time.Millisecond)
		c := g.copies()
		o := s.options(g)
		o.Profile, o.Loops = schedule.ConstantSpeed(1), 3
		one := s.replicas(1, o)
		s.await(g, 65, one[0]) // in the second loop
		// Others say that it has finished, whatever this process, which was stopped for a while perhaps, still finds to do in it.
		s.tell(control.Author{Writer: "another", Time: time.Now()}.Base(&reprisev1.TimeBase{
			Run: "monday", Generation: 1, Loop: 2, Speed: 1, CaptureUnixNano: s.state().Run("monday").Current().Base.GetCaptureUnixNano(),
			WallUnixNano: uint64(time.Now().Add(4 * time.Second).UnixNano()),
		}))
		finish(one)
		require.Subset(t, c.keys(), append(marked(all, 1, 1), copyOf{all[0].ID, "loop=2;clone=0"}, copyOf{all[59].ID, "loop=2;clone=0"}))
		require.Less(t, len(c.keys()), 180)
		for at, n := range c.seen {
			require.Equal(t, 1, n, "%s %s", at.id, at.clone)
		}
	})
}

func TestARunIsResumedInTheLoopThatItWasStoppedIn(t *testing.T) {
	t.Parallel()
	inBubble(t, 3, func(t *testing.T, s *stand, g *target) {
		all := s.some(100, 10*time.Millisecond)
		c := g.copies()
		o := s.options(g)
		o.Profile, o.Loops = schedule.ConstantSpeed(2), 3
		first := s.runUntil(g, 150, o)
		require.Equal(t, 2, first.Loops)
		again := s.run(o)
		require.EqualValues(t, 300, first.Fired+again.Fired, "a clean drain repeats nothing")
		c.are(t, marked(all, 3, 1))
		require.Equal(t, "finished", s.state().Run("monday").Current().End.GetState())
	})
}

func TestReplicasChangeLoopsTogether(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 6)
	all := s.some(300, 10*time.Millisecond)
	c := g.copies()
	o := s.options(g)
	o.Profile, o.Loops, o.WaitReplicas = schedule.ConstantSpeed(2), 3, 2
	reports := finish(s.startAll(2, o))
	c.are(t, marked(all, 3, 1))
	require.EqualValues(t, 900, reports[0].Fired+reports[1].Fired)
	require.Positive(t, reports[0].Fired)
	require.Positive(t, reports[1].Fired)
	outcomes := s.outcomes()
	base := map[uint32]time.Time{}
	for _, one := range outcomes[all[0].ID] {
		base[one.Loop] = one.DueTime
	}
	for i, x := range all {
		for _, one := range outcomes[x.ID] {
			require.InDelta(t, time.Duration(i)*5*time.Millisecond, one.DueTime.Sub(base[one.Loop]), float64(2*time.Millisecond))
		}
	}
	for i, x := range all { // no loop begins before the one before it has ended
		for _, one := range outcomes[x.ID] {
			if one.Loop+1 < 3 {
				require.True(t, one.FireTime.Before(base[one.Loop+1]), "%d", i)
			}
		}
	}
}

func TestARunThatLoopsForEverObeysUntilItIsStopped(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 4)
	s.some(50, 10*time.Millisecond)
	c := g.copies()
	o := s.options(g)
	o.Profile, o.Loops = schedule.ConstantSpeed(1), replay.Forever
	both := s.replicas(2, o)
	s.await(g, 60, both[0]) // the second loop
	s.give(control.VerbSpeed, "2")
	seek := s.state().Run("monday").Current().Loop()
	s.await(g, len(g.all())+150, both[0]) // three loops later
	require.Greater(t, s.state().Run("monday").Current().Loop(), seek)
	s.give(control.VerbStop, "")
	for _, p := range both {
		_, err := p.ends()
		require.ErrorContains(t, err, "was stopped by shop-1/ann")
		require.Equal(t, fault.Interrupted, fault.Code(err))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for at, n := range c.seen {
		require.Equal(t, 1, n, "%s %s", at.id, at.clone)
	}
	loops := s.state().Run("monday").Current().Loop()
	// The speed of the earlier loop is that of this one.
	var first, last *traffic.Outcome
	for _, of := range s.outcomes() {
		for _, one := range of {
			if one.Loop != loops-1 {
				continue
			}
			if first == nil || one.CaptureTime.Before(first.CaptureTime) {
				first = one
			}
			if last == nil || one.CaptureTime.After(last.CaptureTime) {
				last = one
			}
		}
	}
	require.InDelta(t, last.CaptureTime.Sub(first.CaptureTime)/2, last.DueTime.Sub(first.DueTime), float64(2*time.Millisecond))
}
