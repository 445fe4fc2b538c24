package replay

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/traffic"
)

// metrics are what an operator watches; those that count have all their series from the start:
//
//	reprise_replay_read_total                 records read
//	reprise_replay_fired_total{outcome}       same, status_changed, body_changed, no_baseline, failed
//	reprise_replay_refused_total{reason}      left out by a guard
//	reprise_replay_skipped_total{reason}      left out by a rule
//	reprise_replay_late_total{reason}         left out because late or stale
//	reprise_replay_bad_records_total{reason}  could not be read
//	reprise_replay_rule_decided_total{list,rule}  what each filter of the rules file has decided (rules.go)
//	reprise_replay_resumed_total              finished by an earlier start
//	reprise_replay_gone_total                 offsets of the run that were not in Kafka any more
//	reprise_replay_given_up_total             committed and not fired (--delivery at-most-once)
//	reprise_replay_lag_seconds                now - capture time of what was fired last
//	reprise_replay_lateness_seconds           due → sent (native and classic histogram)
//	reprise_replay_target_seconds             sent → answered (native and classic histogram)
//	reprise_replay_fetched_seconds            capture → fetched, of the last record of each fetch
//	reprise_replay_in_flight                  senders at work
//	reprise_replay_look_ahead_bytes           read and not due yet
//	reprise_replay_suspended                  1: a guard holds the run, until somebody says --not-production
//	reprise_replay_reordered_total            left the look-ahead before their turn was certain
//	reprise_replay_sessions                   sessions that are remembered
//	reprise_replay_session_events_total{event}  extracted, changed, missing, timed_out, evicted, lost, taken_up (partitions)
//	reprise_replay_tokens_total{result}       got, failed
//	reprise_replay_breaker_open               1: the target is left alone, or probed
//	reprise_replay_breaker_opened_total{reason} error_rate, retry_after
//	reprise_replay_breaker_open_seconds_total that it was
//	reprise_replay_held_total                 requests that waited for the breaker on their way
//	reprise_replay_concurrency_limit          requests at a time: the adaptive limit, else --concurrency
//	reprise_replay_baseline_compared_total    answers that were compared with the old build's (--baseline-target)
//	reprise_replay_baseline_uncompared_total{reason}  answers that were not
//	reprise_replay_noise_total                differences left out, as the old build differs from itself there (--noise-target)
type metrics struct {
	read, resumed, gone, givenUp        prometheus.Counter
	compared, noise                     prometheus.Counter
	uncompared                          reasonCounter
	firedBy                             [traffic.BodyChanged + 1]prometheus.Counter // by verdict; 0: failed
	refused, skipped, lateBy, badBy     reasonCounter
	lag                                 prometheus.Gauge
	lateness, target, fetched           prometheus.Histogram
	inFlight, lookAheadBytes, reordered func() float64
	sessions, suspended                 func() float64
}

// reasonCounter remembers the counter of each reason: looking a label up for every exchange would cost more.
type reasonCounter struct {
	vec *prometheus.CounterVec
	mu  *sync.Mutex
	by  map[string]prometheus.Counter
}

func newReasonCounter(reg prometheus.Registerer, name, help string, reasons ...string) reasonCounter {
	c := reasonCounter{
		vec: prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"reason"}),
		mu:  new(sync.Mutex), by: make(map[string]prometheus.Counter),
	}
	register(reg, c.vec)
	for _, r := range reasons {
		c.add(r, 0)
	}
	return c
}

