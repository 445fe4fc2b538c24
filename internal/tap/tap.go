package tap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/meter"
	"github.com/reprise-io/reprise/internal/rewrite"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// Options are what every source's tap has.
type Options struct {
	Topic      topic.Config
	Names      topic.Names
	Partitions int32 // of topics that the tap creates; 0: the default
	Linger     time.Duration
	Acks       topic.Acks

	Name       string // shown in reports and records; may be empty
	MemoryMax  int64  // bytes that capture may hold, all in all
	SpoolDir   string // where what Kafka does not take in time is kept; empty: it is dropped
	SpoolMax   int64  // bytes of all files there; at least spool.LeastBytes
	MaxCPU     MaxCPU
	MaxRSS     MaxRSS
	Bounds     meter.Bounds // of the process, which the two are about
	Workers    int
	Settings   Settings      // what can be changed later
	Redactor   redactor      // nil: stored as captured
	Filters    []*filter.Set // of an import, which has no other settings: all must want an exchange
	SessionKey rewrite.Key   // of an import, too: by what sessions are told apart; nil: by cookies alone

	Registerer prometheus.Registerer
	Logger     *slog.Logger
}

// The memory is parted once: what is being captured or waits for a worker, what waits for Kafka, what is on its way, and what
// is on its way to the spool, which the ring gives up room for.
const (
	captureShare = 6 // of 16
	ringShare    = 6
	bufferShare  = 4
	spillShare   = 2
)

// commandsWait is how long at most exchanges wait after the start for the commands that say whether they are recorded.
const commandsWait = 5 * time.Second

// Tap is a pipeline with its way to Kafka. It works without one: what does not fit is shed and counted.
type Tap struct {
	opts     Options
	id       [16]byte
	budget   *Budget
	pipeline *Pipeline
	records  *topic.Writer
	control  *topic.Writer
	board    *board
	follower *follower
	spill    *spill // nil: no spool
	guarding *protector
	humble   sync.Once // one of many threads says that they may not be preferred

	acknowledged prometheus.Histogram
}

// Source is where the exchanges come from, and what is reported of it.
type Source struct {
	Kind         traffic.SourceKind
	Listen       []string // addresses on which it takes production traffic
	Upstream     []string // where it passes it on to
	ResponseWait time.Duration
	Run          func(context.Context) error // until its context ends; it has offered everything when it returns
}

// CheckName reports whether a tap can have that name; none is one too.
func CheckName(name string) error {
	if control.CheckTapName(name) {
		return nil
	}
	return fault.BadUsage(fmt.Sprintf("bad --name %q", name), "commands could not name this tap", "a short text other than *")
}

// New builds a tap; it neither connects nor starts anything.
func New(o Options) (*Tap, error) {
	if err := CheckName(o.Name); err != nil {
		return nil, err
	}
	t := &Tap{opts: o, id: NewID(), budget: NewBudget(o.MemoryMax * captureShare / 16)}
	// The results are the replayer's: made here too, so that whoever may create topics needs to be one program only.
	specs := []topic.Spec{topic.ExchangesSpec(o.Names, o.Partitions), topic.ResultsSpec(o.Names, o.Partitions)}
	ring := int64(ringShare)
	if o.SpoolDir != "" {
		ring -= spillShare
	}
	t.acknowledged = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "reprise_tap_acknowledged_seconds", Help: "From the capture to Kafka having acknowledged it.",
		Buckets:                     []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 60, 600, 3600},
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
	})
	var err error
	t.records, err = topic.NewWriter(topic.WriterConfig{
		Config: o.Topic, Topic: o.Names.Exchanges, Ensure: specs,
		RingBytes: o.MemoryMax * ring / 16, BufferBytes: o.MemoryMax * bufferShare / 16,
		Linger: o.Linger, Acks: o.Acks, OnDone: t.done,
	})
	if err != nil {
		return nil, err
	}
	controlConfig := o.Topic
	controlConfig.Registerer = nil // one client's metrics are enough
	t.control, err = topic.NewWriter(topic.WriterConfig{
		Config: controlConfig, Topic: o.Names.Control, Ensure: []topic.Spec{topic.ControlSpec(o.Names)}, RingBytes: 1 << 20, BufferBytes: 1 << 20, Linger: time.Millisecond,
	})
	if err != nil {
		return nil, err
	}
	t.pipeline = NewPipeline(PipelineConfig{
		TapID: t.id, Redactor: o.Redactor, Writer: t.records, Budget: t.budget, Workers: o.Workers,
		Hold: commandsWait, Logger: o.Logger,
	})
	if o.SpoolDir != "" {
		t.spill = newSpill(o, t.records, t.pipeline.Counters(), o.MemoryMax*spillShare/16)
	}
	if t.board, err = newBoard(o, t.id, t.pipeline.apply, t.pipeline.release); err != nil {
		return nil, err
	}
	t.guarding = newProtector(o, t.pipeline, t.board)
	if t.follower, err = newFollower(o, t.board); err != nil {
		return nil, err
	}
	return t, t.register()
}

