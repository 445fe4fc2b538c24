// Package chance tells whether something happened more often in one sample than in another by more than chance.
package chance

import "math"

// Rate is how many of how many. Count is no more than Of.
type Rate struct{ Count, Of int64 }

func (r Rate) share() float64 { return float64(r.Count) / float64(r.Of) }

// Answer is what a test says.
type Answer uint8

// The answers. The zero value is that of no test.
const (
	Few    Answer = iota + 1 // more often, and too few were seen to tell whether that is chance
	Chance                   // not more often, or no more than chance explains
	More                     // more often than chance explains
)

// String returns "few", "chance" or "more"; empty for no test.
func (a Answer) String() string { return [...]string{"", "few", "chance", "more"}[min(a, More)] }

const (
	// level is how often chance alone may pass for more. It is low, as a report has many places.
	level   = 0.001
	levelZ  = 3.0902 // of the normal distribution, one side
	fewest  = 20     // of a sample that says anything
	fewHits = 5      // so seldom is few, and below so many in a cell the normal distribution is none
)

// Compare tests whether a's share is above b's: with two proportions of the normal distribution where there are enough, else exactly
// (Fisher). Both are one-sided, at one in a thousand. A sample of none is too few.
func Compare(a, b Rate) Answer {
	switch {
	case a.Count == 0 || a.Of > 0 && b.Of > 0 && a.share() <= b.share():
		return Chance
	case a.Of <= 0 || b.Of <= 0:
		return Few
	case significant(a, b):
		return More
	case a.Count < fewHits || min(a.Of, b.Of) < fewest:
		return Few
	}
	return Chance
}

func significant(a, b Rate) bool {
	hits, all := float64(a.Count+b.Count), float64(a.Of+b.Of)
	share := hits / all
	smallest := min(share, 1-share) * float64(min(a.Of, b.Of))
	if smallest < fewHits {
		return tail(a, b) < level
	}
	deviation := math.Sqrt(share * (1 - share) * (1/float64(a.Of) + 1/float64(b.Of)))
	return (a.share()-b.share())/deviation > levelZ
}

// tail returns how likely chance makes a at least as large as it is, when all that happened is shared out between the two.
func tail(a, b Rate) (p float64) {
	hits, all := a.Count+b.Count, a.Of+b.Of
	top := min(hits, a.Of)
	whole := choose(all, hits)
	for k := a.Count; k <= top; k++ {
		one := math.Exp(choose(a.Of, k) + choose(b.Of, hits-k) - whole)
		p += one
		if p >= level || one < 1e-12 {
			break // it is decided, or what follows is nothing
		}
	}
	return p
}

// choose returns the logarithm of how many ways there are to take k of n.
func choose(n, k int64) float64 {
	if k < 0 || k > n {
		return math.Inf(-1)
	}
	a, _ := math.Lgamma(float64(n) + 1)
	b, _ := math.Lgamma(float64(k) + 1)
	c, _ := math.Lgamma(float64(n-k) + 1)
	return a - b - c
}
