package tap

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
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

func TestTheLastLineIsOfOneShape(t *testing.T) {
	for _, row := range []struct {
		dropped map[string]uint64
		want    string
	}{{nil, `"dropped":0,"dropped_by_reason":{}`}, {map[string]uint64{"memory": 2, "queue": 1}, `"dropped":3,"dropped_by_reason":{"memory":2,"queue":1}`}} {
		var b bytes.Buffer
		logSummary(slog.New(slog.NewJSONHandler(&b, nil)), &reprisev1.Counters{Dropped: row.dropped})
		require.Contains(t, b.String(), row.want)
	}
}
