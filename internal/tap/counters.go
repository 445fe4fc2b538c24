package tap

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// Counters closes the tap's arithmetic: seen + recovered = produced + filtered + sampled out + dropped + unknown + pending +
// spooled. They are exported as reprise_tap_seen_total, reprise_tap_recovered_total,
// reprise_tap_exchanges_total{result,reason}, reprise_tap_pending and reprise_tap_spooled.
type Counters struct {
	seen, produced, sampledOut atomic.Uint64
	recovered                  atomic.Uint64 // of an earlier run's spool
	spooled                    atomic.Int64  // in the spool now
	lastSeq                    atomic.Uint64

	filtered reasons
	dropped  reasons
	unknown  reasons
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

func (r *reasons) of(reason string) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count[reason]
}

func (r *reasons) snapshot() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.count)
}

// Report returns the counters as they go into the tap's report; its arithmetic closes. The ends are read before the spool and
// that before the start, so that what moves in between shows as pending and never twice.
func (c *Counters) Report() *reprisev1.Counters {
	r := &reprisev1.Counters{
		Produced:   c.produced.Load(),
		Filtered:   c.filtered.sum.Load(),
		SampledOut: c.sampledOut.Load(),
		Dropped:    c.dropped.snapshot(),
		Unknown:    c.unknown.sum.Load(),
		Marked:     c.filtered.of(reasonMarked),
	}
	r.Spooled = uint64(max(0, c.spooled.Load()))
	r.LastSeq = c.lastSeq.Load()
	r.Recovered, r.Seen = c.recovered.Load(), c.seen.Load()
	done := r.GetProduced() + r.GetFiltered() + r.GetSampledOut() + r.GetUnknown() + r.GetSpooled()
	for _, n := range r.GetDropped() {
		done += n
	}
	r.Pending = r.GetSeen() + r.GetRecovered() - done
	return r
}

// Register exports the counters.
func (c *Counters) Register(r prometheus.Registerer) error { return r.Register((*collector)(c)) }

// collector turns the counters into metrics when they are scraped: the hot path only adds to atomics.
type collector Counters

const exchangesHelp = "Exchanges by what became of them: produced, filtered, sampled_out, dropped, unknown."

type descs struct{ seen, recovered, exchanges, pending, spooled *prometheus.Desc }

func (c *collector) descs() descs {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return descs{
		desc("reprise_tap_seen_total", "Exchanges that the tap framed."),
		desc("reprise_tap_recovered_total", "Exchanges that an earlier run of a tap had left in the spool."),
		desc("reprise_tap_exchanges_total", exchangesHelp, "result", "reason"),
		desc("reprise_tap_pending", "Exchanges seen and not yet accounted for."),
		desc("reprise_tap_spooled", "Exchanges that wait in the spool."),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	d := c.descs()
	for _, desc := range []*prometheus.Desc{d.seen, d.recovered, d.exchanges, d.pending, d.spooled} {
		ch <- desc
	}
}

// dropReasons are exported from the start, so that a rate over a first drop is not lost.
var dropReasons = []string{ //nolint:gochecknoglobals // constant
	"memory", "behind", reasonProtection, "ring_full", "too_large", "redaction", "incomplete", "ambiguous", "unreachable", "timeout", "shutdown",
	"spool_full", "spool_error", "spool_slow",
}

// unknownReasons are too.
var unknownReasons = []string{"timeout", "unreachable", "topic_missing", "shutdown", "other"} //nolint:gochecknoglobals // constant

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	d := c.descs()
	counters := (*Counters)(c)
	r := counters.Report()
	count := func(result, reason string, n uint64) {
		ch <- prometheus.MustNewConstMetric(d.exchanges, prometheus.CounterValue, float64(n), result, reason)
	}
	count("produced", "", r.GetProduced())
	count("sampled_out", "", r.GetSampledOut())
	filtered := counters.filtered.snapshot()
	for reason, n := range filtered {
		count("filtered", reason, n)
	}
	if len(filtered) == 0 {
		count("filtered", "", 0)
	}
	if _, ok := filtered[reasonMarked]; !ok { // from the start, as the reasons below
		count("filtered", reasonMarked, 0)
	}
	for _, reason := range dropReasons {
		if _, ok := r.GetDropped()[reason]; !ok {
			count("dropped", reason, 0)
		}
	}
	for reason, n := range r.GetDropped() {
		count("dropped", reason, n)
	}
	unknown := counters.unknown.snapshot()
	for _, reason := range unknownReasons {
		if _, ok := unknown[reason]; !ok {
			count("unknown", reason, 0)
		}
	}
	for reason, n := range unknown {
		count("unknown", reason, n)
	}
	ch <- prometheus.MustNewConstMetric(d.seen, prometheus.CounterValue, float64(r.GetSeen()))
	ch <- prometheus.MustNewConstMetric(d.recovered, prometheus.CounterValue, float64(r.GetRecovered()))
	ch <- prometheus.MustNewConstMetric(d.pending, prometheus.GaugeValue, float64(r.GetPending()))
	ch <- prometheus.MustNewConstMetric(d.spooled, prometheus.GaugeValue, float64(r.GetSpooled()))
}
