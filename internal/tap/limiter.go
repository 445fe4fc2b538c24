package tap

import (
	"sync/atomic"
	"time"
)

// limiter lets rate exchanges a second through, with a burst of one second, or of one exchange if that takes longer. Rate 0
// lets all through.
type limiter struct {
	rate float64
	next atomic.Int64 // Unix ns up to which the rate is spent
}

func (l *limiter) allow(now time.Time) bool {
	if l.rate <= 0 {
		return true
	}
	step := int64(min(float64(time.Second)/l.rate, float64(24*time.Hour)))
	for {
		next := l.next.Load()
		from := max(next, now.UnixNano()-max(int64(time.Second), step))
		if from+step > now.UnixNano() {
			return false
		}
		if l.next.CompareAndSwap(next, from+step) {
			return true
		}
	}
}
