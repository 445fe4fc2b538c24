package replay

import (
	"context"
	"fmt"
	"slices"
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
	failed := make(map[string]uint64, len(t.Failed))
	for reason, n := range t.Failed {
		failed[reason] = uint64(n)
	}
	return &reprisev1.RunTally{
		Run: r.opts.Run, Generation: r.generation.Number,
		Sent: uint64(t.Sent), Judged: uint64(t.Judged), Errors: uint64(t.Errors),
		Same: uint64(t.Same), StatusChanged: uint64(t.StatusChanged), BodyChanged: uint64(t.BodyChanged),
		Refused: uint64(t.Refused), LeftOutLate: uint64(t.LeftOutLate), SentLate: uint64(t.SentLate), Missing: uint64(t.Missing),
		Target: steps(&t.Target), Recorded: steps(&t.Recorded), Lateness: steps(&t.Lateness), Failed: failed,
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
	failed := make(map[string]int64, len(t.GetFailed()))
	for reason, count := range t.GetFailed() {
		failed[reason] = n(count)
	}
	return &report.Tally{
		Sent: n(t.GetSent()), Judged: n(t.GetJudged()), Errors: n(t.GetErrors()),
		Same: n(t.GetSame()), StatusChanged: n(t.GetStatusChanged()), BodyChanged: n(t.GetBodyChanged()),
		Refused: n(t.GetRefused()), LeftOutLate: n(t.GetLeftOutLate()), SentLate: n(t.GetSentLate()), Missing: n(t.GetMissing()),
		Target: distribution(t.GetTarget()), Recorded: distribution(t.GetRecorded()), Lateness: distribution(t.GetLateness()), Failed: failed,
	}
}

// judge adds to the report what the run has come to, and returns an error when it has crossed a threshold of --fail-on, or when requests were
// sent and not one of them had an answer. A run is judged over all processes that have worked on it and by what any of them wants that has
// come to its end, so that all of them say the same. Live is judged by what this process has sent: the others end when they are told to.
func (r *run) judge(ctx context.Context, rep *report.Report) error {
	sum, failOn := r.tally(), r.opts.FailOn
	if r.opts.Live {
		rep.Processes = 1
	} else {
		v, err := r.verdict(ctx, sum)
		if v == nil || err != nil {
			return err
		}
		sum, failOn = heard(v.GetSum()), r.thresholds(v)
		rep.Processes, rep.Unheard = int(v.GetProcesses()), int(v.GetUnheard())
	}
	unanswered := sum.Sent > 0 && sum.Answered() <= 0
	if len(failOn) == 0 && !unanswered {
		rep.Processes, rep.Unheard = 0, 0 // nothing was judged
		return nil
	}
	if unanswered {
		rep.Failure = noAnswers(sum.Failed)
		rep.LimitedBy = "target (" + rep.Failure + ")"
	}
	rep.Thresholds = sum.Judge(failOn)
	crossed := report.Crossed(rep.Thresholds)
	switch {
	case len(crossed) > 0:
		return r.crossed(crossed)
	case unanswered:
		return r.unanswered(sum.Failed)
	}
	return nil
}

// verdict returns by what the run is judged: what the first process has proposed that came to its end and saw something to judge. nil: there is
// nothing, as no process asks for more than an answer, and one has come.
func (r *run) verdict(ctx context.Context, mine *report.Tally) (*reprisev1.RunVerdict, error) {
	enough := len(r.opts.FailOn) == 0 && mine.Answered() > 0
	if err := r.registry.catchUp(ctx); err != nil {
		if enough && ctx.Err() == nil {
			r.opts.Logger.Warn("what other replicas want the run to be judged by (--fail-on) is not known", "error", err)
			return nil, nil //nolint:nilnil // nothing that is known is to be judged
		}
		return nil, because(ctx, err)
	}
	number := r.generation.Number
	if g := r.registry.generation(r.opts.Run, number); g != nil && g.Verdict != nil {
		return g.Verdict, nil
	}
	if enough && len(r.wanted(false)) == 0 {
		return nil, nil //nolint:nilnil // nothing is to be judged
	}
	unheard, err := r.hearOthers(ctx)
	if err != nil {
		return nil, err
	}
	sum, processes := r.sum()
	failOn := r.wanted(true)
	if len(failOn) == 0 && (sum.Sent == 0 || sum.Answered() > 0) {
		return nil, nil //nolint:nilnil // nothing is to be judged
	}
	err = r.registry.propose(ctx, r.registry.author().Verdict(&reprisev1.RunVerdict{
		Run: r.opts.Run, Generation: number, Sum: r.told(sum), Processes: uint32(processes), Unheard: uint32(unheard), FailOn: failOn,
	}))
	if err != nil {
		return nil, because(ctx, err)
	}
	if g := r.registry.generation(r.opts.Run, number); g != nil && g.Verdict != nil {
		return g.Verdict, nil
	}
	return nil, fault.New(fmt.Sprintf("run %s: the record of its verdict was written but is not there", r.opts.Run), "", "look at the topic "+r.registry.name)
}

// wanted returns the thresholds of this process and of those that have come to the end too, or may come to it.
func (r *run) wanted(ended bool) []string {
	all := texts(r.opts.FailOn)
	for _, other := range r.registry.replicas(r.opts.Run, r.generation.Number) {
		if other.GetState() == finished || !ended && other.Alive(time.Now()) {
			all = append(all, other.GetFailOn()...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// thresholds returns those of a verdict, and this process's where whoever proposed it took this one for gone.
func (r *run) thresholds(v *reprisev1.RunVerdict) (all []report.Threshold) {
	all = slices.Clone(r.opts.FailOn)
	mine := texts(all)
	for _, text := range v.GetFailOn() {
		if slices.Contains(mine, text) {
			continue
		}
		one, err := report.ParseThreshold(text)
		if err != nil {
			r.opts.Logger.Warn("the run is to be judged by what this version does not know", "fail_on", text, "error", err)
			continue
		}
		all = append(all, one)
	}
	return all
}

func texts(all []report.Threshold) []string {
	s := make([]string, len(all))
	for i, one := range all {
		s[i] = one.String()
	}
	return s
}

// sum adds up what all processes have told of the run, and says how many have.
func (r *run) sum() (*report.Tally, int) {
	sum := new(report.Tally)
	tallies := r.registry.tallies(r.opts.Run, r.generation.Number)
	for _, t := range tallies {
		sum.Add(heard(t))
	}
	return sum, len(tallies)
}

func (r *run) crossed(all []report.Judgement) *fault.Error {
	said := make([]string, len(all))
	for i, j := range all {
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

// hearOthers returns once every replica has said its last word or says nothing any more, with how many ended without one; or once there is
// nothing to judge, as one of them has had an answer and none wants more.
func (r *run) hearOthers(ctx context.Context) (unheard int, err error) {
	limit := time.NewTimer(verdictWait)
	defer limit.Stop()
	look := time.NewTicker(verdictLook)
	defer look.Stop()
	for waiting := true; ; {
		if err := r.registry.catchUp(ctx); err != nil {
			return 0, because(ctx, err)
		}
		if sum, _ := r.sum(); sum.Answered() > 0 && len(r.wanted(false)) == 0 {
			return 0, nil
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
