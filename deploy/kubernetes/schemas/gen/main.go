// Command gen writes the JSON schemas of the Kubernetes kinds that our manifests use, one file a kind, so that manifests can be
// checked without a cluster or the network: from the OpenAPI definition that Kubernetes itself ships, and from the custom
// resource definitions of Istio and the Gateway API (all Apache-2.0). `make generate` runs it. A field that the cluster would
// not know is an error by these schemas.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// kubernetes is the module and version that the schemas come from.
const kubernetes = "k8s.io/kubernetes@v1.37.2"

// kinds maps a file name, as kubeconform asks for it, to a definition.
var kinds = map[string]string{ //nolint:gochecknoglobals // constant
	"deployment-apps-v1":            "io.k8s.api.apps.v1.Deployment",
	"job-batch-v1":                  "io.k8s.api.batch.v1.Job",
	"configmap-v1":                  "io.k8s.api.core.v1.ConfigMap",
	"namespace-v1":                  "io.k8s.api.core.v1.Namespace",
	"service-v1":                    "io.k8s.api.core.v1.Service",
	"serviceaccount-v1":             "io.k8s.api.core.v1.ServiceAccount",
	"networkpolicy-networking-v1":   "io.k8s.api.networking.v1.NetworkPolicy",
	"poddisruptionbudget-policy-v1": "io.k8s.api.policy.v1.PodDisruptionBudget",
}

func main() {
	out := flag.String("out", "deploy/kubernetes/schemas", "folder to write to")
	flag.Parse()
	if err := run(*out); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(out string) error {
	dir, err := download(kubernetes)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(dir, "api/openapi-spec/swagger.json"))
	if err != nil {
		return err
	}
	var api struct {
		Definitions map[string]any `json:"definitions"`
	}
	if err := json.Unmarshal(text, &api); err != nil {
		return err
	}
	for name, kind := range kinds {
		schema, err := standalone(api.Definitions, kubernetes, kind)
		if err != nil {
			return err
		}
		if err := write(out, name, schema); err != nil {
			return err
		}
	}
	for _, r := range resources {
		definition, err := r.definition()
		if err != nil {
			return err
		}
		// Its metadata are every kind's.
		api.Definitions[r.kind] = definition
		schema, err := standalone(api.Definitions, r.module, r.kind)
		if err != nil {
			return err
		}
		if err := write(out, r.name(), schema); err != nil {
			return err
		}
	}
	return nil
}

func write(out, name string, schema map[string]any) error {
	text, err := json.Marshal(schema)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, name+".json"), append(text, '\n'), 0o644)
}

// download has the go command fetch a module, outside ours: nothing of it is linked.
func download(module string) (dir string, err error) {
	cmd := exec.Command("go", "mod", "download", "-json", module)
	cmd.Dir = os.TempDir()
	out, err := cmd.Output()
	var fetched struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &fetched); jsonErr == nil && fetched.Error != "" {
		err = errors.New(fetched.Error)
	}
	return fetched.Dir, err
}

// standalone returns the schema of a kind with all that it refers to. The module is where the kind comes from.
func standalone(definitions map[string]any, module, kind string) (map[string]any, error) {
	needed := map[string]any{}
	var need func(name string) error
	need = func(name string) error {
		if _, ok := needed[name]; ok {
			return nil
		}
		definition, ok := definitions[name].(map[string]any)
		if !ok {
			return fmt.Errorf("%s has no definition of %s", module, name)
		}
		tightened := tighten(name, definition)
		needed[name] = tightened
		for _, other := range references(tightened) {
			if err := need(other); err != nil {
				return err
			}
		}
		return nil
	}
	if err := need(kind); err != nil {
		return nil, err
	}
	return map[string]any{
		"$schema": "http://json-schema.org/draft-07/schema#", "$comment": "from " + module + ", Apache-2.0",
		"$ref": "#/definitions/" + kind, "definitions": needed,
	}, nil
}

// tighten makes a definition one that is closed: no other field than those listed.
func tighten(name string, definition map[string]any) map[string]any {
	switch name { // what OpenAPI 2 cannot say
	case "io.k8s.apimachinery.pkg.util.intstr.IntOrString":
		return map[string]any{"type": []string{"string", "integer"}}
	case "io.k8s.apimachinery.pkg.api.resource.Quantity":
		return map[string]any{"type": []string{"string", "number"}}
	}
	d, _ := plain(definition).(map[string]any)
	properties, ok := d["properties"].(map[string]any)
	if !ok {
		return d
	}
	d["additionalProperties"] = false
	if of, ok := definition["x-kubernetes-group-version-kind"].([]any); ok && len(of) == 1 {
		gvk, _ := of[0].(map[string]any)
		version := strings.TrimPrefix(fmt.Sprintf("%s/%s", gvk["group"], gvk["version"]), "/")
		properties["apiVersion"] = map[string]any{"const": version}
		properties["kind"] = map[string]any{"const": gvk["kind"]}
		d["required"] = []string{"apiVersion", "kind", "metadata"}
	}
	return d
}

// plain copies a value without descriptions and Kubernetes' own extensions.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		c := make(map[string]any, len(v))
		for key, value := range v {
			if _, text := value.(string); text && key == "description" || strings.HasPrefix(key, "x-kubernetes-") {
				continue
			}
			c[key] = plain(value)
		}
		return c
	case []any:
		c := make([]any, len(v))
		for i := range v {
			c[i] = plain(v[i])
		}
		return c
	}
	return v
}

// references lists the definitions that a schema refers to.
func references(v any) (names []string) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if name, ok := value.(string); ok && key == "$ref" {
				names = append(names, strings.TrimPrefix(name, "#/definitions/"))
				continue
			}
			names = append(names, references(value)...)
		}
	case []any:
		for _, value := range v {
			names = append(names, references(value)...)
		}
	}
	return names
}
