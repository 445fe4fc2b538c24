package check_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// readings says which test has a file's own program or schema read it. What an overlay takes in need not stand here.
var readings = []struct{ file, test string }{
	{"compose/compose.yaml", "TestComposeStartsOurPrograms"}, // Compose's loader, with its schema
	{"envoy/extproc.yaml", "TestEnvoyTakesWhatDeployHas"},    // in e2e: envoy --mode validate
	{"envoy/shadow.yaml", "TestEnvoyTakesWhatDeployHas"},
	{"gateway-api/*.yaml", "TestMeshesKnowWhatIsAskedOfThem"},
	{"grafana/provisioning/dashboards/reprise.yaml", "TestGrafanaFindsPrometheusAndTheDashboard"},
	{"grafana/provisioning/datasources/prometheus.yaml", "TestGrafanaFindsPrometheusAndTheDashboard"},
	{"istio/*.yaml", "TestMeshesKnowWhatIsAskedOfThem"},
	{"istio/extproc.yaml", "TestEnvoyTakesWhatIstioGivesIt"}, // in e2e: what is patched in
	{"prometheus/alerts.yml", "TestAlertsSayWhatToDo"},
	{"prometheus/prometheus.yml", "TestPrometheusScrapesWhatComposeStarts"},
	{"rules.yaml", "TestTheExampleOfRulesIsRead"},        // inspect rules check
	{"systemd/tap.yaml", "TestTheExampleOfTapRunIsRead"}, // tap run --check
}

// A file that no check reads would rot. It is added above, with the test that reads it.
func TestEveryYAMLIsReadByACheck(t *testing.T) {
	covered := map[string]bool{}
	for _, r := range readings {
		files, err := filepath.Glob("../" + r.file)
		require.NoError(t, err)
		require.NotEmpty(t, files, "%s is not there", r.file)
		for _, file := range files {
			covered[file] = true
		}
		require.True(t, isTest(t, r.test), "%s: there is no %s", r.file, r.test)
	}
	disk := recorder{filesys.MakeFsOnDisk(), map[string]bool{}}
	for _, overlay := range overlays(t) {
		build(t, disk, overlay)
	}
	require.NotEmpty(t, disk.read)
	require.NoError(t, filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !isYAML(file) {
			return err
		}
		whole, err := filepath.Abs(file)
		require.True(t, covered[file] || disk.read[whole], "%s is read by no check", file)
		return err
	}))
}

func isYAML(file string) bool {
	return strings.HasSuffix(file, ".yaml") || strings.HasSuffix(file, ".yml")
}

// isTest tells whether a test of that name is here or among the end-to-end tests.
func isTest(t *testing.T, name string) bool {
	t.Helper()
	for _, pattern := range []string{"*_test.go", "../../e2e/*_test.go"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, files, pattern)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			if strings.Contains(string(text), "\nfunc "+name+"(t *testing.T) {") {
				return true
			}
		}
	}
	return false
}

// recorder is a file system that notes which files are read.
type recorder struct {
	filesys.FileSystem
	read map[string]bool // absolute
}

func (r recorder) ReadFile(path string) ([]byte, error) {
	r.read[path] = true
	return r.FileSystem.ReadFile(path)
}
