package replay

import (
	"errors"
	"fmt"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/report"
)

// errTooManyErrors ends a run in which more than --max-error-rate failed.
var errTooManyErrors = errors.New("too many errors")

// newValve makes what spares the target. It lasts for all loops of the run.
func (r *run) newValve() (err error) {
	o := r.opts
	r.tooMany = make(chan fire.ErrorCount, 1)
	r.valve, err = fire.NewValve(fire.ValveConfig{
		Breaker: o.Breaker, MaxErrorRate: o.MaxErrorRate, Adaptive: o.Adaptive, Concurrency: o.Concurrency, Timeout: o.Timeout, Logger: o.Logger,
		Changed: func() {
			if s := r.stages.Load(); s != nil {
				s.ahead.poke()
			}
		},
		TooMany: func(c fire.ErrorCount) { r.tooMany <- c },
	})
	return err
}

// tooManyErrors is why this replica stops, and has the others do so.
func (r *run) tooManyErrors(c fire.ErrorCount) *fault.Error {
	return errorRateFault(r.opts.Run, fmt.Sprintf("%s, more than --max-error-rate %s", c, r.opts.MaxErrorRate), "here")
}

// errorRateFault says that a run was stopped for its errors, and where they were seen.
func errorRateFault(run, why, where string) *fault.Error {
	return &fault.Error{
		What:  fmt.Sprintf("run %s was stopped: %s", run, why),
		Cause: "an error is no connection, no whole answer, 5xx or 429 where production had none; seen " + where,
		Try:   "mend the target, then the same command resumes it where it was stopped; inspect cat shows what failed",
		Err:   &errorRateExceeded{why}, Code: fault.Finding,
	}
}

// errorRateExceeded is what the other replicas are told.
type errorRateExceeded struct{ why string }

func (e *errorRateExceeded) Error() string { return errTooManyErrors.Error() + ": " + e.why }

func (e *errorRateExceeded) Unwrap() error { return errTooManyErrors }

// limits is what the report says of what spared the target; nil: nothing was to.
func (r *run) limits() *report.Limits {
	if r.valve == nil {
		return nil
	}
	s := r.valve.Stats()
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	l := new(report.Limits)
	if r.opts.Breaker != nil {
		l.Breaker = &report.Breaker{
			OpenedByErrors: s.ByErrors, OpenedByRetryAfter: s.ByRetryAfter, Open: s.Open, OpenMs: ms(s.OpenFor), LongestMs: ms(s.LongestOpen),
			Probes: s.Probes, Held: s.Held, LongestHeldMs: ms(s.LongestHeld),
		}
	}
	if r.opts.Adaptive {
		l.Adaptive = &report.Adaptive{Lowest: s.LowestLimit, Last: s.Limit, Most: r.opts.Concurrency}
		if n := r.load.samples; n > 0 {
			l.Adaptive.Reached = float64(r.load.adaptive) / float64(n)
		}
	}
	if r.opts.MaxErrorRate != nil {
		l.MaxErrorRate = r.opts.MaxErrorRate.Above
	}
	return l
}

// sparing says in a word what holds requests back from the target at present; empty: nothing.
func (r *run) sparing() string {
	if r.valve == nil {
		return ""
	}
	switch s := r.valve.Stats(); {
	case s.Open && s.ProbeIn > 0:
		return fmt.Sprintf("breaker open, probes in %.0f s", s.ProbeIn.Seconds())
	case s.Open:
		return "breaker half open"
	case s.Full:
		return fmt.Sprintf("adaptive limit %d", s.Limit)
	}
	return ""
}
