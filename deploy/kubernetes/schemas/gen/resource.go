package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"
)

// The modules that ship custom resource definitions.
const (
	istio      = "istio.io/api@v1.32.0"
	gatewayAPI = "sigs.k8s.io/gateway-api@v1.6.3" // v1.7 asks for a newer Go
)

// resource is a kind that a custom resource definition brings to a cluster.
type resource struct{ module, file, group, version, kind string }

var resources = []resource{ //nolint:gochecknoglobals // constant
	{istio, "kubernetes/customresourcedefinitions.gen.yaml", "networking.istio.io", "v1", "DestinationRule"},
	{istio, "kubernetes/customresourcedefinitions.gen.yaml", "networking.istio.io", "v1", "VirtualService"},
	{istio, "kubernetes/customresourcedefinitions.gen.yaml", "networking.istio.io", "v1alpha3", "EnvoyFilter"},
	{gatewayAPI, "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml", "gateway.networking.k8s.io", "v1", "HTTPRoute"},
	{gatewayAPI, "config/crd/standard/gateway.networking.k8s.io_referencegrants.yaml", "gateway.networking.k8s.io", "v1beta1", "ReferenceGrant"},
}

// name is the schema's file name, as kubeconform asks for it: virtualservice-networking-v1.
func (r resource) name() string {
	group, _, _ := strings.Cut(r.group, ".")
	return strings.ToLower(r.kind) + "-" + group + "-" + r.version
}

// definition returns the schema of the kind, closed, with the metadata that every kind has. Those of Kubernetes must be there.
func (r resource) definition() (map[string]any, error) {
	dir, err := download(r.module)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(dir, r.file))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d, err := r.find(yaml.NewDecoder(f))
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", r.module, r.file, err)
	}
	closeObjects(d)
	properties, ok := d["properties"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s: %s has no properties", r.module, r.kind)
	}
	properties["apiVersion"] = map[string]any{"const": r.group + "/" + r.version}
	properties["kind"] = map[string]any{"const": r.kind}
	properties["metadata"] = map[string]any{"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}
	required, _ := d["required"].([]any)
	d["required"] = append([]any{"apiVersion", "kind", "metadata"}, required...)
	return d, nil
}

// find returns the schema among the custom resource definitions of a file.
func (r resource) find(definitions *yaml.Decoder) (map[string]any, error) {
	for {
		var crd struct {
			Spec struct {
				Group    string
				Names    struct{ Kind string }
				Versions []struct {
					Name   string
					Served bool
					Schema struct {
						OpenAPIV3Schema map[string]any `yaml:"openAPIV3Schema"`
					}
				}
			}
		}
		err := definitions.Decode(&crd)
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s/%s %s is not there, or not served", r.group, r.version, r.kind)
		}
		if err != nil {
			return nil, err
		}
		if crd.Spec.Group != r.group || crd.Spec.Names.Kind != r.kind {
			continue
		}
		for _, v := range crd.Spec.Versions {
			if v.Name == r.version && v.Served {
				return v.Schema.OpenAPIV3Schema, nil
			}
		}
	}
}

// closeObjects makes a schema one that takes what a cluster keeps: of an object the fields that are listed and no other, unless
// the definition says that it preserves those it does not know. What stands under anyOf, oneOf, allOf and not speaks of fields
// that are listed elsewhere, and stays open. Rules in CEL, which JSON Schema cannot say, are not in it.
func closeObjects(schema map[string]any) {
	properties, isObject := schema["properties"].(map[string]any)
	for _, property := range properties {
		if property, ok := property.(map[string]any); ok {
			closeObjects(property)
		}
	}
	for _, key := range []string{"items", "additionalProperties"} {
		if inner, ok := schema[key].(map[string]any); ok {
			closeObjects(inner)
		}
	}
	_, isMap := schema["additionalProperties"]
	keeps, _ := schema["x-kubernetes-preserve-unknown-fields"].(bool)
	if !keeps && !isMap && (isObject || schema["type"] == "object") {
		schema["additionalProperties"] = false
	}
	if nullable, _ := schema["nullable"].(bool); nullable && schema["type"] != nil {
		schema["type"] = []any{schema["type"], "null"}
		delete(schema, "nullable") // of OpenAPI
	}
}
