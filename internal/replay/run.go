package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reprise-io/reprise/internal/compare"
	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/topic"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

const (
	// commitEvery, with the time an outcome takes to be stored, bounds what a crash repeats beside what was in flight.
	commitEvery = 100 * time.Millisecond

	// The first request of a run is due that much after the first assignment.
	headStart = 2 * time.Second

	// The first records of all partitions are waited for no longer than that before a schedule begins.
	firstTimeout = 5 * time.Second

	askOthersEvery = time.Second     // how far the partitions of other replicas are
	guardEvery     = 5 * time.Second // whether taps report the target as production by now
	closingTimeout = 5 * time.Second // of each last word to Kafka
	tapSlack       = time.Second     // a record may stand that much later in its partition than the taps' response wait
)

// errTargetRecorded ends a run in which too much was recorded at the target itself.
var errTargetRecorded = errors.New("too many exchanges were recorded at the target itself")

// maxRecordedAtTarget is the share of the last thousand exchanges above which that is so.
const maxRecordedAtTarget = 0.01

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
	view     view
	started  time.Time
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
	defer closeCredentials(r.credentials)
	defer r.valve.Close()
	if anew, err := r.madeAnew(ctx); anew || err != nil {
		rep, err := r.nothingLeft(ctx, err)
		return rep, because(ctx, err)
	}
	return r.play(ctx)
}

// prepare does everything that can fail before something is sent.
func (r *run) prepare(ctx context.Context) (err error) {
	o := r.opts
	if r.sieve, err = newSieve(o); err != nil {
		return err
	}
	writes, err := compileWrites(o.AllowWrites)
	if err != nil {
		return err
	}
	if r.credentials, err = newCredentials(o); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			closeCredentials(r.credentials)
		}
	}()
	if r.admin, err = topic.NewAdmin(o.Kafka); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			r.admin.Close()
		}
	}()
	if err = r.admin.Ping(ctx); err != nil {
		return err
	}
	if _, err = r.admin.Describe(ctx, r.names.Exchanges); err != nil {
		return err
	}
	if err = r.admin.Ensure(ctx, []topic.Spec{topic.ControlSpec(r.names)}); err != nil {
		return err
	}
	r.registry = &registry{cfg: o.Kafka, admin: r.admin, name: r.names.Control, writer: writer()}
	if err = r.registry.catchUp(ctx); err != nil {
		return err
	}
	cfg := o.guard(r.production(), writes)
	if o.Handshake != nil {
		cfg.Handshake = o.Handshake.For(o.Run, o.TLS, o.Protocol)
	}
	if r.guard, err = fire.NewGuard(ctx, cfg); err != nil {
		return err
	}
	if err = r.guard.Greet(ctx); err != nil {
		return err
	}
	if wait := r.registry.responseWait(); o.Live && o.Lag <= wait {
		o.Logger.Warn("the lag is not above the taps' response wait: answers that come late may be replayed out of order",
			"lag", o.Lag, "response_wait", wait, "try", "--lag "+(wait+tapSlack).String())
	}
	if o.RandomKey {
		o.Logger.Warn("no --redact-key: fields that the tap has redacted are left out of the comparison",
			"try", "the --redact-key of the tap")
	}
	if err = rehearse(ctx, r.credentials); err != nil {
		return err
	}
	r.generation, err = agree(ctx, o, r.registry, r.names.Exchanges, r.sieve.digest)
	if err != nil {
		return err
	}
	if err = r.checkNotSuspended(); err != nil {
		return err
	}
	// The times of the run's record are the ones that count when a run is resumed.
	o.From, o.To = fromNano(r.generation.Spec.GetFromUnixNano()), fromNano(r.generation.Spec.GetToUnixNano())
	r.sieve.from, r.sieve.to = o.From, o.To
	if r.sieve.clones, err = newClones(o, r.generation.Spec.GetSeed()); err != nil {
		return err
	}
	r.loop = r.generation.Loop()
	if err = r.equip(); err != nil {
		return err
	}
	return r.build()
}

// equip makes what lasts for the whole run.
func (r *run) equip() (err error) {
	o := r.opts
	r.sender, err = fire.NewSender(fire.SenderConfig{
		Target: o.Target, Guard: r.guard, Run: o.Run, Host: o.Host, SetHeaders: o.SetHeaders, RemoveHeaders: o.RemoveHeaders,
		Timeout: o.Timeout, Concurrency: o.Concurrency, Retries: o.Retries, Protocol: o.Protocol, TLS: o.TLS,
	})
	if err != nil {
		return err
	}
	spec := r.generation.Spec
	r.sieve.guard, r.sieve.sender = r.guard, r.sender
	r.quotas = r.newQuotas()
	if err = r.newValve(); err != nil {
		return err
	}
	r.metrics = newMetrics(o.Registerer)
	register(o.Registerer, ruleMetrics{o.RulesFilter})
	watchSessions(o.Registerer, &r.sessions, r.credentials)
	r.metrics.sessions = r.gauge(func(s *stages) float64 { return float64(s.volley.dresser.known()) })
	r.metrics.limits(o.Registerer, r.valve, o.Concurrency)
	r.summary = report.NewSummary(report.Run{
		Name: o.Run, Generation: r.generation.Number, Live: o.Live, Target: o.address(), Speed: spec.GetSpeed(), Profile: spec.GetProfile(),
		Partitions: len(spec.GetPartitions()), SentLateAfter: o.LateAfter, Clones: o.Clones,
	}, r.started)
	r.metrics.inFlight = r.gauge(func(s *stages) float64 { return float64(s.volley.busy.Load()) })
	r.metrics.lookAheadBytes = r.gauge(func(s *stages) float64 {
		return float64(s.intake.backlog.size() + s.ahead.bytes() + s.volley.outBytes.Load())
	})
	r.metrics.reordered = r.gauge(func(s *stages) float64 { return float64(s.before) + float64(s.ahead.reordered()) })
	return nil
}

