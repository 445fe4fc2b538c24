package replay

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/report"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

const (
	verdictLook = 200 * time.Millisecond
	// Who has said nothing for three of its reports is gone; a clock that is ahead must not make that for ever.
	verdictWait = 4 * control.ReplicaReportEvery
)

// tally is what this process has sent.
func (r *run) tally() *report.Tally {
	t := r.summary.Tally()
	t.Missing += r.gone() + r.givenUp()
	return t
}

// gone and givenUp are of all loops.
func (r *run) gone() int64    { return r.goneBefore + r.intake.gone.Load() }
func (r *run) givenUp() int64 { return r.givenUpBefore + r.volley.givenUp.Load() }

// told is the tally as the others are told it.
func (r *run) told(t *report.Tally) *reprisev1.RunTally {
	return &reprisev1.RunTally{
		Run: r.opts.Run, Generation: r.generation.Number,
		Sent: uint64(t.Sent), Judged: uint64(t.Judged), Errors: uint64(t.Errors),
		Same: uint64(t.Same), StatusChanged: uint64(t.StatusChanged), BodyChanged: uint64(t.BodyChanged),
		Refused: uint64(t.Refused), LeftOutLate: uint64(t.LeftOutLate), SentLate: uint64(t.SentLate), Missing: uint64(t.Missing),
		Target: steps(&t.Target), Recorded: steps(&t.Recorded), Lateness: steps(&t.Lateness),
	}
}

func steps(d *report.Distribution) *reprisev1.Distribution {
	s := new(reprisev1.Distribution)
	var before int64
	d.Each(func(us, count int64) {
		s.StepUs, s.Count, before = append(s.StepUs, uint64(us-before)), append(s.Count, uint64(count)), us
	})
	return s
}

// heard is a tally as it was told. What no process says is left out.
func heard(t *reprisev1.RunTally) *report.Tally {
	const most = 1 << 48 // of anything: sums stay far from overflowing
	n := func(v uint64) int64 { return int64(min(v, most)) }
	distribution := func(s *reprisev1.Distribution) (d report.Distribution) {
		var us uint64
		for i, step := range s.GetStepUs()[:min(len(s.GetStepUs()), len(s.GetCount()))] {
			us = min(us+min(step, most), most)
			d.Add(int64(us), n(s.GetCount()[i]))
		}
		return d
	}
	return &report.Tally{
		Sent: n(t.GetSent()), Judged: n(t.GetJudged()), Errors: n(t.GetErrors()),
		Same: n(t.GetSame()), StatusChanged: n(t.GetStatusChanged()), BodyChanged: n(t.GetBodyChanged()),
		Refused: n(t.GetRefused()), LeftOutLate: n(t.GetLeftOutLate()), SentLate: n(t.GetSentLate()), Missing: n(t.GetMissing()),
		Target: distribution(t.GetTarget()), Recorded: distribution(t.GetRecorded()), Lateness: distribution(t.GetLateness()),
	}
}

// judge holds the run against --fail-on, and adds to the report what came of it. A run is judged over all processes that have worked on
// it, so that all of them say the same: those that end now are waited for. Live is judged by what this process has sent: the others end
// when they are told to.
func (r *run) judge(ctx context.Context, rep *report.Report) error {
	if len(r.opts.FailOn) == 0 {
		return nil
	}
	sum := new(report.Tally)
	if r.opts.Live {
		rep.Processes = 1
		sum = r.tally()
	} else {
		var err error
		if rep.Unheard, err = r.hearOthers(ctx); err != nil {
			return err
		}
		tallies := r.registry.tallies(r.opts.Run, r.generation.Number)
		for _, t := range tallies {
			sum.Add(heard(t))
		}
		rep.Processes = len(tallies)
	}
	rep.Thresholds = sum.Judge(r.opts.FailOn)
	crossed := report.Crossed(rep.Thresholds)
	if len(crossed) == 0 {
		return nil
	}
	said := make([]string, len(crossed))
	for i, j := range crossed {
		said[i] = j.String()
	}
	cause := "--fail-on is judged over the whole run, all its replicas and starts"
	if r.opts.Live {
		cause = "--fail-on is judged over what this process has sent"
	}
	return &fault.Error{
		What:  fmt.Sprintf("run %s has crossed a threshold: %s", r.opts.Run, strings.Join(said, "; ")),
		Cause: cause, Try: "the report's routes and differences show where; --restart replays it again", Code: fault.Finding,
	}
}

// hearOthers returns once every replica has said its last word or says nothing any more, with how many ended without one.
func (r *run) hearOthers(ctx context.Context) (unheard int, err error) {
	limit := time.NewTimer(verdictWait)
	defer limit.Stop()
	look := time.NewTicker(verdictLook)
	defer look.Stop()
	for waiting := true; ; {
		if err := r.registry.catchUp(ctx); err != nil {
			return 0, because(ctx, err)
		}
		tallies := r.registry.tallies(r.opts.Run, r.generation.Number)
		var silent, working []string
		for _, other := range r.registry.replicas(r.opts.Run, r.generation.Number) {
			switch _, told := tallies[other.Writer]; {
			case other.GetFinal() && (told || other.GetSent() == 0):
			case other.GetFinal() || !other.Alive(time.Now()):
				silent = append(silent, other.Writer)
			default:
				working = append(working, other.Writer)
			}
		}
		if len(working) == 0 || !waiting {
			if silent = append(silent, working...); len(silent) > 0 {
				r.opts.Logger.Warn("processes of the run have ended without their last figures: some of what they sent is not judged",
					"processes", strings.Join(silent, ", "), "at_most_sent_in", report.TallyEvery)
			}
			return len(silent), nil
		}
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-limit.C:
			waiting = false
		case <-look.C:
		}
	}
}