func (c *reasonCounter) add(reason string, n int64) {
	if reason == "" {
		reason = "other"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	counter := c.by[reason]
	if counter == nil {
		counter = c.vec.WithLabelValues(reason)
		c.by[reason] = counter
	}
	counter.Add(float64(n))
}

func register(reg prometheus.Registerer, c prometheus.Collector) {
	if reg != nil {
		reg.MustRegister(c)
	}
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		register(reg, c)
		return c
	}
	histogram := func(name, help string, buckets ...float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: name, Help: help, Buckets: buckets,
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
		})
		register(reg, h)
		return h
	}
	flags := make([]string, 0, 8)
	for _, f := range []traffic.Flags{
		traffic.TruncatedRequest, traffic.Gap, traffic.AmbiguousFraming, traffic.Upgraded, traffic.Connect,
		traffic.RedactionFailedRequest,
	} {
		flags = append(flags, flagReason(f))
	}
	m := &metrics{
		read:     counter("reprise_replay_read_total", "Records read."),
		resumed:  counter("reprise_replay_resumed_total", "Records that an earlier start of the run had finished."),
		gone:     counter("reprise_replay_gone_total", "Offsets of the run that were not in Kafka any more."),
		compared: counter("reprise_replay_baseline_compared_total", "Answers that were compared with the old build's (--baseline-target)."),
		noise:    counter("reprise_replay_noise_total", "Differences left out, as the old build differs from itself there (--noise-target)."),
		uncompared: newReasonCounter(reg, "reprise_replay_baseline_uncompared_total", "Answers that were not compared with the old build's.",
			baselineBehind, baselineSick, baselineMoved, notComparable, statusIsNoise, fire.Timeout, fire.ConnectRefused, fire.ConnectTimeout, fire.Closed, fire.Reset, fire.Canceled),
		givenUp: counter("reprise_replay_given_up_total", "Exchanges that were committed and not fired (--delivery at-most-once)."),
		refused: newReasonCounter(reg, "reprise_replay_refused_total", "Exchanges left out by a safety guard.",
			fire.WriteNotAllowed, fire.AuthorityIsTarget, fire.TargetIsProduction, fire.BadFlags, fire.UnsafeBytes, fire.NoTarget,
			fire.TargetIsPublic, fire.TargetIsMetadata, fire.HostNotAllowed, routeCap, redactionFailed, rewriteFailed, sessionValueLate, credentialFailed),
		skipped: newReasonCounter(reg, "reprise_replay_skipped_total", "Exchanges left out by a rule.",
			append(flags, outsideWindow, filtered, filterFailed, sampledOut, soughtPast)...),
		lateBy: newReasonCounter(reg, "reprise_replay_late_total", "Exchanges left out because late or stale.", tooLate, stale),
		badBy:  newReasonCounter(reg, "reprise_replay_bad_records_total", "Records that could not be read.", corrupt, noCaptureTime),
		lateness: histogram("reprise_replay_lateness_seconds", "From the due time to the first byte sent.",
			.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .05, .1, .5, 1, 5, 30),
		target:  histogram("reprise_replay_target_seconds", "From the first byte sent to the last byte of the answer.", prometheus.DefBuckets...),
		fetched: histogram("reprise_replay_fetched_seconds", "From the capture to the replayer having read it.", .01, .05, .1, .25, .5, 1, 2.5, 5, 10, 60, 600, 3600),
		lag:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "reprise_replay_lag_seconds", Help: "Now minus the capture time of what was fired last."}),
	}
	register(reg, m.lag)
	fired := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "reprise_replay_fired_total", Help: "Requests sent, by what came of it.",
	}, []string{"outcome"})
	register(reg, fired)
	m.firedBy[0] = fired.WithLabelValues(traffic.Failed.String())
	for v := traffic.NoBaseline; v <= traffic.BodyChanged; v++ {
		m.firedBy[v] = fired.WithLabelValues(v.String())
	}
	for _, g := range []struct {
		name, help string
		read       *func() float64
	}{
		{"reprise_replay_in_flight", "Senders at work.", &m.inFlight},
		{"reprise_replay_look_ahead_bytes", "Bytes read and not due yet.", &m.lookAheadBytes},
		{"reprise_replay_sessions", "Sessions whose values from the target are remembered.", &m.sessions},
		{"reprise_replay_suspended", "1 while a guard holds the run.", &m.suspended},
	} {
		*g.read = func() float64 { return 0 }
		register(reg, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help}, func() float64 { return (*g.read)() }))
	}
	m.reordered = func() float64 { return 0 }
	register(reg, prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "reprise_replay_reordered_total", Help: "Exchanges that left the look-ahead before their turn was certain.",
	}, func() float64 { return m.reordered() }))
	return m
}

