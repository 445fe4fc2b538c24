package check_test

import (
	"bufio"
	"io"
	"net/http"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
)

// metric is what a program exports under a name.
type metric struct {
	kind   string                     // counter, gauge, histogram, summary
	labels map[string]map[string]bool // label → the values that were seen
}

// exported runs a tap and a replayer with traffic between a shop and its next version, and a tap that takes copies, and returns
// what they export.
func exported(t *testing.T) map[string]metric {
	t.Helper()
	shop, next, listen, broker, tapAdmin, replayAdmin := freeAddr(t), freeAddr(t), freeAddr(t), freeAddr(t), freeAddr(t), freeAddr(t)
	start(t, "demo", "shop", "-listen", shop)
	start(t, "demo", "shop", "-listen", next, "-pre-production")
	tap := start(t, "tap", "proxy", "--listen", listen, "--upstream", shop, "--admin", tapAdmin,
		"--embedded", t.TempDir(), "--brokers", broker, "--partitions", "2", "--spool-dir", t.TempDir())
	tap.waitReady(t, tapAdmin)
	target := []string{"--brokers", broker, "--target", "http://" + next, "--allow-target", next, "--admin", replayAdmin}
	var replayer *program
	require.Eventually(t, func() bool { // until the tap has made its topics
		if replayer != nil {
			select {
			case <-replayer.done:
			default:
				return isReady(replayAdmin)
			}
		}
		replayer = start(t, "replayer", append([]string{"live", "--lag", "2500ms"}, target...)...)
		return false
	}, 2*time.Minute, 300*time.Millisecond)
	visits := start(t, "demo", "visit", "-url", "http://"+listen, "-rate", "100", "-for", "3s")
	<-visits.done
	all := map[string]metric{}
	require.Eventually(t, func() bool {
		scrape(t, all, replayAdmin)
		return len(all["reprise_replay_fired_total"].labels["outcome"]) > 0 && strings.Contains(text(t, replayAdmin), "reprise_replay_lateness_seconds_count ") &&
			!strings.Contains(text(t, replayAdmin), "reprise_replay_lateness_seconds_count 0")
	}, 2*time.Minute, 200*time.Millisecond)
	scrape(t, all, tapAdmin)

	copies, mirrorAdmin := freeAddr(t), freeAddr(t)
	start(t, "tap", "mirror", "--listen", copies, "--admin", mirrorAdmin, "--brokers", broker).waitReady(t, mirrorAdmin)
	resp, err := http.Get("http://" + copies + "/copied")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	scrape(t, all, mirrorAdmin)
	return all
}

func text(t *testing.T, admin string) string {
	t.Helper()
	resp, err := http.Get("http://" + admin + "/metrics")
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(body)
}

// scrape adds what an admin address exports.
func scrape(t *testing.T, all map[string]metric, admin string) {
	t.Helper()
	label := regexp.MustCompile(`(\w+)="([^"]*)"`)
	lines := bufio.NewScanner(strings.NewReader(text(t, admin)))
	var name string
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 4 && words[1] == "TYPE" {
			name = words[2]
			if _, ok := all[name]; !ok {
				all[name] = metric{kind: words[3], labels: map[string]map[string]bool{}}
			}
		}
		if words[0] == "#" {
			continue
		}
		for _, pair := range label.FindAllStringSubmatch(lines.Text(), -1) {
			if all[name].labels[pair[1]] == nil {
				all[name].labels[pair[1]] = map[string]bool{}
			}
			all[name].labels[pair[1]][pair[2]] = true
		}
	}
	require.NoError(t, lines.Err())
}

// ofPrometheus are labels that the server adds.
var ofPrometheus = []string{"instance", "job"}

