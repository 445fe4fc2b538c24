package check_test

import (
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// rules reads the alerts as Prometheus does.
func rules(t *testing.T) (all []rulefmt.Rule) {
	t.Helper()
	groups, errs := rulefmt.ParseFile("../prometheus/alerts.yml", false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	require.Empty(t, errs)
	for _, g := range groups.Groups {
		all = append(all, g.Rules...)
	}
	require.NotEmpty(t, all)
	return all
}

func TestAlertsSayWhatToDo(t *testing.T) {
	for _, r := range rules(t) {
		require.True(t, strings.HasPrefix(r.Alert, "Reprise"), r.Alert)
		require.Contains(t, []string{"warning", "critical"}, r.Labels["severity"], r.Alert)
		require.NotEmpty(t, r.Annotations["summary"], r.Alert)
		require.NotEmpty(t, r.Annotations["do"], r.Alert)
		require.Len(t, r.Annotations, 2, r.Alert)
	}
}

func TestPrometheusScrapesWhatComposeStarts(t *testing.T) {
	var c struct {
		Global struct {
			ScrapeInterval     model.Duration `json:"scrape_interval"`
			EvaluationInterval model.Duration `json:"evaluation_interval"`
			NativeHistograms   bool           `json:"scrape_native_histograms"`
		} `json:"global"`
		RuleFiles    []string `json:"rule_files"`
		ScrapeConfig []struct {
			JobName       string `json:"job_name"`
			StaticConfigs []struct {
				Targets []string `json:"targets"`
			} `json:"static_configs"`
		} `json:"scrape_configs"`
	}
	require.NoError(t, yaml.UnmarshalStrict([]byte(textFile(t, "prometheus/prometheus.yml")), &c))
	require.True(t, c.Global.NativeHistograms, "the dashboard's quantiles are of native histograms")
	require.Positive(t, c.Global.ScrapeInterval)
	require.Positive(t, c.Global.EvaluationInterval)
	services := composeProject(t).Services
	for _, name := range c.RuleFiles {
		found := false
		for _, v := range services["prometheus"].Volumes {
			found = found || v.Target == "/etc/prometheus/"+name && filepath.Base(v.Source) == name
		}
		require.True(t, found, "%s is mounted", name)
	}
	var jobs []string
	for _, s := range c.ScrapeConfig {
		jobs = append(jobs, s.JobName)
		for _, target := range s.StaticConfigs[0].Targets {
			service, port, _ := strings.Cut(target, ":")
			require.Contains(t, services, service)
			line := commandLine{args: services[service].Command}
			require.Equal(t, ":"+port, line.flagValue("--admin"), target)
			require.Contains(t, services[service].Networks, "pipeline", target)
			require.Contains(t, services["prometheus"].Networks, "pipeline")
		}
	}
	for _, r := range rules(t) {
		if _, rest, ok := strings.Cut(r.Expr, `job="`); ok {
			job, _, _ := strings.Cut(rest, `"`)
			require.True(t, slices.Contains(jobs, job), "%s: there is no job %s", r.Alert, job)
		}
	}
}
