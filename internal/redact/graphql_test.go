package redact

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

const login = `mutation Login($user: String!, $password: String = "hunter2secret") {
  # hunter2 is what the password: field was
  login(user: $user, password: "hunter2secret", input: {pin: 12345, token: """he said "hunter2secret" there""", otp: [1234, 5678], on: true}) {
    token: accessToken
    session { secret(first: 10, status: OPEN, note: "ring ` + phone + `") }
  }
}`

// hidden is what login must not say any more, and staying what it has to say as before.
var (
	hidden  = []string{"hunter2secret", "12345", "1234", "5678", phone}
	staying = []string{
		"mutation Login($user: String!, $password: String = \"", "login(user: $user, password: \"", "pin: ", "on: true})", "token: accessToken\n",
		"secret(first: 10, status: OPEN, note: \"ring 1",
	}
)

func requireLogin(t *testing.T, text string) {
	t.Helper()
	require.Len(t, text, len(login))
	for _, s := range hidden {
		require.NotContains(t, text, s)
	}
	for _, s := range staying {
		require.Contains(t, text, s)
	}
}

func TestSecretsInTheTextOfAGraphQLQueryAreRedacted(t *testing.T) {
	r := fixed(t)
	quoted, err := json.Marshal(login)
	require.NoError(t, err)
	for name, row := range map[string]struct{ contentType, body string }{
		"JSON":              {"application/json", `{"operationName":"Login","variables":{"user":"bob"},"query":` + string(quoted) + `}`},
		"a batch":           {"application/json", `[{"query":` + string(quoted) + `}]`},
		"a body of its own": {"application/graphql", login},
		"without a type":    {"", "\n" + login},
	} {
		t.Run(name, func(t *testing.T) {
			x := post(row.contentType, row.body)
			require.NoError(t, r.Exchange(x))
			text := string(x.Request.Body)
			require.Len(t, text, len(row.body))
			if i := strings.Index(text, `"mutation`); i >= 0 {
				text = text[i:]
				require.NoError(t, json.NewDecoder(strings.NewReader(text)).Decode(&text))
			}
			requireLogin(t, strings.TrimPrefix(text, "\n"))
			again, before := len(x.Redactions), string(x.Request.Body)
			require.NoError(t, r.Exchange(x))
			require.Len(t, x.Redactions, again, "all that is replaced is listed")
			require.Equal(t, before, string(x.Request.Body))
		})
	}

	x := &traffic.Exchange{Request: traffic.Request{Method: []byte("GET"), Target: []byte("/graphql?query=" + string(appendPercent(nil, []byte(login))))}}
	require.NoError(t, r.Exchange(x))
	target := strings.TrimPrefix(string(x.Request.Target), "/graphql?query=")
	requireLogin(t, string(unescapePercent(nil, []byte(target), true)))
}

func TestPlacesInGraphQL(t *testing.T) {
	_, found := redactJSON(t, fixed(t), `{"query":"query { a(phone: \"`+phone+`\", x: 1) { b(note: \"`+phone+`\", pin: [1, 2]) } c(pin: 3) }"}`)
	var places []string
	for _, r := range found {
		places = append(places, strings.TrimPrefix(r.Location, "request.json:/query~graphql:"))
	}
	require.Equal(t, []string{"phone#0", "note#2~@0", "pin#3", "pin#3~#1", "pin#4"}, places)
}

func TestRulesOfTheUsersReachIntoGraphQL(t *testing.T) {
	rules := *DefaultRules()
	rules.Keys = append([]KeyRule{
		{Name: "mine", Words: []string{"nickname"}, Action: Replace, With: `a "name"`},
		{Name: "size", Words: []string{"weight"}, Action: Mask},
	}, rules.Keys...)
	r, err := New(Options{Rules: &rules, Key: []byte("a key that only tests use")})
	require.NoError(t, err)
	x := post("application/graphql", `{ me(nickname: "bob", weight: 72.5) { friends(nickname: 7, weight: "72") } }`)
	require.NoError(t, r.Exchange(x))
	require.Equal(t, `{ me(nickname: "a \"name\"", weight: 11.1) { friends(nickname: "a \"name\"", weight: "**") } }`, string(x.Request.Body))
}

func TestWhatIsGraphQL(t *testing.T) {
	for text, is := range map[string]bool{
		`query { a }`: true, `query{a}`: true, `query Q { a }`: true, `query Q( $a: Int) { a }`: true, `query @live { a }`: true,
		"\n\t# a comment\n  mutation M{a}": true, `subscription S { a }`: true, `fragment F on User { a }`: true,
		`{ a }`: true, `{a(b: 1)}`: true, `{ a { b } }`: true, `{ a b }`: true, `{ ...F }`: true, `{a @include(if: true)}`: true,

		`{"a": 1}`: false, `{a: 1}`: false, `{a : 1}`: false, `{}`: false, `{`: false, `[1]`: false, ``: false, `{ 'a': 1 }`: false,
		`query`: false, `query string (q) was empty`: false, `querying {a}`: false, `mutation: {a}`: false, `fragment F of User`: false, `# a comment`: false,
		`my query { a }`: false,
	} {
		require.Equal(t, is, looksLikeGraphQL([]byte(text)), text)
	}
}

func TestDeepGraphQLIsRemoved(t *testing.T) {
	x := post("application/graphql", strings.Repeat("{a", maxJSONDepth+1))
	require.NoError(t, ignoreMany(fixed(t).Exchange(x)))
	require.Empty(t, x.Request.Body)
}

// Whatever the text is: the same length, nothing replaced twice, and no secret that stands behind it is left.
func FuzzGraphQL(f *testing.F) {
	f.Add(login)
	f.Add(`{a(b:"\"`)
	f.Add(`query($a:[Int!]=[1,2],$b:P={pin:1}){x(t:"""a\"""b""")}`)
	r := fixed(f)
	f.Fuzz(func(t *testing.T, text string) {
		if !looksLikeGraphQL([]byte(text)) {
			return
		}
		x := post("application/graphql", text)
		require.NoError(t, ignoreMany(r.Exchange(x)))
		if len(x.Request.Body) == 0 {
			return // too deep
		}
		require.Len(t, x.Request.Body, len(text))
		before, found := string(x.Request.Body), len(x.Redactions)
		require.NoError(t, ignoreMany(r.Exchange(x)))
		require.Equal(t, before, string(x.Request.Body))
		require.Len(t, x.Redactions, found)

		planted := `{ login(password: "hunter2secret") { ok } }`
		y := post("application/graphql", planted+"\n"+text)
		require.NoError(t, ignoreMany(r.Exchange(y)))
		if len(y.Request.Body) > 0 {
			require.NotContains(t, string(y.Request.Body[:len(planted)]), "hunter2secret")
		}
	})
}
