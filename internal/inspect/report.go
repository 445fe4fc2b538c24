package inspect

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// RunQuery names one generation of a run.
type RunQuery struct {
	Run        string
	Generation uint32 // 0: the newest
	Noise      string // another run, of the build that was recorded, whose differences are noise; empty: none
}

// Report returns what is known of a run. Of one that a single process has brought to its end that is the report which it left in the control
// topic; else it is added up from the outcomes of all processes in the results topic, as far as they were stored. note tells which.
func (r *Reader) Report(ctx context.Context, names topic.Names, q RunQuery) (*report.Report, error) {
	rep, old, err := r.both(ctx, names, q)
	if old != nil {
		rep.HoldAgainst(old)
	}
	return rep, err
}

// both returns the report of a run, and of the one whose differences are noise; nil: there is none.
func (r *Reader) both(ctx context.Context, names topic.Names, q RunQuery) (rep, old *report.Report, err error) {
	if q.Noise == "" {
		rep, err = r.report(ctx, names, q)
		return rep, nil, err
	}
	if q.Noise == q.Run {
		return nil, nil, fault.BadUsage("--noise "+q.Noise+" is the run itself", "all that differs would be noise", "--noise with a run of the build that was recorded")
	}
	if old, err = r.report(ctx, names, RunQuery{Run: q.Noise}); old == nil || !HasData(err) {
		return nil, nil, err
	}
	incomplete := err
	if rep, err = r.report(ctx, names, q); rep == nil {
		return nil, nil, err
	}
	return rep, old, errors.Join(err, incomplete)
}

// report returns what is known of a run alone.
func (r *Reader) report(ctx context.Context, names topic.Names, q RunQuery) (*report.Report, error) {
	g, state, err := r.generation(ctx, names.Control, q.Run, q.Generation)
	if err != nil {
		return nil, err
	}
	var told *report.Report
	if g.End != nil && len(g.End.GetReport()) > 0 {
		if told, err = report.Parse(g.End.GetReport()); err != nil {
			return nil, fault.New("the report of run "+q.Run+" cannot be read", err.Error(), "inspect of the version that wrote it")
		}
	}
	info := r.runInfo(q.Run, g)
	if told != nil && info.State == g.End.GetState() && len(g.Replicas()) <= 1 {
		return told, nil
	}
	return r.addUp(ctx, names.Results, q.Run, g, state, info, told)
}

// secondTarget returns where else a run sends its requests, as host:port; empty: nowhere.
func secondTarget(g *control.Generation, option string) string {
	for line := range strings.Lines(g.Spec.GetOptions()) {
		if quoted, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), option+"="); ok {
			value, err := strconv.Unquote(quoted)
			if _, at, found := strings.Cut(value, "://"); err == nil && found {
				return at
			}
		}
	}
	return ""
}

func (r *Reader) addUp(
	ctx context.Context, results, run string, g *control.Generation, state *control.State, info RunInfo, told *report.Report,
) (*report.Report, error) {
	summary := report.NewSummary(report.Run{
		Baseline: secondTarget(g, "baseline-target"), Noise: secondTarget(g, "noise-target"),
		Name: run, Generation: g.Number, Live: info.Live, Target: info.Target, Speed: info.Speed, Profile: info.Profile, Partitions: info.Partitions,
	}, g.Started())
	n, err := r.outcomes(ctx, results, run, g, nextStart(state, run, g), func(o *traffic.Outcome, _ *topic.Record) error {
		summary.Add(o)
		return nil
	})
	if !HasData(err) {
		return nil, err
	}
	end := report.End{State: info.State, Read: n, Time: r.now()}
	if info.Ended != nil {
		end.Time = *info.Ended
	}
	if told != nil {
		end.StoppedBy, end.LimitedBy, end.Commands, end.Asked, end.Loops = told.StoppedBy, told.LimitedBy, told.Commands, told.Speed.Asked, told.Loops
	}
	rep := summary.Report(end)
	if told != nil {
		rep.Clones, rep.Thresholds, rep.Processes, rep.Unheard = told.Clones, told.Thresholds, told.Processes, told.Unheard
	}
	sent := rep.Fired + report.Total(rep.Failed)
	r.note(fmt.Sprintf("added up from %s of %s (what was left out by a rule has none)", report.Count(n, "stored outcome"), report.Count(int64(len(g.Replicas())), "replica")))
	if told := int64(info.Sent); told > sent {
		r.note(fmt.Sprintf("the replicas sent %s, %s of them with an outcome here: the others were not stored (--results), or are gone",
			report.Number(told), report.Number(sent)))
	}
	return rep, err
}
