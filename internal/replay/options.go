// Package replay fires recorded exchanges at a target and tells how it went. It joins the stages:
//
//	read (group) → decode, filter, redact, guard → look-ahead (merge) → pace → order → fire → compare → outcome → commit
//
// What it keeps: one time base for a run and absolute deadlines; an offset is committed only when the outcomes of all
// before it are stored; one bad record never blocks a partition; nothing is fired that a guard refuses. What it does
// not: several replicas share a run's partitions and schedule, but every one reports for itself.
package replay

import (
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/reprise-io/reprise/internal/compare"
	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/redact"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/rewrite"
	"github.com/reprise-io/reprise/internal/sample"
	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// Defaults that the command line shows.
const (
	DefaultLag       = 3 * time.Second
	DefaultMaxStale  = time.Minute
	DefaultOrderWait = 10 * time.Second
	DefaultTimeout   = 30 * time.Second
	DefaultLateAfter = time.Second
	DefaultLookAhead = 64 << 20
	// DefaultConcurrency is for paced replay; DefaultMaxConcurrency for --speed max, where more connections than the target
	// has cores only make everything slower.
	DefaultConcurrency    = 256
	DefaultMaxConcurrency = 64
)

// LatePolicy is what is done with a request whose time has passed.
type LatePolicy string

// The policies of --late.
const (
	SendLate LatePolicy = "send"
	DropLate LatePolicy = "drop"
	SlowLate LatePolicy = "slow" // the whole run is put off: nothing is made up for
)

// ResultsPolicy is which outcomes are written to the results topic.
type ResultsPolicy string

// The policies of --results. Each holds what the next one holds.
const (
	AllResults  ResultsPolicy = "all"
	DiffResults ResultsPolicy = "diff"   // answers that differ, and errors
	ErrResults  ResultsPolicy = "errors" // failed, late and bad records
	NoResults   ResultsPolicy = "none"
)

// DataLossPolicy is what is done when records of a run are not in Kafka any more.
type DataLossPolicy string

// The policies of --on-data-loss.
const (
	FailOnDataLoss DataLossPolicy = "fail"
	SkipDataLoss   DataLossPolicy = "skip" // they are counted
)

// Delivery is what a crash does to what was under way.
type Delivery string

// The kinds of --delivery.
const (
	AtLeastOnce Delivery = "at-least-once" // it is fired again
	AtMostOnce  Delivery = "at-most-once"  // it is lost, and never fired twice
)

// Options say what to replay, where to and how. Zero values are defaults unless said otherwise.
type Options struct {
	Kafka  topic.Config
	Prefix string // of the topics; required

	Run     string // required
	Live    bool
	Restart bool

	Target *url.URL // http or https; required
	// Baseline is where the old build runs, which gets what the target gets and whose answers are the baseline; nil: recorded answers are.
	// Noise is another copy of it, or the same: where the two differ the target may. Both have to be allowed as Target has.
	Baseline, Noise *url.URL

	Protocol fire.Protocol
	TLS      *tls.Config // for https; nil: the system's roots
	// Dialer replaces the network to the target, for tests in fake time: those have Go's timers only, and so has their pacer. nil: TCP.
	Dialer        fire.DialFunc
	AllowTarget   []string // required
	AllowPublic   bool
	Production    []fire.Address  // beside what taps report
	NotProduction []string        // HOST:PORT
	HostID        string          // of this machine, as taps report theirs
	Handshake     *fire.Handshake // nil: none is wanted
	AllowWrites   []string        // filters
	Flagged       traffic.Flags   // marks that do not keep an exchange from being replayed, as Unreplayable ones else do
	Caps          []Cap           // of routes
	MaxTotal      int64           // most exchanges that are sent by all replicas and starts of the run, clones and loops among them; 0: no bound
	KillFile      string          // that stops the run once it is there; "": none
	Kill          <-chan string   // stops the run; what it brings says why. nil: nothing does

	From, To time.Time // capture times, From ≤ t ≤ To; zero: no bound
	// Asked is what was typed for From and To: what a run is compared by, as "now-1h" is another time at each start.
	AskedFrom, AskedTo string
	Profile            schedule.Profile // how fast; nil: as recorded; live: not used
	GapMax             time.Duration    // captured time in which nothing was captured takes no longer than that; 0: as long as it took
	// Clones is how many copies of each exchange are sent, the recorded one among them; 0: 1. The others come up to CloneJitter of
	// captured time later, each with an identity of its own, to which CloneIDs belong.
	Clones      int
	CloneJitter time.Duration
	CloneIDs    []redact.Identity
	// Loops is how often the window is replayed, one time after the other; 0: once, Forever: until the run is stopped.
	Loops int
	// WaitReplicas is how many processes must be there before the run begins; 0: this one.
	WaitReplicas int

	Lag      time.Duration // live: how far behind capture
	MaxStale time.Duration // live: older ones are not fired
	Duration time.Duration // live: end by itself after that; 0: never

	Filter           []string // all must match
	Include, Exclude []string // any
	// Sample is how much of what was recorded is replayed, whole sessions of it; 0: all.
	Sample        sample.Share
	SetHeaders    []traffic.Field
	RemoveHeaders []string
	Host          string // "", "recorded" or a name

	Rewrite rewrite.Rules  // the same for every request
	Session SessionOptions // what depends on the target's answers

	Order       schedule.OrderMode
	OrderWait   time.Duration
	Late        LatePolicy
	LateAfter   time.Duration // how late is late, for DropLate and for what the report calls sent late
	RateLimit   float64       // requests a second of the whole run, of which each process takes the share of its partitions; 0: no limit
	Concurrency int
	// Breaker says when the target is left alone; nil: never. MaxErrorRate above which the run is stopped, in all replicas; nil:
	// none. Adaptive: fewer than Concurrency at a time while answers take longer than they did.
	Breaker      *fire.Breaker
	MaxErrorRate *fire.ErrorRate
	Adaptive     bool
	Timeout      time.Duration // of one attempt
	Retries      int
	Results      ResultsPolicy
	LookAhead    int64 // bytes
	// FailOn is what the run must not be above at its end, over all replicas and starts; live: what this process has sent.
	FailOn []report.Threshold

	OnDataLoss DataLossPolicy // "": fail; live: skip
	Delivery   Delivery       // "": at least once
	Instance   string         // name of this replica, under which it has its partitions back after a restart; "": none
	ServerSide bool           // the brokers assign partitions (KIP-848)

	RulesDigest []byte         // of the rules file; nil: there is none
	RulesFilter *filter.Set    // of the rules file: what it wants must also pass the filters above; nil: everything
	RedactRules *redact.Rules  // nil: the built-in ones
	Compare     *compare.Rules // what counts as the same; nil: nothing but what is

	RedactKey   []byte
	RedactKeyID string // its name in the record; "": made of the key
	RandomKey   bool   // RedactKey was drawn at random: nothing joins with other processes

	Logger     *slog.Logger          // nil: nothing is logged
	Registerer prometheus.Registerer // nil: no metrics
	Talk       io.Writer             // lines for people; nil: none
	Draw       func(lines []string)  // how it goes, to be drawn over what was drawn before; nil: it is told in lines now and then
	planning   bool                  // nothing will be sent
	// Ready is called once partitions are assigned and the schedule stands; nil: nobody asks.
	Ready func()
}

// check fills the defaults in and returns a *fault.Error about what cannot be.
func (o *Options) check() error {
	if err := control.CheckRunName(o.Run); err != nil {
		return fault.BadUsage(err.Error(), "", "--run monday-2")
	}
	if o.Target == nil || o.Target.Host == "" || o.Target.Scheme != "http" && o.Target.Scheme != "https" {
		return fault.BadUsage("no target to fire at", "", "--target http://HOST:PORT --allow-target HOST:PORT")
	}
	if err := o.checkBaseline(); err != nil {
		return err
	}
	if len(o.AllowTarget) == 0 && !o.planning {
		return fault.BadUsage("the target is not allowed yet", "whoever replays has to say twice where to",
			"--allow-target "+o.Target.Host)
	}
	if !o.From.IsZero() && !o.To.IsZero() && o.To.Before(o.From) {
		return fault.BadUsage(fmt.Sprintf("--to %s is before --from %s", o.To.Format(time.RFC3339), o.From.Format(time.RFC3339)), "",
			"exchange the two")
	}
	if len(o.Profile) == 0 || o.Live {
		o.Profile = schedule.ConstantSpeed(1)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Talk == nil {
		o.Talk = io.Discard
	}
	if o.Live {
		setDefault(&o.Lag, DefaultLag)
		setDefault(&o.MaxStale, DefaultMaxStale)
		if o.MaxStale <= o.Lag {
			return fault.BadUsage(fmt.Sprintf("--max-stale %s is not above --lag %s", o.MaxStale, o.Lag),
				"everything would be too old when its time comes", "--max-stale "+(o.Lag+time.Minute).String())
		}
	}
	if err := o.checkGroup(); err != nil {
		return err
	}
	if err := o.checkCaps(); err != nil {
		return err
	}
	if len(o.FailOn) > 0 && (o.Live && o.Duration == 0 || o.Loops == Forever) {
		o.Logger.Warn("--fail-on will not be judged: this ends only when it is interrupted", "try", "live --duration 10m, or --loop 3")
	}
	setDefault(&o.OrderWait, DefaultOrderWait)
	setDefault(&o.Timeout, DefaultTimeout)
	setDefault(&o.LateAfter, DefaultLateAfter)
	setDefault(&o.LookAhead, DefaultLookAhead)
	if o.Concurrency <= 0 {
		o.Concurrency = DefaultConcurrency
		if o.Profile.IsMax() {
			o.Concurrency = DefaultMaxConcurrency
		}
	}
	if o.Late == "" {
		o.Late = SendLate
	}
	if o.GapMax < 0 {
		return fault.BadUsage(fmt.Sprintf("bad --gap-max %s", o.GapMax), "want a time above 0", "--gap-max 10s")
	}
	if err := o.checkClones(); err != nil {
		return err
	}
	if err := o.checkLoops(); err != nil {
		return err
	}
	if err := o.checkSession(); err != nil {
		return err
	}
	switch {
	case o.Late != SendLate && o.Late != DropLate && o.Late != SlowLate:
		return fault.BadUsage("bad --late "+strconv.Quote(string(o.Late)), "want send, drop or slow", "--late send")
	case o.Late == SlowLate && o.Live:
		return fault.BadUsage("--late slow is not for live", "it would fall behind production for good", "--late send or drop")
	}
	if o.RateLimit < 0 || math.IsNaN(o.RateLimit) {
		return fault.BadUsage(fmt.Sprintf("bad --rate-limit %v", o.RateLimit), "want requests a second, 0 for no limit", "--rate-limit 500")
	}
	if o.Results == "" {
		o.Results = AllResults
	}
	if !slices.Contains([]ResultsPolicy{AllResults, DiffResults, ErrResults, NoResults}, o.Results) {
		return fault.BadUsage("bad --results "+strconv.Quote(string(o.Results)), "want all, diff, errors or none", "--results diff")
	}
	return nil
}

// checkGroup is check for what is about the consumer group and its offsets.
func (o *Options) checkGroup() error {
	if o.OnDataLoss == "" {
		o.OnDataLoss = FailOnDataLoss
		if o.Live { // what retention has deleted is older than --max-stale
			o.OnDataLoss = SkipDataLoss
		}
	}
	if o.Delivery == "" {
		o.Delivery = AtLeastOnce
	}
	switch {
	case o.OnDataLoss != FailOnDataLoss && o.OnDataLoss != SkipDataLoss:
		return fault.BadUsage("bad --on-data-loss "+strconv.Quote(string(o.OnDataLoss)), "want fail or skip", "--on-data-loss skip")
	case o.Delivery != AtLeastOnce && o.Delivery != AtMostOnce:
		return fault.BadUsage("bad --delivery "+strconv.Quote(string(o.Delivery)), "want at-least-once or at-most-once", "--delivery at-least-once")
	case o.Delivery == AtMostOnce && o.Clones > 1:
		return fault.BadUsage("--delivery at-most-once does not go with --clone", "an offset is finished when all its clones are, so none could go first",
			"at-least-once, or several runs")
	case o.Delivery == AtMostOnce && o.Live:
		return fault.BadUsage("--delivery at-most-once is not for live", "it is for load tests of a recorded window", "replayer run")
	}
	if o.Instance != "" {
		if err := control.CheckRunName(o.Instance); err != nil {
			return fault.BadUsage("bad --instance "+strconv.Quote(o.Instance), "want letters, digits and -_.", "--instance replayer-0")
		}
	}
	return nil
}

func setDefault[T time.Duration | int64](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// canonical is everything that makes a run what it is, beside what has a field of its own in the run's record, in one
// text. Header values are left out: they may be credentials, and these may be renewed before a run is resumed.
func (o *Options) canonical() string {
	var b strings.Builder
	put := func(name string, values ...string) {
		for _, v := range values {
			if v != "" {
				fmt.Fprintf(&b, "%s=%q\n", name, v)
			}
		}
	}
	put("from", o.AskedFrom)
	put("to", o.AskedTo)
	put("filter", sorted(o.Filter)...)
	put("include", sorted(o.Include)...)
	put("exclude", sorted(o.Exclude)...)
	if share := o.share(); share != sample.All {
		put("sample", share.String())
	}
	put("allow-writes", sorted(o.AllowWrites)...)
	put("replay-flagged", o.Flagged.String())
	for _, c := range o.Caps { // their place is the name of what is claimed
		put("cap", c.Route+"="+strconv.FormatInt(c.Most, 10))
	}
	if o.MaxTotal > 0 {
		put("max-total", strconv.FormatInt(o.MaxTotal, 10))
	}
	for _, f := range o.SetHeaders {
		put("set-header", string(f.Name))
	}
	put("remove-header", sorted(o.RemoveHeaders)...)
	put("host", o.Host)
	if o.Protocol != fire.AsRecorded { // what the spec of an earlier version does not have is as it was then
		put("target-protocol", string(o.Protocol))
	}
	if o.Baseline != nil {
		put("baseline-target", o.Baseline.Scheme+"://"+hostPort(o.Baseline))
	}
	if o.Noise != nil {
		put("noise-target", o.Noise.Scheme+"://"+hostPort(o.Noise))
	}
	put("order", o.Order.String())
	put("late", string(o.Late))
	if o.Late == DropLate && o.LateAfter != DefaultLateAfter {
		put("late-after", o.LateAfter.String())
	}
	if o.GapMax > 0 {
		put("gap-max", o.GapMax.String())
	}
	if o.Clones > 1 {
		put("clone", strconv.Itoa(o.Clones))
		put("clone-jitter", o.CloneJitter.String())
		put("clone-id", o.cloneOptions()...)
	}
	if o.loops() != 1 {
		put("loop", strconv.Itoa(o.loops()))
	}
	if len(o.RulesDigest) > 0 {
		put("rules", hex.EncodeToString(o.RulesDigest))
	}
	return b.String()
}

// share returns how much is replayed.
func (o *Options) share() sample.Share {
	if o.Sample == 0 {
		return sample.All
	}
	return o.Sample
}

func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return s
}

// guard returns what the guard is made of; production is what taps report.
func (o *Options) guard(production []fire.Address, writes []fire.Matcher) fire.GuardConfig {
	return fire.GuardConfig{
		Target: o.Target, Allow: o.AllowTarget, AllowPublic: o.AllowPublic, Production: production, NotProduction: o.NotProduction,
		HostID: o.HostID, AllowWrites: writes, Dialer: o.Dialer, Logger: o.Logger,
	}
}

// address is the target as host:port.
func (o *Options) address() string { return hostPort(o.Target) }

func hostPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	if u.Scheme == "https" {
		return u.Host + ":443"
	}
	return u.Host + ":80"
}
