package main

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/reprise-io/reprise/cmd/internal/cli"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/meter"
	"github.com/reprise-io/reprise/internal/redact"
	"github.com/reprise-io/reprise/internal/rules"
	"github.com/reprise-io/reprise/internal/sample"
	"github.com/reprise-io/reprise/internal/size"
	"github.com/reprise-io/reprise/internal/spool"
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
	spoolDir  string
	spoolMax  cli.Bytes
	workers   int
	maxCPU    string
	maxRSS    string
	capture   string
	sample    string
	sampleBy  string
	keep      string
	rateLimit float64
	partition int32
	linger    time.Duration
	acks      string
	embedded  string
	takeover  string
}

func (o *captureOptions) addFlags(fs *pflag.FlagSet) {
	o.AddKafka(fs)
	o.AddLog(fs)
	o.AddAdmin(fs)
	o.AddRedactKey(fs)
	o.AddRules(fs)
	o.choice.addFlags(fs)
	o.bodyMax, o.memoryMax, o.spoolMax = 256<<10, 64<<20, usualSpool
	fs.StringVar(&o.name, "name", "", "name of this tap in records and reports")
	fs.Var(&o.bodyMax, "body-max", "keep at most this much of each body; longer ones are flagged as truncated")
	fs.Var(&o.memoryMax, "memory-max", "all that capture may hold; beyond it capture is shed, traffic is not")
	fs.StringVar(&o.spoolDir, "spool-dir", "", "directory for what Kafka does not take in time; it is sent later, also by the next run. Off unless given")
	fs.Var(&o.spoolMax, "spool-max", "all that the spool may take on disk; beyond it the oldest is dropped and counted")
	fs.IntVar(&o.workers, "workers", halfOfTheCores(), "goroutines that redact and encode; by default one for two of the cores that the tap may use, by its CPU quota and affinity")
	fs.StringVar(&o.maxCPU, "max-cpu", tap.LimitAuto, "capture switches itself off while the tap uses more than this share of the CPU that it may use (its control group's quota, else the cores), such as 50%; auto: 90% where there is a quota; off: never")
	fs.StringVar(&o.maxRSS, "max-rss", tap.LimitAuto, "capture switches itself off while the tap's resident memory is above this: a size, or a share of its control group's limit; auto: 90% where there is a limit; off: never")
	fs.StringVar(&o.capture, "capture", "on", "on, or off: traffic passes and is counted, nothing is recorded")
	fs.StringVar(&o.sample, "sample", "", "share of the traffic to record; whole sessions are kept. Default: as the rules file says, else 100%")
	fs.StringVar(&o.sampleBy, "sample-by", "", "what is kept whole: session, connection or request. Default: as the rules file says, else session")
	fs.StringVar(&o.keep, "sample-keep", "", "keep at least this much of each route, whatever --sample says: 1/s, 10/m; such exchanges are flagged KEPT_BY_QUOTA. Default: as the rules file says, else nothing")
	fs.Float64Var(&o.rateLimit, "rate-limit", 0, "record at most this many exchanges a second; 0: no limit")
	fs.Int32Var(&o.partition, "partitions", 12, "partitions of the topics that the tap creates")
	fs.DurationVar(&o.linger, "linger", 200*time.Millisecond, "how long records wait for company on their way to Kafka")
	fs.StringVar(&o.acks, "acks", string(topic.AcksAll), "all, or leader: faster, and a lost leader loses records")
	fs.StringVar(&o.takeover, "takeover", "", "Unix socket: take the listening sockets over from the tap that has it, and hand them to the next; for upgrades that no client notices")
	fs.StringVar(&o.embedded, "embedded", "", "also run a Kafka-compatible broker for one machine on the first of --brokers, with its data in this directory")
}

const usualSpool = 1 << 30

// halfOfTheCores is of those that the process may use: in a container with a quota the machine's would be too many.
func halfOfTheCores() int { return max(1, meter.Find().Cores()/2) }

// settings are what can be changed while the tap runs. Only those without a problem are set.
func (o *captureOptions) settings() (s tap.Settings, wrong problems) {
	var err error
	s = tap.Settings{Include: o.include, Exclude: o.exclude, RateLimit: o.rateLimit}
	s.Keep, err = sample.ParseKeep(o.keep)
	wrong.note("sample-keep", err)
	s.Capture, err = tap.ParseCapture(o.capture)
	wrong.note("capture", err)
	s.Sample = sample.All
	if o.sample != "" {
		s.Sample, err = sample.ParseShare(o.sample)
		wrong.note("sample", err)
	}
	if o.sampleBy != "" {
		s.SampleBy, err = sample.ParseUnit(o.sampleBy)
		wrong.note("sample-by", err)
	}
	wrong.note("include", (&tap.Settings{Include: o.include}).Check())
	wrong.note("exclude", (&tap.Settings{Exclude: o.exclude}).Check())
	wrong.note("rate-limit", (&tap.Settings{RateLimit: o.rateLimit}).Check())
	return s, wrong
}

