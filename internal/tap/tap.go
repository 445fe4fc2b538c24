package tap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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
	Filter    chooser // nil: everything
	Sample    Share
	SampleBy  Unit
	RateLimit float64  // exchanges a second; 0: no limit
	Redactor  redactor // nil: stored as captured

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
}

// Source is where the exchanges come from, and what is reported of it.
type Source struct {
	Kind         traffic.SourceKind
	Listen       []string // addresses on which it takes production traffic
	Upstream     []string // where it passes it on to
	ResponseWait time.Duration
	Run          func(context.Context) error // until its context ends; it has offered everything when it returns
}

// New builds a tap; it neither connects nor starts anything.
func New(o Options) (*Tap, error) {
	t := &Tap{opts: o, id: NewID(), budget: NewBudget(o.MemoryMax * captureShare / 8)}
	specs := []topic.Spec{
		topic.ExchangesSpec(o.Names, o.Partitions), topic.ControlSpec(o.Names), topic.ResultsSpec(o.Names, o.Partitions),
	}
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
		Config: controlConfig, Topic: o.Names.Control, RingBytes: 1 << 20, BufferBytes: 1 << 20, Linger: time.Millisecond,
	})
	if err != nil {
		return nil, err
	}
	t.pipeline = NewPipeline(PipelineConfig{
		TapID: t.id, Filter: o.Filter, Sample: o.Sample, SampleBy: o.SampleBy, RateLimit: o.RateLimit,
		Redactor: o.Redactor, Writer: t.records, Budget: t.budget, Workers: o.Workers, Logger: o.Logger,
	})
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

// Run runs src until ctx ends. Then the stages end in the order in which exchanges flow, each with what the one before
// has given it, and the final report is written last.
func (t *Tap) Run(ctx context.Context, src Source) error {
	var digest []byte
	if t.opts.Redactor != nil {
		digest = t.opts.Redactor.Digest()
	}
	reports := newReporter(t.opts, t.id, src, digest, t.pipeline.Counters(), t.control)
	behind := context.WithoutCancel(ctx) // stages outlive the source
	control := start(behind, t.control.Run)
	records := start(behind, t.records.Run)
	pipeline := start(behind, t.pipeline.Run)
	reporting := start(behind, func(ctx context.Context) error { reports.run(ctx); return nil })

	err := src.Run(ctx)

	err = errors.Join(err, pipeline.stop(), records.stop(), reporting.stop())
	reports.write(true)
	logSummary(t.opts.Logger, t.pipeline.Counters().Report())
	if err = errors.Join(err, control.stop()); err != nil {
		return fmt.Errorf("tap: %w", err)
	}
	return nil
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