// done is the writer's OnDone.
func (t *Tap) done(r *topic.Record, result topic.Result) {
	if result.State == topic.Acknowledged { // a record's time is its capture's
		t.acknowledged.Observe(max(0, time.Since(r.Time).Seconds()))
	}
	if t.spill == nil || !t.spill.done(r, result) {
		t.pipeline.Done(r, result)
	}
}

// onDisk is what the spool takes there.
func (t *Tap) onDisk() int64 {
	if t.spill == nil {
		return 0
	}
	return t.spill.disk.Load()
}

func (t *Tap) register() error {
	gauge := func(name, help string, value func() int64) error {
		return t.opts.Registerer.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return float64(value()) }))
	}
	err := errors.Join(
		t.opts.Registerer.Register(t.acknowledged),
		gauge("reprise_spool_bytes", "Bytes that the spool takes on disk; 0 without --spool-dir.", t.onDisk),
		gauge("reprise_tap_memory_bytes", "Bytes that capture holds: being captured, waiting, and on their way to Kafka or the spool.", t.held),
		gauge("reprise_tap_memory_max_bytes", "Bytes that capture may hold (--memory-max).", func() int64 { return t.opts.MemoryMax }),
		t.pipeline.counters.Register(t.opts.Registerer),
		t.guarding.register(t.opts.Registerer),
		t.board.register(t.opts.Registerer),
	)
	if s := t.spill; s != nil {
		err = errors.Join(
			err,
			gauge("reprise_spool_max_bytes", "Bytes that the spool may take on disk (--spool-max).", func() int64 { return t.opts.SpoolMax }),
			t.opts.Registerer.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
				Name: "reprise_spool_errors_total", Help: "Syncs of the spool that failed, and files of it that could not be read.",
			}, func() float64 { return float64(s.failures.Load()) })),
		)
	}
	return err
}

// held returns the bytes that capture holds.
func (t *Tap) held() int64 {
	_, waiting := t.records.Pending()
	n := t.budget.Used() + waiting
	if t.spill != nil {
		n += t.spill.held()
	}
	return n
}

// Pipeline is the sink for a source.
func (t *Tap) Pipeline() *Pipeline { return t.pipeline }

// Budget is what a source books its bytes with.
func (t *Tap) Budget() *Budget { return t.budget }

