package rules_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/compare"
	"github.com/reprise-io/reprise/internal/rules"
	"github.com/reprise-io/reprise/internal/traffic"
)

func TestCompareSaysWhatCountsAsTheSame(t *testing.T) {
	file, err := rules.Parse("rules.yaml", `
compare:
  ignore:
    - $..requestId
    - /items/*/at
    - {path: $.debug, where: 'GET /api/**'}
  arrays:
    - {path: $.tags}
    - {path: $.items, key: id}
  numbers:
    - {path: $..price, tolerance: 0.01}
    - {path: $..score, tolerance: 5%}
  types: [$.id]
  headers:
    - Location
    - {name: Cache-Control, where: GET /static/**}
`)
	require.NoError(t, err)
	r, err := file.Compare.Rules()
	require.NoError(t, err)
	judge := func(target, want, got string) traffic.Verdict {
		answer := func(body string) *traffic.Response {
			return &traffic.Response{Status: 200, Body: []byte(body), BodySize: int64(len(body)), Headers: []traffic.Field{
				{Name: []byte("Cache-Control"), Value: []byte(body[:3])}, // differs where the bodies begin otherwise
			}}
		}
		x := &traffic.Exchange{Request: traffic.Request{Method: []byte("GET"), Target: []byte(target)}, Response: answer(want)}
		v, _ := compare.Comparer{Rules: r}.Compare(x, answer(got))
		return v
	}
	const want = `{"id":1,"tags":["a","b"],"items":[{"id":1,"at":1,"price":1},{"id":2,"at":2,"price":2}],"score":100,"requestId":"x","debug":1}`
	const got = `{"id":"1","tags":["b","a"],"items":[{"id":2,"at":3,"price":2.01},{"id":1,"at":4,"price":1}],"score":104,"requestId":"y","debug":2}`
	require.Equal(t, traffic.Same, judge("/api/items", want, got))
	require.Equal(t, traffic.BodyChanged, judge("/items", want, got), "debug is ignored under /api only")
	require.Equal(t, traffic.Same, judge("/items", `{}  `, ` {} `))
	require.Equal(t, traffic.BodyChanged, judge("/static/a", `{}  `, ` {} `), "the header differs")
}

func TestAFileThatDoesNotCompareHasTheDigestOfBefore(t *testing.T) {
	for _, text := range []string{"version: 1\n", "version: 1\ncompare: {}\n"} {
		file, err := rules.Parse("rules.yaml", text)
		require.NoError(t, err)
		r, err := file.Compare.Rules()
		require.NoError(t, err)
		require.Nil(t, r)
		plain, err := rules.Parse("rules.yaml", "version: 1\n")
		require.NoError(t, err)
		require.Equal(t, plain.Digest(), file.Digest())
	}
	one, err := rules.Parse("rules.yaml", "compare: {ignore: [$.a]}\n")
	require.NoError(t, err)
	other, err := rules.Parse("rules.yaml", "compare: {ignore: [$.b]}\n")
	require.NoError(t, err)
	require.NotEqual(t, one.Digest(), other.Digest(), "a run that compares otherwise is another run")
}

func TestBadRulesOfCompareAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"compare: {ignore: [a.b]}":                                     "want it to begin with $ or /",
		"compare: {ignore: [{where: GET /}]}":                          "path is missing",
		"compare: {ignore: [{path: $.a, where: '((('}]}":               "rules.yaml:1:",
		"compare: {arrays: [{key: id}]}":                               "path is missing",
		"compare: {arrays: [{path: '$['}]}":                            "want a number, * or a name in quotes",
		"compare: {numbers: [{path: $.a}]}":                            "tolerance is missing",
		"compare: {numbers: [{path: $.a, tolerance: -1}]}":             `tolerance cannot be "-1"`,
		"compare: {numbers: [{path: $.a, tolerance: NaN}]}":            `tolerance cannot be "NaN"`,
		"compare: {numbers: [{path: $.a, tolerance: some}]}":           `tolerance cannot be "some"`,
		"compare: {types: [{}]}":                                       "path is missing",
		"compare: {headers: ['a b']}":                                  "a b",
		"compare: {headers: [{where: GET /}]}":                         "name is missing",
		"compare: {ignored: [$.a]}":                                    `unknown key "ignored"`,
		"compare: {numbers: [{path: $.a, tolerance: 1, within: yes}]}": `unknown key "within"`,
	} {
		_, err := rules.Parse("rules.yaml", text)
		require.ErrorContains(t, err, want, text)
	}
}
