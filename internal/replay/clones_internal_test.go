package replay

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/redact"
	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

func someClones(t *testing.T, n int, jitter time.Duration, seed string) clones {
	t.Helper()
	c, err := newClones(&Options{Clones: n, CloneJitter: jitter}, []byte(seed))
	require.NoError(t, err)
	return c
}

func TestAShiftBelongsToASessionAndAClone(t *testing.T) {
	const n, jitter = 50, time.Second
	c, again, other := someClones(t, n, jitter, "seed"), someClones(t, n, jitter, "seed"), someClones(t, n, jitter, "another run")
	sum, differ := time.Duration(0), 0
	for s := range 200 {
		key := fmt.Appendf(nil, "session-%d", s)
		got := c.shifts(nil, key, traffic.MakeID([16]byte{1}, uint64(s)))
		require.Len(t, got, n)
		require.Zero(t, got[0], "clone 0 is as recorded")
		require.Equal(t, got, again.shifts(nil, key, traffic.MakeID([16]byte{9}, rand.Uint64())),
			"whoever reads whichever exchange of it")
		for _, by := range got {
			require.GreaterOrEqual(t, by, time.Duration(0))
			require.Less(t, by, jitter)
			sum += by
		}
		if other.shifts(nil, key, traffic.ID{})[1] != got[1] {
			differ++
		}
	}
	require.InDelta(t, jitter/2, sum/(200*(n-1)), float64(20*time.Millisecond), "evenly spread")
	require.Greater(t, differ, 190)

	alone := c.shifts(nil, nil, traffic.MakeID([16]byte{1}, 1))
	require.NotEqual(t, alone, c.shifts(nil, nil, traffic.MakeID([16]byte{1}, 2)), "what has no session stands for itself")
	c.order = schedule.OrderConnection
	require.Equal(t, c.shifts(nil, []byte("a"), traffic.ID{}), c.shifts(nil, []byte("b"), traffic.ID{}),
		"a connection can carry many sessions")
	require.Equal(t, []time.Duration{0}, (&clones{n: 1}).shifts(nil, []byte("a"), traffic.ID{}))
}

func TestAnOffsetIsDoneWhenAllItsClonesAre(t *testing.T) {
	p, err := newPartition(0, topic.Range{Start: 0, End: 9}, topic.Position{}, 3)
	require.NoError(t, err)
	p.take([]topic.Record{{Offset: 0}, {Offset: 1}, {Offset: 2}})
	p.done(0, 3, 1) // left out as a whole
	for range 2 {
		p.done(0, 1, 0)
		at, _ := p.position()
		require.Zero(t, at.Offset)
	}
	p.done(0, 1, 0)
	at, _ := p.position()
	require.EqualValues(t, 2, at.Offset)
	require.Empty(t, p.some, "nothing is kept of it")
}

func TestDifferencesThatAreTheClonesOwn(t *testing.T) {
	swaps := []redact.Swap{{Was: []byte("user-1"), Is: []byte("kzqw-7")}, {Was: []byte("4"), Is: []byte("8")}}
	d := func(path, recorded, got string) traffic.Difference {
		return traffic.Difference{Path: path, Kind: traffic.ValueDiffers, Recorded: []byte(recorded), Got: []byte(got)}
	}
	left, unsure := ownValues([]traffic.Difference{d("/user", `"user-1"`, `"kzqw-7"`), d("/id", "4", "8")}, swaps)
	require.Empty(t, left)
	require.False(t, unsure)
	others := []traffic.Difference{d("/price", "3", "5"), d("/user", `"user-1"`, `"user-9"`), d("/sum", "5", "6")}
	left, _ = ownValues(others, swaps)
	require.Equal(t, others, left)
	left, unsure = ownValues([]traffic.Difference{d("body", "hello user-1, …", "hello kzqw-7, …")}, swaps)
	require.Empty(t, left)
	require.True(t, unsure, "more may differ behind what is shown")
}

func TestTheSessionOfACloneIsItsOwn(t *testing.T) {
	var a, b, recorded item
	for i, it := range []*item{&recorded, &a, &b} {
		it.clone = uint32(i)
		it.x = traffic.Exchange{ID: traffic.MakeID([16]byte{1}, 1), Session: []byte("s"), Connection: traffic.Connection{ID: []byte("c")}}
		it.prepareStep()
	}
	require.Equal(t, "s", string(recorded.step.Session))
	sessions := map[string]bool{string(recorded.step.Session): true, string(a.step.Session): true, string(b.step.Session): true}
	connections := map[string]bool{string(recorded.step.Connection): true, string(a.step.Connection): true, string(b.step.Connection): true}
	require.Len(t, sessions, 3)
	require.Len(t, connections, 3)
	a.x.Session = nil
	a.prepareStep()
	require.Empty(t, a.step.Session, "none stays none")
}

func TestAThousandClonesKeepTheLookAheadBounded(t *testing.T) {
	const size = 10_000
	c := someClones(t, MaxClones, time.Second, "seed")
	merge := newLookAhead(schedule.MergeConfig{MaxBytes: 8 << 20}, func(pause, resume []int32) {})
	in := &intake{sieve: &sieve{clones: c}, ahead: merge, metrics: newMetrics(nil), items: new(items), out: &outcomes{}}
	p, err := newPartition(0, topic.Range{Start: 0, End: 100}, topic.Position{}, MaxClones)
	require.NoError(t, err)
	merge.open(p)
	x := traffic.Exchange{ID: traffic.MakeID([16]byte{1}, 1), CaptureTime: time.Now(), Request: traffic.Request{Method: []byte("GET"), Target: []byte("/")}}
	meta := traffic.MetaOf(&x, x.Request.Target)
	r := topic.Record{Key: []byte("s"), Value: make([]byte, size), Headers: traffic.AppendMeta([]topic.Header(nil), &meta)}
	in.enter(p, []topic.Record{r}, new(traffic.Decoder))
	require.EqualValues(t, size+MaxClones*pendingOverhead, merge.bytes(), "the bytes of a record are there once")
	merge.mu.Lock()
	defer merge.mu.Unlock()
	merge.merge.Finish(0)
	for n := range MaxClones {
		held := merge.merge.Bytes()
		e, ok := merge.merge.Next(time.Time{})
		require.True(t, ok)
		if n == MaxClones-1 {
			require.EqualValues(t, size+pendingOverhead, held, "until the last clone has left")
			require.NotZero(t, e.Value.clone)
		}
	}

	b := newBacklog(64<<20, 1, MaxClones)
	require.Equal(t, 1, b.most, "a look-ahead that is full must not be filled further by one turn")
}
