package replay

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/report"
)

// ruleCounts tells what each filter of the rules file has decided.
func (s *sieve) ruleCounts() (all []report.RuleCount) {
	for _, c := range s.rules.Counts() {
		all = append(all, report.RuleCount{List: c.List, Rule: c.Rule, Decided: c.Decided})
	}
	return all
}

// ruleMetrics exports what each filter of the rules file has decided.
type ruleMetrics struct{ set *filter.Set }

func (ruleMetrics) desc() *prometheus.Desc {
	return prometheus.NewDesc("reprise_replay_rule_decided_total", "Exchanges that a filter of the rules file has decided about, by its name or place.",
		[]string{"list", "rule"}, nil)
}

// Describe implements prometheus.Collector.
func (m ruleMetrics) Describe(ch chan<- *prometheus.Desc) { ch <- m.desc() }

// Collect implements prometheus.Collector.
func (m ruleMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.set.Counts() {
		ch <- prometheus.MustNewConstMetric(m.desc(), prometheus.CounterValue, float64(c.Decided), c.List, c.Rule)
	}
}
