package tap

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// Counters closes the tap's arithmetic: seen = produced + filtered + sampled out + dropped + unknown + pending. They are
// exported as reprise_tap_seen_total, reprise_tap_exchanges_total{result,reason} and reprise_tap_pending.
type Counters struct {
	seen, produced, sampledOut, unknown atomic.Uint64
	lastSeq                             atomic.Uint64

	filtered reasons
	dropped  reasons
}

// reasons counts by a small, bounded set of labels.
type reasons struct {
	mu    sync.Mutex
	count map[string]uint64
	sum   atomic.Uint64
}

func (r *reasons) add(reason string, n uint64) {
	r.mu.Lock()
	if r.count == nil {
		r.count = make(map[string]uint64)
	}
	r.count[reason] += n
	r.mu.Unlock()
	r.sum.Add(n)
}

func (r *reasons) snapshot() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.count)
}

// pending is what was seen and is not yet accounted for. The ends are read before the start, so that what moves in
// between shows as pending and never as a negative number.
func (c *Counters) pending() uint64 {
	done := c.produced.Load() + c.sampledOut.Load() + c.unknown.Load() + c.filtered.sum.Load() + c.dropped.sum.Load()
	return c.seen.Load() - done
}

// Report returns the counters as they go into the tap's report.
func (c *Counters) Report() *reprisev1.Counters {
	return &reprisev1.Counters{
		Produced:   c.produced.Load(),
		Filtered:   c.filtered.sum.Load(),
		SampledOut: c.sampledOut.Load(),
		Dropped:    c.dropped.snapshot(),
		Unknown:    c.unknown.Load(),
		Pending:    c.pending(),
		LastSeq:    c.lastSeq.Load(),
		Seen:       c.seen.Load(),
	}
}

// Register exports the counters.
func (c *Counters) Register(r prometheus.Registerer) error { return r.Register((*collector)(c)) }

// collector turns the counters into metrics when they are scraped: the hot path only adds to atomics.
type collector Counters

const exchangesHelp = "Exchanges by what became of them: produced, filtered, sampled_out, dropped, unknown."

func (c *collector) descs() (seen, exchanges, pending *prometheus.Desc) {
	return prometheus.NewDesc("reprise_tap_seen_total", "Exchanges that the tap framed.", nil, nil),
		prometheus.NewDesc("reprise_tap_exchanges_total", exchangesHelp, []string{"result", "reason"}, nil),
		prometheus.NewDesc("reprise_tap_pending", "Exchanges seen and not yet accounted for.", nil, nil)
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	seen, exchanges, pending := c.descs()
	ch <- seen
	ch <- exchanges
	ch <- pending
}

// dropReasons are exported from the start, so that a rate over a first drop is not lost.
var dropReasons = []string{"memory", "ring_full", "too_large", "redaction", "incomplete", "ambiguous", "unreachable", "timeout", "shutdown"} //nolint:gochecknoglobals // constant

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	seen, exchanges, pending := c.descs()
	counters := (*Counters)(c)
	r := counters.Report()
	count := func(result, reason string, n uint64) {
		ch <- prometheus.MustNewConstMetric(exchanges, prometheus.CounterValue, float64(n), result, reason)
	}
	count("produced", "", r.GetProduced())
	count("sampled_out", "", r.GetSampledOut())
	count("unknown", "", r.GetUnknown())
	filtered := counters.filtered.snapshot()
	for reason, n := range filtered {
		count("filtered", reason, n)
	}
	if len(filtered) == 0 {
		count("filtered", "", 0)
	}
	for _, reason := range dropReasons {
		if _, ok := r.GetDropped()[reason]; !ok {
			count("dropped", reason, 0)
		}
	}
	for reason, n := range r.GetDropped() {
		count("dropped", reason, n)
	}
	ch <- prometheus.MustNewConstMetric(seen, prometheus.CounterValue, float64(r.GetSeen()))
	ch <- prometheus.MustNewConstMetric(pending, prometheus.GaugeValue, float64(r.GetPending()))
}
