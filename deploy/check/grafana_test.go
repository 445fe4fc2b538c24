package check_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               struct{ Type, UID string }
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []struct {
		RefID, Expr, LegendFormat string
		Datasource                struct{ Type, UID string }
	}
	FieldConfig struct{ Defaults struct{ Unit string } }
}

type board struct {
	UID, Title    string
	SchemaVersion int
	Templating    struct {
		List []struct{ Name, Type, Definition string }
	}
	Panels []panel
}

func dashboard(t *testing.T) board {
	t.Helper()
	var b board
	require.NoError(t, json.Unmarshal([]byte(textFile(t, "grafana/dashboards/reprise.json")), &b))
	return b
}

// panels are those that show something.
func panels(t *testing.T) (all []panel) {
	t.Helper()
	for _, p := range dashboard(t).Panels {
		if p.Type != "row" {
			all = append(all, p)
		}
	}
	require.NotEmpty(t, all)
	return all
}

// filledIn puts values in for Grafana's variables.
func filledIn(t *testing.T, expr string) string {
	t.Helper()
	expr = strings.NewReplacer("$__rate_interval", "1m", "$__range", "1h").Replace(expr)
	for _, name := range regexp.MustCompile(`\$\{?(\w+)`).FindAllStringSubmatch(expr, -1) {
		declared := false
		for _, v := range dashboard(t).Templating.List {
			declared = declared || v.Name == name[1]
		}
		require.True(t, declared, "$%s is not declared", name[1])
	}
	return strings.ReplaceAll(expr, "$", "")
}

func TestDashboardIsWhole(t *testing.T) {
	b := dashboard(t)
	require.Equal(t, "reprise", b.UID, "the address of the dashboard: it does not change")
	require.GreaterOrEqual(t, b.SchemaVersion, 39)
	require.Equal(t, "datasource", b.Templating.List[0].Type)
	ids := map[int]bool{}
	taken := map[[2]int]string{}
	for _, p := range b.Panels {
		require.False(t, ids[p.ID], "id %d is there twice", p.ID)
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			require.Less(t, x, 24, p.Title)
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				require.Empty(t, taken[[2]int{x, y}], "%s lies on another panel", p.Title)
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
	for _, p := range panels(t) {
		require.NotEmpty(t, p.Title)
		require.NotEmpty(t, p.Description, p.Title)
		require.NotEmpty(t, p.FieldConfig.Defaults.Unit, p.Title)
		require.Equal(t, "${datasource}", p.Datasource.UID, p.Title)
		for _, target := range p.Targets {
			require.Equal(t, "${datasource}", target.Datasource.UID, p.Title)
			require.True(t, p.Type == "stat" || target.LegendFormat != "", "%s: a line without a name", p.Title)
		}
	}
}

// What is provisioned leads to what compose.yaml mounts.
func TestGrafanaFindsPrometheusAndTheDashboard(t *testing.T) {
	var sources struct {
		APIVersion  int `json:"apiVersion"`
		Datasources []struct {
			Name      string `json:"name"`
			UID       string `json:"uid"`
			Type      string `json:"type"`
			Access    string `json:"access"`
			URL       string `json:"url"`
			IsDefault bool   `json:"isDefault"`
			JSONData  struct {
				TimeInterval string `json:"timeInterval"`
			} `json:"jsonData"`
		} `json:"datasources"`
	}
	require.NoError(t, yaml.UnmarshalStrict([]byte(textFile(t, "grafana/provisioning/datasources/prometheus.yaml")), &sources))
	require.Len(t, sources.Datasources, 1)
	require.Equal(t, "prometheus", sources.Datasources[0].Type)
	require.Equal(t, "http://prometheus:9090", sources.Datasources[0].URL)
	var boards struct {
		APIVersion int `json:"apiVersion"`
		Providers  []struct {
			Name    string `json:"name"`
			Type    string `json:"type"`
			Options struct {
				Path string `json:"path"`
			} `json:"options"`
		} `json:"providers"`
	}
	require.NoError(t, yaml.UnmarshalStrict([]byte(textFile(t, "grafana/provisioning/dashboards/reprise.yaml")), &boards))
	grafana := composeProject(t).Services["grafana"]
	mounts := map[string]string{}
	for _, v := range grafana.Volumes {
		mounts[v.Target] = filepath.Clean(v.Source)
	}
	source := mounts[boards.Providers[0].Options.Path]
	require.NotEmpty(t, source)
	home := *grafana.Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
	_, err := os.Stat(filepath.Join(source, filepath.Base(home)))
	require.NoError(t, err)
	require.Contains(t, mounts, "/etc/grafana/provisioning")
}
