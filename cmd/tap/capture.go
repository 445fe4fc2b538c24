package main

import (
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/pflag"

	"github.com/reprise-io/reprise/cmd/internal/cli"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/redact"
	"github.com/reprise-io/reprise/internal/tap"
	"github.com/reprise-io/reprise/internal/topic"
)

// choice holds the flags that choose and redact, the same for every source.
type choice struct {
	include, exclude []string
	redact           string
}

func (c *choice) addFlags(fs *pflag.FlagSet) {
	fs.StringArrayVar(&c.include, "include", nil, "capture only what matches: 'GET /api/**' or an expression; repeatable")
	fs.StringArrayVar(&c.exclude, "exclude", nil, "leave out what matches; repeatable, and stronger than --include")
	fs.StringVar(&c.redact, "redact", "on", "on, or off typed in full: then secrets are stored as they came")
}

// captureOptions holds the flags of every source that captures live traffic.
type captureOptions struct {
	cli.Shared
	choice
	name      string
	bodyMax   cli.Bytes
	memoryMax cli.Bytes
	workers   int
	sample    string
	sampleBy  string
	rateLimit float64
	partition int32
	linger    time.Duration
	acks      string
}

func (o *captureOptions) addFlags(fs *pflag.FlagSet) {
	o.AddKafka(fs)
	o.AddLog(fs)
	o.AddAdmin(fs)
	o.AddRedactKey(fs)
	o.choice.addFlags(fs)
	o.bodyMax, o.memoryMax = 256<<10, 64<<20
	fs.StringVar(&o.name, "name", "", "name of this tap in records and reports")
	fs.Var(&o.bodyMax, "body-max", "keep at most this much of each body; longer ones are flagged as truncated")
	fs.Var(&o.memoryMax, "memory-max", "all that capture may hold; beyond it capture is shed, traffic is not")
	fs.IntVar(&o.workers, "workers", max(1, runtime.NumCPU()/2), "goroutines that redact and encode")
	fs.StringVar(&o.sample, "sample", "100%", "share of the traffic to record; whole sessions are kept")
	fs.StringVar(&o.sampleBy, "sample-by", string(tap.BySession), "what is kept whole: session, connection or request")
	fs.Float64Var(&o.rateLimit, "rate-limit", 0, "record at most this many exchanges a second; 0: no limit")
	fs.Int32Var(&o.partition, "partitions", 12, "partitions of the topics that the tap creates")
	fs.DurationVar(&o.linger, "linger", 200*time.Millisecond, "how long records wait for company on their way to Kafka")
	fs.StringVar(&o.acks, "acks", string(topic.AcksAll), "all, or leader: faster, and a lost leader loses records")
}

// build checks the flags and joins a tap from them.
func (o *captureOptions) build(log *slog.Logger, reg prometheus.Registerer) (*tap.Tap, error) {
	share, err := tap.ParseShare(o.sample)
	if err != nil {
		return nil, err
	}
	unit, err := tap.ParseUnit(o.sampleBy)
	if err != nil {
		return nil, err
	}
	acks := topic.Acks(o.acks)
	if acks != topic.AcksAll && acks != topic.AcksLeader {
		return nil, fault.BadUsage(fmt.Sprintf("bad --acks %q", o.acks), "", "all or leader")
	}
	if o.memoryMax < 1<<20 {
		return nil, fault.BadUsage(fmt.Sprintf("--memory-max %s is too small", o.memoryMax.String()), "", "at least 1MiB; 64MiB is usual")
	}
	opts := tap.Options{
		Names: topic.NamesOf(o.TopicPrefix), Partitions: o.partition, Linger: o.linger, Acks: acks,
		Name: o.name, MemoryMax: int64(o.memoryMax), Workers: o.workers,
		Sample: share, SampleBy: unit, RateLimit: o.rateLimit, Registerer: reg, Logger: log,
	}
	opts.Topic = o.Topic("reprise-tap", log)
	opts.Topic.Registerer = reg
	if err := o.choose(&opts, &o.Shared, log); err != nil {
		return nil, err
	}
	return tap.New(opts)
}

// choose sets what is captured and how it is redacted.
func (c *choice) choose(opts *tap.Options, shared *cli.Shared, log *slog.Logger) error {
	set, err := filter.CompileSet(c.include, c.exclude)
	if err != nil {
		return err
	}
	if len(c.include)+len(c.exclude) > 0 {
		opts.Filter = set
	}
	switch c.redact {
	case "on":
	case "off":
		log.Warn("REDACTION IS OFF: tokens, phone numbers and card numbers are stored as they came")
		return nil
	default:
		return fault.BadUsage(fmt.Sprintf("bad --redact %q", c.redact), "", "on, or off typed in full")
	}
	key, random, err := shared.Key()
	if err != nil {
		return err
	}
	if random {
		log.Warn("no --redact-key: pseudonyms are made with a random key, so sessions of different taps and runs do not join")
	}
	redactor, err := redact.New(redact.Options{Key: key})
	if err != nil {
		return err
	}
	opts.Redactor = redactor
	return nil
}

// newRegistry returns a registry with the process's own metrics.
func newRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

// gcPercent trades memory, of which capture holds little, for time that the traffic needs.
const gcPercent = 400

// spareProcs are there so that an event loop that comes back from the kernel finds a P at once, however busy the rest is.
const spareProcs = 2

// bound sets the garbage collector's backstop above the budget that capture keeps by itself.
func bound(memoryMax int64) {
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + spareProcs)
	debug.SetGCPercent(gcPercent)
	debug.SetMemoryLimit(memoryMax + 128<<20)
}
