package tap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fault"
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

	Name      string // shown in reports and records; may be empty
	MemoryMax int64  // bytes that capture may hold, all in all
	Workers   int
	Settings  Settings // what can be changed later
	SampleBy  Unit
	Redactor  redactor // nil: stored as captured
	Filter    chooser  // of an import, which has no other settings; nil: everything

	Registerer prometheus.Registerer
	Logger     *slog.Logger
}

// The memory is parted once: what is being captured or waits for a worker, what waits for Kafka, what is on its way.
const (
	captureShare = 3 // of 8
	ringShare    = 3
	bufferShare  = 2
)

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
	t := &Tap{opts: o, id: NewID(), budget: NewBudget(o.MemoryMax * captureShare / 8)}
	// The results are the replayer's: made here too, so that whoever may create topics needs to be one program only.
	specs := []topic.Spec{topic.ExchangesSpec(o.Names, o.Partitions), topic.ResultsSpec(o.Names, o.Partitions)}
	var err error
	t.records, err = topic.NewWriter(topic.WriterConfig{
		Config: o.Topic, Topic: o.Names.Exchanges, Ensure: specs,
		RingBytes: o.MemoryMax * ringShare / 8, BufferBytes: o.MemoryMax * bufferShare / 8,
		Linger: o.Linger, Acks: o.Acks,
		OnDone: func(r *topic.Record, result topic.Result) { t.pipeline.Done(r, result) },
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
		TapID: t.id, SampleBy: o.SampleBy, Redactor: o.Redactor, Writer: t.records, Budget: t.budget, Workers: o.Workers,
		Logger: o.Logger,
	})
	if t.board, err = newBoard(o, t.id, t.pipeline.apply); err != nil {
		return nil, err
	}
	if t.follower, err = newFollower(o, t.board); err != nil {
		return nil, err
	}
	return t, t.register()
}

func (t *Tap) register() error {
	memory := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "reprise_tap_memory_bytes", Help: "Bytes that capture holds: being captured, waiting, and on their way to Kafka.",
	}, func() float64 {
		_, waiting := t.records.Pending()
		return float64(t.budget.Used() + waiting)
	})
	return errors.Join(t.opts.Registerer.Register(memory), t.pipeline.counters.Register(t.opts.Registerer))
}

// Pipeline is the sink for a source.
func (t *Tap) Pipeline() *Pipeline { return t.pipeline }

// Budget is what a source books its bytes with.
func (t *Tap) Budget() *Budget { return t.budget }

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

	err := t.runSources(ctx, sources)

	err = errors.Join(err, pipeline.stop(), records.stop(), following.stop(), reporting.stop())
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