// build makes the stages of a loop; nothing runs yet.
func (r *run) build() (err error) {
	o, spec := r.opts, r.generation.Spec
	r.group = group(o.Prefix, o.Run, r.generation.Number, r.loop)
	r.sieve.clones.loop = r.loop
	r.starvation = starvation{}
	r.releaser.Store(nil)
	r.sieve.dresser = newDresser(o, r.sieve, r.credentials, &r.sessions)
	out := &outcomes{
		dresser: r.sieve.dresser,
		run:     o.Run, loop: r.loop, policy: o.Results, summary: r.summary, metrics: r.metrics, redactor: r.sieve.redactor,
		comparer: compare.Comparer{KeyID: r.sieve.redactor.KeyID()},
	}
	if o.Results != NoResults {
		if r.results, err = newResults(o.Kafka, r.names, o.Logger); err != nil {
			return err
		}
		out.results = r.results
	}
	backlog := newBacklog(o.LookAhead, len(spec.GetPartitions()), int(r.sieve.clones.n))
	r.ahead = newLookAhead(schedule.MergeConfig{
		Window: r.registry.responseWait() + tapSlack, MaxBytes: o.LookAhead / 4 * 3, Live: o.Live,
	}, backlog.hold)
	r.clock = newClock()
	r.volley = newVolley(o, r.sender, r.valve, out, r.metrics, &r.items, r.clock, r.sieve.dresser)
	r.volley.quotas = r.quotas
	if r.results != nil {
		r.results.relieve = r.volley.relieve
	}
	r.intake = &intake{
		windows: windows(spec), live: o.Live, sieve: r.sieve, backlog: backlog, ahead: r.ahead, out: out, volley: r.volley, metrics: r.metrics,
		items: &r.items, log: o.Logger, topic: r.names.Exchanges, skipsGone: o.OnDataLoss == SkipDataLoss, assigned: make(map[int32]*partition),
		bound: make(chan struct{}), first: make(chan struct{}),
	}
	r.stages.Store(&stages{r.ahead, r.volley, r.intake, r.reorderedBefore})
	return nil
}

// play goes through the window as often as it is wanted.
func (r *run) play(ctx context.Context) (*report.Report, error) {
	for {
		err := r.once(ctx)
		if r.lead == nil {
			return nil, err // nothing has begun
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
		rel.pacer = schedule.NewPacer(maxOutPaced, r.volley.hand)
		front.Go(func() {
			if err := rel.pacer.Run(ctx); err != nil {
				stop(err)
			}
		})
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

// watch commits, and looks after the run until it has finished (nil) or cannot go on.
func (r *run) watch(ctx context.Context) error {
	commit := time.NewTicker(commitEvery)
	defer commit.Stop()
	guard := time.NewTicker(guardEvery)
	defer guard.Stop()
	every := talkEvery
	if r.opts.Draw != nil {
		every = redrawEvery
	}
	talk := time.NewTicker(every)
	defer talk.Stop()
	var over <-chan time.Time
	if r.opts.Duration > 0 {
		over = time.After(r.opts.Duration)
	}
	var asked time.Time
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-over:
			return nil
		case <-r.quotas.over:
			return r.opts.maxTotal()
		case count := <-r.tooMany:
			return r.tooManyErrors(count)
		case now := <-talk.C:
			if r.opts.Draw != nil {
				r.opts.Draw(r.draw(now))
			} else {
				r.tell(now)
			}
		case <-guard.C:
			if err := r.lookForProduction(ctx); err != nil {
				return err
			}
		case now := <-commit.C:
			if r.overtaken() {
				return nil
			}
			r.sample(now)
			if r.starvation.due(r.intake.wanting(), r.intake.count.Load(), now) {
				if err := r.skipHoles(ctx); err != nil {
					return err
				}
			}
			if r.guard.AuthorityIsTargetShare() > maxRecordedAtTarget {
				return r.recordedAtTarget()
			}
			if err := r.intake.commit(ctx, r.intake.all()); err != nil && ctx.Err() == nil {
				r.opts.Logger.Warn("commit failed and is tried again", "error", err)
				continue
			}
			done, others := r.mineDone()
			if !done {
				continue
			}
			if others && now.Sub(asked) < askOthersEvery {
				continue
			}
			asked = now
			if !others || r.othersDone(ctx) {
				select {
				case count := <-r.tooMany: // with the last answers
					return r.tooManyErrors(count)
				default:
					return nil
				}
			}
		}
	}
}

// mineDone reports whether everything assigned is done, and whether others have partitions of the run.
func (r *run) mineDone() (done, others bool) {
	if r.opts.Live {
		return false, false
	}
	if r.opts.Delivery == AtMostOnce && r.volley.out.Load() > 0 {
		return false, false // committed, and still to be fired
	}
	mine := r.intake.all()
	for _, p := range mine {
		if !p.complete() {
			return false, false
		}
	}
	for id := range r.intake.windows {
		if r.intake.partition(id) == nil {
			return true, true
		}
	}
	return true, false
}

// othersDone reports whether the partitions that other replicas have are done as well.
func (r *run) othersDone(ctx context.Context) bool {
	at, err := r.admin.Committed(ctx, r.group, r.names.Exchanges)
	if err != nil {
		r.opts.Logger.Warn("cannot see how far the other replicas are", "error", err)
		return false
	}
	for id, w := range r.intake.windows {
		if r.intake.partition(id) == nil && w.Start < w.End && at[id].Offset < w.End {
			return false
		}
	}
	return true
}

// lookForProduction refuses to go on when a tap has reported the target since the start.
func (r *run) lookForProduction(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, closingTimeout)
	defer cancel()
	if err := r.registry.catchUp(ctx); err != nil {
		if ctx.Err() == nil {
			r.opts.Logger.Warn("cannot read what taps report; going on with what is known", "error", err)
		}
		return nil
	}
	return r.guard.SetProduction(ctx, r.production())
}

