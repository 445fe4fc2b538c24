package schedule

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// at is a capture time in milliseconds.
func at(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func drain[T any](m *Merge[T], horizon time.Time) (out []Item[T]) {
	for {
		item, ok := m.Next(horizon)
		if !ok {
			return out
		}
		out = append(out, item)
	}
}

func values[T any](items []Item[T]) (out []T) {
	for _, i := range items {
		out = append(out, i.Value)
	}
	return out
}

func TestMergeWaitsForTheLeastAdvancedPartition(t *testing.T) {
	m := NewMerge[string](MergeConfig{Window: 100 * time.Millisecond})
	m.Open(0)
	m.Open(1)
	m.Push(0, at(10), 1, "a")
	m.Push(0, at(500), 1, "d")
	require.Empty(t, drain(m, time.Time{}), "nothing was read of partition 1")
	m.Push(1, at(109), 1, "b")
	require.Empty(t, drain(m, time.Time{}), "partition 1 may still bring one captured before 10")
	m.Push(1, at(110), 1, "c")
	require.Equal(t, []string{"a"}, values(drain(m, time.Time{})))
	m.Advance(1, at(209))
	require.Equal(t, []string{"b"}, values(drain(m, time.Time{})))
	m.Finish(1)
	require.Equal(t, []string{"c"}, values(drain(m, time.Time{})))
	require.False(t, m.Finished())
	m.Finish(0)
	require.Equal(t, []string{"d"}, values(drain(m, time.Time{})))
	require.True(t, m.Finished())
	require.Zero(t, m.Reordered())
}

func TestMergeIsNotAdvancedByWhatIsPlacedLater(t *testing.T) {
	m := NewMerge[string](MergeConfig{Window: 100 * time.Millisecond})
	m.Push(0, at(10), 1, "a")
	m.Place(0, at(400), 1, "copy of a")
	require.Empty(t, drain(m, time.Time{}), "the partition was read to 10 only")
	m.Push(0, at(300), 1, "b")
	require.Equal(t, []string{"a"}, values(drain(m, time.Time{})))
	m.Advance(0, at(500))
	require.Equal(t, []string{"b", "copy of a"}, values(drain(m, time.Time{})))
	require.Zero(t, m.Reordered())
	require.Zero(t, m.Bytes())
}

func TestMergeCountsWhatArrivesLate(t *testing.T) {
	m := NewMerge[string](MergeConfig{Window: 10 * time.Millisecond})
	m.Push(0, at(100), 1, "a")
	m.Push(0, at(200), 1, "c")
	require.Equal(t, []string{"a"}, values(drain(m, time.Time{})))
	m.Push(0, at(50), 1, "spooled") // hours later, for instance
	out := drain(m, time.Time{})
	require.Equal(t, []string{"spooled"}, values(out))
	require.True(t, out[0].Late)
	require.False(t, out[0].Forced)
	require.EqualValues(t, 1, m.Reordered())
}

func TestMergeForcesTheOldestOutAboveItsBytes(t *testing.T) {
	m := NewMerge[int](MergeConfig{Window: time.Hour, MaxBytes: 100})
	for i := range 4 {
		m.Push(0, at(int64(i)), 30, i)
	}
	out := drain(m, time.Time{})
	require.Equal(t, []int{0}, values(out))
	require.True(t, out[0].Forced)
	require.EqualValues(t, 90, m.Bytes())
	require.EqualValues(t, 1, m.Reordered())
}

func TestMergeGoesByTheHorizonWhenLive(t *testing.T) {
	m := NewMerge[string](MergeConfig{Live: true, Window: time.Hour})
	m.Open(1) // of which nothing comes
	m.Push(0, at(200), 1, "b")
	m.Push(0, at(100), 1, "a")
	require.Empty(t, drain(m, at(99)))
	require.Equal(t, []string{"a"}, values(drain(m, at(100))))
	require.Equal(t, []string{"b"}, values(drain(m, at(1000))))
}

func TestMergeKeepsEqualTimesAsTheyCame(t *testing.T) {
	m := NewMerge[int](MergeConfig{})
	for i := range 100 {
		m.Push(int32(i%3), at(7), 1, i)
	}
	for p := range int32(3) {
		m.Finish(p)
	}
	require.True(t, slices.IsSorted(values(drain(m, time.Time{}))))
}

func TestMergeForgetsARemovedPartition(t *testing.T) {
	m := NewMerge[int](MergeConfig{})
	m.Open(9) // would be waited for
	for i := range 50 {
		m.Push(int32(i%2), at(int64(i)), 10, i)
	}
	var gone []int
	m.Remove(0, func(i int) { gone = append(gone, i) })
	m.Remove(9, nil)
	m.Remove(9, nil)
	require.Len(t, gone, 25)
	require.EqualValues(t, 250, m.Bytes())
	m.Finish(1)
	got := values(drain(m, time.Time{}))
	require.Len(t, got, 25)
	require.True(t, slices.IsSorted(got))
	require.Zero(t, m.Bytes())
}

func TestGatesStopWhoIsAheadAndNeverWhoIsAwaited(t *testing.T) {
	m := NewMerge[int](MergeConfig{Window: time.Second, MaxBytes: 400})
	m.Open(0)
	m.Open(1)
	m.Push(0, at(0), 101, 0) // share: 100 each
	pause, resume := m.Gates()
	require.Equal(t, []int32{0}, pause)
	require.Empty(t, resume)
	pause, resume = m.Gates()
	require.Empty(t, pause, "only changes are told")
	require.Empty(t, resume)

	m.Push(1, at(-500), 150, 1) // holds more than its share, but all wait for it
	pause, _ = m.Gates()
	require.Empty(t, pause)
	m.Advance(1, at(2000))
	pause, resume = m.Gates()
	require.Equal(t, []int32{1}, pause, "now the other one is awaited")
	require.Equal(t, []int32{0}, resume)
	m.Advance(0, at(3000))
	pause, resume = m.Gates()
	require.Equal(t, []int32{0}, pause, "values may leave, so nobody is awaited")
	require.Empty(t, resume)
	require.Len(t, drain(m, time.Time{}), 2)
	_, resume = m.Gates()
	require.ElementsMatch(t, []int32{0, 1}, resume)
}

func TestGatesStopALonePartitionThatHasEnough(t *testing.T) {
	m := NewMerge[int](MergeConfig{Window: time.Millisecond, MaxBytes: 400})
	for i := range 21 {
		m.Push(0, at(int64(10*i)), 10, i)
	}
	pause, _ := m.Gates()
	require.Equal(t, []int32{0}, pause, "values may leave, so nobody waits for more")
	for range 10 {
		_, ok := m.Next(time.Time{})
		require.True(t, ok)
	}
	_, resume := m.Gates()
	require.Empty(t, resume, "110 bytes are above half its share")
	m.Next(time.Time{})
	_, resume = m.Gates()
	require.Equal(t, []int32{0}, resume)
}

// record is one record of a simulated topic: captured, and appended to its partition at most Window later.
type record struct {
	capture, appended int64
	id                int
}

func simulate(r *rand.Rand, partitions, n int, window int64) [][]record {
	topic := make([][]record, partitions)
	for id := range n {
		p := r.IntN(partitions)
		if r.IntN(3) == 0 {
			p = 0 // skew
		}
		c := r.Int64N(20_000)
		topic[p] = append(topic[p], record{c, c + r.Int64N(window+1), id})
	}
	for _, p := range topic {
		slices.SortStableFunc(p, func(a, b record) int { return cmp.Compare(a.appended, b.appended) })
	}
	return topic
}

// Whatever the partitions hold and in whatever chunks they are read, what leaves is sorted and complete, and the gates
// never stop everything.
func TestMergeSortsAnyTopicReadInAnyOrder(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		window := 1 + r.Int64N(3000)
		topic := simulate(r, 1+r.IntN(8), r.IntN(2000), window)
		m := NewMerge[record](MergeConfig{Window: time.Duration(window) * time.Millisecond, MaxBytes: 1 << 40})
		n, next := 0, make([]int, len(topic))
		for p := range topic {
			m.Open(int32(p))
			n += len(topic[p])
		}
		var out []Item[record]
		for !m.Finished() {
			p := r.IntN(len(topic))
			if next[p] == len(topic[p]) {
				m.Finish(int32(p))
			}
			for range min(r.IntN(50), len(topic[p])-next[p]) {
				rec := topic[p][next[p]]
				if next[p]++; rec.id%10 == 0 {
					m.Advance(int32(p), at(rec.capture)) // not wanted
					n--
				} else {
					m.Push(int32(p), at(rec.capture), 1+rec.id%100, rec)
				}
			}
			out = append(out, drain(m, time.Time{})...)
		}
		require.Len(t, out, n, "seed %d", seed)
		require.True(t, slices.IsSortedFunc(out, func(a, b Item[record]) int { return a.Capture.Compare(b.Capture) }),
			"seed %d", seed)
		require.Zero(t, m.Reordered())
		require.Zero(t, m.Bytes())
	}
}

