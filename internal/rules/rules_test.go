package rules_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/rules"
	"github.com/reprise-io/reprise/internal/yamlfile"
)

// A disk that is full leaves files of no length: rules must not be undone by one.
func TestAnEmptyFileIsAnAccident(t *testing.T) {
	for _, text := range []string{"", "\n", " \n\n", "# nothing\n"} {
		_, err := rules.Parse("rules.yaml", text)
		require.Error(t, err, "%q", text)
		require.Equal(t, fault.Usage, fault.Code(err))
		bad, ok := errors.AsType[*yamlfile.Bad](err)
		require.True(t, ok)
		require.Len(t, bad.Flaws, 1)
		require.Contains(t, bad.Flaws[0], "the file is empty")
	}
}

func TestAFileMaySayNothing(t *testing.T) {
	for _, text := range []string{"version: 1\n", "{}\n", "# nothing\nversion: 1\n"} {
		f, err := rules.Parse("rules.yaml", text)
		require.NoError(t, err, text)
		set, err := f.Filter.Set()
		require.NoError(t, err)
		require.Nil(t, set)
		require.EqualValues(t, 1, f.Version)
	}
}

func TestFlawsOfAllSectionsAreToldAtOnce(t *testing.T) {
	_, err := rules.Parse("rules.yaml", `vresion: 2
filter:
  include: [GET /api/**, 'stat == 1']
  exclude: '('
sample: {rate: 200%, by: user}
`)
	require.Equal(t, fault.Usage, fault.Code(err))
	bad, ok := errors.AsType[*yamlfile.Bad](err)
	require.True(t, ok)
	require.Len(t, bad.Flaws, 4, "%q", bad.Flaws)
	for i, want := range []string{
		`:1:1: unknown key "vresion": did you mean version?`, `:3:26: bad filter "stat == 1"`, `:4:12: bad filter "("`, `:5:26: by cannot be "user": want session`,
	} {
		require.Contains(t, bad.Flaws[i], "rules.yaml"+want)
	}
}

func TestDigestIsOfTheMeaning(t *testing.T) {
	digest := func(text string) string {
		f, err := rules.Parse("rules.yaml", text)
		require.NoError(t, err, text)
		require.Len(t, f.Digest(), 16)
		return string(f.Digest())
	}
	one := digest("filter: {include: [GET /a]}\n")
	require.Equal(t, one, digest("# the same\nversion: 1\nfilter:\n  include:\n    - 'GET /a'\n"))
	require.NotEqual(t, one, digest("version: 2\nfilter: {include: [GET /a]}\n"))
	require.NotEqual(t, one, digest("filter: {exclude: [GET /a]}\n"))
}

func TestSchemaIsStrict(t *testing.T) {
	text, err := rules.Schema()
	require.NoError(t, err)
	var schema struct {
		Schema     string                     `json:"$schema"`
		Additional *bool                      `json:"additionalProperties"`
		Properties map[string]json.RawMessage `json:"properties"`
	}
	require.NoError(t, json.Unmarshal(text, &schema))
	require.Equal(t, "https://json-schema.org/draft/2020-12/schema", schema.Schema)
	require.False(t, *schema.Additional)
	for _, section := range []string{"version", "filter", "sample", "redact", "writes", "production", "rewrite", "session", "limits", "compare"} {
		require.Contains(t, schema.Properties, section)
		require.Contains(t, string(schema.Properties[section]), "description", section)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("version: 2\nfilter: {include: [GET /a], exclude: 'status >= 500'}\nsample: {rate: 10%}\n")
	f.Add("redact: {}\nwrites:\nlimits: {a: b}\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 {
			return
		}
		file, err := rules.Parse("rules.yaml", text)
		if err != nil {
			require.Equal(t, fault.Usage, fault.Code(err))
			return
		}
		_, err = file.Filter.Set()
		require.NoError(t, err, "what was checked can be compiled")
		_, err = file.Compare.Rules()
		require.NoError(t, err)
	})
}
