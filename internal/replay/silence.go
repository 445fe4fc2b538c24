package replay

import (
	"fmt"
	"maps"
	"slices"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/report"
)

// silenceOf is how many requests in a row have to fail, with no answer to any other meanwhile, for the target to have fallen silent that had
// answered before: one connection that breaks is no such thing.
const silenceOf = 20

// silence notices that the target answers nothing. It is used by one goroutine.
type silence struct {
	fired, failed int64 // when the last look saw an answer
	on            bool
}

// turns reports whether the target has fallen silent since the last look, or answers again.
func (s *silence) turns(c *report.Counts) bool {
	was := s.on
	switch failed := c.Failed - s.failed; {
	case c.Fired > s.fired:
		s.fired, s.failed, s.on = c.Fired, c.Failed, false
	case c.Fired == 0 && failed > 0, failed >= silenceOf:
		s.on = true
	}
	return s.on != was
}

// listen says when the target has fallen silent, and when it answers again. The run goes on: whether it is to stop is for --max-error-rate
// and --breaker to say.
func (r *run) listen() {
	c := r.summary.Counts()
	switch {
	case !r.silence.turns(&c):
	case r.silence.on:
		failed := r.summary.Tally().Failed
		cause, try := whySilent(failed)
		r.opts.Logger.Warn("the target answers nothing; the run goes on", "target", r.opts.address(), "failed", report.Reasons(failed), "cause", cause, "try", try)
	default:
		r.opts.Logger.Info("the target answers again", "target", r.opts.address())
	}
}

// noAnswers is what the report says of requests of which not one had an answer.
func noAnswers(failed map[string]int64) string {
	return fmt.Sprintf("none of %s had an answer: %s", report.Count(report.Total(failed), "request"), report.Reasons(failed))
}

// unanswered is why a run has failed in which not one request had an answer.
func (r *run) unanswered(failed map[string]int64) *fault.Error {
	cause, try := whySilent(failed)
	if !r.opts.Live {
		try += "; then the same command with --restart"
	}
	return fault.New(fmt.Sprintf("run %s has replayed nothing: target %s, %s", r.opts.Run, r.opts.address(), noAnswers(failed)), cause, try)
}

// whySilent says what most of the failures come from, and what to try.
func whySilent(failed map[string]int64) (cause, try string) {
	try = "start the target, or name where it is: --target and --allow-target"
	most := slices.MaxFunc(slices.Sorted(maps.Keys(failed)), func(a, b string) int { return int(failed[a] - failed[b]) })
	switch most {
	case fire.ConnectRefused:
		cause = "nothing listens at that port"
	case fire.ConnectTimeout:
		cause = "no connection came about: a firewall in between, or an address that is nobody's"
	case fire.ConnectFailed:
		cause = "no connection came about: no route to it, or no ports or files left on this machine"
	case fire.NameNotFound:
		cause = "no name server knows that name"
	case fire.TLSFailed:
		cause = "no TLS connection came about: it speaks plain HTTP, or its certificate is not trusted"
		try = "--target http://..., or --target-tls-ca FILE"
	case fire.Timeout:
		cause = "it takes connections and answers nothing in time"
		try = "look at the target; --timeout gives it longer"
	case fire.Closed, fire.Reset, fire.BadAnswer:
		cause = "what is there takes connections and answers no HTTP"
		try = "a --target that speaks HTTP: https:// if it wants TLS, --target-protocol if it wants HTTP/2"
	default:
		cause = "most of them: " + most
	}
	return cause, try
}
