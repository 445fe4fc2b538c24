package replay

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/compare"
	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/redact"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/rewrite"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

func TestWhatWaitsForTheOldBuildLetsItsPartitionGo(t *testing.T) {
	redactor, err := redact.New(redact.Options{Key: []byte("0123456789abcdef")})
	require.NoError(t, err)
	out := &outcomes{
		summary: report.NewSummary(report.Run{Baseline: "old:80"}, time.Now()), metrics: newMetrics(nil), redactor: redactor, dresser: new(dresser),
	}
	b := newBaseline(&Options{Concurrency: 1}, []*second{{name: "baseline"}}, out, new(compare.Noise)) // without a guard: nothing may be sent
	part, err := newPartition(0, topic.Range{Start: 0, End: 2}, topic.Position{}, 1)
	require.NoError(t, err)
	part.take([]topic.Record{{Offset: 0}, {Offset: 1}})
	require.True(t, part.begin())
	require.True(t, part.begin())
	for offset := range int64(2) {
		it := &item{part: part, offset: offset, copies: 1}
		it.x.Request.Method, it.x.Request.Target = []byte("GET"), []byte("/")
		b.take(it, &fire.Answer{Response: &traffic.Response{Status: 200}})
	}
	idle := part.leave()
	b.close()
	b.run(t.Context())
	<-idle
	r := out.summary.Report(report.End{})
	require.EqualValues(t, 2, r.Fired)
	require.Equal(t, map[string]int64{"moved": 2}, r.Baseline.Uncompared)
	require.Zero(t, b.bytes.Load())
}

func TestValuesOfTwoTargetsAreJoinedByTheRecordedOne(t *testing.T) {
	value := func(recorded, now string) rewrite.Value {
		return rewrite.Value{Recorded: []byte(recorded), Now: []byte(now)}
	}
	var joined []string
	for _, s := range swaps(
		[]rewrite.Value{value("a", "old-a"), value("b", "old-b"), value("a", "old-a-redacted")},
		[]rewrite.Value{value("a", "new-a"), value("c", "new-c")},
	) {
		joined = append(joined, string(s.Was)+" "+string(s.Is))
	}
	require.ElementsMatch(t, []string{"old-a new-a", "old-b b", "old-a-redacted new-a", "c new-c"}, joined)
}