// production returns what is known of production now.
func (r *run) production() []fire.Address {
	return slices.Concat(r.opts.Production, r.registry.production())
}

func (r *run) recordedAtTarget() *fault.Error {
	return &fault.Error{
		What:  fmt.Sprintf("stopped: %v", errTargetRecorded),
		Cause: fmt.Sprintf("more than %.0f %% of the last 1,000 name %s, which makes it look like production", 100*maxRecordedAtTarget, r.opts.address()),
		Try:   "if that address is not production: the same command with --not-production " + r.opts.address() + "; with --restart too, to send what was refused until now",
		Err:   errTargetRecorded,
	}
}

// last does one of the last things, also when ctx has ended.
func (r *run) last(ctx context.Context, what string, do func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closingTimeout)
	defer cancel()
	if err := do(ctx); err != nil {
		r.opts.Logger.Warn(what+" failed", "error", err)
	}
}

// leave commits for the last time in a loop and leaves its group.
func (r *run) leave(ctx context.Context) {
	if mine := r.intake.all(); len(mine) > 0 {
		r.last(ctx, "last commit", func(ctx context.Context) error { return r.intake.commit(ctx, mine) })
	}
	if r.intake.reader != nil {
		r.intake.reader.Close()
	}
}

// end says the last words: the end of the run and its report.
func (r *run) end(ctx context.Context, err error) (*report.Report, error) {
	state := finished
	switch {
	case err == nil && r.opts.Live:
		state = stopped
	case err != nil && ctx.Err() != nil && errors.Is(err, context.Cause(ctx)), errors.Is(err, errStopped),
		errors.Is(err, errMaxTotal), errors.Is(err, errTooManyErrors), errors.Is(err, errTargetRecorded):
		state = stopped
	case err != nil:
		state = failed
	}
	rep := r.summary.Report(report.End{
		State: state, LimitedBy: r.limitedBy(), Read: r.read(), Reordered: r.reorderedBefore + int64(r.ahead.reordered()), Time: time.Now(),
		Sessions: r.sessionReport(),
		Gone:     r.goneBefore + r.intake.gone.Load(), GivenUp: r.givenUpBefore + r.volley.givenUp.Load(),
		StoppedBy: stoppedBy(state, err), Rules: r.sieve.ruleCounts(), Asked: r.asked(), Commands: r.commands(), Shortened: r.shortened(),
		Loops: r.begunLoops(), Limits: r.limits(),
	})
	r.last(ctx, "the last report", func(ctx context.Context) error { return r.lead.leave(ctx, state) })
	end := &reprisev1.RunEnd{Run: r.opts.Run, Generation: r.generation.Number, State: state, Report: rep.JSON()}
	r.last(ctx, "writing the end of the run", func(ctx context.Context) error {
		return r.registry.write(ctx, r.registry.author().End(end))
	})
	return rep, err
}

func fromNano(ns uint64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(ns)).UTC()
}

// compileWrites compiles the rules of --allow-writes.
func compileWrites(sources []string) ([]fire.Matcher, error) {
	all := make([]fire.Matcher, 0, len(sources))
	for _, src := range sources {
		f, err := filter.Compile(src)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}