// Forwards tells, on it, that a thread of this process passes traffic on: the kernel runs it soon and, if it may be, before others,
// by that nice value at most; workers leave the cores to it. Where the kernel does not tell how threads fare, nobody does.
func (t *Tap) Forwards(id, nice int) {
	if err := meter.Prompt(); err != nil {
		t.opts.Logger.Info("the kernel does not let traffic have the cores in short slices: it waits until others have used up theirs", "cause", err)
	}
	preferred, err := meter.Prefer(halfOf(nice)) // until it is known whether it has time
	if err != nil {
		t.humble.Do(func() {
			t.opts.Logger.Info("traffic does not go before other work of this machine", "nice", nice, "cause", err,
				"try", "CAP_SYS_NICE, LimitNICE= of systemd, or --forward-nice 0, which asks for nothing")
		})
	}
	thread, err := meter.OpenThread(id)
	if err != nil {
		t.opts.Logger.Info("the kernel does not tell whether traffic has to wait for a core: capture does not yield to it", "cause", err)
		return
	}
	p := passer{id: id, read: thread.Read}
	if preferred {
		p.nice = nice
	}
	t.pipeline.courtesy.add(p)
}

// Rebase changes the settings that the tap was started with. Commands for it stay stronger.
func (t *Tap) Rebase(s Settings) error { return t.board.rebase(s) }

// Run runs the sources until ctx ends. Then the stages end in the order in which exchanges flow, each with what the one
// before has given it, and the final report is written last.
func (t *Tap) Run(ctx context.Context, sources ...Source) error {
	reports := newReporter(t, sources)
	behind := context.WithoutCancel(ctx) // stages outlive the sources
	control := start(behind, t.control.Run)
	records := start(behind, t.records.Run)
	pipeline := start(behind, t.pipeline.Run)
	reporting := start(behind, func(ctx context.Context) error { reports.run(ctx); return nil })
	following := start(ctx, t.follower.run)
	guarding := start(ctx, t.guarding.run)
	var spilling stage
	if t.spill != nil {
		spilling = start(behind, t.spill.run)
	}

	err := t.runSources(ctx, sources)

	err = errors.Join(err, pipeline.stop())
	if t.spill != nil {
		_, left := t.records.Pending()
		t.spill.expect(left)
	}
	err = errors.Join(err, records.stop())
	if t.spill != nil {
		err = errors.Join(err, spilling.stopWithin(spillEnd))
	}
	err = errors.Join(err, guarding.stop(), following.stop(), reporting.stop())
	reports.write(true)
	logSummary(t.opts.Logger, t.pipeline.Counters().Report())
	if err = errors.Join(err, control.stop()); err != nil {
		return fmt.Errorf("tap: %w", err)
	}
	return nil
}

// runSources runs all sources to their ends. One that fails before it was to end does not take the others with it: that is
// said at once, and is the error when all have ended.
func (t *Tap) runSources(ctx context.Context, sources []Source) error {
	running := make([]stage, len(sources))
	for i, src := range sources {
		running[i] = start(ctx, func(ctx context.Context) error {
			err := src.Run(ctx)
			if err != nil && ctx.Err() == nil && len(sources) > 1 {
				t.opts.Logger.Error("A SOURCE HAS FAILED: what it took is neither passed on nor recorded; the others go on",
					"source", src.Kind.String(), "listen", src.Listen, "error", err)
			}
			return err
		})
	}
	var failed error
	for _, s := range running {
		failed = errors.Join(failed, <-s.ended)
		s.cancel()
	}
	return failed
}

// stage is a goroutine that its starter ends and waits for.
type stage struct {
	cancel context.CancelFunc
	ended  chan error
}

func start(ctx context.Context, run func(context.Context) error) stage {
	ctx, cancel := context.WithCancel(ctx)
	s := stage{cancel: cancel, ended: make(chan error, 1)}
	go func() { s.ended <- run(ctx) }()
	return s
}

func (s stage) stop() error {
	s.cancel()
	return <-s.ended
}

// stopWithin is stop for what may hang in the kernel; such a stage is left behind.
func (s stage) stopWithin(d time.Duration) error {
	s.cancel()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case err := <-s.ended:
		return err
	case <-timer.C:
		return fault.New("what was on its way to the spool is lost", "its disk did not answer for "+d.String(), "")
	}
}
