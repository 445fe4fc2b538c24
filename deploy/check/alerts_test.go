package check_test

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/template"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
	"github.com/stretchr/testify/require"
)

// interval is between two scrapes, and between two evaluations.
const interval = 10 * time.Second

// healthy is ten minutes of a tap and a replayer that are well: nothing alerts.
var healthy = []string{
	`up{job="reprise-tap",instance="tap"} 1x60`,
	`up{job="reprise-replayer",instance="rep"} 1x60`,
	`reprise_tap_refused_total{instance="tap"} 7x60`,
	`reprise_tap_exchanges_total{instance="tap",result="produced",reason=""} 0+1000x60`,
	`reprise_tap_exchanges_total{instance="tap",result="dropped",reason="memory"} 40x60`,
	`reprise_tap_exchanges_total{instance="tap",result="dropped",reason="self_protection"} 0+9x60`,
	`reprise_tap_self_protection_off{instance="tap",cause="cpu"} 0x60`,
	`reprise_tap_self_protection_total{instance="tap",cause="cpu"} 2x60`,
	`reprise_tap_rules_bad{instance="tap"} 0x60`,
	`reprise_tap_exchanges_total{instance="tap",result="unknown",reason=""} 3x60`,
	`reprise_tap_memory_bytes{instance="tap"} 9000000x60`,
	`reprise_tap_memory_max_bytes{instance="tap"} 67108864x60`,
	`reprise_tap_parser_panics_total{instance="tap"} 1x60`,
	`reprise_tap_answered_total{instance="mirror"} 0+500x60`,
	`reprise_tap_refused_total{instance="mirror"} 5x60`,
	`reprise_tap_incomplete_total{instance="mirror",reason="closed"} 0+1x60`,
	`reprise_replay_lag_seconds{instance="rep"} 3x60`,
	`reprise_replay_read_total{instance="rep"} 0+1000x60`,
	`reprise_replay_fired_total{instance="rep",outcome="same"} 0+700x60`,
	`reprise_replay_fired_total{instance="rep",outcome="failed"} 0+7x60`,
	`reprise_replay_refused_total{instance="rep",reason="write_not_allowed"} 0+293x60`,
	`reprise_replay_refused_total{instance="rep",reason="target_is_production"} 0x60`,
	`reprise_replay_refused_total{instance="rep",reason="route_cap"} 0+100x60`,
	`reprise_tap_exchanges_total{instance="tap",result="filtered",reason="marked"} 9x60`,
	`reprise_replay_bad_records_total{instance="rep",reason="corrupt"} 2x60`,
	`reprise_replay_lateness_seconds{instance="rep"} {{count:0 sum:0 buckets:[0] offset:-10}}+{{count:700 sum:1 buckets:[700] offset:-10}}x60`,
}

