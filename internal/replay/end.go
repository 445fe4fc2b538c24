package replay

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/reprise-io/reprise/internal/report"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// closingTimeout is how long each last word to Kafka may take.
const closingTimeout = 5 * time.Second

// leave commits for the last time in a loop and leaves its group.
func (r *run) leave(ctx context.Context) {
	if mine := r.intake.all(); len(mine) > 0 {
		r.last(ctx, "last commit", func(ctx context.Context) error { return r.intake.commit(ctx, mine) })
	}
	if r.intake.reader != nil {
		r.intake.reader.Close()
	}
}

// end says the last words: the end of the run and its report, with what --fail-on comes to when nothing else has gone wrong.
func (r *run) end(ctx context.Context, err error) (*report.Report, error) {
	state := finished
	switch {
	case err == nil && r.opts.Live:
		state = stopped
	case err != nil && ctx.Err() != nil && errors.Is(err, context.Cause(ctx)), errors.Is(err, errStopped),
		errors.Is(err, ErrMaxTotal), errors.Is(err, errTooManyErrors):
		state = stopped
	case err != nil:
		state = failed
	}
	rep := r.summary.Report(report.End{
		State: state, LimitedBy: r.limitedBy(), Read: r.read(), Reordered: r.reorderedBefore + int64(r.ahead.reordered()), Time: time.Now(),
		Sessions: r.sessionReport(),
		Gone:     r.gone(), GivenUp: r.givenUp(),
		StoppedBy: cmp.Or(r.heldBy(), stoppedBy(state, err)), Rules: r.sieve.ruleCounts(), Asked: r.asked(), Commands: r.commands(), Shortened: r.shortened(),
		Loops: r.begunLoops(), Limits: r.limits(),
	})
	if rep.Read > 0 && rep.Skipped[outsideWindow] == rep.Read {
		r.opts.Logger.Warn("nothing was sent: of all that was read nothing was captured between --from and --to", "read", rep.Read,
			"from", r.opts.AskedFrom, "to", r.opts.AskedTo, "try", "another window; inspect stats shows when there was traffic")
	}
	r.last(ctx, "the last report", func(ctx context.Context) error { return r.lead.leave(ctx, state) })
	if err == nil {
		err = r.judge(ctx, rep)
	}
	end := &reprisev1.RunEnd{Run: r.opts.Run, Generation: r.generation.Number, State: state, Report: rep.JSON()}
	r.last(ctx, "writing the end of the run", func(ctx context.Context) error {
		return r.registry.write(ctx, r.registry.author().End(end))
	})
	return rep, err
}

// last does one of the last things, also when ctx has ended.
func (r *run) last(ctx context.Context, what string, do func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(closingTimeout, r.opts.Kafka.Patience))
	defer cancel()
	if err := do(ctx); err != nil {
		r.opts.Logger.Warn(what+" failed", "error", err)
	}
}
