package replay

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// stalled are results whose writer does not run: the test tells what became of the outcomes.
func stalled(t *testing.T) (*results, *partition) {
	t.Helper()
	r, err := newResults(topic.Config{Brokers: []string{"127.0.0.1:1"}}, topic.NamesOf("x"), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	p, err := newPartition(0, topic.Range{Start: 0, End: 9}, topic.Position{}, 1)
	require.NoError(t, err)
	p.take(records(0, 3, 1))
	return r, p
}

// only returns the one record that waits in the ring, out of which it is driven.
func (r *results) only(t *testing.T) *topic.Record {
	t.Helper()
	r.writer.Relieve(resultsRing)
	require.Len(t, r.again, 1)
	rec := r.again[0]
	r.again = nil
	return rec
}

func TestOffsetIsDoneWhenItsOutcomeIsStored(t *testing.T) {
	r, p := stalled(t)
	require.True(t, p.begin())
	r.put(ticket{p, 0, 1, 1}, &traffic.Outcome{Run: "r", Offset: 0, Result: traffic.Fired})
	rec := r.only(t)
	require.Positive(t, r.bytes.Load())

	r.done(rec, topic.Result{State: topic.Unknown, Reason: topic.Timeout})
	at, _ := p.position()
	require.Zero(t, at.Offset, "perhaps stored is not stored")
	require.Equal(t, []*topic.Record{rec}, r.again)
	r.retry()
	n, _ := r.writer.Pending()
	require.Equal(t, 1, n, "it is put again")

	r.done(rec, topic.Result{State: topic.Acknowledged})
	at, _ = p.position()
	require.EqualValues(t, 1, at.Offset)
	require.Zero(t, r.bytes.Load())
	<-p.leave()
}

func TestOutcomeThatIsNotStoredAtTheEndIsFiredAgain(t *testing.T) {
	r, p := stalled(t)
	require.True(t, p.begin())
	r.put(ticket{p, 0, 1, 1}, &traffic.Outcome{Run: "r", Offset: 0, Result: traffic.Fired})
	r.done(r.only(t), topic.Result{State: topic.Dropped, Reason: topic.Shutdown})
	at, _ := p.position()
	require.Zero(t, at.Offset)
	<-p.leave() // and holds nothing up
}

func TestOutcomeThatNoTopicTakesBlocksNothing(t *testing.T) {
	r, p := stalled(t)
	require.True(t, p.begin())
	r.put(ticket{p, 0, 1, 1}, &traffic.Outcome{Run: "r", Offset: 0, Result: traffic.Fired})
	r.done(r.only(t), topic.Result{State: topic.Dropped, Reason: topic.TooLarge})
	at, _ := p.position()
	require.EqualValues(t, 1, at.Offset)
}
