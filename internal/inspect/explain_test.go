package inspect_test

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/curl"
	"github.com/reprise-io/reprise/internal/inspect"
	"github.com/reprise-io/reprise/internal/rules"
	"github.com/reprise-io/reprise/internal/traffic"
)

// noRules is a file that says nothing.
const noRules = "version: 1\n"

// explain runs a curl command through a rules file.
func explain(t *testing.T, text, line string) *inspect.Explanation {
	t.Helper()
	return explainWith(t, text, line, inspect.ReplayFlags{})
}

func explainWith(t *testing.T, text, line string, flags inspect.ReplayFlags) *inspect.Explanation {
	t.Helper()
	f, err := rules.Parse("rules.yaml", text)
	require.NoError(t, err)
	e, err := inspect.NewExplainer(t.Context(), f, []byte("a key of sixteen bytes or more"), flags)
	require.NoError(t, err)
	x, err := curl.Parse(line)
	require.NoError(t, err)
	explanation, err := e.Explain(x)
	require.NoError(t, err)
	return explanation
}

func step(t *testing.T, e *inspect.Explanation, section string) inspect.Step {
	t.Helper()
	for _, s := range e.Steps {
		if s.Section == section {
			return s
		}
	}
	t.Fatalf("no step of %s", section)
	return inspect.Step{}
}

func TestExplainNamesTheFilterThatDecides(t *testing.T) {
	const text = "filter: {include: [GET /api/**, {name: shop, host: '*.example'}], exclude: [GET /api/health]}\n"
	for line, want := range map[string][2]string{
		"curl h/api/1":              {inspect.Passes, "include 1: GET /api/**"},
		"curl shop.example/x":       {inspect.Passes, "include shop: host=*.example"},
		"curl h/api/health":         {inspect.Stops, "exclude 1: GET /api/health"},
		"curl -X DELETE h/api/1":    {inspect.Stops, "no include matches"},
		"curl -X DELETE b.example/": {inspect.Passes, "include shop: host=*.example"},
	} {
		s := step(t, explain(t, text, line), "filter")
		require.Equal(t, want, [2]string{s.Result, s.Why}, line)
	}
	require.Equal(t, "no filters", step(t, explain(t, noRules, "curl h"), "filter").Why)
	require.Equal(t, "no exclude matches", step(t, explain(t, "filter: {exclude: /x}\n", "curl h"), "filter").Why)
}

func TestExplainSamplesAsTheTapsDo(t *testing.T) {
	require.Equal(t, inspect.Passes, step(t, explain(t, noRules, "curl h"), "sample").Result)
	require.Equal(t, inspect.Depends, step(t, explain(t, "sample: {rate: 10%}\n", "curl h"), "sample").Result)
	kept := 0
	for i := range 200 {
		s := step(t, explain(t, "sample: {rate: 25%}\n", "curl -b sessionid=user"+strings.Repeat("x", i)+" h"), "sample")
		require.Contains(t, []string{inspect.Passes, inspect.Stops}, s.Result)
		if s.Result == inspect.Passes {
			kept++
		}
	}
	require.InDelta(t, 50, kept, 25)
	s := step(t, explain(t, "sample: {rate: 0%, keep: 1/s per route}\n", "curl -b sessionid=x h/items/7"), "sample")
	require.Equal(t, inspect.Depends, s.Result)
	require.Contains(t, s.Why, "1/s per route")
	require.Contains(t, s.Why, "GET /items/{id}")
}

func TestExplainShowsWhatIsRedactedAndNeverTheValue(t *testing.T) {
	e := explain(t, noRules, `curl -H 'Authorization: Bearer hunter2hunter2' -b 'sid=hunter2abc' -d 'phone=13812345678&password=hunter2' 'h/a?token=hunter2xyz'`)
	s := step(t, e, "redact")
	require.Equal(t, inspect.Changes, s.Result)
	where := make(map[string]string)
	for _, d := range s.Details {
		where[d.Where] = d.Now
		require.NotEmpty(t, d.Rule)
	}
	for _, place := range []string{"request.header:Authorization#0", "request.cookie:sid#0", "request.form:phone#0", "request.form:password#1", "request.query:token#0"} {
		require.NotEmpty(t, where[place], "%s of %v", place, where)
	}
	require.Len(t, where["request.form:phone#0"], 11)
	for _, form := range []inspect.Form{inspect.Table, inspect.NDJSON} {
		var out bytes.Buffer
		require.NoError(t, e.Print(&out, form))
		require.NotContains(t, out.String(), "hunter2")
		require.NotContains(t, out.String(), "13812345678")
		require.Contains(t, out.String(), "request.cookie:sid#0")
		require.Contains(t, out.String(), "POST /a?token=")
	}
	var again inspect.Explanation
	var out bytes.Buffer
	require.NoError(t, e.Print(&out, inspect.NDJSON))
	require.NoError(t, json.Unmarshal(out.Bytes(), &again))
	require.Equal(t, *e, again)
}

