package compare_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/compare"
	"github.com/reprise-io/reprise/internal/traffic"
)

func path(t *testing.T, s string) compare.Path {
	t.Helper()
	p, err := compare.ParsePath(s)
	require.NoError(t, err)
	return p
}

func places(t *testing.T, paths ...string) (all []compare.Place) {
	t.Helper()
	for _, s := range paths {
		all = append(all, compare.Place{Path: path(t, s)})
	}
	return all
}

func TestRulesSayWhatCountsAsTheSame(t *testing.T) {
	ignore := func(paths ...string) compare.Rules { return compare.Rules{Ignore: places(t, paths...)} }
	array := func(s, key string) compare.Rules {
		return compare.Rules{Arrays: []compare.Array{{Place: compare.Place{Path: path(t, s)}, Key: key}}}
	}
	number := func(s string, absolute, relative float64) compare.Rules {
		return compare.Rules{Numbers: []compare.Number{{Place: compare.Place{Path: path(t, s)}, Absolute: absolute, Relative: relative}}}
	}
	loose := func(s string) compare.Rules { return compare.Rules{Types: places(t, s)} }
	for _, c := range []struct {
		name        string
		rules       compare.Rules
		want, got   string
		differences []string
	}{
		{"ignored member", ignore("$.at"), `{"at":1,"b":2}`, `{"at":2,"b":3}`, []string{"/b value 2 -> 3"}},
		{"missing and extra are ignored too", ignore("$.at", "$.now"), `{"at":1}`, `{"now":1}`, nil},
		{"as a report writes it", ignore("/items/*/at"), `{"items":[{"at":1},{"at":2}]}`, `{"items":[{"at":3},{"at":4}]}`, nil},
		{"escapes of a report", ignore("/a~1b/c~0d"), `{"a/b":{"c~d":1}}`, `{"a/b":{"c~d":2}}`, nil},
		{"any depth", ignore("$..trace"), `{"a":[{"b":{"trace":1}}],"trace":1}`, `{"a":[{"b":{"trace":2}}],"trace":2}`, nil},
		{"below a name", ignore("$.a..trace"), `{"a":{"trace":1},"b":{"trace":1}}`, `{"a":{"trace":2},"b":{"trace":2}}`, []string{"/b/trace value 1 -> 2"}},
		{"one item", ignore("$.a[1]"), `{"a":[1,2]}`, `{"a":[3,4]}`, []string{"/a/* value 1 -> 3"}},
		{"an item that is more", ignore("$.a[1]"), `{"a":[1]}`, `{"a":[1,4]}`, nil},
		{"a name is no index", ignore("$.a.0"), `{"a":[1]}`, `{"a":[2]}`, []string{"/a/* value 1 -> 2"}},
		{"an index is no name", ignore("$.a[0]"), `{"a":{"0":1}}`, `{"a":{"0":2}}`, []string{"/a/0 value 1 -> 2"}},
		{"every member", ignore("$.a.*"), `{"a":{"b":1}}`, `{"a":{"c":1}}`, nil},
		{"a name in quotes", ignore(`$['x.y']["z"]`), `{"x.y":{"z":1}}`, `{"x.y":{"z":2}}`, nil},
		{"the whole body", ignore("$"), `{"a":1}`, `[]`, nil},
		{"the whole body as a report has it", ignore("/"), `{"a":1}`, `[]`, nil},

		{"order of no matter", array("$.a", ""), `{"a":[1,{"b":2},"x"]}`, `{"a":["x",1.0,{"b":2}]}`, nil},
		{"order matters elsewhere", array("$.a", ""), `{"b":[1,2]}`, `{"b":[2,1]}`, []string{"/b/* value 1 -> 2"}},
		{"one of equal ones is missing", array("$", ""), `[1,1,2]`, `[2,1]`, []string{"/* missing 1 -> "}},
		{"one changed", array("$", ""), `[{"n":1},{"n":2}]`, `[{"n":2},{"n":3}]`, []string{"/*/n value 1 -> 3"}},
		{"nested", array("$..*", ""), `{"a":[[1,2],[3,4]]}`, `{"a":[[4,3],[2,1]]}`, nil},
		{"by a key", array("$.items", "id"), `{"items":[{"id":1,"n":5},{"id":2,"n":6}]}`, `{"items":[{"id":2,"n":6},{"id":1.0,"n":7}]}`, []string{"/items/*/n value 5 -> 7"}},
		{"missing and extra keys", array("$", "id"), `[{"id":1},{"id":2}]`, `[{"id":3},{"id":2}]`, []string{"/* missing {1} -> ", "/* extra  -> {1}"}},
		{"a key twice", array("$", "id"), `[{"id":1,"n":1},{"id":1,"n":2}]`, `[{"id":1,"n":1},{"id":1,"n":2}]`, nil},
		{"1 is not \"1\"", array("$", "id"), `[{"id":1}]`, `[{"id":"1"}]`, []string{"/* missing {1} -> ", "/* extra  -> {1}"}},
		{"items without the key", array("$", "id"), `[1]`, `[2]`, []string{"/* missing 1 -> ", "/* extra  -> 2"}},

		{"within a tolerance", number("$.p", 0.01, 0), `{"p":1.00}`, `{"p":1.01}`, nil},
		{"beyond it", number("$.p", 0.01, 0), `{"p":1.00}`, `{"p":1.02}`, []string{"/p value 1.00 -> 1.02"}},
		{"a share", number("$..p", 0, 0.1), `{"p":-100}`, `{"p":-110}`, nil},
		{"beyond a share", number("$..p", 0, 0.1), `{"p":100}`, `{"p":112}`, []string{"/p value 100 -> 112"}},
		{"no float", number("$", 1, 1), `1e400`, `1e401`, []string{"/ value 1e400 -> 1e401"}},

		{"a number and its text", loose("$.id"), `{"id":12}`, `{"id":"12"}`, nil},
		{"another text", loose("$.id"), `{"id":12}`, `{"id":"13"}`, []string{`/id type 12 -> "13"`}},
		{"null and nothing", loose("$.a"), `{"a":null}`, `{}`, nil},
		{"nothing and null", loose("$.a"), `{}`, `{"a":null}`, nil},
		{"nothing and something", loose("$.a"), `{}`, `{"a":0}`, []string{"/a extra  -> 0"}},
		{"true", loose("$..*"), `[true]`, `["true"]`, nil},
		{"null is no text", loose("$..*"), `[null]`, `["null"]`, []string{`/* type null -> "null"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			verdict, differences := compare.Comparer{Rules: &c.rules}.Compare(recorded(answer(200, c.want, jsonType), 0), answer(200, c.got, jsonType))
			require.Equal(t, c.differences, lines(differences))
			require.Equal(t, len(c.differences) > 0, verdict == traffic.BodyChanged)
		})
	}
}

func TestRulesGoTogether(t *testing.T) {
	rules := compare.Rules{
		Ignore:  places(t, "$.items[*].at"),
		Arrays:  []compare.Array{{Place: compare.Place{Path: path(t, "$.items")}}},
		Numbers: []compare.Number{{Place: compare.Place{Path: path(t, "$.items[*].p")}, Absolute: 0.1}},
		Types:   places(t, "$.items[*].id"),
	}
	judge := func(want, got string) []string {
		_, found := compare.Comparer{Rules: &rules}.Compare(recorded(answer(200, want, jsonType), 0), answer(200, got, jsonType))
		return lines(found)
	}
	const want = `{"items":[{"id":1,"at":1,"p":1},{"id":2,"at":2,"p":2,"tag":null}]}`
	require.Empty(t, judge(want, `{"items":[{"id":"2","at":9,"p":2.0,"tag":null},{"id":"1","at":8,"p":1}]}`), "what is ignored tells no items apart")
	require.Empty(t, judge(want, `{"items":[{"id":"2","at":9,"p":2.05,"tag":null},{"id":"1","at":8,"p":1.05}]}`), "nor do numbers that are near")
	require.Equal(t, []string{"/items/*/p value 2 -> 2.5"}, judge(want, `{"items":[{"id":"2","at":9,"p":2.5,"tag":null},{"id":"1","at":8,"p":1.05}]}`))
}

// TestTheWorkForItemsWithoutOrderIsBounded takes minutes where it is not.
func TestTheWorkForItemsWithoutOrderIsBounded(t *testing.T) {
	nested := func(open, end string, depth int) func(n int) string {
		return func(n int) string { return strings.Repeat(open, depth) + fmt.Sprint(n) + strings.Repeat(end, depth) }
	}
	for name, document := range map[string]func(n int) string{
		"deep":         nested("[", "]", 60),
		"very deep":    nested("[", "]", 5000),
		"deep objects": nested(`{"a":[`, "]}", 30),
		"pairs": func(n int) string {
			s := fmt.Sprint(n)
			for range 12 {
				s = "[" + s + "," + s + "]"
			}
			return s
		},
		"wide": func(n int) string {
			items := make([]string, 20_000)
			for i := range items {
				items[i] = fmt.Sprint(n*1_000_000 + i)
			}
			return "[" + strings.Join(items, ",") + "]"
		},
	} {
		for _, where := range []string{"$..*", "$", "$..a"} {
			place := compare.Place{Path: path(t, where)}
			rules := compare.Rules{
				Arrays: []compare.Array{{Place: place}}, Types: []compare.Place{place}, Numbers: []compare.Number{{Place: place, Relative: 0.1}},
			}
			verdict, found := compare.Comparer{Rules: &rules}.Compare(recorded(answer(200, document(1)), 0), answer(200, document(5)))
			require.Equal(t, traffic.BodyChanged, verdict, "%s %s", name, where)
			require.LessOrEqual(t, len(found), 100)
		}
	}
}

type onlyFor string

func (o onlyFor) Match(x *traffic.Exchange) (bool, error) {
	if o == "" {
		return true, errors.New("cannot be evaluated")
	}
	return string(x.Request.Method) == string(o), nil
}

func TestRulesAreForSomeExchanges(t *testing.T) {
	for where, verdict := range map[onlyFor]traffic.Verdict{"GET": traffic.Same, "POST": traffic.BodyChanged, "": traffic.BodyChanged} {
		rules := compare.Rules{Ignore: []compare.Place{{Path: path(t, "$.a"), Where: where}}}
		got, _ := compare.Comparer{Rules: &rules}.Compare(recorded(answer(200, `{"a":1}`, jsonType), 0), answer(200, `{"a":2}`, jsonType))
		require.Equal(t, verdict, got, where)
	}
}

func TestABodyOfAnyKindCanBeIgnored(t *testing.T) {
	rules := compare.Rules{Ignore: places(t, "$")}
	verdict, _ := compare.Comparer{Rules: &rules}.Compare(recorded(answer(200, "\x89PNG1"), 0), answer(200, "\x89PNG2"))
	require.Equal(t, traffic.Same, verdict)
	verdict, _ = compare.Comparer{Rules: &rules}.Compare(recorded(answer(200, "a"), 0), answer(500, "b"))
	require.Equal(t, traffic.StatusChanged, verdict, "its status is still compared")
}

func TestHeadersAreComparedByRule(t *testing.T) {
	rules := compare.Rules{Fields: []compare.FieldPlace{{Name: "Location"}, {Name: "X-Post", Where: onlyFor("POST")}, {Name: "Set-Cookie"}}}
	comparer := compare.Comparer{Rules: &rules, KeyID: "mine"}
	require.True(t, rules.Redacts())
	for _, c := range []struct {
		name      string
		want, got *traffic.Response
		method    string
		redacted  string
		lines     []string
	}{
		{"the same, in other letters", answer(302, "", "location: /a"), answer(302, "", "Location: /a"), "", "", nil},
		{"others differ by nature", answer(200, "x", "Date: 1", "Location: /a"), answer(200, "x", "Date: 2", "Location: /a"), "", "", nil},
		{"another value", answer(302, "", "Location: /a"), answer(302, "", "Location: /b"), "", "", []string{"header Location value /a -> /b"}},
		{"missing", answer(302, "", "Location: /a"), answer(302, "", "A: b"), "", "", []string{"header Location missing /a -> "}},
		{"extra, and empty", answer(302, "", "A: b"), answer(302, "", "Location: "), "", "", []string{"header Location extra  -> "}},
		{"two of a name", answer(302, "", "Location: /a", "Location: /b"), answer(302, "", "Location: /a"), "", "", []string{"header Location value /a, /b -> /a"}},
		{"of HEAD too", answer(200, "", "Location: /a"), answer(200, "", "Location: /b"), "HEAD", "", []string{"header Location value /a -> /b"}},
		{"beside the body", answer(200, "x", "Location: /a"), answer(200, "y", "Location: /b"), "", "", []string{"header Location value /a -> /b", "body value x -> y"}},
		{"not for this one", answer(200, "", "X-Post: 1", "A: b"), answer(200, "", "X-Post: 2"), "", "", nil},
		{"could not be redacted", answer(200, "", "Location: /a"), answer(200, ""), "", "", nil},
		{"redacted with another key", answer(200, "", "Location: /a"), answer(200, "", "Location: /b"), "", "response.header:location#0~query:token#0", nil},
		{"another field was", answer(200, "", "Location: /a"), answer(200, "", "Location: /b"), "", "response.header:Location-Id#0", []string{"header Location value /a -> /b"}},
		{"cookies have places of their own", answer(200, "", "Set-Cookie: a=1"), answer(200, "", "Set-Cookie: a=2"), "", "response.set-cookie:a#0", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := recorded(c.want, 0)
			if c.method != "" {
				x.Request.Method = []byte(c.method)
			}
			if c.redacted != "" {
				x.Redactions = []traffic.Redaction{{KeyID: "theirs", Location: c.redacted}}
			}
			verdict, found := comparer.Compare(x, c.got)
			require.Equal(t, c.lines, lines(found))
			require.Equal(t, len(c.lines) > 0, verdict == traffic.BodyChanged, verdict)
		})
	}
}

func TestBadPathsAreRefused(t *testing.T) {
	for _, s := range []string{"", "a", "$a", "$.", "$..", "$[", "$[x]", "$[-1]", "$['a", "$..a..b", "$" + strings.Repeat(".a", 40), "/" + strings.Repeat("a", 600)} {
		_, err := compare.ParsePath(s)
		require.Error(t, err, s)
		require.NotContains(t, err.Error(), "\n")
	}
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"$.a[*]['b c']..d[0]", "/a/*/b~1c", "$", "/"} {
		f.Add(s, `{"a":[{"b":1}]}`, `{"a":[{"b":2}],"c":{}}`)
	}
	f.Fuzz(func(t *testing.T, s, a, b string) {
		p, err := compare.ParsePath(s)
		if err != nil {
			return
		}
		require.Equal(t, s, p.String())
		place := compare.Place{Path: p}
		rules := compare.Rules{
			Ignore: nil, Arrays: []compare.Array{{Place: place}}, Types: []compare.Place{place},
			Numbers: []compare.Number{{Place: place, Relative: 0.1}},
		}
		judge := func(want, got string) traffic.Verdict {
			v, found := compare.Comparer{Rules: &rules}.Compare(recorded(answer(200, want), 0), answer(200, got))
			require.LessOrEqual(t, len(found), 100)
			return v
		}
		require.Equal(t, traffic.Same, judge(a, a))
		judge(a, b)
		rules.Ignore = []compare.Place{place}
		require.Equal(t, traffic.Same, judge(a, a))
		judge(a, b)
	})
}
