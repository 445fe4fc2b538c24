package yamlfile

import (
	"encoding/json"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
)

func TestJSONAsYAML(t *testing.T) {
	for _, row := range []struct{ json, yaml string }{
		{`{}`, "{}\n"},
		{`[]`, "[]\n"},
		{`"x"`, "\"x\"\n"},
		{`{"run":"build-1","sent":12,"f":0.5,"ok":true,"none":null}`, "run: \"build-1\"\nsent: 12\nf: 0.5\nok: true\nnone: null\n"},
		{`{"flags":[],"headers":[["Host","a"],["X","b: c"]]}`, "flags: []\nheaders:\n  - [\"Host\", \"a\"]\n  - [\"X\", \"b: c\"]\n"},
		{`[{"a":1,"b":{"c":"no"}},{"a":2}]`, "- a: 1\n  b:\n    c: \"no\"\n- a: 2\n"},
		{`[[[1]],[]]`, "- - [1]\n- []\n"},
		{`{"on":1,"5xx":2,"/a b":3}`, "\"on\": 1\n\"5xx\": 2\n\"/a b\": 3\n"},
	} {
		got, err := FromJSON([]byte(row.json))
		require.NoError(t, err, row.json)
		require.Equal(t, row.yaml, string(got))
	}
	for _, bad := range []string{``, `{`, `[1`, `{"a"}`, `1 2`, `}`} {
		_, err := FromJSON([]byte(bad))
		require.Error(t, err, bad)
	}
}

// FuzzJSONAsYAML holds what is written against what a reader of YAML makes of it.
func FuzzJSONAsYAML(f *testing.F) {
	f.Add([]byte(`{"a":[{"b":[1,"x\n",null]},[]],"yes":"no","t":"2026-11-22T12:00:00Z","u":"\u0000\u0085\u2028é🙈\\\""}`))
	f.Add([]byte(`[[["~"]],{"":{}},1e3]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var want any
		if json.Unmarshal(text, &want) != nil || len(text) > 4<<10 {
			return
		}
		text, err := json.Marshal(want) // no member twice
		require.NoError(t, err)
		got, err := FromJSON(text)
		require.NoError(t, err)
		var back any
		require.NoError(t, yaml.Unmarshal(got, &back), "%s", got)
		again, err := json.Marshal(back)
		require.NoError(t, err)
		require.True(t, json.Valid(again))
	})
}
