package schedule

import (
	"math"
	"time"
)

// limiterBurst is how much earlier than evenly a Limiter lets requests go: recorded traffic is not even.
const limiterBurst = 100 * time.Millisecond

// Limiter spreads moments so that no more than so many come in a second, and at most those of 100 ms at once. It reads no
// clock and is not safe for concurrent use. The zero value limits nothing.
type Limiter struct {
	gap     time.Duration
	next    time.Time // when the next would be, if all came evenly
	delayed int64
}

// SetRate changes the limit: at most so many a second; 0: no limit.
func (l *Limiter) SetRate(perSecond float64) {
	l.gap = 0
	if perSecond > 0 {
		l.gap = max(1, time.Duration(float64(time.Second)/perSecond))
	}
}

// Take returns the first moment not before at that the limit allows, and takes it. Moments are taken in their order.
func (l *Limiter) Take(at time.Time) time.Time {
	if l.gap == 0 {
		return at
	}
	if earliest := l.next.Add(-limiterBurst); !l.next.IsZero() && at.Before(earliest) {
		at = earliest
		l.delayed++
	}
	if l.next.Before(at) {
		l.next = at
	}
	l.next = l.next.Add(l.gap)
	return at
}

// Room returns how many moments up to a given one may be taken, at least when they are asked for then.
func (l *Limiter) Room(until time.Time) int {
	if l.gap == 0 {
		return math.MaxInt
	}
	first := until
	if earliest := l.next.Add(-limiterBurst); !l.next.IsZero() {
		first = earliest
	}
	if first.After(until) {
		return 0
	}
	return int(min(until.Sub(first), limiterBurst+time.Hour)/l.gap) + 1
}

// Delayed returns how many moments were put off.
func (l *Limiter) Delayed() int64 { return l.delayed }
