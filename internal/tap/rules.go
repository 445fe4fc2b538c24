package tap

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/rewrite"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// Rules are what a rules file says beside the Settings. A value is never changed.
type Rules struct {
	Path       string
	Version    uint32
	Digest     []byte      // of what the file means
	Read       time.Time   // when it became this
	Filter     *filter.Set // what the filters of Settings let through must also pass; nil: everything passes
	Redactor   redactor    // in place of the one of Options; nil: stored as captured
	SessionKey rewrite.Key // by what sessions are told apart; nil: by cookies alone
	// Flaw is what is wrong with the file as it is now; the rest is what it said when it was good. Empty: nothing is wrong.
	Flaw string
	// Unknown: it has never been good. Nothing is recorded then: nobody knows what must not be.
	Unknown bool
}

// report is what the tap tells of its rules file; nil: there is none.
func (r *Rules) report() *reprisev1.TapRules {
	if r == nil {
		return nil
	}
	p := &reprisev1.TapRules{Path: r.Path, Version: r.Version, Digest: r.Digest, ReadUnixNano: unixNano(r.Read), Flaw: r.Flaw, Unknown: r.Unknown}
	for _, c := range r.counts() {
		p.Counts = append(p.Counts, &reprisev1.RuleCount{List: c.List, Rule: c.Rule, Decided: c.Decided})
	}
	return p
}

func (r *Rules) counts() []filter.Count {
	if r == nil {
		return nil
	}
	return r.Filter.Counts()
}

// rulesMetrics exports how a tap stands to its rules file, and what its quota keeps.
type rulesMetrics board

// Describe implements prometheus.Collector.
func (m *rulesMetrics) Describe(ch chan<- *prometheus.Desc) {
	d := rulesDescs()
	ch <- d.bad
	ch <- d.decided
	ch <- d.kept
	ch <- d.overflow
	ch <- d.routes
}

type rulesDescriptions struct{ bad, decided, kept, overflow, routes *prometheus.Desc }

func rulesDescs() rulesDescriptions {
	return rulesDescriptions{
		prometheus.NewDesc("reprise_tap_rules_bad", "1 while the rules file is bad: the rules before count, or nothing is recorded if there were none.", nil, nil),
		prometheus.NewDesc("reprise_tap_rule_decided_total", "Exchanges that a filter of the rules file has decided about, by its name or place.", []string{"list", "rule"}, nil),
		prometheus.NewDesc("reprise_tap_quota_kept_total", "Exchanges that the sample would have left out, kept because their routes are rare (--sample-keep).", nil, nil),
		prometheus.NewDesc("reprise_tap_quota_overflow_total", "Exchanges whose routes had no account of their own in the quota: too many routes at once.", nil, nil),
		prometheus.NewDesc("reprise_tap_quota_routes", "Routes that have an account in the quota.", nil, nil),
	}
}

// Collect implements prometheus.Collector.
func (m *rulesMetrics) Collect(ch chan<- prometheus.Metric) {
	rules, quota := (*board)(m).rules(), (*board)(m).quota()
	bad := 0.0
	if rules != nil && rules.Flaw != "" {
		bad = 1
	}
	d := rulesDescs()
	ch <- prometheus.MustNewConstMetric(d.bad, prometheus.GaugeValue, bad)
	ch <- prometheus.MustNewConstMetric(d.kept, prometheus.CounterValue, float64(quota.Kept))
	ch <- prometheus.MustNewConstMetric(d.overflow, prometheus.CounterValue, float64(quota.Overflow))
	ch <- prometheus.MustNewConstMetric(d.routes, prometheus.GaugeValue, float64(quota.Routes))
	for _, c := range rules.counts() {
		ch <- prometheus.MustNewConstMetric(d.decided, prometheus.CounterValue, float64(c.Decided), c.List, c.Rule)
	}
}
