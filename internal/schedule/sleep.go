package schedule

import "time"

// timerSleeper waits with Go's timers.
type timerSleeper struct {
	start time.Time
	woken chan struct{}
}

func newTimerSleeper(start time.Time) *timerSleeper {
	return &timerSleeper{start: start, woken: make(chan struct{}, 1)}
}

func (s *timerSleeper) enter() {}

func (s *timerSleeper) until(due time.Duration) {
	t := time.NewTimer(due - time.Since(s.start))
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.woken:
	}
}

func (s *timerSleeper) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}
