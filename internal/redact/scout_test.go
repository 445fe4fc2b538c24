package redact

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

// plodding is a Redactor whose walks look at every byte: a selector that matches nothing wants to know where it is.
func plodding(t testing.TB) *Redactor {
	return selecting(t, inJSONPath("$.no.such.member", Mask))
}

// alike redacts a document with and without a scout.
func alike(t *testing.T, quick, slow *Redactor, doc []byte) {
	t.Helper()
	a := post("application/json", string(doc))
	b := post("application/json", string(doc))
	errA, errB := quick.Exchange(a), slow.Exchange(b)
	if errB != nil || b.Flags != 0 { // too deep, or too much: where nothing is, nobody minds
		return
	}
	require.NoError(t, errA)
	require.Zero(t, a.Flags)
	require.Equal(t, string(b.Request.Body), string(a.Request.Body))
	require.Equal(t, listed(b), listed(a))
}

func listed(x *traffic.Exchange) (all []string) {
	for _, r := range x.Redactions {
		all = append(all, r.Rule+" "+r.Location)
	}
	return all
}

// grown is a document of what makes trouble, and of what makes none.
func grown(random *rand.Rand, depth int) string {
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	key := func() string {
		return pick(`"a"`, `"id"`, `"name"`, `"phone"`, `"hotel"`, `"userPassword"`, `"pass\u0077ord"`, `'token'`, `token`, `"手机"`, `"x`+phone+`"`, `"tokens"`, `"note"`, `"pin1"`, `"spin"`)
	}
	var b strings.Builder
	switch n := random.IntN(10); {
	case n < 4 && depth > 0:
		b.WriteByte('{')
		for i := range random.IntN(5) {
			if i > 0 {
				b.WriteString(pick(",", ", ", ",\n", ",,"))
			}
			b.WriteString(key() + pick(":", " : ", ":\n") + grown(random, depth-1))
		}
		b.WriteString(pick("}", "}", "}", " }", ""))
	case n < 6 && depth > 0:
		b.WriteByte('[')
		for i := range random.IntN(4) {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(grown(random, depth-1))
		}
		b.WriteString(pick("]", "]", " ]"))
	case n < 8:
		fmt.Fprintf(&b, `"%s"`, pick("x", "a longer text of some words", "call "+phone+" now", idCard, "c@shop.example", `esc\n`+phone, `{\"pin\":\"123456\"}`, "it's", "https://h/a?token=abcdef", "10:11:12", card4, "138 1234", "5678"))
	default:
		b.WriteString(pick("1", "-1.5e9", "true", "null", phone, card, "138", "1234", "'quoted'", "/* "+phone+" */1"))
	}
	return b.String()
}

func TestAScoutMissesNothing(t *testing.T) {
	quick, slow := fixed(t), plodding(t)
	random := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		doc := "{" + `"filler":"` + strings.Repeat("x", random.IntN(40)) + `","d":` + grown(random, 5) + "}" + grown(random, 2)
		alike(t, quick, slow, []byte(doc))
	}
}

func TestTheEndOfAKeyTellsEarlyThatNoNameEndsThere(t *testing.T) {
	rules := DefaultRules().Keys
	for _, m := range []*keyMatcher{newKeyMatcher(rules), newKeyMatcher(append(rules, KeyRule{Name: "one", Words: []string{"x", "é"}}))} {
		early := 0
		for a := range 256 {
			for b := range 256 {
				for _, key := range []string{string([]byte{byte(a), byte(b), '"'}), "passwor" + string([]byte{byte(a), byte(b), '"'}), string([]byte{'i', byte(a), byte(b)})} {
					if m.noEnd([]byte(key), len(key)) {
						early++
						require.False(t, m.mayEnd([]byte(key), len(key)), "%q", key)
					}
				}
			}
		}
		require.Greater(t, early, 4*26*26, "of two letters in either case, most are no end")
	}
	require.False(t, newKeyMatcher(nil).noEnd([]byte(`a"`), 2))
}

func FuzzScout(f *testing.F) {
	f.Add([]byte(`{"a":"b","phone":"1","c":[{"x":"` + phone + `"},{"y":{"token":{"z":1}}}],'pwd':'x',pwd:"x"}`))
	f.Add([]byte(`[{"a":"\u0031` + phone[1:] + `"},"https://u:p@h/?pin=12",{"a":1}]`))
	quick, slow := fixed(f), plodding(f)
	f.Fuzz(func(t *testing.T, doc []byte) { alike(t, quick, slow, append([]byte("{"), doc...)) })
}
