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

// rulesMetrics exports how a tap stands to its rules file.
type rulesMetrics board

// Describe implements prometheus.Collector.
func (m *rulesMetrics) Describe(ch chan<- *prometheus.Desc) {
	d := rulesDescs()
	ch <- d.bad
	ch <- d.decided
}

type rulesDescriptions struct{ bad, decided *prometheus.Desc }

func rulesDescs() rulesDescriptions {
	return rulesDescriptions{
		prometheus.NewDesc("reprise_tap_rules_bad", "1 while the rules file is bad: the rules before count, or nothing is recorded if there were none.", nil, nil),
		prometheus.NewDesc("reprise_tap_rule_decided_total", "Exchanges that a filter of the rules file has decided about, by its name or place.", []string{"list", "rule"}, nil),
	}
}

// Collect implements prometheus.Collector.
func (m *rulesMetrics) Collect(ch chan<- prometheus.Metric) {
	rules := (*board)(m).rules()
	bad := 0.0
	if rules != nil && rules.Flaw != "" {
		bad = 1
	}
	d := rulesDescs()
	ch <- prometheus.MustNewConstMetric(d.bad, prometheus.GaugeValue, bad)
	for _, c := range rules.counts() {
		ch <- prometheus.MustNewConstMetric(d.decided, prometheus.CounterValue, float64(c.Decided), c.List, c.Rule)
	}
}
