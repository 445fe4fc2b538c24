package replay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/schedule"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

const (
	// The first request of a run is due that much after the first assignment.
	headStart = 2 * time.Second

	// So many connections are opened before the first request is due: a target that answers within milliseconds needs no more at
	// thousands a second, and others come as they are needed.
	warmConnections = 32

	// The first records of all partitions are waited for no longer than that before a schedule begins.
	firstTimeout = 5 * time.Second

	// A process that has had no partition for that long is taken for one too many: it waits for those of another that ends. Any
	// other gets its share within a rebalance, which takes heartbeats of 3 s.
	idleAfter = 10 * time.Second
)

// begin waits for partitions and the time base, and starts releasing.
func (r *run) begin(ctx context.Context, front *sync.WaitGroup, stop context.CancelCauseFunc) (*schedule.Pacer[*item], error) {
	o := r.opts
	if err := r.settleBase(ctx); err != nil {
		return nil, err
	}
	if r.overtaken() {
		return nil, nil //nolint:nilnil // there is nothing to release
	}
	rel := &releaser{
		ahead: r.ahead, sieve: r.sieve, out: r.intake.out, items: &r.items, volley: r.volley,
		clock: r.clock, live: o.Live, lag: o.Lag, rate: r.rate,
	}
	if o.Delivery == AtMostOnce {
		rel.settle = r.intake.settle
	}
	r.releaser.Store(rel)
	if o.Live || !o.Profile.IsMax() || o.RateLimit > 0 {
		if rel.pacer = schedule.NewPacer(maxOutPaced, r.volley.hand); o.Dialer != nil {
			rel.pacer = schedule.NewTimerPacer(maxOutPaced, r.volley.hand)
		}
		front.Go(func() {
			if err := rel.pacer.Run(ctx); err != nil {
				stop(err)
			}
		})
		front.Go(func() { r.sender.Warm(ctx, min(warmConnections, r.ahead.len())) })
	}
	front.Go(func() {
		if err := rel.run(ctx); err != nil {
			stop(err)
		}
	})
	r.announce()
	if o.Ready != nil {
		o.Ready()
		o.Ready = nil // asked once
	}
	return rel.pacer, nil
}

// conduct makes the conductor; nothing runs yet.
func (r *run) conduct(stop context.CancelCauseFunc) {
	before := r.lead
	r.lead = &conductor{
		cfg: r.opts.Kafka, registry: r.registry, run: r.opts.Run, number: r.generation.Number, clock: r.clock, log: r.opts.Logger,
		started: r.started, wake: r.ahead.poke, stop: func(o control.Order) { stop(r.stoppedBy(o)) }, suspended: r.suspended, figures: r.figures, begun: r.begun,
		tally: func() *reprisev1.RunTally { return r.told(r.tally()) },
		news:  make(chan struct{}, 1), retimed: make(chan struct{}, 1), heard: make(chan struct{}, 1), late: make(chan late, 1),
	}
	if r.opts.Live { // each for itself, and for as long as it likes
		r.lead.tally = nil
	}
	r.volley.behind = r.lead.slow
	if before != nil { // the loop before: commands that came meanwhile are news
		r.lead.known, r.lead.orders, r.lead.warned = before.known, before.orders, before.warned
		return
	}
	r.registry.view(func(*control.State) { r.lead.known = r.registry.next })
}

// figures says how it goes in this process.
func (r *run) figures(to *reprisev1.ReplicaReport) {
	c := r.summary.Counts()
	to.Loop, to.FailOn = r.loop, texts(r.opts.FailOn)
	to.Partitions, to.Sent = uint32(len(r.intake.all())), uint64(c.Fired+c.Failed)
	to.LatenessP50Nano, to.LatenessP99Nano = uint64(c.LatenessP50), uint64(c.LatenessP99)
}

// rate returns how many requests a second this process may send; 0: there is no limit.
func (r *run) rate() float64 {
	all := len(r.generation.Spec.GetPartitions())
	return r.opts.RateLimit * float64(len(r.intake.all())) / float64(max(1, all))
}

