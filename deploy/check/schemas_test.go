package check_test

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/yannh/kubeconform/pkg/validator"
)

// schemas are those of the kinds in use; each is read once.
func schemas(t *testing.T) validator.Validator {
	t.Helper()
	v, err := validator.New([]string{"../kubernetes/schemas/{{.ResourceKind}}{{.KindSuffix}}.json"},
		validator.Opts{Strict: true, KubernetesVersion: "1.37.2"})
	require.NoError(t, err)
	return v
}

// validate holds the objects of a text against the schemas of their kinds, and returns what is wrong with them.
func validate(t *testing.T, v validator.Validator, text string) (flaws []string) {
	t.Helper()
	results := v.Validate("deploy", io.NopCloser(strings.NewReader(text)))
	require.NotEmpty(t, results)
	for _, r := range results {
		if r.Status != validator.Valid {
			flaws = append(flaws, fmt.Sprintf("%s: %v", r.Resource.Path, r.Err))
		}
	}
	return flaws
}

// meshFiles are objects that go to a cluster as they stand.
func meshFiles(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, folder := range []string{"istio", "gateway-api"} {
		files, err := filepath.Glob("../" + folder + "/*.yaml")
		require.NoError(t, err)
		require.NotEmpty(t, files, folder)
		for _, file := range files {
			all = append(all, strings.TrimPrefix(file, "../"))
		}
	}
	return all
}

func TestManifestsAreWhatKubernetesKnows(t *testing.T) {
	v := schemas(t)
	for _, overlay := range overlays(t) {
		text, _ := render(t, overlay)
		require.Empty(t, validate(t, v, string(text)), overlay)
	}
}

func TestMeshesKnowWhatIsAskedOfThem(t *testing.T) {
	v := schemas(t)
	for _, file := range meshFiles(t) {
		require.Empty(t, validate(t, v, textFile(t, file)), file)
	}
}

// documents gives one object of each kind that deploy/ has.
func documents(t *testing.T) map[string]string {
	t.Helper()
	var texts []string
	for _, overlay := range overlays(t) {
		text, _ := render(t, overlay)
		texts = append(texts, string(text))
	}
	for _, file := range meshFiles(t) {
		texts = append(texts, textFile(t, file))
	}
	all := map[string]string{}
	for _, text := range texts {
		for document := range strings.SplitSeq(text, "\n---\n") {
			_, rest, ok := strings.Cut("\n"+document, "\nkind: ")
			require.True(t, ok, document)
			kind, _, _ := strings.Cut(rest, "\n")
			if _, ok := all[kind]; !ok {
				all[kind] = document
			}
		}
	}
	return all
}

// A slip of the pen is seen, in every kind that there is a schema of: without this the tests above prove nothing.
func TestSlipsOfThePenAreSeen(t *testing.T) {
	const unknown = "additional properties"
	v, all := schemas(t), documents(t)
	tested := map[string]bool{}
	for _, c := range []struct {
		kind, right, wrong string
		says               string
	}{
		{"ConfigMap", "data:", "dates:", unknown},
		{"Deployment", "readOnlyRootFilesystem:", "readonlyRootFilesystem:", unknown},
		{"Job", "ttlSecondsAfterFinished:", "ttlSecondsAfterFinish:", unknown},
		{"Namespace", "labels:", "label:", unknown},
		{"NetworkPolicy", "policyTypes:", "policyType:", unknown},
		{"PodDisruptionBudget", "minAvailable:", "minAvailible:", unknown},
		{"Service", "targetPort:", "targetport:", unknown},
		{"ServiceAccount", "automountServiceAccountToken:", "automountServiceToken:", unknown},

		{"DestinationRule", "host:", "hosts:", unknown},
		{"DestinationRule", "trafficPolicy:", "trafficPolicies:", unknown},
		{"DestinationRule", "http1MaxPendingRequests:", "http1MaxPending:", unknown},
		{"DestinationRule", "h2UpgradePolicy: UPGRADE", "h2UpgradePolicy: ALWAYS", "value must be one of"},
		{"DestinationRule", "{mode: DISABLE}", "{mode: DISABLE, sni: 7}", "want string"},
		{"EnvoyFilter", "workloadSelector:", "workloadselector:", unknown},
		{"EnvoyFilter", "applyTo:", "applyto:", unknown},
		{"EnvoyFilter", "subFilter:", "subfilter:", unknown},
		{"EnvoyFilter", "INSERT_BEFORE", "INSERT_AHEAD", "value must be one of"},
		{"HTTPRoute", "hostnames:", "hosts:", unknown},
		{"HTTPRoute", "backendRef:", "backend:", unknown},
		{"HTTPRoute", "percent: 100", "percents: 100", unknown},
		{"HTTPRoute", "percent: 100", "percent: 101", "maximum"},
		{"HTTPRoute", "PathPrefix", "Prefix", "value must be one of"},
		{"HTTPRoute", "name: shop\n  namespace", "name: shop\n  nameSpace", unknown},
		{"HTTPRoute", "gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v2", "could not find schema"},
		{"ReferenceGrant", "kind: HTTPRoute, namespace:", "kind: HTTPRoute, nameSpace:", unknown},
		{"ReferenceGrant", "  to:", "  onto:", unknown},
		{"VirtualService", "mirrorPercentage:", "mirrorPercentages:", unknown},
		{"VirtualService", "port: {number:", "port: {numbers:", unknown},
		{"VirtualService", "remove:", "removes:", unknown},
		{"VirtualService", "hosts: [shop.example.com]", "hosts: shop.example.com", "want array"},
		{"VirtualService", "number: 8080", "number: http", "want integer"},
	} {
		require.Contains(t, all, c.kind)
		require.Empty(t, validate(t, v, all[c.kind]), c.kind)
		require.Contains(t, all[c.kind], c.right, c.kind)
		flaws := validate(t, v, strings.Replace(all[c.kind], c.right, c.wrong, 1))
		require.Len(t, flaws, 1, "%s: %s", c.kind, c.wrong)
		require.Contains(t, flaws[0], c.says, "%s: %s", c.kind, c.wrong)
		if c.says == unknown {
			fields := strings.FieldsFunc(c.wrong, func(r rune) bool { return strings.ContainsRune(" \n{},:", r) })
			named := false
			for _, field := range fields {
				named = named || strings.Contains(flaws[0], "'"+field+"'")
			}
			require.True(t, named, "%s: %s: %s", c.kind, c.wrong, flaws[0])
		}
		tested[c.kind] = true
	}
	for kind := range all {
		require.True(t, tested[kind], "%s: say here what is wrong with one", kind)
	}
	made, err := filepath.Glob("../kubernetes/schemas/*.json")
	require.NoError(t, err)
	require.Len(t, made, len(all), "a schema for each kind in use, and no other")
}
