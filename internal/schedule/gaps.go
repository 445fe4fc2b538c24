package schedule

import (
	"cmp"
	"slices"
	"time"
)

// MaxGaps bounds how many gaps are shortened: of more, the longest.
const MaxGaps = 10_000

// Gap is a part of captured time in which nothing was captured.
type Gap struct{ From, To time.Time }

// Gaps shortens what lies between captured requests: each gap takes Max, and what follows moves up. The zero value shortens
// nothing.
type Gaps struct {
	Max  time.Duration
	list []Gap           // in order
	cut  []time.Duration // by how much what follows each has moved, those before it included
}

// NewGaps returns the shortening of some gaps, which may be in any order.
func NewGaps(longest time.Duration, list []Gap) Gaps {
	g := Gaps{Max: longest, list: slices.Clone(list)}
	slices.SortFunc(g.list, func(a, b Gap) int { return a.From.Compare(b.From) })
	var cut time.Duration
	for _, one := range g.list {
		cut += max(0, one.To.Sub(one.From)-longest)
		g.cut = append(g.cut, cut)
	}
	return g
}

// List returns the gaps in order.
func (g Gaps) List() []Gap { return g.list }

// Squeeze returns where a moment of captured time comes to be.
func (g Gaps) Squeeze(t time.Time) time.Time {
	i, _ := slices.BinarySearchFunc(g.list, t, func(one Gap, t time.Time) int { return one.From.Compare(t) })
	if i == 0 { // gaps before i begin before t
		return t
	}
	before := time.Duration(0)
	if i > 1 {
		before = g.cut[i-2]
	}
	last := g.list[i-1]
	if t.Before(last.To) { // within it: nothing is known of there, but it may have come late
		within := min(t.Sub(last.From), g.Max)
		return last.From.Add(within - before)
	}
	return t.Add(-g.cut[i-1])
}

// GapFinder finds the gaps of more than Max between moments, which may come in any order. Its memory is bounded: what it
// misses are gaps within a millionth of the time that it has seen.
type GapFinder struct {
	longest time.Duration
	width   time.Duration // of a bucket
	buckets map[int64]span
	most    int // buckets
}

// span is the first and the last moment of a bucket.
type span struct{ first, last int64 }

const maxBuckets = 1 << 20

// NewGapFinder returns a finder of gaps of more than longest.
func NewGapFinder(longest time.Duration) *GapFinder {
	return &GapFinder{longest: longest, width: max(longest/4, time.Microsecond), buckets: make(map[int64]span), most: maxBuckets}
}

// Add takes a moment.
func (f *GapFinder) Add(t time.Time) {
	at := t.UnixNano()
	f.put(at, at)
	if len(f.buckets) > f.most {
		f.widen()
	}
}

func (f *GapFinder) put(first, last int64) {
	key := first / int64(f.width)
	s, ok := f.buckets[key]
	if !ok {
		s = span{first, last}
	}
	f.buckets[key] = span{min(s.first, first), max(s.last, last)}
}

// widen halves the number of buckets at least.
func (f *GapFinder) widen() {
	was := f.buckets
	f.width *= 4
	f.buckets = make(map[int64]span, len(was)/2)
	for _, s := range was {
		f.put(s.first, s.last)
	}
}

// Gaps returns what was found.
func (f *GapFinder) Gaps() Gaps {
	spans := make([]span, 0, len(f.buckets))
	for _, s := range f.buckets {
		spans = append(spans, s)
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	var found []Gap
	latest := int64(0)
	for i, s := range spans {
		if i > 0 && s.first-latest > int64(f.longest) {
			found = append(found, Gap{time.Unix(0, latest).UTC(), time.Unix(0, s.first).UTC()})
		}
		latest = max(latest, s.last)
	}
	if len(found) > MaxGaps {
		slices.SortFunc(found, func(a, b Gap) int { return cmp.Compare(b.To.Sub(b.From), a.To.Sub(a.From)) })
		found = found[:MaxGaps]
	}
	return NewGaps(f.longest, found)
}