func TestAlertsFireWhenTheyShould(t *testing.T) {
	all := rules(t)
	got := evaluate(t, all, healthy)
	require.Empty(t, got, "nothing is wrong")

	tested := map[string]bool{}
	for _, c := range []struct {
		series, alert, summary string
	}{
		{`up{job="reprise-tap",instance="tap"} 1x40 0x20`, "RepriseTapDown", "The tap tap does not answer."},
		{`up{job="reprise-replayer",instance="rep"} 1x20 0x40`, "RepriseReplayerDown", "The replayer rep does not answer."},
		{
			`reprise_tap_refused_total{instance="tap"} 0+30x60`, "RepriseTapRefusesConnections",
			"The service behind the tap tap refuses 3.0 connections a second.",
		},
		{
			`reprise_tap_exchanges_total{instance="tap",result="dropped",reason="memory"} 0+50x60`, "RepriseTapDrops",
			"The tap tap drops 5.0 exchanges a second (memory); traffic is not affected.",
		},
		{
			`reprise_tap_self_protection_off{instance="tap",cause="cpu"} 0x30 1x30`, "RepriseTapSwitchedOff",
			"The capture of the tap tap switches itself off for cpu; traffic passes and is counted.",
		},
		{
			`reprise_tap_rules_bad{instance="tap"} 0x30 1x30`, "RepriseTapRulesBad",
			"The rules file of the tap tap is bad; traffic passes.",
		},
		{
			`reprise_tap_exchanges_total{instance="tap",result="unknown",reason=""} 0+10x60`, "RepriseTapUnknown",
			"Kafka does not acknowledge 1.0 exchanges a second of the tap tap in time.",
		},
		{
			`reprise_tap_memory_bytes{instance="tap"} 62914560x60`, "RepriseTapMemory",
			"The capture of the tap tap holds 60MiB, over 80 % of its --memory-max.",
		},
		{
			`reprise_tap_parser_panics_total{instance="tap"} 1x50 2x10`, "RepriseTapParserFault",
			"The parser of the tap tap met traffic that it could not take; that connection was passed on unrecorded.",
		},
		{
			`reprise_tap_refused_total{instance="mirror"} 0+30x60`, "RepriseMirrorRefusesConnections",
			"The mirror mirror closes 3.0 connections a second, over --max-connections.",
		},
		{
			`reprise_tap_incomplete_total{instance="mirror",reason="closed"} 0+100x60`, "RepriseMirrorIncomplete",
			"20% of the copies do not reach the mirror mirror whole.",
		},
		{`reprise_replay_lag_seconds{instance="rep"} 90x60`, "RepriseReplayLag", "The replayer rep is 1m 30s behind production."},
		{
			`reprise_replay_lateness_seconds{instance="rep"} {{count:0 sum:0 buckets:[0] offset:2}}+{{count:700 sum:2100 buckets:[700] offset:2}}x60`,
			"RepriseReplayLate", "",
		},
		{
			`reprise_tap_exchanges_total{instance="tap",result="filtered",reason="marked"} 0+50x60`, "RepriseTapSeesReplay",
			"A replay sends 5.0 requests a second through the tap tap; none is recorded.",
		},
		{
			`reprise_replay_refused_total{instance="rep",reason="target_is_production"} 0+50x60`, "RepriseReplayRefused",
			"The replayer rep refuses 5% of what it reads (target_is_production).",
		},
		{`reprise_replay_suspended{instance="rep"} 1x60`, "RepriseReplaySuspended", "The replayer rep is paused by a guard; nothing is sent."},
		{
			`reprise_replay_breaker_open{instance="rep"} 1x60`, "RepriseReplayBreakerOpen",
			"The breaker of rep has been open for ten minutes; its target is left alone.",
		},
		{`reprise_replay_session_events_total{instance="rep",event="lost"} 0x55 40x5`, "RepriseReplaySessionsLost", ""},
		{
			`reprise_replay_fired_total{instance="rep",outcome="failed"} 0+100x60`, "RepriseReplayFails",
			"12.5% of the requests of rep get no answer.",
		},
		{
			`reprise_replay_bad_records_total{instance="rep",reason="corrupt"} 2x50 7x10`, "RepriseReplayBadRecords", "",
		},
	} {
		got := evaluate(t, all, append([]string{c.series}, healthy...))
		require.Len(t, got, 1, "%s: %v", c.alert, got)
		require.Contains(t, got, c.alert)
		require.NotContains(t, got[c.alert], "{{")
		if c.summary != "" {
			require.Equal(t, c.summary, got[c.alert])
		}
		tested[c.alert] = true
	}
	for _, r := range all {
		require.True(t, tested[r.Alert], "%s: say here when it fires", r.Alert)
	}
}

