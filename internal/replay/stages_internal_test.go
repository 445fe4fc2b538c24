package replay

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/topic"
)

func records(from, to int64, bytes int) []topic.Record {
	var all []topic.Record
	for o := from; o < to; o++ {
		all = append(all, topic.Record{Offset: o, Value: make([]byte, bytes)})
	}
	return all
}

func TestPartitionCommitsTheLowestUnfinished(t *testing.T) {
	p, err := newPartition(0, topic.Range{Start: 10, End: 20}, topic.Position{Offset: 10}, 1)
	require.NoError(t, err)
	require.False(t, p.begun(), "a schedule waits for that")
	todo, resumed, ended := p.take(records(10, 16, 1))
	require.True(t, p.begun())
	require.Len(t, todo, 6)
	require.Zero(t, resumed)
	require.False(t, ended)
	for range 4 {
		require.True(t, p.begin())
	}
	p.done(1, 1, 12)
	p.done(1, 1, 10)
	at, news := p.position()
	require.True(t, news)
	require.EqualValues(t, 11, at.Offset)
	require.NotEmpty(t, at.Metadata, "12 is finished beyond it")
	p.committedAt(at)
	_, news = p.position()
	require.False(t, news)

	// A second start knows what was finished, and is told its end by an offset beyond it.
	again, err := newPartition(0, topic.Range{Start: 10, End: 14}, at, 1)
	require.NoError(t, err)
	todo, resumed, ended = again.take(records(11, 16, 1))
	require.EqualValues(t, 1, resumed)
	require.True(t, ended)
	require.Equal(t, []int64{11, 13}, []int64{todo[0].Offset, todo[1].Offset})
	again.done(0, 1, 11)
	again.done(0, 1, 13)
	at, _ = again.position()
	require.EqualValues(t, 14, at.Offset)
	require.False(t, again.complete(), "not committed yet")
	again.committedAt(at)
	require.True(t, again.complete())
}

func TestPartitionThatWasTakenAwayFiresNothingMore(t *testing.T) {
	p, err := newPartition(0, topic.Range{Start: 0, End: -1}, topic.Position{}, 1)
	require.NoError(t, err)
	p.take(records(0, 3, 1))
	require.True(t, p.begin())
	idle := p.leave()
	require.False(t, p.begin())
	select {
	case <-idle:
		t.Fatal("one is still being fired")
	default:
	}
	p.done(1, 1, 0)
	<-idle
	todo, _, _ := p.take(records(3, 5, 1))
	require.Empty(t, todo)
}

func TestUnreadableMetadataRepeatsRatherThanMisses(t *testing.T) {
	p, err := newPartition(0, topic.Range{Start: 0, End: 9}, topic.Position{Offset: 4, Metadata: "what is this"}, 1)
	if err == nil {
		require.Empty(t, p.before)
	}
	todo, resumed, _ := p.take(records(4, 9, 1))
	require.Len(t, todo, 5)
	require.Zero(t, resumed)
}

// recordedGates notes what is stopped.
type recordedGates struct {
	mu      sync.Mutex
	stopped map[int32]bool
}

func (g *recordedGates) Pause(parts ...int32)  { g.set(true, parts) }
func (g *recordedGates) Resume(parts ...int32) { g.set(false, parts) }

func (g *recordedGates) set(stopped bool, parts []int32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range parts {
		g.stopped[p] = stopped
	}
}

func TestBacklogStopsTheFullOnesOnlyWhileOthersStarve(t *testing.T) {
	const limit = 1 << 20
	g := &recordedGates{stopped: map[int32]bool{}}
	b := newBacklog(8*limit, 2, 1)
	b.reader = g
	for id := range int32(2) {
		p, err := newPartition(id, topic.Range{Start: 0, End: 1 << 30}, topic.Position{}, 1)
		require.NoError(t, err)
		b.open(p)
	}
	batch := func(id int32, n int64) *topic.Batch {
		return &topic.Batch{Partitions: []topic.PartitionBatch{{Partition: id, Records: records(0, n, 1024)}}}
	}
	require.True(t, b.await())
	b.add(batch(0, 1200)) // more than the limit of all
	require.True(t, b.await(), "partition 1 starves")
	require.True(t, g.stopped[0])
	b.add(batch(1, 10))

	// Nobody starves now: fetching waits, until the full one is sifted.
	awaited := make(chan bool)
	go func() { awaited <- b.await() }()
	for b.size() > limit/4 {
		l, some := b.take()
		require.LessOrEqual(t, len(some), siftRecords)
		b.give(l, some, false)
	}
	require.True(t, <-awaited)
	g.mu.Lock()
	require.False(t, g.stopped[0], "it is fetched again")
	g.mu.Unlock()

	b.hold([]int32{0, 1}, nil)
	taken := make(chan *lane)
	go func() {
		l, _ := b.take()
		taken <- l
	}()
	b.hold(nil, []int32{0})
	require.EqualValues(t, 0, (<-taken).part.id, "only what the look-ahead wants is sifted")
	b.remove(0)
	b.close()
	l, _ := b.take()
	require.Nil(t, l)
	require.False(t, b.await())
}

func TestBacklogGoesOnWithAStoppedPartitionThoughNothingIsFetched(t *testing.T) {
	g := &recordedGates{stopped: map[int32]bool{}}
	b := newBacklog(4<<20, 2, 1)
	b.reader = g
	for id := range int32(2) {
		p, err := newPartition(id, topic.Range{Start: 0, End: 1 << 30}, topic.Position{}, 1)
		require.NoError(t, err)
		b.open(p)
	}
	b.add(&topic.Batch{Partitions: []topic.PartitionBatch{{Partition: 0, Records: records(0, 600, 1024)}}})
	require.True(t, b.await())
	require.True(t, g.stopped[0])
	// The reader is inside a fetch that brings nothing, for partition 1 has nothing: no await comes.
	for b.size() > 0 {
		l, some := b.take()
		b.give(l, some, false)
	}
	require.False(t, g.stopped[0])
}

func TestLiveBacklogIsWorkedOffAtTwiceItsSpeed(t *testing.T) {
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	const lag = 3 * time.Second
	r := releaser{live: true, lag: lag}
	now := start.Add(33 * time.Second) // half a minute behind
	var at []time.Duration
	for i := range 80 {
		capture := start.Add(time.Duration(i) * time.Second)
		due := capture.Add(lag)
		moment, behind := r.catchUp(capture, due, now)
		r.lastCapture, r.lastAt, r.behind = capture, moment, behind
		if moment.After(now) {
			now = moment
		}
		at = append(at, moment.Sub(start))
		require.False(t, moment.Before(due))
	}
	require.Equal(t, 33*time.Second, at[0])
	for i := 1; i < 80; i++ {
		gap := at[i] - at[i-1]
		require.GreaterOrEqual(t, gap, 500*time.Millisecond-leadLive, "never a storm")
	}
	require.Equal(t, 79*time.Second+lag, at[79], "it has caught up")
	require.True(t, slices.IsSorted(at))
}

func TestStarvationIsLookedIntoNowAndThen(t *testing.T) {
	var s starvation
	now := time.Now()
	require.False(t, s.due(true, 5, now))
	require.False(t, s.due(true, 5, now.Add(starvedAfter-1)))
	require.True(t, s.due(true, 5, now.Add(starvedAfter)))
	require.False(t, s.due(true, 5, now.Add(starvedAfter+1)))
	require.False(t, s.due(true, 6, now.Add(3*starvedAfter)), "something came")
	require.False(t, s.due(false, 6, now.Add(9*starvedAfter)))
}
