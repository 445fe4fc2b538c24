package replay_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/schedule"
)

// A process for which no partition is left is one of the replicas all the same: it is waited for, says that
// it is ready, and ends with the run.
func TestMoreReplicasThanPartitions(t *testing.T) {
	t.Parallel()
	inBubble(t, 2, func(t *testing.T, s *stand, g *target) {
		all := s.some(300, 100*time.Millisecond)
		o := s.options(g)
		o.Profile, o.WaitReplicas = schedule.ConstantSpeed(1), 3
		three := s.startAll(2, o)
		time.Sleep(20 * time.Second) // each of them has one
		three = append(three, s.start(o))
		three[2].begins()
		require.Less(t, len(g.all()), len(all), "and not when it takes over from another that has come to its end")
		fired := 0
		for _, r := range finish(three) {
			require.Equal(t, "finished", r.State)
			fired += int(r.Fired)
		}
		require.Equal(t, len(all), fired)
		require.Len(t, g.byID(), len(all), "each of them")
	})
}
