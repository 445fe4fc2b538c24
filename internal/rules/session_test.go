package rules_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/credential"
	"github.com/reprise-io/reprise/internal/rules"
	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/yamlfile"
)

func TestRewriteAndSessionAreRead(t *testing.T) {
	f, err := rules.Parse("rules.yaml", `
rewrite:
  host: shop.preprod
  base-path: /v2
  path: {from: '^/api/(.*)', to: /$1, where: GET /api/**}
  query: [{name: debug, remove: on}, {name: env, value: test}]
  headers: [{name: X-Tenant, value: test}]
  body: [{json: $.tenant, value: test}, {form: tenant, value: test}, {match: shop\.example, value: shop.preprod}]
  fresh: header Idempotency-Key
session:
  key: [header Authorization, answer json $.token]
  jar: on
  missing: refuse
  wait: 3s
  extract:
    - {from: POST /login, json: $.token}
    - {name: csrf, header: X-CSRF}
  inject: {value: csrf, into: header X-CSRF, as: '${}', where: POST /**}
  credentials:
    - {name: gateway, kind: oauth2, token-url: https://login.preprod/token, client-id: reprise, client-secret: env:SECRET, scope: a b, params: {audience: shop}}
    - {name: key, kind: exec, command: [mint, --for, preprod], into: header X-Api-Key, where: GET /api/**}
`)
	require.NoError(t, err)
	r, err := f.Rewrite.Rules()
	require.NoError(t, err)
	x := &traffic.Exchange{Request: traffic.Request{
		Method: []byte("GET"), Target: []byte("/api/items?debug=1"),
		Headers: []traffic.Field{{Name: []byte("Content-Type"), Value: []byte("application/json")}},
		Body:    []byte(`{"tenant":"prod","at":"shop.example"}`),
	}}
	sent, err := r.Apply(x, 0, 0)
	require.NoError(t, err)
	require.Equal(t, "/v2/items?env=test", string(sent.Target))
	require.JSONEq(t, `{"tenant":"test","at":"shop.preprod"}`, string(sent.Body))
	require.Equal(t, "X-Tenant", string(sent.Headers[1].Name))
	require.Len(t, r.Fresh, 1)

	o, err := f.Session.Options()
	require.NoError(t, err)
	require.True(t, o.Jar)
	require.True(t, o.Refuse)
	require.Len(t, o.Extract, 2)
	require.Len(t, o.Inject, 1)
	key, err := f.Session.By()
	require.NoError(t, err)
	require.Len(t, key, 2)
	cfg := f.Session.Credentials[0].Config()
	require.Equal(t, credential.OAuth2, cfg.Kind)
	require.Equal(t, "env:SECRET", cfg.Secret.String())
	into, where, err := f.Session.Credentials[0].Use()
	require.NoError(t, err)
	require.Equal(t, "header Authorization", into.String())
	require.Nil(t, where)
	_, where, err = f.Session.Credentials[1].Use()
	require.NoError(t, err)
	require.NotNil(t, where)
}

func TestWhatCannotBeRewrittenIsTold(t *testing.T) {
	for text, want := range map[string]string{
		"rewrite: {headers: [{name: Reprise-Replay, value: x}]}":                       "marked as a replay",
		"rewrite: {headers: [{name: host, value: x}]}":                                 "rewrite.host",
		"rewrite: {headers: [{name: A, value: x, remove: on}]}":                        "either value or remove",
		"rewrite: {base-path: v2}":                                                     "want a path such as /v2",
		"rewrite: {path: [{from: '('}]}":                                               "missing closing )",
		"rewrite: {body: [{json: $.a, form: b}]}":                                      "want one of json, form and match",
		"rewrite: {body: [{json: a}]}":                                                 "begin with $",
		"rewrite: {fresh: [body x]}":                                                   "want header, cookie",
		"session: {extract: [{from: POST /login}]}":                                    "want one of header, cookie, json and body",
		"session: {extract: [{from: '(', json: $.a}]}":                                 "bad filter",
		"session: {inject: [{value: x, into: header X}]}":                              `no value "x" is extracted`,
		"session: {key: [answer query q]}":                                             "an answer has no query",
		"session: {wait: -1s}":                                                         "below 0",
		"session: {credentials: [{name: a, kind: static, token: s3cret}]}":             "env:NAME or file:PATH",
		"session: {credentials: [{name: a, kind: magic}]}":                             "want static, file, exec, oauth2",
		"session: {credentials: [{name: a, kind: exec}]}":                              "it has no command",
		"session: {credentials: [{name: a, kind: file, path: /x, into: header Host}]}": "rewrite.host",
	} {
		_, err := rules.Parse("rules.yaml", text+"\n")
		require.Error(t, err, text)
		bad, ok := errors.AsType[*yamlfile.Bad](err)
		require.True(t, ok, text)
		require.Contains(t, strings.Join(bad.Flaws, "\n"), want, text)
		require.NotContains(t, bad.Error(), "s3cret", text)
	}
}

func TestTheExamplesOfTheReadmeAreRead(t *testing.T) {
	page, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	n := 0
	for _, part := range strings.Split(string(page), "```yaml\n# rules.yaml\n")[1:] {
		text, _, _ := strings.Cut(part, "```")
		_, err := rules.Parse("README.md", text)
		require.NoError(t, err)
		n++
	}
	require.NotZero(t, n)
}
