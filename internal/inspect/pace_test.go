package inspect

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/reprise-io/reprise/internal/traffic"
)

func TestPaceIsOfWhatWasSentLately(t *testing.T) {
	r := newRig(t, 1)
	p, err := r.reader.Pace(r.context(), "nobody.results", time.Minute)
	require.NoError(t, err, "nobody has made the topic")
	require.Empty(t, p.Runs)

	r.runs() // it is noon and a minute
	sent := func(run string, after, lag, late time.Duration, result traffic.Result) {
		t.Helper()
		fired := noon.Add(after)
		o := traffic.Outcome{Run: run, Result: result, FireTime: fired, DueTime: fired.Add(-late), CaptureTime: fired.Add(-lag)}
		require.NoError(t, r.client.ProduceSync(r.context(), &kgo.Record{
			Topic: runNames().Results, Key: fmt.Append(nil, run, after), Value: traffic.AppendOutcome(nil, &o), Timestamp: fired,
		}).FirstErr())
	}
	sent("live", -time.Second, 3*time.Second, 0, traffic.Fired)
	for i := range 100 {
		sent("live", 10*time.Second+time.Duration(i)*time.Millisecond, 3*time.Second, time.Duration(i)*time.Millisecond, traffic.Fired)
	}
	sent("live", 59*time.Second, 5*time.Second, time.Second, traffic.Failed)
	sent("build", 59*time.Second, time.Hour, time.Millisecond, traffic.Fired)
	sent("build", 59500*time.Millisecond, time.Hour, time.Millisecond, traffic.Refused)
	sent("live", 61*time.Second, 3*time.Second, 0, traffic.Fired) // by a clock that is ahead
	p, err = r.reader.Pace(r.context(), runNames().Results, time.Minute)
	require.NoError(t, err)
	require.Equal(t, noon, p.From)
	require.Equal(t, 1.0, p.StepSeconds)
	require.False(t, p.Partial)
	require.Len(t, p.Runs, 2)
	build, live := p.Runs[0].Columns, p.Runs[1].Columns
	require.Equal(t, "build", p.Runs[0].Run)
	require.Equal(t, PaceColumn{Sent: 1, LatenessP50: 1, LatenessP99: 1, Lag: 3600}, build[59], "what was refused was not sent")
	require.Equal(t, PaceColumn{Sent: 100, LatenessP50: 49, LatenessP99: 98, Lag: 3}, live[10])
	require.Equal(t, PaceColumn{Sent: 1, LatenessP50: 1000, LatenessP99: 1000, Lag: 5}, live[59], "what got no answer was sent")
	require.Zero(t, live[0])
}
