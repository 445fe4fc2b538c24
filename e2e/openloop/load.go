package openloop

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Load describes the requests.
type Load struct {
	Addr        string        // HOST:PORT, IPv4
	Requests    [][]byte      // whole requests that are sent in turns
	Rate        float64       // a second, evenly spaced
	For         time.Duration // how long they are due; answers may come later
	Connections int           // 0: 32; each carries one request at a time
	Patience    time.Duration // a request without its answer so long after it was due has failed; 0: 10 s
}

// Answer is one request that was answered in full.
type Answer struct {
	Due    time.Duration // since Result.Start
	Took   time.Duration // from then to the answer's last byte
	Status int
}

// Result is what became of a load. Every request that was due is in Answers or Failed, unless the context ended first.
type Result struct {
	Start   time.Time // when the first request was due
	Due     int       // requests that were
	Answers []Answer  // in the order in which they ended
	Failed  map[string]int
}

// Failures counts what was not answered.
func (r *Result) Failures() (n int) {
	for _, count := range r.Failed {
		n += count
	}
	return n
}

// Times returns how long the answers took that were due in [from, to), sorted.
func (r *Result) Times(from, to time.Duration) []time.Duration {
	var took []time.Duration
	for _, a := range r.Answers {
		if a.Due >= from && a.Due < to {
			took = append(took, a.Took)
		}
	}
	slices.Sort(took)
	return took
}

// All returns how long the answers took, sorted.
func (r *Result) All() []time.Duration { return r.Times(0, math.MaxInt64) }

// Quantile of sorted times; 0 when there are none.
func Quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func (l Load) check() (Load, error) {
	if l.Connections == 0 {
		l.Connections = 32
	}
	if l.Patience == 0 {
		l.Patience = 10 * time.Second
	}
	switch {
	case len(l.Requests) == 0:
		return l, fmt.Errorf("open loop: no requests to send")
	case !(l.Rate > 0) || l.For <= 0 || l.Connections < 0 || l.Patience < 0:
		return l, fmt.Errorf("open loop: rate %g, length %s, %d connections, patience %s: each must be above 0", l.Rate, l.For, l.Connections, l.Patience)
	}
	return l, nil
}

// due is when a request is to be sent.
func (l Load) due(i int) time.Duration {
	return time.Duration(float64(i) / l.Rate * float64(time.Second))
}

// count is how many are due in all.
func (l Load) count() int { return int(math.Ceil(l.Rate * l.For.Seconds())) }
