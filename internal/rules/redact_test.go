package rules_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/redact"
	"github.com/reprise-io/reprise/internal/rules"
	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/yamlfile"
)

// redacting is what a file makes of a request.
func redacting(t *testing.T, text string, x *traffic.Exchange) {
	t.Helper()
	file, err := rules.Parse("rules.yaml", text)
	require.NoError(t, err)
	o, err := file.Redact.Options(file.Version, []byte("a key that only tests use"))
	require.NoError(t, err)
	r, err := redact.New(o)
	require.NoError(t, err)
	require.NoError(t, r.Exchange(x))
}

func request(target, contentType, body string, fields ...string) *traffic.Exchange {
	x := &traffic.Exchange{Request: traffic.Request{
		Method: []byte("POST"), Target: []byte(target), Body: []byte(body),
		Headers: []traffic.Field{{Name: []byte("Content-Type"), Value: []byte(contentType)}},
	}}
	for i := 0; i+1 < len(fields); i += 2 {
		x.Request.Headers = append(x.Request.Headers, traffic.Field{Name: []byte(fields[i]), Value: []byte(fields[i+1])})
	}
	return x
}

func TestRedactRulesDoWhatTheySay(t *testing.T) {
	const text = `version: 7
redact:
  rules:
    - {name: loyalty, header: X-Loyalty, action: drop}
    - {json: '$.user..no', action: mask, where: 'POST /api/**'}
    - {query: debug, action: replace, with: 'off'}
    - {xml: //pan, kind: card}
    - {body: 'order-(\d+)', action: mask, on: response}
`
	x := request("/api/a?debug=on", "application/json", `{"user":{"a":[{"no":"ab"}]},"t":"order-1"}`, "X-Loyalty", "12", "A", "b")
	redacting(t, text, x)
	want := `{"user":{"a":[{"no":"**"}]},"t":"order-1"}`
	require.Equal(t, want, string(x.Request.Body))
	require.Equal(t, "/api/a?debug=off", string(x.Request.Target))
	require.Len(t, x.Request.Headers, 2)
	require.Len(t, x.Redactions, 3)
	for i, want := range []traffic.Redaction{
		{Rule: "query:debug", Location: "request.query:debug#0"},
		{Rule: "loyalty", Location: "request.header:X-Loyalty#0~-"},
		{Rule: "json:$.user..no", Location: "request.json:/user/a/0/no"},
	} {
		require.Equal(t, want.Rule, x.Redactions[i].Rule)
		require.Equal(t, want.Location, x.Redactions[i].Location)
		require.EqualValues(t, 7, x.Redactions[i].Version)
	}
	was := `{"user":{"no":"ab"}}`
	x = request("/b", "application/json", was)
	redacting(t, text, x)
	require.Equal(t, was, string(x.Request.Body), "the rule is for another path")
}

func TestDetectorsAndDefaultsAreSwitched(t *testing.T) {
	const body = `{"a":"13812345678","b":"11010519491231002X","password":"x y z"}`
	x := request("/", "application/json", body)
	redacting(t, "redact: {detectors: {off: [cn-mobile]}}\n", x)
	require.Contains(t, string(x.Request.Body), "13812345678")
	require.NotContains(t, string(x.Request.Body), "11010519491231002X")
	require.NotContains(t, string(x.Request.Body), "x y z")

	x = request("/", "application/json", body)
	redacting(t, "redact: {defaults: off, detectors: {on: [cn-id]}}\n", x)
	require.Contains(t, string(x.Request.Body), "13812345678")
	require.NotContains(t, string(x.Request.Body), "11010519491231002X")
	require.Contains(t, string(x.Request.Body), "x y z")
}

func TestTheKeyOfTheFileCountsAndHasAName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(path, []byte("another key, of november\n"), 0o600))
	one := request("/", "application/json", `{"password":"x y z"}`)
	redacting(t, "redact: {key: 'file:"+path+"', key-id: 2026-11}\n", one)
	require.Equal(t, "2026-11", one.Redactions[0].KeyID)
	other := request("/", "application/json", `{"password":"x y z"}`)
	redacting(t, "version: 1\n", other)
	require.NotEqual(t, one.Request.Body, other.Request.Body)

	file, err := rules.Parse("rules.yaml", "redact: {key: 'file:"+path+".gone'}\n")
	require.NoError(t, err, "whoever checks a file need not have its secrets")
	_, err = file.Redact.Options(1, nil)
	require.ErrorContains(t, err, path+".gone")
	require.NoError(t, os.WriteFile(path, []byte("short"), 0o600))
	file, err = rules.Parse("rules.yaml", "redact: {key: 'file:"+path+"'}\n")
	require.NoError(t, err)
	_, err = file.Redact.Options(1, nil)
	require.ErrorContains(t, err, "5 bytes")
}

func TestFlawsOfRedactionAreTold(t *testing.T) {
	_, err := rules.Parse("rules.yaml", `redact:
  detectors: {off: [phone]}
  rules:
    - {json: user}
    - {name: nothing}
    - {header: A, cookie: b}
    - {header: Host}
    - {query: a, with: b}
    - {query: a, kind: number}
    - {query: a, where: 'status == 200'}
    - {body: '('}
    - {grpc: /a/b}
`)
	bad, ok := errors.AsType[*yamlfile.Bad](err)
	require.True(t, ok)
	want := []string{
		`:2:21: unknown detector "phone"`, `:4:14: rule json:user: JSON path "user"`, `:5:7: a rule says what it is for`,
		`is for one place: cookie is the second one`, `:7:16: rule header:Host: field Host is part of the message's frame`,
		`:8:24: with is the text of the action replace`, `:9:24: unknown kind "number"`, `:10:25: where is METHOD and path`,
		`:11:14: rule body:(: error parsing regexp`, `:12:14: rule grpc:/a/b: field path`,
	}
	require.Len(t, bad.Flaws, len(want), "%q", bad.Flaws)
	for i := range want {
		require.Contains(t, bad.Flaws[i], want[i])
	}
}
