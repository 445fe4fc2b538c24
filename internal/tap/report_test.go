package tap

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReplaysThatComeRoundAreSaidOnceAMinute(t *testing.T) {
	var l loopWatch
	start := time.Unix(1, 0)
	require.Zero(t, l.look(0, start))
	for _, step := range []struct {
		after  time.Duration
		marked uint64
		said   uint64
	}{{0, 3, 3}, {10 * time.Second, 3, 0}, {20 * time.Second, 9, 0}, {time.Minute, 10, 7}, {2 * time.Minute, 10, 0}, {3 * time.Minute, 11, 1}} {
		require.Equal(t, step.said, l.look(step.marked, start.Add(step.after)), "%v", step)
	}
}
