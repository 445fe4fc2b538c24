package replay

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reprise-io/reprise/internal/compare"
	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/topic"
)

// run is one process's work on one run.
type run struct {
	opts        *Options
	admin       *topic.Admin
	registry    *registry
	generation  *control.Generation
	loop        uint32 // under way, from 0
	group       string
	names       topic.Names
	guard       *fire.Guard
	sender      *fire.Sender
	seconds     []*second            // where else requests go
	noise       compare.Noise        // learned so far
	valve       *fire.Valve          // nil: the target is not spared
	tooMany     chan fire.ErrorCount // at most one: --max-error-rate is exceeded
	sieve       *sieve
	quotas      *quotas
	credentials []*minted
	sessions    sessionCounters
	summary     *report.Summary
	metrics     *metrics
	items       items

	ahead    *lookAhead
	volley   *volley
	results  *results // nil: none are stored
	intake   *intake
	clock    *clock
	lead     *conductor
	releaser atomic.Pointer[releaser] // nil: nothing is released yet
	// liveBase is the delay of a live replay, as a schedule: what commands pause. nil: it has not begun.
	liveBase atomic.Pointer[schedule.Base]
	load     load
	silence  silence
	view     view
	started  time.Time
	said     atomic.Bool // that a guard holds the run
	stages   atomic.Pointer[stages]

	starvation starvation
	short      map[int32]int // how often the log of a partition was seen to end before the run's window

	readBefore, reorderedBefore, goneBefore, givenUpBefore int64 // in earlier loops
}

// Run replays until the run's end, or live until ctx ends. It returns the report also with an error, once there is
// something to tell: context.Cause(ctx) after a clean drain when ctx has ended, a *fault.Error for what a person can
// mend. A run that did not finish is resumed by calling Run with the same options.
func Run(ctx context.Context, o Options) (*report.Report, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	return guarded(ctx, &o, func(ctx context.Context) (*report.Report, error) { return start(ctx, &o) })
}

func start(ctx context.Context, o *Options) (*report.Report, error) {
	o.Logger = o.Logger.With("run", o.Run)
	r := &run{opts: o, names: topic.NamesOf(o.Prefix), started: time.Now()}
	if err := r.prepare(ctx); err != nil {
		return nil, because(ctx, err)
	}
	defer r.haltWhenKilled(ctx)()
	defer r.admin.Close()
	defer r.sender.Close()
	defer func() {
		for _, s := range r.seconds {
			s.close()
		}
	}()
	defer closeCredentials(r.credentials)
	defer r.valve.Close()
	if anew, err := r.madeAnew(ctx); anew || err != nil {
		rep, err := r.nothingLeft(ctx, err)
		return rep, because(ctx, err)
	}
	return r.play(ctx)
}

// play goes through the window as often as it is wanted.
func (r *run) play(ctx context.Context) (*report.Report, error) {
	if err := r.arrive(ctx); err != nil {
		return nil, because(ctx, err)
	}
	for {
		err := r.once(ctx)
		if r.lead == nil { // nothing has begun
			r.turnBack(ctx)
			return nil, err
		}
		r.leave(ctx)
		if err == nil && r.more() {
			if err = because(ctx, r.advance(ctx)); err == nil {
				continue
			}
		}
		return r.end(ctx, err)
	}
}

// once runs the stages until the end of a loop, then takes them down so that nothing that was answered is forgotten:
// stop reading and releasing → let what is in flight end → store the outcomes. leave follows.
func (r *run) once(ctx context.Context) error {
	stages, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	hard, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	storing, stored := context.WithCancel(context.WithoutCancel(ctx))
	defer stored()

	if err := r.join(); err != nil {
		return err
	}
	var front, back sync.WaitGroup
	if r.results != nil {
		back.Go(func() {
			if err := r.results.run(storing); err != nil {
				stop(err)
			}
		})
	}
	r.conduct(stop)
	front.Go(func() { r.lead.follow(stages) })
	front.Go(func() { r.lead.keepTime(stages) })
	front.Go(func() { r.lead.beat(stages) })
	front.Go(func() { r.quotas.claim(stages) })
	front.Go(func() { r.greet(stages, stop) })
	front.Go(func() { r.volley.run(stages, hard) })
	var beside sync.WaitGroup
	if r.volley.beside != nil {
		beside.Go(func() { r.volley.beside.run(hard) })
	}
	front.Go(func() {
		if err := r.intake.read(stages); err != nil {
			stop(err)
		}
	})
	pacer, err := r.begin(stages, &front, stop)
	if err == nil {
		err = r.watch(stages)
	}
	err = because(stages, err)
	stop(err)
	r.volley.stopping.Store(true)
	drained := time.AfterFunc(drainTimeout, cut)
	r.stopOthers(ctx, err)
	front.Wait()
	if pacer != nil {
		for _, it := range pacer.Drain() {
			r.volley.unload(it)
		}
	}
	r.volley.drain(hard)
	if r.volley.beside != nil {
		r.volley.beside.close()
	}
	beside.Wait()
	drained.Stop()
	stored()
	back.Wait()
	return err
}

// join makes this process a member of the run's group.
func (r *run) join() (err error) {
	start := make(map[int32]int64)
	for id, w := range r.intake.windows {
		start[id] = w.Start
	}
	r.intake.reader, err = topic.NewGroupReader(topic.GroupConfig{
		Config: r.opts.Kafka, Group: r.group, Topic: r.names.Exchanges, Start: start,
		Fetch:      topic.FetchBounds{MaxBytes: fetchBytes, MaxPartitionBytes: fetchPartitionBytes, MaxRecords: pollRecords},
		InstanceID: r.opts.Instance, ServerSide: r.opts.ServerSide,
		OnAssigned: r.intake.onAssigned, OnRevoked: r.intake.onRevoked, OnLost: r.intake.onLost, OnGone: r.intake.onGone,
	})
	r.intake.backlog.reader = r.intake.reader
	close(r.intake.bound) // callbacks may have come already
	return err
}
