package fire

import (
	"strconv"
	"time"

	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
)

// ValveStats is what a Valve has done since the start. Zero for what is off.
type ValveStats struct {
	Open         bool          // the breaker is, or lets probes through only
	ProbeIn      time.Duration // until it does; 0: it does, or is closed
	ByErrors     int64         // times it was opened because there were too many errors
	ByRetryAfter int64         // because a 503 asked for it
	OpenFor      time.Duration // altogether, until the probes had gone well
	LongestOpen  time.Duration
	Probes       int64
	Held         int64         // requests that had left for the target and waited for the breaker
	LongestHeld  time.Duration // of them

	Limit, LowestLimit int  // adaptive: at a time
	Full               bool // as many as Limit are under way

	Errors ErrorCount // within the window of the most
}

// valveSeen is what a valve counts.
type valveSeen struct {
	byErrors, byRetryAfter int64
	openSince              time.Time // zero: it is closed
	openFor, longestOpen   time.Duration
	probes, heldBack       int64
	longestHeld            time.Duration
	lowest, said           int
}

func (s *valveSeen) held(by time.Duration) {
	s.heldBack++
	s.longestHeld = max(s.longestHeld, by)
}

func (s *valveSeen) closed(now time.Time) time.Duration {
	took := now.Sub(s.openSince)
	s.openFor += took
	s.longestOpen = max(s.longestOpen, took)
	s.openSince = time.Time{}
	return took
}

// Stats returns what the valve has done.
func (v *Valve) Stats() (s ValveStats) {
	if v == nil {
		return s
	}
	if v.errors != nil {
		s.Errors = v.errors.count()
	}
	now := time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	seen := v.seen
	if s.Open = !seen.openSince.IsZero(); s.Open {
		seen.closed(now)
		if v.breaker.State() == circuitbreaker.OpenState {
			s.ProbeIn = max(0, v.until.Sub(now))
		}
	}
	s.ByErrors, s.ByRetryAfter, s.OpenFor, s.LongestOpen = seen.byErrors, seen.byRetryAfter, seen.openFor, seen.longestOpen
	s.Probes, s.Held, s.LongestHeld = seen.probes, seen.heldBack, seen.longestHeld
	if v.limiter != nil {
		s.Limit, s.LowestLimit = v.limiter.Limit(), seen.lowest
		s.Full = v.limiter.Inflight() >= s.Limit
	}
	return s
}

// Of an adaptive limit: where it begins, and for how long it remembers how many were under way, beyond five times of
// which it does not grow.
const (
	firstLimit  = 20
	rememberMax = 30 * time.Second
)

func (v *Valve) newLimiter() adaptivelimiter.AdaptiveLimiter[any] {
	most := uint(v.cfg.Concurrency)
	first := min(firstLimit, most)
	v.seen.lowest, v.seen.said = int(first), int(first)
	return adaptivelimiter.NewBuilder[any]().
		WithLimits(1, most, first).
		WithMaxLimitStabilizationWindow(rememberMax).
		OnLimitChanged(v.limited).
		Build()
}

// limited notes that the adaptive limit has changed, and says it when that is a tenth or more.
func (v *Valve) limited(e adaptivelimiter.LimitChangedEvent) {
	limit := int(e.NewLimit)
	v.mu.Lock()
	v.seen.lowest = min(v.seen.lowest, limit)
	before := v.seen.said
	say := max(limit-before, before-limit)*10 >= before
	if say {
		v.seen.said = limit
	}
	v.mu.Unlock()
	if say {
		v.cfg.Logger.Info("adaptive limit", "at_a_time", limit, "before", before)
	}
}

// brief is what came of a shot, in a word: "503" or "timeout".
func (a *Answer) brief() string {
	if a.Response == nil {
		return a.Reason
	}
	return strconv.Itoa(a.Response.Status)
}
