package replay_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/replay"
	"github.com/reprise-io/reprise/internal/report"
)

func TestReplicasShareOneRunAndOneSchedule(t *testing.T) {
	s, g := newStand(t, 6), newTarget(t)
	all := s.some(800, 10*time.Millisecond)
	o := s.options(g)
	o.Speed = 1
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	reports := make([]*report.Report, 2)
	for i := range reports {
		wg.Go(func() {
			r, err := replay.Run(ctx, o)
			if err != nil {
				t.Errorf("replica %d: %v", i, err)
				return
			}
			reports[i] = r
		})
	}
	wg.Wait()
	require.False(t, t.Failed())
	got := g.byID()
	for _, x := range all {
		require.Equal(t, 1, got[x.ID], "what is being fired is drained before partitions move")
	}
	require.EqualValues(t, 800, reports[0].Fired+reports[1].Fired)
	// Both fire by the same time base: any two requests are as far apart as they were captured.
	outcomes := s.outcomes()
	first := outcomes[all[0].ID][0]
	for i, x := range all {
		due := outcomes[x.ID][0].DueTime.Sub(first.DueTime)
		require.InDelta(t, time.Duration(i)*10*time.Millisecond, due, float64(time.Millisecond)) // clocks are tied at different moments
	}
}