// watchSessions registers what is counted about sessions and tokens.
func watchSessions(reg prometheus.Registerer, c *sessionCounters, credentials []*minted) {
	counter := func(name, help, label, value string, read func() uint64) {
		register(reg, prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: name, Help: help, ConstLabels: prometheus.Labels{label: value},
		}, func() float64 { return float64(read()) }))
	}
	for event, read := range map[string]func() uint64{
		"extracted": c.Extracted.Load, "changed": c.Changed.Load, "missing": c.Missing.Load, "timed_out": c.timedOut.Load,
		"evicted": c.Evicted.Load, "lost": c.Lost.Load, "taken_up": c.takenUp.Load,
	} {
		counter("reprise_replay_session_events_total", "What became of values that the target gave its sessions.", "event", event, read)
	}
	tokens := func(failed bool) func() uint64 {
		return func() (n uint64) {
			for _, m := range credentials {
				got, not := m.source.Counts()
				if failed {
					got = not
				}
				n += got
			}
			return n
		}
	}
	const help = "Tokens for the target that were asked for."
	counter("reprise_replay_tokens_total", help, "result", "got", tokens(false))
	counter("reprise_replay_tokens_total", help, "result", "failed", tokens(true))
}

func (m *metrics) fired(o *traffic.Outcome) {
	m.firedBy[o.Verdict].Inc()
	m.target.Observe(o.Duration.Seconds())
	m.sent(o)
}

// beside counts what became of the old build's answer.
func (m *metrics) beside(b *traffic.Baseline) {
	if m.noise.Add(float64(len(b.Noise))); b.Reason == "" {
		m.compared.Inc()
		return
	}
	m.uncompared.add(b.Reason, 1)
}

func (m *metrics) failed(o *traffic.Outcome) {
	m.firedBy[0].Inc()
	m.sent(o)
}

func (m *metrics) sent(o *traffic.Outcome) {
	if o.FireTime.IsZero() {
		return
	}
	m.lag.Set(o.FireTime.Sub(o.CaptureTime).Seconds())
	if late, ok := lateness(o); ok {
		m.lateness.Observe(late.Seconds())
	}
}

func (m *metrics) leftOut(result traffic.Result, reason string, n int64) {
	switch result {
	case traffic.Refused:
		m.refused.add(reason, n)
	case traffic.Skipped:
		m.skipped.add(reason, n)
	case traffic.Late:
		m.lateBy.add(reason, n)
	case traffic.BadRecord:
		m.badBy.add(reason, n)
	}
}

// limits registers what spares the target; a nil valve has all of it, at 0.
func (m *metrics) limits(reg prometheus.Registerer, valve *fire.Valve, concurrency int) {
	gauge := func(name, help string, read func(fire.ValveStats) float64) {
		register(reg, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return read(valve.Stats()) }))
	}
	counter := func(name, help string, labels prometheus.Labels, read func(fire.ValveStats) float64) {
		register(reg, prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels},
			func() float64 { return read(valve.Stats()) }))
	}
	gauge("reprise_replay_breaker_open", "1 while the target is left alone or probed.", func(s fire.ValveStats) float64 {
		if s.Open {
			return 1
		}
		return 0
	})
	const opened, help = "reprise_replay_breaker_opened_total", "Times that the breaker has opened."
	counter(opened, help, prometheus.Labels{"reason": "error_rate"}, func(s fire.ValveStats) float64 { return float64(s.ByErrors) })
	counter(opened, help, prometheus.Labels{"reason": "retry_after"}, func(s fire.ValveStats) float64 { return float64(s.ByRetryAfter) })
	counter("reprise_replay_breaker_open_seconds_total", "Time in which the target was left alone or probed.", nil,
		func(s fire.ValveStats) float64 { return s.OpenFor.Seconds() })
	counter("reprise_replay_held_total", "Requests that waited for the breaker on their way to the target.", nil,
		func(s fire.ValveStats) float64 { return float64(s.Held) })
	gauge("reprise_replay_concurrency_limit", "Requests at a time: the adaptive limit, else --concurrency.", func(s fire.ValveStats) float64 {
		if s.Limit > 0 {
			return float64(s.Limit)
		}
		return float64(concurrency)
	})
}