// requireExported checks that an expression asks only for what there is: names, labels, and values that are told apart.
func requireExported(t *testing.T, all map[string]metric, where, expr string) {
	t.Helper()
	tree, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	require.NoError(t, err, "%s: %s", where, expr)
	known := map[string]bool{}
	for _, l := range ofPrometheus {
		known[l] = true
	}
	selectors := 0
	parser.Inspect(tree, func(node parser.Node, _ []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		selectors++
		if selector.Name == "up" { // the server's own
			return nil
		}
		m, ok := all[selector.Name]
		require.True(t, ok, "%s: nobody exports %s", where, selector.Name)
		for l := range m.labels {
			known[l] = true
		}
		for _, want := range selector.LabelMatchers {
			if want.Name == model.MetricNameLabel || contains(ofPrometheus, want.Name) {
				continue
			}
			values, ok := m.labels[want.Name]
			require.True(t, ok, "%s: %s has no label %s", where, selector.Name, want.Name)
			require.True(t, anyMatches(want, values), "%s: %s matches none of %v", where, want, values)
		}
		return nil
	})
	require.NotZero(t, selectors, "%s: %s asks for nothing", where, expr)
	parser.Inspect(tree, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.AggregateExpr:
			for _, l := range n.Grouping {
				require.True(t, known[l], "%s: nothing to group by %s", where, l)
			}
		case *parser.Call:
			of, _ := selectorIn(n)
			kind := all[of].kind
			switch n.Func.Name {
			case "rate", "increase":
				require.Contains(t, []string{"counter", "histogram"}, kind, "%s: %s of %s", where, n.Func.Name, of)
			case "histogram_quantile":
				require.Equal(t, "histogram", kind, "%s: a quantile of %s", where, of)
			}
		}
		return nil
	})
}

func anyMatches(m *labels.Matcher, values map[string]bool) bool {
	for v := range values {
		if m.Matches(v) {
			return true
		}
	}
	return false
}

// selectorIn is the first metric below a node.
func selectorIn(n parser.Node) (name string, found bool) {
	parser.Inspect(n, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok && !found {
			name, found = s.Name, true
		}
		return nil
	})
	return name, found
}

func TestDashboardAndAlertsAskForWhatThereIs(t *testing.T) {
	all := exported(t)
	for _, name := range []string{"reprise_replay_lateness_seconds", "reprise_replay_target_seconds"} {
		require.Equal(t, "histogram", all[name].kind, name)
	}
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			requireExported(t, all, "panel "+p.Title, filledIn(t, target.Expr))
		}
	}
	for _, v := range dashboard(t).Templating.List {
		if query := regexp.MustCompile(`^label_values\((\w+), instance\)$`).FindStringSubmatch(v.Definition); v.Type == "query" {
			require.NotNil(t, query, v.Definition)
			require.Contains(t, all, query[1])
		}
	}
	for _, rule := range rules(t) {
		requireExported(t, all, rule.Alert, rule.Expr)
	}

	// Whatever we count, somebody can see: nothing of ours is exported and not shown, but for these.
	notShown := []string{
		"reprise_kafka_buffered_fetch_bytes", "reprise_kafka_buffered_fetch_records_total", "reprise_kafka_buffered_produce_bytes",
		"reprise_kafka_buffered_produce_records_total", "reprise_kafka_disconnects_total", "reprise_kafka_fetch_bytes_total",
		"reprise_kafka_produce_bytes_total", "reprise_tap_accepted_total", "reprise_tap_parser_panics_total",
		"reprise_tap_self_protection_off", "reprise_tap_self_protection_total", "reprise_tap_cpu_share", "reprise_tap_cpu_max_share", // by what is dropped
		"reprise_tap_rules_bad", "reprise_tap_rule_decided_total", "reprise_replay_rule_decided_total", // of the rules file, by alert and report
		"reprise_tap_quota_kept_total", "reprise_tap_quota_overflow_total", "reprise_tap_quota_routes",
		"reprise_tap_commands_total", "reprise_tap_tls_failures_total", "reprise_tap_unheard_total", "reprise_tap_accept_pauses_total",
		"reprise_replay_resumed_total", "reprise_replay_reordered_total", "reprise_replay_read_total",
		"reprise_spool_max_bytes", "reprise_spool_errors_total", "reprise_tap_recovered_total", "reprise_tap_spooled",
	}
	shown := textFile(t, "grafana/dashboards/reprise.json")
	var hidden []string
	for name := range all {
		if strings.HasPrefix(name, "reprise_") && !strings.Contains(shown, name) && !contains(notShown, name) {
			hidden = append(hidden, name)
		}
	}
	sort.Strings(hidden)
	require.Empty(t, hidden, "show these on the dashboard, or say here that they are not")
}
