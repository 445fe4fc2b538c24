package inspect

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/topic"
)

// Unfinished is the state of a run that has neither an end nor a replica at work: it was killed, and the same command resumes it.
const Unfinished = "unfinished"

const waiting = "waiting"

// RunInfo is one line of the list of runs.
type RunInfo struct {
	Run        string     `json:"run"`
	Generation uint32     `json:"generation"` // counts --restart, from 1
	Live       bool       `json:"live"`
	State      string     `json:"state"` // "waiting", "running", "paused"; "finished", "stopped", "failed"; "unfinished"
	Target     string     `json:"target"`
	From       *time.Time `json:"from,omitempty"` // the window; absent: open
	To         *time.Time `json:"to,omitempty"`
	Speed      float64    `json:"speed"` // asked at its beginning; 0: as fast as it can
	Profile    string     `json:"profile,omitempty"`
	Started    *time.Time `json:"started,omitempty"`
	Ended      *time.Time `json:"ended,omitempty"`
	Partitions int        `json:"partitions"`
	Replicas   int        `json:"replicas"` // at work now
	Sent       uint64     `json:"sent"`     // as all processes that have worked on it told last

	LatenessP50 float64 `json:"lateness_p50_ms"` // of the latest of them
	LatenessP99 float64 `json:"lateness_p99_ms"`
}

// Runs lists the runs that the control topic knows, the newest first.
func (r *Reader) Runs(ctx context.Context, controlTopic string) ([]RunInfo, error) {
	state, err := r.control(ctx, controlTopic)
	if err != nil {
		return nil, err
	}
	infos := []RunInfo{}
	for _, run := range state.Runs() {
		if g := run.Current(); g != nil {
			infos = append(infos, r.runInfo(run.Name, g))
		}
	}
	slices.SortStableFunc(infos, func(a, b RunInfo) int {
		return cmp.Or(orZero(b.Started).Compare(orZero(a.Started)), strings.Compare(a.Run, b.Run))
	})
	if len(infos) == 0 {
		r.note("no run is known in " + controlTopic)
	}
	return infos, nil
}

// control folds the control topic as it is now.
func (r *Reader) control(ctx context.Context, name string) (*control.State, error) {
	c := &Reader{cfg: r.cfg, topic: name, admin: r.admin, note: r.note, now: r.now}
	spans, err := c.spans(ctx, time.Time{}, AllPartitions)
	if err != nil {
		return nil, err
	}
	var state control.State
	err = c.scan(ctx, spans, func(rec *topic.Record) error {
		state.Apply(rec.Offset, rec.Time, rec.Key, rec.Value)
		return nil
	}, nil)
	return &state, err
}

func (r *Reader) runInfo(name string, g *control.Generation) RunInfo {
	spec := g.Spec
	i := RunInfo{
		Run: name, Generation: g.Number, Live: spec.GetLive(), State: r.runState(g), Target: spec.GetTarget(), From: unix(spec.GetFromUnixNano()),
		To: unix(spec.GetToUnixNano()), Speed: spec.GetSpeed(), Profile: spec.GetProfile(), Partitions: len(spec.GetPartitions()),
	}
	if at := g.Started(); !at.IsZero() {
		i.Started = &at
	}
	if at := g.Ended(); !at.IsZero() && (i.State == g.End.GetState()) {
		i.Ended = &at
	}
	for _, replica := range g.Replicas() {
		i.Sent += replica.GetSent()
		i.LatenessP50 = max(i.LatenessP50, float64(replica.GetLatenessP50Nano())/1e6)
		i.LatenessP99 = max(i.LatenessP99, float64(replica.GetLatenessP99Nano())/1e6)
		if replica.AtWork(r.now()) {
			i.Replicas++
		}
	}
	return i
}

// runState is that of the end, unless replicas are at work: the same command resumes what was stopped.
func (r *Reader) runState(g *control.Generation) string {
	state := ""
	for _, replica := range g.Replicas() {
		now := replica.GetState()
		if now == control.Joining {
			now = waiting
		}
		if replica.Alive(r.now()) && (state == "" || now != waiting) {
			state = now
		}
	}
	switch {
	case state != "":
		return state
	case g.End != nil:
		return g.End.GetState()
	}
	return Unfinished
}

// generation finds a run. number 0: its newest generation.
func (r *Reader) generation(ctx context.Context, controlTopic, name string, number uint32) (*control.Generation, *control.State, error) {
	if err := control.CheckRunName(name); err != nil {
		return nil, nil, fault.BadUsage(err.Error(), "", "inspect runs lists the runs")
	}
	state, err := r.control(ctx, controlTopic)
	if err != nil {
		return nil, nil, err
	}
	run := state.Run(name)
	g := run.Current()
	if g != nil && number != 0 {
		if g = run.Generation(number); g == nil || g.Spec == nil {
			return nil, nil, fault.New(fmt.Sprintf("run %s has no generation %d", name, number),
				fmt.Sprintf("its newest is %d", run.Current().Number), "inspect report without --generation")
		}
	}
	if g != nil {
		return g, state, nil
	}
	var known []string
	for _, other := range state.Runs() {
		if other.Current() != nil {
			known = append(known, other.Name)
		}
	}
	cause := "no run is there"
	if len(known) > 0 {
		cause = "there are " + strings.Join(known[:min(len(known), 10)], ", ")
		if len(known) > 10 {
			cause += fmt.Sprintf(" and %d more", len(known)-10)
		}
	}
	return nil, nil, fault.New(fmt.Sprintf("no run %s in %s", name, controlTopic), cause, "inspect runs; --topic-prefix NAME looks in other topics")
}

// WriteRuns writes the list as a table.
func WriteRuns(w io.Writer, infos []RunInfo) error {
	if len(infos) == 0 {
		return nil
	}
	rows := [][]string{{"run", "state", "started (UTC)", "took", "speed", "sent", "replicas", "target"}}
	for _, i := range infos {
		name, speed, took := i.Run, "max", "–"
		if i.Generation > 1 {
			name += fmt.Sprintf(" (%d)", i.Generation)
		}
		switch {
		case i.Live:
			speed = "live"
		case i.Profile != "":
			speed = i.Profile
		case i.Speed > 0:
			speed = fmt.Sprintf("%g×", i.Speed)
		}
		if i.Started != nil && i.Ended != nil {
			took = duration(i.Ended.Sub(*i.Started))
		}
		rows = append(rows, []string{
			name, i.State, moment(i.Started), took, report.Printable(speed), number(i.Sent), report.Number(int64(i.Replicas)), report.Printable(i.Target),
		})
	}
	var b strings.Builder
	grid(&b, rows, false, false, false, true, true, true, true, false)
	_, err := io.WriteString(w, b.String())
	return err
}

func unix(nano uint64) *time.Time {
	if nano == 0 {
		return nil
	}
	t := time.Unix(0, int64(nano)).UTC()
	return &t
}

func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