// evaluate returns the summaries of the alerts that fire at the end of ten minutes. Of two series with the same labels the
// first counts.
func evaluate(t *testing.T, all []rulefmt.Rule, lines []string) map[string]string {
	t.Helper()
	stored := load(t, lines)
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute})
	end := 60
	fires := map[string]string{}
	for _, r := range all {
		since := map[string]int{} // of what is pending, the first evaluation in a row
		for i := 0; i <= end; i++ {
			at := time.Unix(0, 0).Add(time.Duration(i) * interval)
			query, err := engine.NewInstantQuery(t.Context(), stored, nil, r.Expr, at)
			require.NoError(t, err)
			result := query.Exec(t.Context())
			require.NoError(t, result.Err, r.Alert)
			vector, err := result.Vector()
			require.NoError(t, err, r.Alert)
			now := map[string]int{}
			for _, sample := range vector {
				key := sample.Metric.String()
				now[key] = i
				if first, ok := since[key]; ok {
					now[key] = first
				}
				if i == end && time.Duration(i-now[key])*interval >= time.Duration(r.For) {
					fires[r.Alert] = summary(t, r, sample)
				}
			}
			since = now
			query.Close()
		}
	}
	return fires
}

// summary fills an alert's annotations in as Prometheus does, all of them.
func summary(t *testing.T, r rulefmt.Rule, sample promql.Sample) string {
	t.Helper()
	data := template.AlertTemplateData(sample.Metric.Map(), nil, "", promql.Sample{F: sample.F})
	said := map[string]string{}
	for name, text := range r.Annotations {
		const head = "{{$labels := .Labels}}{{$value := .Value}}"
		var err error
		said[name], err = template.NewTemplateExpander(t.Context(), head+text, name, data, model.Time(0), nil, nil, nil).Expand()
		require.NoError(t, err, r.Alert)
	}
	return said["summary"]
}

// memory holds the series of a test.
type memory []storage.Series

func load(t *testing.T, lines []string) memory {
	t.Helper()
	var m memory
	seen := map[string]bool{}
	for _, line := range lines {
		l, values, err := parser.NewParser(parser.Options{}).ParseSeriesDesc(line)
		require.NoError(t, err, line)
		if seen[l.String()] {
			continue
		}
		seen[l.String()] = true
		var samples []chunks.Sample
		for i, v := range values {
			samples = append(samples, point{at: (time.Duration(i) * interval).Milliseconds(), value: v.Value, buckets: v.Histogram})
		}
		m = append(m, storage.NewListSeries(l, samples))
	}
	return m
}

// Querier implements storage.Queryable.
func (m memory) Querier(int64, int64) (storage.Querier, error) { return querier{m}, nil }

type querier struct{ memory }

func (q querier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	var found []storage.Series
next:
	for _, s := range q.memory {
		for _, m := range matchers {
			if !m.Matches(s.Labels().Get(m.Name)) {
				continue next
			}
		}
		found = append(found, s)
	}
	return &seriesSet{left: found}
}

func (querier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (querier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (querier) Close() error { return nil }

type seriesSet struct {
	at   storage.Series
	left []storage.Series
}

func (s *seriesSet) Next() bool {
	if len(s.left) == 0 {
		return false
	}
	s.at, s.left = s.left[0], s.left[1:]
	return true
}

func (s *seriesSet) At() storage.Series              { return s.at }
func (*seriesSet) Err() error                        { return nil }
func (*seriesSet) Warnings() annotations.Annotations { return nil }

// point is a sample in time: a number, or a native histogram.
type point struct {
	at      int64 // ms
	value   float64
	buckets *histogram.FloatHistogram
}

func (p point) T() int64                      { return p.at }
func (p point) ST() int64                     { return 0 }
func (p point) F() float64                    { return p.value }
func (p point) H() *histogram.Histogram       { return nil }
func (p point) FH() *histogram.FloatHistogram { return p.buckets }
func (p point) Copy() chunks.Sample           { return p }

func (p point) Type() chunkenc.ValueType {
	if p.buckets != nil {
		return chunkenc.ValFloatHistogram
	}
	return chunkenc.ValFloat
}
