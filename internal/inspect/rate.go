package inspect

import (
	"strings"
	"time"
)

// rate counts exchanges by the time of their capture, in buckets of a second as long as there are few enough of them,
// of longer steps then.
type rate struct {
	step    int64 // seconds
	buckets map[int64]int64
}

// mostBuckets is a day of seconds.
const mostBuckets = 24 * 3600

func newRate() *rate { return &rate{step: 1, buckets: make(map[int64]int64)} }

func (r *rate) add(at time.Time) {
	r.buckets[floor(at.Unix(), r.step)]++
	for len(r.buckets) > mostBuckets {
		r.step *= 2
		wider := make(map[int64]int64, len(r.buckets)/2+1)
		for start, n := range r.buckets {
			wider[floor(start, r.step)] += n
		}
		r.buckets = wider
	}
}

// floor returns the largest multiple of step that is not above n.
func floor(n, step int64) int64 {
	rest := n % step
	if rest < 0 {
		rest += step
	}
	return n - rest
}

// peak returns the fullest bucket's exchanges a second, and when it began.
func (r *rate) peak() (perSecond float64, at time.Time) {
	var most, first int64
	for start, n := range r.buckets {
		if n > most || n == most && start < first {
			most, first = n, start
		}
	}
	if most == 0 {
		return 0, time.Time{}
	}
	return float64(most) / float64(r.step), time.Unix(first, 0).UTC()
}

// columns spreads the counts over n equal spans of time between two moments.
func (r *rate) columns(from, to time.Time, n int) []int64 {
	counts := make([]int64, n)
	start, length := from.Unix(), to.Unix()-from.Unix()+1
	for at, count := range r.buckets {
		i := int(float64(at-start) / float64(length) * float64(n))
		counts[min(max(i, 0), n-1)] += count
	}
	return counts
}

// sparkline draws counts as bars of eight heights; none is the lowest.
func sparkline(counts []int64) string {
	bars := []rune("▁▂▃▄▅▆▇█")
	var most int64
	for _, n := range counts {
		most = max(most, n)
	}
	var b strings.Builder
	for _, n := range counts {
		height := 0
		if n > 0 {
			height = int((n*int64(len(bars)-1) + most - 1) / most)
		}
		b.WriteRune(bars[height])
	}
	return b.String()
}
