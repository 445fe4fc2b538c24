package yamlfile

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/secret"
)

// JSONSchema is the schema (draft 2020-12) of files that Decode reads into the struct that v points to, as encoding/json
// writes it: editors complete and check the file by it.
func JSONSchema(title string, v any) map[string]any {
	schema := objectSchema(reflect.TypeOf(v).Elem())
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = title
	return schema
}

func objectSchema(t reflect.Type) map[string]any {
	properties, required := make(map[string]any), []string{}
	for _, one := range fieldsOf(t) {
		if one.name == "" {
			continue
		}
		properties[one.name] = fieldSchema(one, t.Field(one.index).Type)
		if one.required {
			required = append(required, one.name)
		}
	}
	schema := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		schema["required"] = required
	}
	return schema
}

func fieldSchema(of field, t reflect.Type) map[string]any {
	schema := typeSchema(of, t)
	if doc := of.tag.Get("doc"); doc != "" {
		schema["description"] = doc
	}
	if d := of.tag.Get("default"); d != "" {
		schema["default"] = d
		if kind := t.Kind(); kind >= reflect.Int && kind <= reflect.Float64 && schema["type"] != "string" {
			schema["default"] = json.Number(d)
		}
	}
	return schema
}

func typeSchema(of field, t reflect.Type) map[string]any {
	switch {
	case t.Kind() == reflect.Pointer:
		return typeSchema(of, t.Elem())
	case t == reflect.TypeFor[secret.Ref]():
		return map[string]any{"type": "string", "pattern": "^(env|file):."}
	case t == reflect.TypeFor[time.Duration]():
		return map[string]any{"type": "string", "pattern": `^-?([0-9.]+(ns|us|µs|ms|s|m|h))+$`}
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return plainSchema(of)
	}
	switch t.Kind() {
	case reflect.Struct:
		object := objectSchema(t)
		for _, one := range fieldsOf(t) {
			if one.name == "" {
				return map[string]any{"anyOf": []any{fieldSchema(one, t.Field(one.index).Type), object}}
			}
		}
		return object
	case reflect.Slice:
		entry := typeSchema(of, t.Elem())
		return map[string]any{"anyOf": []any{entry, map[string]any{"type": "array", "items": entry}}}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": typeSchema(of, t.Elem())}
	case reflect.Bool:
		return map[string]any{"enum": []any{true, false, "on", "off"}}
	case reflect.String:
		return plainSchema(of)
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	}
	if t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uint64 {
		return map[string]any{"type": "integer", "minimum": 0}
	}
	return map[string]any{"type": "integer"}
}

// plainSchema is that of what is read as a text: YAML's numbers and booleans are texts too.
func plainSchema(of field) map[string]any {
	if allowed := of.tag.Get("enum"); allowed != "" {
		var names []any
		for _, name := range strings.Split(allowed, ",") {
			names = append(names, name)
			if name == "true" || name == "false" {
				names = append(names, name == "true")
			}
		}
		return map[string]any{"enum": names}
	}
	return map[string]any{"type": []any{"string", "number", "boolean"}}
}
