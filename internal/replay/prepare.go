package replay

import (
	"context"
	"slices"
	"time"

	"github.com/reprise-io/reprise/internal/compare"
	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/topic"
)

// A record may stand that much later in its partition than the taps' response wait.
const tapSlack = time.Second

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
	r.seconds = o.seconds()
	for _, s := range r.seconds {
		if err = s.admit(ctx, o, cfg); err != nil {
			return err
		}
	}
	if wait := r.registry.responseWait(); o.Live && o.Lag <= wait {
		o.Logger.Warn("the lag is not above the taps' response wait: answers that come late may be replayed out of order",
			"lag", o.Lag, "response_wait", wait, "try", "--lag "+(wait+tapSlack).String())
	}
	if o.RandomKey && o.Baseline == nil { // an old build's answers are redacted here, with the same key
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
	if r.sender, err = fire.NewSender(o.sender(o.Target, r.guard)); err != nil {
		return err
	}
	for _, s := range r.seconds {
		if err = s.equip(o); err != nil {
			return err
		}
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
		Partitions: len(spec.GetPartitions()), SentLateAfter: o.LateAfter, Clones: o.Clones, Baseline: addressOf(o.Baseline), Noise: addressOf(o.Noise),
	}, r.started)
	r.metrics.inFlight = r.gauge(func(s *stages) float64 { return float64(s.volley.busy.Load()) })
	r.metrics.lookAheadBytes = r.gauge(func(s *stages) float64 {
		return float64(s.intake.backlog.size() + s.ahead.bytes() + s.volley.outBytes.Load())
	})
	r.metrics.suspended = r.gauge(func(s *stages) float64 {
		if s.volley.clock.held.Load() {
			return 1
		}
		return 0
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
		run:     o.Run, number: r.generation.Number, loop: r.loop, policy: o.Results, timeout: o.Timeout, summary: r.summary, metrics: r.metrics, redactor: r.sieve.redactor,
		comparer: compare.Comparer{KeyID: r.sieve.redactor.KeyID(), Rules: o.Compare},
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
	for _, s := range r.seconds {
		s.arm(o, r.sieve, r.credentials)
	}
	r.volley.beside = newBaseline(o, r.seconds, out, &r.noise)
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

// production returns what is known of production now.
func (r *run) production() []fire.Address {
	return slices.Concat(r.opts.Production, r.registry.production())
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
