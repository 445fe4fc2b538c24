package yamlfile_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/secret"
	"github.com/reprise-io/reprise/internal/yamlfile"
)

// plan is a file as a program may have one.
type plan struct {
	Name    string           `yaml:"name,required" doc:"what it is called"`
	Mode    string           `yaml:"mode" enum:"on,off,auto" default:"auto"`
	Size    uint16           `yaml:"size"`
	Depth   int              `yaml:"depth"`
	Share   float64          `yaml:"share"`
	Wait    time.Duration    `yaml:"wait"`
	Loud    bool             `yaml:"loud"`
	Secret  secret.Ref       `yaml:"secret"`
	Rules   []rule           `yaml:"rules"`
	Nested  *nested          `yaml:"nested"`
	Limits  map[string]int   `yaml:"limits"`
	private string           //nolint:unused // no key
	Others  map[string][]any // no key either
}

type rule struct {
	Text   string   `yaml:",text"`
	Method []string `yaml:"method"`
	Path   string   `yaml:"path"`
}

func (r *rule) Check(f *yamlfile.File) {
	if r.Text == "bad" {
		f.At(&r.Text, "a bad text")
	}
	for i := range r.Method {
		if r.Method[i] == "BREW" {
			f.At(&r.Method[i], "no method: %s", r.Method[i])
		}
	}
	if r.Text == "" && r.Method == nil && r.Path == "" {
		f.At(r, "an empty rule")
	}
}

type nested struct {
	Deep struct {
		Value string `yaml:"value"`
	} `yaml:"deep"`
}

func decode(text string) (*plan, error) {
	f := yamlfile.File{Path: "plan.yaml", What: "plan", Try: "check"}
	var p plan
	f.Decode(f.Parse(text), &p)
	return &p, f.Err()
}

func TestDecodesIntoStructs(t *testing.T) {
	p, err := decode(`
name: "x: y"   # a comment
mode: off
size: 7
depth: -3
share: 0.25
wait: 1m30s
loud: on
secret: env:NAME
rules:
  - GET /a
  - {method: GET, path: /b}
  - method: [GET, POST]
nested:
  deep:
    value: |-
      text
limits: {a: 1, "b c": 2}
`)
	require.NoError(t, err)
	require.Equal(t, "x: y", p.Name)
	require.Equal(t, "off", p.Mode)
	require.Equal(t, []any{uint16(7), -3, 0.25, 90 * time.Second, true}, []any{p.Size, p.Depth, p.Share, p.Wait, p.Loud})
	require.Equal(t, "env:NAME", p.Secret.String())
	require.Equal(t, []rule{{Text: "GET /a"}, {Method: []string{"GET"}, Path: "/b"}, {Method: []string{"GET", "POST"}}}, p.Rules)
	require.Equal(t, "text", p.Nested.Deep.Value)
	require.Equal(t, map[string]int{"a": 1, "b c": 2}, p.Limits)
}

func TestOneIsAListOfOne(t *testing.T) {
	p, err := decode("name: x\nrules: {path: /a}\n")
	require.NoError(t, err)
	require.Equal(t, []rule{{Path: "/a"}}, p.Rules)
}

func TestFlawsHaveTheirPlaces(t *testing.T) {
	for text, want := range map[string][]string{
		"naem: x\n":                           {`:1:1: unknown key "naem": did you mean name?`, `:1:1: name is missing`},
		"name: x\nmode: of\n":                 {`:2:7: mode cannot be "of": did you mean on?`},
		"name: x\nsize: 70000\n":              {`:2:7: size: 70000 is too large`},
		"name: x\nsize: -1\n":                 {`:2:7: size cannot be "-1": want a whole number from 0 on`},
		"name: x\nshare: .nan\n":              {`:2:8: share cannot be ".nan": want a number`},
		"name: x\nwait: 10\n":                 {`:2:7: wait: bad duration "10"`},
		"name: x\nloud: yes\n":                {`:2:7: loud cannot be "yes"`},
		"name: x\nname: y\n":                  {`:2:1: mapping key "name" already defined`},
		"name: [x]\n":                         {`:1:7: name must be a plain value`},
		"name:\nsize: 1\n":                    {`:1:6: name has no value`},
		"name: x\nrules: [bad, {}, [a]]\n":    {`:2:9: a bad text`, `:2:14: an empty rule`, `:2:18: rules must be a mapping`},
		"name: x\nrules: {method: [A, BREW]}": {`:2:21: no method: BREW`},
		"name: x\nnested: {deep: {val: 1}}\n": {`:2:17: unknown key "val": did you mean value?`},
		"name: x\nlimits: {a: b}\n":           {`:2:13: limits a cannot be "b": want a whole number`},
		"name: x\nlimits: 7\n":                {`:2:9: limits must be a mapping`},
		"depth: x\nsize: y\nwat: 1\n": {
			`:1:1: name is missing`, `:1:8: depth cannot be "x"`, `:2:7: size cannot be "y"`, `:3:1: unknown key "wat"`,
		},
	} {
		_, err := decode(text)
		require.Equal(t, fault.Usage, fault.Code(err), text)
		bad, ok := errors.AsType[*yamlfile.Bad](err)
		require.True(t, ok)
		require.Len(t, bad.Flaws, len(want), "%q", bad.Flaws)
		for i := range want {
			require.Contains(t, bad.Flaws[i], "plan.yaml"+want[i])
		}
	}
}

