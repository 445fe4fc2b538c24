package replay

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/topic"
)

// A process that is killed before it has read what an earlier one had finished must not have made the next one forget it.
func TestACommitKeepsWhatAnEarlierStartHasFinished(t *testing.T) {
	earlier := topic.NewLedger(100)
	for o := int64(100); o < 200; o++ {
		earlier.Begin(o)
		if o >= 150 {
			earlier.Done(o)
		}
	}
	committed := topic.Position{Offset: 100, Metadata: earlier.Ranges(nil)}
	p, err := newPartition(0, topic.Range{Start: 0, End: 1000}, committed, 1)
	require.NoError(t, err)
	at, news := p.position()
	require.False(t, news, "nothing was read")
	require.Equal(t, committed.Metadata, at.Metadata)

	todo, resumed, _ := p.take([]topic.Record{{Offset: 100}, {Offset: 101}, {Offset: 102}})
	require.Len(t, todo, 3)
	require.Zero(t, resumed)
	require.True(t, p.begin())
	p.done(1, 1, 100)
	at, news = p.position()
	require.True(t, news)
	require.Equal(t, int64(101), at.Offset)
	ranges, err := topic.ParseRanges(at.Metadata)
	require.NoError(t, err)
	require.Equal(t, topic.Ranges{{Start: 150, End: 200}}, ranges)
}