// settleBase returns once partitions are assigned, or there are none to assign, and the clock runs by the time base of the run.
func (r *run) settleBase(ctx context.Context) error {
	o := r.opts
	var found beginning
	if !r.decided() && r.loop == 0 && !o.Live && !o.Profile.IsMax() {
		var err error
		window := r.registry.responseWait() + tapSlack
		if found, err = survey(ctx, o, r.names.Exchanges, r.intake.windows, r.sieve.quiet(), window); err != nil {
			return err
		}
	}
	idle := time.NewTimer(idleAfter)
	defer idle.Stop()
	select {
	case <-r.intake.first:
	case <-idle.C:
		r.opts.Logger.Info("no partition is left for this process: it steps in when another ends")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := r.goOn(ctx); err != nil {
		return err
	}
	if o.Live {
		now := time.Now()
		r.liveBase.Store(&schedule.Base{Capture: now, Wall: now.Add(o.Lag)}) // the same delay for all, no epoch
	} else if err := r.decideBase(ctx, found); err != nil {
		return err
	}
	r.lead.retime()
	r.lead.tell()
	return nil
}

// goOn undoes the command that stopped the run before this process came.
func (r *run) goOn(ctx context.Context) error {
	orders := r.registry.orders(r.opts.Run, r.generation.Number)
	switch s := suspensionOf(orders); {
	case s.on && r.guard.Exempt():
		return r.lift(ctx)
	case s.on:
		r.sayHeld()
	case s.lifted:
		r.guard.ExemptTarget()
	}
	if len(orders) == 0 || orders[len(orders)-1].GetVerb() != control.VerbStop || orders[len(orders)-1].Offset >= r.lead.known {
		return nil
	}
	return r.registry.propose(ctx, r.registry.author().Command(&reprisev1.Command{
		Run: r.opts.Run, Generation: r.generation.Number, Verb: control.VerbResume,
	}))
}

// decideBase proposes a time base that begins soon, unless there is one.
func (r *run) decideBase(ctx context.Context, found beginning) error {
	o := r.opts
	if o.loops() != 1 {
		if err := r.registry.catchUp(ctx); err != nil {
			return err
		}
	}
	if r.loop > 0 {
		if base, known := r.nextBase(); known && !r.decided() {
			return r.propose(ctx, base)
		}
		return nil
	}
	if err := r.awaitReplicas(ctx); err != nil {
		return err
	}
	if err := r.awaitShare(ctx); err != nil || r.decided() {
		return err
	}
	if !o.Profile.IsMax() {
		r.awaitFirst(ctx)
	}
	base := &reprisev1.TimeBase{Run: o.Run, Generation: r.generation.Number, Speed: r.generation.Spec.GetSpeed()}
	switch {
	case !found.first.IsZero():
		base.CaptureUnixNano = uint64(found.first.UnixNano())
	case !o.Profile.IsMax(): // nothing is wanted: what is left out has its turn at once, and not as long after the epoch as 1970 is past
		base.CaptureUnixNano = uint64(time.Now().UnixNano())
	}
	if base.GapMaxNano = uint64(found.gaps.Max); base.GapMaxNano > 0 {
		for _, gap := range found.gaps.List() {
			base.Gaps = append(base.Gaps, &reprisev1.CaptureGap{FromUnixNano: uint64(gap.From.UnixNano()), ToUnixNano: uint64(gap.To.UnixNano())})
		}
	}
	return r.propose(ctx, base)
}

// awaitShare waits until this process has a partition, or until the schedule stands: a process without one knows neither whether
// the others have begun to read nor how far they are.
func (r *run) awaitShare(ctx context.Context) error {
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for !r.decided() {
		select {
		case <-r.intake.first:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.lead.heard:
		case <-look.C:
		}
	}
	return nil
}

// awaitFirst waits until the first records of every partition of this process are there, but not for ever: a schedule that begins
// while the first fetches are still under way, from a broker that has just started, begins late.
func (r *run) awaitFirst(ctx context.Context) {
	limit := time.NewTimer(firstTimeout)
	defer limit.Stop()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for !r.intake.begun() {
		select {
		case <-ctx.Done():
			return
		case <-limit.C:
			r.opts.Logger.Warn("the first records of a partition are not there yet, and the schedule begins all the same", "after", firstTimeout)
			return
		case <-look.C:
		}
	}
}

// awaitReplicas waits until --wait-replicas processes work on the run, or until the schedule stands.
func (r *run) awaitReplicas(ctx context.Context) error {
	if r.opts.WaitReplicas <= 1 {
		return nil
	}
	said := -1
	look := time.NewTicker(time.Second) // those who say nothing any more count no longer
	defer look.Stop()
	r.lead.tell()
	for {
		if r.decided() {
			return nil
		}
		there := 0
		for _, other := range r.registry.replicas(r.opts.Run, r.generation.Number) {
			if other.AtWork(time.Now()) {
				there++
			}
		}
		if there >= r.opts.WaitReplicas {
			return nil
		}
		if there != said {
			said = there
			fmt.Fprintf(r.opts.Talk, "run %s: waiting for replicas, %d of %d are there; the same command elsewhere adds one\n", r.opts.Run, there, r.opts.WaitReplicas)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.lead.heard:
		case <-look.C:
		}
	}
}

// begun returns what the schedule begins with; false: it is not decided yet.
func (r *run) begun() (begun, bool) {
	if r.opts.Live {
		if b := r.liveBase.Load(); b != nil {
			return begun{base: *b, profile: schedule.ConstantSpeed(1)}, true
		}
		return begun{}, false
	}
	g := r.registry.generation(r.opts.Run, r.generation.Number)
	return begunOf(g, r.loop)
}

func begunOf(g *control.Generation, loop uint32) (b begun, ok bool) {
	base := g.BaseOf(loop)
	if base == nil || g.Spec == nil {
		return b, false
	}
	b.loop = loop
	b.base = schedule.Base{
		Capture: time.Unix(0, int64(base.GetCaptureUnixNano())).UTC(),
		Wall:    time.Unix(0, int64(base.GetWallUnixNano())),
	}
	b.profile = profileOf(g.Spec)
	if longest := base.GetGapMaxNano(); longest > 0 {
		gaps := make([]schedule.Gap, 0, len(base.GetGaps()))
		for _, one := range base.GetGaps() {
			gaps = append(gaps, schedule.Gap{From: fromNano(one.GetFromUnixNano()), To: fromNano(one.GetToUnixNano())})
		}
		b.gaps = schedule.NewGaps(time.Duration(longest), gaps)
	}
	return b, true
}

// because returns why ctx ended instead of an error that only tells that it did: what was waited for then, in Kafka's client or
// here, knows no better.
func because(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return context.Cause(ctx)
	}
	return err
}
