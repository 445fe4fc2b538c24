package topic

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// naiveLedger says the same with a map and no cleverness.
type naiveLedger struct {
	begun []int64
	done  map[int64]bool
	next  int64
}

func (n *naiveLedger) begin(offset int64) {
	if offset >= n.next {
		n.begun, n.next = append(n.begun, offset), offset+1
	}
}

func (n *naiveLedger) watermark() int64 {
	for _, o := range n.begun {
		if !n.done[o] {
			return o
		}
	}
	return n.next
}

func (n *naiveLedger) inFlight() (open int) {
	for _, o := range n.begun {
		if !n.done[o] {
			open++
		}
	}
	return open
}

func TestLedgerAgreesWithNaiveModel(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		start := rng.Int64N(1000)
		l, naive := NewLedger(start), &naiveLedger{done: map[int64]bool{}, next: start}
		offset := start
		for range 400 {
			switch rng.IntN(5) {
			case 0, 1: // a record, sometimes after a gap, sometimes one seen before
				offset += rng.Int64N(4) - 1
				offset = max(0, offset)
				l.Begin(offset)
				naive.begin(offset)
				offset = max(offset+1, naive.next)
			case 2, 3: // something ends, or ends twice, or was never begun
				if len(naive.begun) > 0 {
					o := naive.begun[rng.IntN(len(naive.begun))]
					l.Done(o)
					naive.done[o] = true
				}
				l.Done(offset + 10)
			case 4: // the log ends here
				if rng.IntN(10) == 0 {
					l.Advance(offset)
					naive.next = max(naive.next, offset)
				}
			}
			require.Equal(t, naive.watermark(), l.Watermark(), "seed %d", seed)
			require.Equal(t, naive.inFlight(), l.InFlight(), "seed %d", seed)
		}
		ranges, err := ParseRanges(l.Ranges(nil))
		require.NoError(t, err)
		for _, o := range naive.begun {
			if o >= l.Watermark() {
				require.Equal(t, naive.done[o], ranges.Contains(o), "seed %d offset %d", seed, o)
			}
		}
	}
}

func TestLedgerRangesAreBoundedAndOldestFirst(t *testing.T) {
	l := NewLedger(1 << 40)
	for i := range int64(20_000) {
		l.Begin(1<<40 + i)
	}
	for i := int64(1); i < 20_000; i += 2 { // every second one: the worst case
		l.Done(1<<40 + i)
	}
	text := l.Ranges(nil)
	require.LessOrEqual(t, len(text), maxRanges)
	require.Greater(t, len(text), maxRanges-16)
	ranges, err := ParseRanges(text)
	require.NoError(t, err)
	require.Greater(t, len(ranges), 1000)
	for i, r := range ranges {
		require.Equal(t, Range{1<<40 + 2*int64(i) + 1, 1<<40 + 2*int64(i) + 2}, r)
	}
}

func TestLedgerRangesCloseGapsThatHaveNoRecords(t *testing.T) {
	l := NewLedger(5)
	for _, o := range []int64{5, 7, 10, 20} {
		l.Begin(o)
	}
	l.Done(7)
	l.Done(10)
	ranges, err := ParseRanges(l.Ranges(nil))
	require.NoError(t, err)
	require.Equal(t, Ranges{{7, 11}}, ranges)
	require.False(t, ranges.Contains(6))
	require.False(t, ranges.Contains(11))
}

func TestLedgerRangesKeepWhatAnEarlierStartHasFinished(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 2))
		var before Ranges
		for end := rng.Int64N(3); len(before) < rng.IntN(6); {
			start := end + 1 + rng.Int64N(5)
			end = start + 1 + rng.Int64N(20)
			before = append(before, Range{start, end})
		}
		l, done := NewLedger(0), map[int64]bool{}
		kept := fmt.Sprint(before)
		next := rng.Int64N(120)
		for o := range next {
			l.Begin(o)
			if done[o] = before.Contains(o) || rng.IntN(2) == 0; done[o] {
				l.Done(o)
			}
		}
		ranges, err := ParseRanges(l.Ranges(before))
		require.NoError(t, err, "seed %d", seed)
		for o := l.Watermark(); o < 200; o++ {
			want := o >= next && before.Contains(o) || o < next && done[o]
			require.Equal(t, want, ranges.Contains(o), "seed %d offset %d of %d, before %v: %v", seed, o, next, before, ranges)
		}
		require.Equal(t, kept, fmt.Sprint(before), "they are the caller's")
	}
}

func TestParseRangesRefusesDamage(t *testing.T) {
	for _, s := range []string{
		"r1.!",                // not base64
		"r1.BQ",               // a start without a length
		"r1.BQA",              // an empty range
		"r1.gA",               // a number cut off
		"r1.BQEAAQ",           // touches the range before
		"r1._____________wEB", // starts beyond the last offset
	} {
		_, err := ParseRanges(s)
		require.Error(t, err, s)
	}
	for _, s := range []string{"", "kgo-1234-member"} { // nothing, and what another client wrote
		ranges, err := ParseRanges(s)
		require.NoError(t, err)
		require.Empty(t, ranges)
	}
}

func FuzzParseRanges(f *testing.F) {
	f.Add("")
	f.Add("r1.BQE")
	f.Add("r1.BQEDAg")
	l := NewLedger(9)
	for i := range int64(50) {
		l.Begin(9 + i*3)
		if i%3 > 0 {
			l.Done(9 + i*3)
		}
	}
	f.Add(l.Ranges(nil))
	f.Fuzz(func(t *testing.T, s string) {
		ranges, err := ParseRanges(s)
		if err != nil {
			return
		}
		w, end := newRangeWriter(), int64(-1)
		for _, r := range ranges {
			require.Less(t, r.Start, r.End)
			require.Greater(t, r.Start, end)
			require.True(t, ranges.Contains(r.Start) && ranges.Contains(r.End-1) && !ranges.Contains(r.End))
			end = r.End
			w.add(r)
		}
		if len(s) <= maxRanges { // what can be written reads back the same
			again, err := ParseRanges(w.String())
			require.NoError(t, err)
			require.Equal(t, ranges, again)
		}
	})
}

func BenchmarkLedger(b *testing.B) {
	const window = 50_000
	l := NewLedger(0)
	for i := range int64(window) {
		l.Begin(i)
	}
	for i := int64(0); b.Loop(); i++ {
		l.Begin(i + window)
		l.Done(i ^ 1) // pairs finish in the wrong order
	}
}
