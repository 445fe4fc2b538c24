package fire

import (
	"math"
	"net/http"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"github.com/reprise-io/reprise/internal/fault"
)

// Breaker says when a target is left alone, and for how long.
type Breaker struct {
	ErrorRate               // in whole percents
	Wait      time.Duration // until it is probed; twice as long each time that the probes fail
	Longest   time.Duration // that it waits, whatever Retry-After asks for
	Probes    int           // that must go well, one after the other, for it to close
}

// DefaultBreaker returns what is told of no further: open above 50 % errors of at least 20 within 10 s, probed by 3 after
// 1 s, 2 s, 4 s, at most 30 s.
func DefaultBreaker() Breaker {
	return Breaker{
		ErrorRate: ErrorRate{Above: .5, Within: 10 * time.Second, AtLeast: 20},
		Wait:      time.Second, Longest: 30 * time.Second, Probes: 3,
	}
}

// DefaultMaxErrorRate returns the window of --max-error-rate.
func DefaultMaxErrorRate() ErrorRate {
	return ErrorRate{Above: .05, Within: 30 * time.Second, AtLeast: 50}
}

const maxProbes = 1000

// ParseBreaker reads "on", "off" (nil) or the error rate above which it opens.
func ParseBreaker(s string) (*Breaker, error) {
	b := DefaultBreaker()
	switch s {
	case "off", "false":
		return nil, nil //nolint:nilnil // no breaker is one
	case "on", "true":
		return &b, nil
	}
	var err error
	if b.ErrorRate, err = ParseErrorRate(s, b.ErrorRate); err != nil {
		return nil, err
	}
	return &b, b.Check()
}

// Check returns a *fault.Error about what cannot be.
func (b *Breaker) Check() error {
	if err := b.ErrorRate.Check(); err != nil {
		return err
	}
	percents := b.Above * 100
	switch {
	case math.Abs(percents-math.Round(percents)) > 1e-9:
		return fault.BadUsage("bad error rate of the breaker: "+percent(b.Above)+"%", "it counts in whole percents", "50%")
	case b.Wait <= 0 || b.Longest < b.Wait || b.Longest > longestWindow:
		return fault.BadUsage("bad wait of the breaker: "+b.Wait.String()+", at most "+b.Longest.String(),
			"want times above 0, of which the second is the longer one", "1s and 30s")
	case b.AtLeast < 0:
		return fault.BadUsage("bad at-least of the breaker", "want a number of answers", "20")
	case b.Probes <= 0 || b.Probes > maxProbes:
		return fault.BadUsage("bad number of the breaker's probes", "want from 1 to 1000", "3")
	}
	return nil
}

// build makes the state machine. Its rates are rounded to whole percents. When it is half open is decided here: it knows
// of no Retry-After.
func (b *Breaker) build() circuitbreaker.CircuitBreaker[any] {
	return circuitbreaker.NewBuilder[any]().
		WithFailureRateThreshold(b.Above+.005, uint(max(1, b.AtLeast)), b.Within).
		WithSuccessThreshold(uint(b.Probes)).
		WithDelay(math.MaxInt64).
		Build()
}

// note takes what came of a shot in, and reports whether the breaker has changed. What was fired under an earlier state
// tells nothing of this one.
func (v *Valve) note(p Pass, a *Answer, h health) (changed bool) {
	now := time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	wait, asks := time.Duration(0), false
	if h == sick {
		wait, asks = asked(a, now)
	}
	if asks {
		if at := now.Add(min(wait, v.cfg.Breaker.Longest)); at.After(v.asked) {
			v.asked = at
		}
	}
	if p.gate/2 != v.gate.Load()/2 {
		if asks && v.breaker.IsOpen() && v.asked.After(v.until) {
			v.rest(now)
			return true
		}
		return false
	}
	if p.counted {
		v.inside--
	}
	before := v.breaker.State()
	switch h {
	case well:
		v.breaker.RecordSuccess()
	case sick:
		v.breaker.RecordFailure()
		if asks && a.Response.Status != http.StatusTooManyRequests && !v.breaker.IsOpen() {
			v.breaker.Open()
		}
	}
	switch after := v.breaker.State(); {
	case after == before:
		if h == well && before == circuitbreaker.ClosedState {
			v.widen()
		}
		v.letIn()
		return false
	case after == circuitbreaker.OpenState:
		v.open(now, before, a, asks)
	default:
		v.close(now)
	}
	return true
}

// open is called with mu held, as what follows.
func (v *Valve) open(now time.Time, before circuitbreaker.State, a *Answer, asks bool) {
	v.gate.Store((v.gate.Load()/2 + 1) * 2)
	v.width, v.inside = 0, 0
	v.rest(now)
	left := v.until.Sub(now).Round(time.Millisecond)
	v.wait = min(2*v.wait, v.cfg.Breaker.Longest)
	if before == circuitbreaker.HalfOpenState {
		v.cfg.Logger.Warn("the target is not well yet: the breaker stays open", "probe", a.brief(), "next_probe_in", left)
		return
	}
	v.seen.openSince = now
	why := "error_rate"
	if asks && a.Response.Status != http.StatusTooManyRequests {
		v.seen.byRetryAfter++
		why = "retry_after"
	} else {
		v.seen.byErrors++
	}
	v.cfg.Logger.Warn("breaker open: requests wait until the target is well again", "why", why, "last", a.brief(),
		"limit", v.cfg.Breaker.ErrorRate.String(), "probe_in", left)
}

// rest sets when the target is probed: after the wait, and not before it asked for.
func (v *Valve) rest(now time.Time) {
	if !v.until.After(now) {
		v.until = now.Add(v.wait)
	}
	if v.asked.After(v.until) {
		v.until = v.asked
	}
	if v.timer != nil {
		v.timer.Stop()
	}
	if !v.closed {
		v.timer = time.AfterFunc(v.until.Sub(now), v.probe)
	}
}

// probe lets a few through.
func (v *Valve) probe() {
	v.mu.Lock()
	if v.closed || !v.breaker.IsOpen() || time.Now().Before(v.until) {
		v.mu.Unlock()
		return
	}
	v.breaker.HalfOpen()
	v.gate.Store((v.gate.Load()/2 + 1) * 2)
	v.width, v.inside = v.cfg.Breaker.Probes, 0
	v.cfg.Logger.Info("breaker half open: the target is probed", "requests", v.width)
	v.letIn()
	v.mu.Unlock()
	v.cfg.Changed()
}

// close lets as many through as went well, and then more with each that does: what has waited must not come all at once.
func (v *Valve) close(now time.Time) {
	v.gate.Store((v.gate.Load()/2 + 1) * 2)
	v.width, v.inside = v.cfg.Breaker.Probes, 0
	v.wait = v.cfg.Breaker.Wait
	took := v.seen.closed(now)
	v.cfg.Logger.Info("breaker closed: the target is well again", "was_open", took.Round(time.Millisecond))
	v.widen()
	v.letIn()
}

func (v *Valve) widen() {
	if v.gate.Load()&wide != 0 {
		return
	}
	if v.width++; v.width >= v.cfg.Concurrency {
		v.gate.Store(v.gate.Load() | wide)
	}
}
