//go:build e2e

package e2e_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/envoy"
	"github.com/reprise-io/reprise/internal/traffic"
)

// object is one of a Kubernetes file.
type object struct {
	Kind string
	Spec json.RawMessage
}

func objects(t *testing.T, path ...string) []object {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{shared.root, "deploy"}, path...)...))
	require.NoError(t, err)
	var all []object
	for _, doc := range bytes.Split(text, []byte("\n---\n")) {
		asJSON, err := yaml.YAMLToJSON(doc)
		require.NoError(t, err)
		var o object
		require.NoError(t, json.Unmarshal(asJSON, &o))
		require.NotEmpty(t, o.Kind)
		all = append(all, o)
	}
	return all
}

func TestEnvoyTakesWhatDeployHas(t *testing.T) {
	for _, file := range []string{"extproc.yaml", "shadow.yaml"} {
		config, err := os.ReadFile(filepath.Join(shared.root, "deploy", "envoy", file))
		require.NoError(t, err)
		require.NoError(t, envoy.Validate(within(t, time.Minute), envoyBinary(), t.TempDir(), string(config)))
	}
}

// What Istio would patch into its Envoys, patched into a smallest one.
func TestEnvoyTakesWhatIstioGivesIt(t *testing.T) {
	var filter struct {
		ConfigPatches []struct {
			ApplyTo string
			Patch   struct{ Value map[string]any }
		}
	}
	all := objects(t, "istio", "extproc.yaml")
	require.Equal(t, "EnvoyFilter", all[0].Kind)
	require.NoError(t, json.Unmarshal(all[0].Spec, &filter))
	values := map[string]map[string]any{}
	for _, p := range filter.ConfigPatches {
		values[p.ApplyTo] = p.Patch.Value
	}
	require.Len(t, values, 2)
	patched := func() string {
		config, err := json.Marshal(map[string]any{"static_resources": map[string]any{
			"clusters": []any{values["CLUSTER"]},
			"listeners": []any{map[string]any{
				"name": "edge", "address": map[string]any{"socket_address": map[string]any{"address": "127.0.0.1", "port_value": 0}},
				"filter_chains": []any{map[string]any{"filters": []any{map[string]any{
					"name": "envoy.filters.network.http_connection_manager", "typed_config": map[string]any{
						"@type":        "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
						"stat_prefix":  "edge",
						"route_config": map[string]any{},
						"http_filters": []any{values["HTTP_FILTER"], map[string]any{
							"name":         "envoy.filters.http.router",
							"typed_config": map[string]any{"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
						}},
					},
				}}}},
			}},
		}})
		require.NoError(t, err)
		return string(config)
	}
	require.NoError(t, envoy.Validate(within(t, time.Minute), envoyBinary(), t.TempDir(), patched()))
	values["HTTP_FILTER"]["typed_config"].(map[string]any)["observability_mood"] = true
	require.Error(t, envoy.Validate(within(t, time.Minute), envoyBinary(), t.TempDir(), patched()), "or this test shows nothing")
}

// istioRemoves are the fields that Istio's route takes from requests.
func istioRemoves(t *testing.T) []string {
	t.Helper()
	var service struct {
		HTTP []struct {
			Mirror           struct{ Host string }
			MirrorPercentage struct{ Value float64 }
			Headers          struct{ Request struct{ Remove []string } }
		}
	}
	all := objects(t, "istio", "mirror.yaml")
	require.Equal(t, "VirtualService", all[0].Kind)
	require.NoError(t, json.Unmarshal(all[0].Spec, &service))
	require.InDelta(t, 100, service.HTTP[0].MirrorPercentage.Value, 0)
	require.Equal(t, "reprise-tap.reprise.svc.cluster.local", service.HTTP[0].Mirror.Host)
	return service.HTTP[0].Headers.Request.Remove
}

func TestMeshesRemoveWhatClientsCouldForge(t *testing.T) {
	var route struct {
		Rules []struct {
			Filters []struct {
				Type                  string
				RequestHeaderModifier struct{ Remove []string }
				RequestMirror         struct{ BackendRef struct{ Name string } }
			}
		}
	}
	all := objects(t, "gateway-api", "mirror.yaml")
	require.Equal(t, "HTTPRoute", all[0].Kind)
	require.Equal(t, "ReferenceGrant", all[1].Kind)
	require.NoError(t, json.Unmarshal(all[0].Spec, &route))
	filters := route.Rules[0].Filters
	require.Equal(t, "reprise-tap", filters[0].RequestMirror.BackendRef.Name)
	remove := filters[1].RequestHeaderModifier.Remove
	require.LessOrEqual(t, len(remove), 16, "the API takes no more")
	require.Equal(t, remove, istioRemoves(t))
}

// Istio's Envoy mirrors without mutations: the tap has only what Envoy itself puts there.
func TestShadowsOfAMeshHaveWhatTheClientSent(t *testing.T) {
	config, err := os.ReadFile(filepath.Join(shared.root, "deploy", "envoy", "shadow.yaml"))
	require.NoError(t, err)
	_, policy, found := strings.Cut(string(config), "runtime_key: reprise.percent}\n")
	require.True(t, found)
	policy, _, found = strings.Cut(policy, "            # ---- reprise\n")
	require.True(t, found)
	s := startShadowed(t, origin(), routed, rewritten,
		policy, "            request_headers_to_remove: ["+strings.Join(istioRemoves(t), ", ")+"]\n")
	from := time.Now()
	require.Equal(t, "hello", s.get(t, "POST", "/shop?x=1", "hello",
		"X-Tap-Original-Uri", "/evil", "X-Tap-Host", "evil.example", "X-Tap-Time", "1", "X-Original-Method", "DELETE",
		"X-Forwarded-Host", "evil.example", "X-Tap-Client", "6.6.6.6:6", "X-Envoy-Original-Path", "/evil"))
	s.tap.settled(t, 1)
	to := time.Now() // the copy may come after the answer
	all := exchanges(t, s.names)["/shop?x=1"]
	require.Len(t, all, 1)
	x := all[0]
	require.Equal(t, "POST "+s.addr, string(x.Request.Method)+" "+string(x.Request.Authority), "not the one that the route puts there")
	require.Equal(t, "127.0.0.1", string(x.Connection.Client))
	require.Equal(t, traffic.OwnClock, x.TimeSource)
	require.WithinRange(t, x.CaptureTime, from, to)
	require.Equal(t, traffic.RequestOnly, x.Flags, x.Flags)
}
