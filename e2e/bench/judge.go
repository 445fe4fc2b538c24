package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/reprise-io/reprise/e2e/sink"
)

// timed is the error of one turn, in ms: arrival at the target − due time.
type timed struct {
	p50, p90, p99, p999, max float64
	came99                   float64 // p99 by when the kernel had them for the target: without the target's own waiting for a core
	maxAfter                 float64 // s from the first due time to that of the worst
	drift                    float64 // median of the last tenth − that of the first
	perSecond                float64 // that arrived, from the first to the last
	missing, repeated        int
}

// judge compares arrivals with due times.
func judge(arrivals []sink.Arrival, due map[string]time.Time) timed {
	type miss struct {
		due time.Time
		by  time.Duration
	}
	seen := make(map[string]bool, len(due))
	var t timed
	var misses []miss
	var came []time.Duration
	for _, a := range arrivals {
		d, ok := due[a.ID]
		if !ok || seen[a.ID] {
			t.repeated++
			continue
		}
		seen[a.ID] = true
		misses = append(misses, miss{d, a.At.Sub(d)})
		if !a.Came.IsZero() {
			came = append(came, a.Came.Sub(d).Abs())
		}
	}
	t.missing = len(due) - len(seen)
	if len(misses) < 10 {
		return t
	}
	if took := arrivals[len(arrivals)-1].At.Sub(arrivals[0].At); took > 0 {
		t.perSecond = float64(len(arrivals)-1) / took.Seconds()
	}
	middle := func(part []miss) float64 {
		by := make([]time.Duration, len(part))
		for i, m := range part {
			by[i] = m.by
		}
		slices.Sort(by)
		return ms(by[len(by)/2])
	}
	slices.SortFunc(misses, func(a, b miss) int { return a.due.Compare(b.due) })
	tenth := len(misses) / 10
	t.drift = middle(misses[len(misses)-tenth:]) - middle(misses[:tenth])
	began := misses[0].due
	// Too early is as wrong as too late.
	slices.SortFunc(misses, func(a, b miss) int { return cmp.Compare(a.by.Abs(), b.by.Abs()) })
	at := func(q float64) float64 { return ms(misses[min(len(misses)-1, int(q*float64(len(misses))))].by.Abs()) }
	t.maxAfter = misses[len(misses)-1].due.Sub(began).Seconds()
	t.p50, t.p90, t.p99, t.p999, t.max = at(0.5), at(0.9), at(0.99), at(0.999), at(1)
	if slices.Sort(came); len(came) > len(misses)*99/100 { // nearly all are stamped
		t.came99 = ms(came[int(0.99*float64(len(came)))])
	}
	return t
}

// anchored is when requests were due of a program that does not tell when its schedule began: so that the median error of its
// first tenth is nothing. That is the best that can be said of it.
func anchored(arrivals []sink.Arrival, after map[string]time.Duration) map[string]time.Time {
	var began []time.Time
	for _, a := range arrivals[:(len(arrivals)+9)/10] {
		if d, ok := after[a.ID]; ok {
			began = append(began, a.At.Add(-d))
		}
	}
	due := make(map[string]time.Time, len(after))
	if len(began) == 0 {
		began = []time.Time{{}}
	}
	slices.SortFunc(began, time.Time.Compare)
	for id, d := range after {
		due[id] = began[len(began)/2].Add(d)
	}
	return due
}

// whole tells whether everything arrived once.
func (t timed) whole() string {
	if t.missing == 0 && t.repeated == 0 {
		return "yes"
	}
	return fmt.Sprintf("NO: %d missing, %d repeated", t.missing, t.repeated)
}

// figures takes one figure of every turn.
func figures(turns []timed, f func(timed) float64) []float64 {
	v := make([]float64, len(turns))
	for i, t := range turns {
		v[i] = f(t)
	}
	return v
}

func p50Of(t timed) float64   { return t.p50 }
func p99Of(t timed) float64   { return t.p99 }
func driftOf(t timed) float64 { return t.drift }

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
