package schedule

import (
	"context"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkPacerLateness reports how late Poisson arrivals at 1,000/s are: where the pacing thread hands over, and in a
// goroutine woken by it. "timer" is the same with Go's timers, "plain" a bare loop around the sleeper.
//
//	go test ./internal/schedule -run xxx -bench Lateness -benchtime 5000x
func BenchmarkPacerLateness(b *testing.B) {
	procs := runtime.GOMAXPROCS(runtime.NumCPU() + 1)
	defer runtime.GOMAXPROCS(procs)
	b.Run("hand", func(b *testing.B) {
		lateness(b, newSleeper, func(late func(time.Time)) (hand func(time.Time), stop func()) {
			return late, func() {}
		})
	})
	b.Run("timer", func(b *testing.B) {
		lateness(b, func(t time.Time) sleeper { return newTimerSleeper(t) },
			func(late func(time.Time)) (hand func(time.Time), stop func()) { return late, func() {} })
	})
	b.Run("channel", func(b *testing.B) { lateness(b, newSleeper, byChannel) })
	b.Run("condition", func(b *testing.B) { lateness(b, newSleeper, byCondition) })
}

func lateness(b *testing.B, sleep func(time.Time) sleeper, via func(late func(time.Time)) (func(time.Time), func())) {
	var mu sync.Mutex
	var lates []time.Duration
	done := make(chan struct{})
	hand, stop := via(func(due time.Time) {
		d := time.Since(due)
		mu.Lock()
		defer mu.Unlock()
		if lates = append(lates, d); len(lates) == b.N {
			close(done)
		}
	})
	start := time.Now()
	p := newPacer(0, hand, start, sleep(start))
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = p.Run(ctx) }()
	due := start.Add(20 * time.Millisecond)
	items := make([]Timed[time.Time], b.N)
	for i := range items {
		due = due.Add(time.Duration(rand.ExpFloat64() * float64(time.Millisecond)))
		items[i] = Timed[time.Time]{Due: due, Value: due}
	}
	if _, err := p.Push(ctx, items...); err != nil {
		b.Fatal(err)
	}
	<-done
	cancel()
	<-ended
	stop()
	slices.Sort(lates)
	us := func(q float64) float64 { return float64(lates[int(q*float64(len(lates)-1))].Nanoseconds()) / 1e3 }
	b.ReportMetric(us(0.5), "p50-µs")
	b.ReportMetric(us(0.99), "p99-µs")
	b.ReportMetric(us(0.999), "p99.9-µs")
	b.ReportMetric(us(1), "max-µs")
}

const waiters = 32

func byChannel(late func(time.Time)) (func(time.Time), func()) {
	c := make(chan time.Time, 1024)
	var wg sync.WaitGroup
	for range waiters {
		wg.Go(func() {
			for due := range c {
				late(due)
			}
		})
	}
	return func(t time.Time) { c <- t }, func() { close(c); wg.Wait() }
}

func byCondition(late func(time.Time)) (func(time.Time), func()) {
	var mu sync.Mutex
	cond := sync.NewCond(&mu)
	var queue []time.Time
	var closed bool
	var wg sync.WaitGroup
	for range waiters {
		wg.Go(func() {
			for {
				mu.Lock()
				for len(queue) == 0 && !closed {
					cond.Wait()
				}
				if len(queue) == 0 {
					mu.Unlock()
					return
				}
				due := queue[0]
				queue = queue[1:]
				mu.Unlock()
				late(due)
			}
		})
	}
	return func(t time.Time) {
			mu.Lock()
			queue = append(queue, t)
			mu.Unlock()
			cond.Signal()
		}, func() {
			mu.Lock()
			closed = true
			mu.Unlock()
			cond.Broadcast()
			wg.Wait()
		}
}