func TestExplainSaysWhatWasRedactedBefore(t *testing.T) {
	f, err := rules.Parse("rules.yaml", noRules)
	require.NoError(t, err)
	e, err := inspect.NewExplainer(t.Context(), f, nil, inspect.ReplayFlags{})
	require.NoError(t, err)
	x, err := curl.Parse("curl -b sid=abcdefgh h/")
	require.NoError(t, err)
	_, err = e.Explain(x)
	require.NoError(t, err)
	require.NotEmpty(t, x.Redactions)
	again, err := e.Explain(&traffic.Exchange{Request: x.Request, Redactions: x.Redactions})
	require.NoError(t, err)
	s := step(t, again, "redact")
	require.Equal(t, inspect.Passes, s.Result)
	require.Contains(t, s.Why, "redacted when it was recorded")
}

func TestExplainAsksTheGuard(t *testing.T) {
	for line, want := range map[string]string{
		"curl h/": inspect.Passes, "curl -I h/": inspect.Passes, "curl -d a=b h/": inspect.Stops,
		"curl -H 'X-HTTP-Method-Override: DELETE' h/": inspect.Stops,
	} {
		s := step(t, explain(t, noRules, line), "writes")
		require.Equal(t, want, s.Result, line)
		require.Equal(t, "replayer", s.Program)
	}
}

func TestExplainShowsWhatAReplayerChanges(t *testing.T) {
	const text = `
rewrite: {host: preprod.example, base-path: /v2, headers: [{name: X-Tenant, value: test}], body: [{json: $.tenant, value: test}]}
session: {jar: on, extract: [{name: token, from: POST /login, json: $.token}], inject: [{value: token, into: header Authorization, as: 'Bearer ${}', where: /orders/**}]}
`
	e := explain(t, text, `curl --json '{"tenant":"prod"}' h/orders/7`)
	s := step(t, e, "rewrite")
	require.Equal(t, inspect.Changes, s.Result)
	require.Equal(t, inspect.Detail{Where: "host", Now: "preprod.example"}, s.Details[0])
	require.Equal(t, inspect.Detail{Where: "target", Now: "/v2/orders/7"}, s.Details[1])
	require.Contains(t, s.Details, inspect.Detail{Where: "header X-Tenant", Now: "test"})
	s = step(t, e, "session")
	require.Equal(t, inspect.Depends, s.Result)
	require.Equal(t, "header Authorization", s.Details[0].Where)
	require.Equal(t, "nothing depends on answers", step(t, explain(t, noRules, "curl h"), "session").Why)
	require.Equal(t, "nothing to change", step(t, explain(t, noRules, "curl h"), "rewrite").Why)
}

func TestExplainShowsWhatEachGuardWouldDo(t *testing.T) {
	const text = `
production: [shop.example, 10.1.0.0/16, '127.0.0.0/8']
writes: {allow: ['PUT /v2/**', 'POST /v2/orders'], caps: [{route: 'POST /v2/orders', most: 100}, {route: 'PUT /v2/none', most: 0}], total: 5000}
rewrite: {base-path: /v2}
limits: {rate: 500, breaker: on, max-error-rate: 5%}
`
	e := explain(t, text, "curl -d a=b h/orders")
	var sections []string
	for _, s := range e.Steps {
		sections = append(sections, s.Section)
	}
	require.Equal(t, []string{"filter", "sample", "redact", "target", "rewrite", "writes", "session", "limits"}, sections)
	s := step(t, e, "target")
	require.Equal(t, inspect.Depends, s.Result)
	require.Contains(t, s.Why, "3 places named here")
	s = step(t, e, "writes")
	require.Equal(t, inspect.Passes, s.Result)
	require.Equal(t, "a rule allows this write: POST /v2/orders", s.Why, "as it is sent, and by which")
	require.Len(t, s.Details, 2)
	require.Contains(t, s.Details[0].Now, "at most 100 in a run: POST /v2/orders")
	require.Contains(t, s.Details[1].Now, "one of 5000")
	require.Len(t, step(t, e, "limits").Details, 3)
	require.Equal(t, inspect.Stops, step(t, explain(t, text, "curl -X PUT h/none"), "writes").Result, "its cap is 0")
	require.Equal(t, inspect.Stops, step(t, explain(t, text, "curl -X PUT h/%2e%2e/x"), "writes").Result, "another path for who decodes it")
	require.Equal(t, inspect.Stops, step(t, explain(t, "production: [shop.example]\nrewrite: {host: shop.example}\n", "curl h/"), "rewrite").Result)

	for target, why := range map[string]string{
		"http://127.0.0.1:8080":    "named as production",
		"http://10.1.2.3":          "named as production",
		"http://10.2.0.1:8080":     "",
		"http://169.254.169.254":   "credentials",
		"http://[::ffff:10.1.0.1]": "named as production",
	} {
		u, err := url.Parse(target)
		require.NoError(t, err)
		flags := inspect.ReplayFlags{Target: u, AllowTarget: []string{u.Host}}
		s := step(t, explainWith(t, text, "curl 10.2.0.9/", flags), "target")
		if why == "" {
			require.Equal(t, inspect.Passes, s.Result, s.Why)
			s = step(t, explainWith(t, text, "curl 10.2.0.1:8080/", flags), "target")
			require.Equal(t, inspect.Stops, s.Result, "recorded at the target")
			continue
		}
		require.Equal(t, inspect.Stops, s.Result, target)
		require.Contains(t, s.Why, why, target)
	}
}