func TestSecretThatIsWrittenOutIsNotShown(t *testing.T) {
	for _, text := range []string{
		"name: x\nsecret: hunter2\n", "{name: x, secret: hunter2, share: hunter2}\n", "name: x\nsecret: [hunter2]\n", "name: x\nsecret: {a: hunter2}\n",
	} {
		_, err := decode(text)
		require.Error(t, err)
		f, ok := errors.AsType[*fault.Error](err)
		require.True(t, ok)
		if text[0] != '{' { // the value of another key is not known for a secret
			require.NotContains(t, f.Cause+f.What, "hunter2")
		}
		require.Contains(t, f.Cause, "(not shown)")
	}
}

func TestSchemaSaysWhatIsRead(t *testing.T) {
	text, err := json.Marshal(yamlfile.JSONSchema("plan", new(plan)))
	require.NoError(t, err)
	require.JSONEq(t, `{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "plan",
		"type": "object", "additionalProperties": false, "required": ["name"],
		"properties": {
			"name": {"type": ["string", "number", "boolean"], "description": "what it is called"},
			"mode": {"enum": ["on", "off", "auto"], "default": "auto"},
			"size": {"type": "integer", "minimum": 0}, "depth": {"type": "integer"}, "share": {"type": "number"},
			"wait": {"type": "string", "pattern": "^-?([0-9.]+(ns|us|µs|ms|s|m|h))+$"},
			"loud": {"enum": [true, false, "on", "off"]},
			"secret": {"type": "string", "pattern": "^(env|file):."},
			"rules": {"anyOf": [
				{"anyOf": [{"type": ["string", "number", "boolean"]}, `+ruleSchema+`]},
				{"type": "array", "items": {"anyOf": [{"type": ["string", "number", "boolean"]}, `+ruleSchema+`]}}
			]},
			"nested": {"type": "object", "additionalProperties": false, "properties": {
				"deep": {"type": "object", "additionalProperties": false, "properties": {"value": {"type": ["string", "number", "boolean"]}}}
			}},
			"limits": {"type": "object", "additionalProperties": {"type": "integer"}}
		}
	}`, string(text))
}

const ruleSchema = `{"type": "object", "additionalProperties": false, "properties": {
	"path": {"type": ["string", "number", "boolean"]},
	"method": {"anyOf": [{"type": ["string", "number", "boolean"]}, {"type": "array", "items": {"type": ["string", "number", "boolean"]}}]}
}}`

func TestReadBoundsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "big.yaml")
	require.NoError(t, os.WriteFile(path, make([]byte, yamlfile.MaxBytes+1), 0o600))
	_, err := yamlfile.Read(path, "plan", "--plan")
	require.Equal(t, fault.Usage, fault.Code(err))
	require.ErrorContains(t, err, "larger than")
	_, err = yamlfile.Read(path+"x", "plan", "--plan")
	require.ErrorContains(t, err, "no such file")
}

func FuzzDecode(f *testing.F) {
	f.Add("name: x\nrules: [bad, {method: GET}]\nlimits: {a: 1}\nnested: {deep: {value: y}}\n")
	f.Add("name: |\n  x\nsecret: env:A\nwait: 1s\nshare: 1e400\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 {
			return
		}
		p, err := decode(text)
		if err != nil {
			require.Equal(t, fault.Usage, fault.Code(err))
			return
		}
		require.NotPanics(t, func() { _ = fmt.Sprint(p) })
	})
}