// With a bound of bytes a reader who obeys the gates always gets to the end, and what is held stays near the bound.
func TestGatesNeverBringTheReaderToAStand(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 2))
		window := 1 + r.Int64N(5000)
		topic := simulate(r, 1+r.IntN(6), 1500, window)
		const limit = 4000
		m := NewMerge[record](MergeConfig{Window: time.Duration(window) * time.Millisecond, MaxBytes: limit})
		next, paused := make([]int, len(topic)), make([]bool, len(topic))
		for p := range topic {
			m.Open(int32(p))
		}
		got := 0
		for rounds := 0; !m.Finished(); rounds++ {
			if rounds > 1_000_000 {
				t.Fatalf("seed %d stands still", seed)
			}
			pause, resume := m.Gates()
			for _, p := range pause {
				paused[p] = true
			}
			for _, p := range resume {
				paused[p] = false
			}
			p := r.IntN(len(topic))
			if next[p] == len(topic[p]) {
				m.Finish(int32(p))
			} else if !paused[p] {
				for range min(5, len(topic[p])-next[p]) {
					rec := topic[p][next[p]]
					next[p]++
					m.Push(int32(p), at(rec.capture), 50, rec)
				}
			}
			if m.Bytes() > limit+5*50 {
				t.Fatalf("seed %d: %d bytes held", seed, m.Bytes())
			}
			got += len(drain(m, time.Time{}))
		}
		require.Equal(t, 1500, got, "seed %d", seed)
	}
}

func BenchmarkMerge(b *testing.B) {
	const partitions = 12
	m := NewMerge[*record](MergeConfig{Window: time.Second})
	rec := &record{}
	r := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.Push(int32(i%partitions), time.Unix(0, int64(i)*20_000-r.Int64N(50_000_000)), 1000, rec)
		m.Next(time.Time{})
	}
}
