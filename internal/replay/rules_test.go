package replay_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/replay"
	"github.com/reprise-io/reprise/internal/report"
)

func rule(t *testing.T, name, source string) *filter.Rule {
	t.Helper()
	f, err := filter.Compile(source)
	require.NoError(t, err)
	return &filter.Rule{Name: name, Filter: f}
}

func TestRulesFileChoosesAndCountsOnce(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 2)
	s.some(40, time.Millisecond)
	for name, source := range map[string]string{"by Kafka headers": "GET /items/**", "by the record": `host != ""`} {
		t.Run(name, func(t *testing.T) {
			o := s.options(g)
			o.Run, o.RulesDigest = "rules", []byte{1, 2}
			o.Restart = true
			reg := prometheus.NewRegistry()
			o.Registerer = reg
			o.RulesFilter = filter.NewSet([]*filter.Rule{rule(t, "items", source)}, []*filter.Rule{rule(t, "", "/no/such")})
			r := s.run(o)
			require.EqualValues(t, 40, r.Fired)
			require.Equal(t, []report.RuleCount{{List: "include", Rule: "items", Decided: 40}, {List: "exclude", Rule: "1"}}, r.Rules)
			require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP reprise_replay_rule_decided_total Exchanges that a filter of the rules file has decided about, by its name or place.
# TYPE reprise_replay_rule_decided_total counter
reprise_replay_rule_decided_total{list="exclude",rule="1"} 0
reprise_replay_rule_decided_total{list="include",rule="items"} 40
`), "reprise_replay_rule_decided_total"))

			o.RulesFilter = filter.NewSet(nil, []*filter.Rule{rule(t, "items", source)})
			o.Registerer = nil
			plan, err := replay.MakePlan(t.Context(), o)
			require.NoError(t, err)
			require.Zero(t, plan.Fire)
			require.Equal(t, []report.RuleCount{{List: "exclude", Rule: "items", Decided: 40}}, plan.Rules)
		})
	}
}
