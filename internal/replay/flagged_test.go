package replay_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/replay"
	"github.com/reprise-io/reprise/internal/traffic"
)

// What is marked as not whole is left out, and sent as far as it is there when somebody asks for it.
func TestMarkedExchangesAreReplayedWhenAskedFor(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(t *testing.T, s *stand, g *target) {
		start := time.Now().Add(-time.Minute)
		gap, ambiguous, whole := s.exchange(start), s.exchange(start), s.exchange(start)
		gap.Flags, gap.Request.BodySize = traffic.Gap, 100
		ambiguous.Flags = traffic.AmbiguousFraming
		s.write(gap, ambiguous, whole)
		o := s.options(g)
		r := s.run(o)
		require.Equal(t, map[string]int64{"gap": 1, "ambiguous_framing": 1}, r.Skipped)

		o.Run, o.Flagged = "asked", traffic.Gap
		r = s.run(o)
		require.EqualValues(t, 2, r.Fired)
		require.Equal(t, map[string]int64{"ambiguous_framing": 1}, r.Skipped)
		require.Equal(t, 1, g.byID()[gap.ID])
		require.Zero(t, g.byID()[ambiguous.ID])

		o.Flagged |= traffic.AmbiguousFraming
		_, err := replay.Run(t.Context(), o)
		require.Equal(t, fault.Usage, fault.Code(err), "it is part of what a run is")
	})
}