// check finds what is wrong with the flags that all sources share.
func (o *captureOptions) check() problems {
	_, wrong := o.settings()
	if acks := topic.Acks(o.acks); acks != topic.AcksAll && acks != topic.AcksLeader {
		wrong.note("acks", fault.BadUsage(fmt.Sprintf("bad --acks %q", o.acks), "", "all or leader"))
	}
	if o.memoryMax < 1<<20 {
		wrong.note("memory-max", fault.BadUsage(fmt.Sprintf("--memory-max %s is too small", o.memoryMax.String()), "", "at least 1MiB; 64MiB is usual"))
	}
	if o.spoolMax < spool.LeastBytes {
		wrong.note("spool-max", fault.BadUsage(fmt.Sprintf("--spool-max %s is too small", o.spoolMax.String()), "", "at least 16MiB; 1GiB is usual"))
	}
	if o.spoolDir == "" && o.spoolMax != usualSpool {
		wrong.note("spool-max", fault.BadUsage("--spool-max without --spool-dir", "there is no spool then, and what Kafka does not take is dropped", "--spool-dir /var/lib/reprise/spool"))
	}
	wrong.least("workers", int64(o.workers), 1)
	wrong.least("partitions", int64(o.partition), 1)
	wrong.time("linger", o.linger, 0)
	_, err := tap.ParseMaxCPU(o.maxCPU)
	wrong.note("max-cpu", err)
	_, err = tap.ParseMaxRSS(o.maxRSS, size.Parse)
	wrong.note("max-rss", err)
	if o.redact != "on" && o.redact != "off" {
		wrong.note("redact", badRedact(o.redact))
	}
	if o.redact != "off" {
		_, _, err = o.Key()
		wrong.note("redact-key", err)
	}
	if o.takeover != "" && o.embedded != "" {
		wrong.note("takeover", fault.BadUsage("--takeover with --embedded", "two taps cannot have one broker's files, not even for a moment", "--brokers of a broker that runs by itself, such as tap broker"))
	}
	wrong.note("name", tap.CheckName(o.name))
	wrong.note("kafka-sasl-mechanism", o.Security.Check())
	_, err = o.Level()
	wrong.note("log-level", err)
	_, err = o.Logger(io.Discard)
	wrong.note("log-format", err)
	return wrong
}

// build joins a tap from flags that have been checked.
func (o *captureOptions) build(book *ruleBook, bounds meter.Bounds, log *slog.Logger, reg prometheus.Registerer) (*tap.Tap, error) {
	opts := tap.Options{
		Names: topic.NamesOf(o.TopicPrefix), Partitions: o.partition, Linger: o.linger, Acks: topic.Acks(o.acks),
		Name: o.name, MemoryMax: int64(o.memoryMax), SpoolDir: o.spoolDir, SpoolMax: int64(o.spoolMax), Workers: o.workers,
		Settings: book.settings(o), Bounds: bounds, Registerer: reg, Logger: log,
	}
	opts.MaxCPU, _ = tap.ParseMaxCPU(o.maxCPU) // checked
	opts.MaxRSS, _ = tap.ParseMaxRSS(o.maxRSS, size.Parse)
	opts.Topic = o.Topic("reprise-tap", log)
	opts.Topic.Registerer = reg
	if book.builtIn != nil {
		opts.Redactor = book.builtIn
	}
	return tap.New(opts)
}

// choose sets what an import keeps and how it is redacted: by the flags and, where there is one, the rules file.
func (c *choice) choose(opts *tap.Options, shared *cli.Shared, log *slog.Logger) error {
	set, err := filter.CompileSet(c.include, c.exclude)
	if err != nil {
		return err
	}
	opts.Filters = append(opts.Filters, set)
	redaction, err := c.redaction(shared, log)
	if err != nil {
		return err
	}
	file := rules.Empty()
	if shared.Rules != "" {
		if file, err = rules.Load(shared.Rules); err != nil {
			return err
		}
		if set, err = file.Filter.Set(); err != nil {
			return err
		}
		opts.Filters = append(opts.Filters, set)
		if opts.SessionKey, err = file.Session.By(); err != nil {
			return err
		}
	}
	redactor, err := redaction.by(file)
	if redactor != nil {
		opts.Redactor = redactor
	}
	return err
}

// redaction makes redactors: with one key, whatever rules come.
type redaction struct {
	off bool
	key []byte
}

func (c *choice) redaction(shared *cli.Shared, log *slog.Logger) (r redaction, err error) {
	switch c.redact {
	case "on":
	case "off":
		log.Warn("REDACTION IS OFF: tokens, phone numbers and card numbers are stored as they came")
		return redaction{off: true}, nil
	default:
		return r, badRedact(c.redact)
	}
	key, random, err := shared.Key()
	if err != nil {
		return r, err
	}
	if random {
		text := "no --redact-key: pseudonyms are made with a random key, so sessions of different taps and runs do not join"
		if shared.Rules != "" {
			text += ", unless the rules file names a key"
		}
		log.Warn(text, "try", "--redact-key file:PATH, the same on every tap: head -c 32 /dev/urandom | base64 > PATH")
	}
	return redaction{key: key}, nil
}

// by returns a redactor that goes by a rules file; nil: redaction is off.
func (r redaction) by(file *rules.File) (*redact.Redactor, error) {
	if r.off {
		return nil, nil //nolint:nilnil // stored as it came
	}
	o, err := file.Redact.Options(file.Version, r.key)
	if err != nil {
		return nil, err
	}
	return redact.New(o)
}

func badRedact(s string) error {
	return fault.BadUsage(fmt.Sprintf("bad --redact %q", s), "", "on, or off typed in full")
}
