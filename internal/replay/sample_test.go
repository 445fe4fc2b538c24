package replay_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/replay"
	"github.com/reprise-io/reprise/internal/sample"
	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/traffic"
)

func share(t *testing.T, s string) sample.Share {
	t.Helper()
	p, err := sample.ParseShare(s)
	require.NoError(t, err)
	return p
}

// visits writes n sessions of five requests each, and as many connections of five requests without a session.
func (s *stand) visits(n int) (all []*traffic.Exchange) {
	s.t.Helper()
	start := time.Now().Add(-time.Minute)
	for i := range n * 5 {
		x := s.exchange(start.Add(time.Duration(i) * time.Millisecond))
		x.Session = fmt.Appendf(nil, "session-%d", i%n)
		y := s.exchange(start.Add(time.Duration(i) * time.Millisecond))
		y.Connection.ID = fmt.Appendf(nil, "c%d", i%n)
		all = append(all, x, y)
	}
	s.write(all...)
	return all
}

func unit(x *traffic.Exchange) string { return string(x.Session) + "/" + string(x.Connection.ID) }

// A sample keeps whole sessions with all their clones; what it leaves out is counted, and a plan, a stop and another run change
// nothing about which these are.
func TestASampleKeepsWholeSessionsWhoeverReadsThem(t *testing.T) {
	t.Parallel()
	inBubble(t, 4, func(t *testing.T, s *stand, g *target) {
		const sessions = 100
		all := s.visits(sessions)
		o := s.options(g)
		o.Sample, o.Clones, o.CloneJitter = share(t, "30%"), 2, time.Millisecond

		plan, err := replay.MakePlan(t.Context(), o)
		require.NoError(t, err)
		require.Equal(t, "30%", plan.Sample)
		require.InDelta(t, 0.3*2*float64(len(all)), plan.Fire, 0.3*float64(len(all)))
		require.EqualValues(t, 2*len(all), plan.Fire+plan.Skipped["sampled_out"])

		r := s.run(o)
		require.Equal(t, plan.Fire, r.Fired, "as the plan says")
		require.Equal(t, plan.Skipped, r.Skipped)
		first, kept := g.byID(), make(map[string]int)
		for _, x := range all {
			kept[unit(x)] += first[x.ID]
		}
		for who, n := range kept {
			require.Contains(t, []int{0, 10}, n, "%s: five requests, twice each, or none", who)
		}

		// Another run, stopped in its middle and resumed, at another speed and as one user: the same ones.
		o.Run, o.Clones, o.Profile = "tuesday", 0, schedule.ConstantSpeed(1)
		begin := len(g.all())
		s.runUntil(g, begin+50, o)
		other := o
		other.Sample = share(t, "40%")
		fails(t, g, other, fault.Usage, `"tuesday"`, `sample=`)
		other.Sample = 0
		fails(t, g, other, fault.Usage, `"tuesday"`, `sample=`)
		s.run(o)
		for id, n := range g.byID() {
			require.Equal(t, 2, first[id], "%s was not in the first sample", id)
			require.GreaterOrEqual(t, n, 3)
		}
		require.Len(t, g.byID(), len(first), "none of the first is missing")
	})
}
