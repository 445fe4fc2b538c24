package replay

import (
	"context"
	"fmt"
	"time"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fault"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// Forever is the number of loops of a run that goes on until it is stopped.
const Forever = -1

// loops returns how often the window is replayed.
func (o *Options) loops() int {
	if o.Loops == 0 {
		return 1
	}
	return o.Loops
}

// checkLoops is the part of check about loops.
func (o *Options) checkLoops() error {
	switch {
	case o.Loops < Forever:
		return fault.BadUsage(fmt.Sprintf("bad --loop %d", o.Loops), "want a number of times", "--loop 3, or 0 for until the run is stopped")
	case o.loops() != 1 && o.Live:
		return fault.BadUsage("--loop is not for live", "", "replayer run --loop replays a recorded window again and again")
	}
	return nil
}

// more reports whether a loop follows the one that has finished.
func (r *run) more() bool {
	return r.opts.Loops == Forever || int(r.loop)+1 < r.opts.loops()
}

// advance makes everything ready for the next loop, which is the one that the other replicas are in, if they are further on.
// Everything that is read is let go; what is told of the run is kept.
func (r *run) advance(ctx context.Context) error {
	r.forgetGroups(ctx)
	r.readBefore += r.intake.count.Load()
	r.reorderedBefore += int64(r.ahead.reordered())
	r.goneBefore += r.intake.gone.Load()
	r.givenUpBefore += r.volley.givenUp.Load()
	r.loop++
	if g := r.registry.generation(r.opts.Run, r.generation.Number); g != nil {
		r.loop = max(r.loop, g.Loop())
	}
	return r.build()
}

// keptGroups is how many loops' groups stay: a replica that was stopped for a while must find in its own what was finished
// meanwhile, until it reads of the later loops.
const keptGroups = 4

// forgetGroups deletes the group of an earlier loop: a run that goes on for ever must not leave as many groups behind. Where
// that is not allowed Kafka forgets them in its own time.
func (r *run) forgetGroups(ctx context.Context) {
	if r.loop < keptGroups {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, closingTimeout)
	defer cancel()
	id := group(r.opts.Prefix, r.opts.Run, r.generation.Number, r.loop-keptGroups)
	if err := r.admin.DeleteGroup(ctx, id); err != nil {
		r.opts.Logger.Debug("the group of an earlier loop stays", "group", id, "cause", err)
	}
}

// loopName is a loop of several, for people; empty: there is only one.
func (r *run) loopName() string {
	switch n := r.opts.loops(); {
	case n == 1:
		return ""
	case n == Forever:
		return fmt.Sprintf("loop %d", r.loop+1)
	default:
		return fmt.Sprintf("loop %d of %d", r.loop+1, n)
	}
}

// begunLoops returns how many loops were begun; 0: there is only one.
func (r *run) begunLoops() int {
	if r.opts.loops() == 1 {
		return 0
	}
	return int(r.loop) + 1
}

// nextBase is the time base of a later loop: that of the first, begun anew. false: what it was is not known any more.
func (r *run) nextBase() (*reprisev1.TimeBase, bool) {
	g := r.registry.generation(r.opts.Run, r.generation.Number)
	if g == nil || g.Base == nil {
		return nil, false
	}
	return &reprisev1.TimeBase{
		Run: r.opts.Run, Generation: r.generation.Number, Loop: r.loop, Speed: g.Base.GetSpeed(), CaptureUnixNano: g.Base.GetCaptureUnixNano(),
		Gaps: g.Base.GetGaps(), GapMaxNano: g.Base.GetGapMaxNano(),
	}, true
}

// decided reports whether the time base of this loop is known. That of a later one says that this one has finished.
func (r *run) decided() bool {
	g := r.registry.generation(r.opts.Run, r.generation.Number)
	return g != nil && g.Base != nil && g.Loop() >= r.loop
}

// overtaken reports whether the other replicas have begun a later loop, so that nothing of this one is left, whatever its group
// says.
func (r *run) overtaken() bool {
	g := r.registry.generation(r.opts.Run, r.generation.Number)
	return g != nil && g.Loop() > r.loop
}

// carries reports whether an order still counts in a loop that began after it: a speed and a pause do; what was sought in an
// earlier loop, or by how much that was put off, does not.
func carries(o *control.Order, began time.Time) bool {
	return o.GetVerb() != control.VerbSeek && o.GetVerb() != control.VerbSlow || !o.At.Before(began)
}

// propose proposes a time base that begins soon, and returns once one has won.
func (r *run) propose(ctx context.Context, base *reprisev1.TimeBase) error {
	proposed := time.Now()
	wall := proposed
	if !r.opts.Profile.IsMax() {
		wall = wall.Add(headStart)
	}
	base.WallUnixNano = uint64(wall.UnixNano())
	if err := r.registry.propose(ctx, r.registry.author().Base(base)); err != nil {
		return err
	}
	if took := time.Since(proposed); took > headStart/2 {
		r.opts.Logger.Warn("Kafka was slow to take the run's time base: the first requests may be late", "took", took)
	}
	if !r.decided() {
		return fault.New(fmt.Sprintf("run %q: its time base was written but is not there", r.opts.Run), "", "look at the topic "+r.registry.name)
	}
	return nil
}

// stages are what gauges look at; they change with each loop.
type stages struct {
	ahead  *lookAhead
	volley *volley
	intake *intake
	before int64 // reordered in earlier loops
}

func (r *run) gauge(read func(*stages) float64) func() float64 {
	return func() float64 {
		if s := r.stages.Load(); s != nil {
			return read(s)
		}
		return 0
	}
}

// read returns how many records were read.
func (r *run) read() int64 { return r.readBefore + r.intake.count.Load() }
