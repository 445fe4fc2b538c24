package filter_test

import (
	"errors"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/traffic"
)

func exchange(method, target string) *traffic.Exchange {
	return &traffic.Exchange{
		CaptureTime: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Source:      traffic.Source{Kind: traffic.Proxy},
		Flags:       traffic.TruncatedResponse,
		Session:     []byte("s1"),
		Connection:  traffic.Connection{Client: []byte("10.0.0.1:5")},
		Request: traffic.Request{
			Method: []byte(method), Target: []byte(target), Authority: []byte("Shop.example.com"),
			Headers:  []traffic.Field{{Name: []byte("User-Agent"), Value: []byte("curl/8")}},
			Body:     []byte(`{"a":1}`),
			BodySize: 7,
		},
		Response: &traffic.Response{
			Status: 503, Duration: 1500 * time.Millisecond,
			Headers: []traffic.Field{{Name: []byte("Retry-After"), Value: []byte("3")}},
		},
	}
}

func TestShorthand(t *testing.T) {
	for _, c := range []struct {
		src, method, target string
		want                bool
	}{
		{"POST /api/**", "POST", "/api/a/b?x=1", true},
		{"POST /api/**", "POST", "/api", true}, // ** stands for no segment too
		{"POST /api/**", "POST", "/api/", true},
		{"POST /api/**", "GET", "/api/a", false},
		{"POST /api/**", "POST", "/apis/a", false},
		{"GET,HEAD /x/*", "HEAD", "/x/1", true},
		{"GET,HEAD /x/*", "HEAD", "/x/1/2", false}, // * is one segment
		{"/a/*/c", "PUT", "/a/b/c", true},
		{"/a/**/c", "PUT", "/a/c", true},
		{"/a/**/c", "PUT", "/a/x/y/c", true},
		{"/a/**/c", "PUT", "/a/x/y/d", false},
		{"/items/?", "GET", "/items/7", true},
		{"/items/?", "GET", "/items/42", false},
		{"/*.css", "GET", "/main.css", true},
		{"DELETE", "DELETE", "/whatever", true},
		{"* /x", "BREW", "/x", true},
		{"/x", "GET", "http://host:1/x?y", true},             // absolute form
		{"POST /api/**", "POST", "/api/../admin", false},     // what a server would make of it
		{"POST /api/**", "POST", "/api/%2e%2E/admin", false}, // the same, encoded
		{"POST /admin", "POST", "/api/.%2e/./admin", true},   // and found by a rule against it
		{"/**", "OPTIONS", "*", true},                        // any target at all
		{"/*", "OPTIONS", "*", false},                        // no path
	} {
		f, err := filter.Compile(c.src)
		require.NoError(t, err, c.src)
		x := exchange(c.method, c.target)
		got, err := f.Match(x)
		require.NoError(t, err)
		require.Equal(t, c.want, got, "%s against %s %s", c.src, c.method, c.target)
		require.True(t, f.HeaderOnly())
	}
}

func TestExpression(t *testing.T) {
	for src, want := range map[string]bool{
		`method == "POST" && path startsWith "/api"`: true,
		`status >= 500`: true,
		`status == 200 or host == "shop.example.com"`:       true,
		`header("user-agent") contains "curl"`:              true,
		`response_header("retry-after") == "3"`:             true,
		`header("x-none") != ""`:                            false,
		`"TRUNCATED_RESPONSE" in flags`:                     true,
		`"GAP" in flags`:                                    false,
		`duration_ms > 1000 && size == 7`:                   true,
		`body contains "\"a\":1" and query == "q=1"`:        true,
		`source == "proxy" && session == "s1"`:              true,
		`time < date("2026-01-03T00:00:00Z")`:               true,
		`path matches "^/api/[a-z]+$"`:                      true,
		`client startsWith "10." && target endsWith "?q=1"`: true,
		`(server == "") == (method in ["POST", "PUT"])`:     true,
	} {
		f, err := filter.Compile(src)
		require.NoError(t, err, src)
		got, err := f.Match(exchange("POST", "/api/things?q=1"))
		require.NoError(t, err, src)
		require.Equal(t, want, got, src)
	}
}

func TestHeadersDecideWhatTheyTell(t *testing.T) {
	m := filter.Meta{Method: "GET", Path: "/a", Status: 404, Flags: traffic.Gap, Time: time.Unix(1e9, 0)}
	for src, want := range map[string]bool{
		`method == "GET" && status == 404`: true,
		`"GAP" in flags && path == "/a"`:   true,
		`GET /b`:                           false,
	} {
		f, err := filter.Compile(src)
		require.NoError(t, err)
		require.True(t, f.HeaderOnly(), src)
		got, err := f.MatchHeaders(m)
		require.NoError(t, err)
		require.Equal(t, want, got, src)
	}
	f, err := filter.Compile(`status == 404 && header("a") == "b"`)
	require.NoError(t, err)
	require.False(t, f.HeaderOnly(), "a field needs the record")
}

func TestBadFilterSaysWhereAndWhatToTry(t *testing.T) {
	for src, try := range map[string]string{
		`methd == "GET"`:   "method",
		`stats >= 500`:     "status",
		`status >=`:        "shorthand",
		`status`:           "shorthand", // a number is no answer
		`banana == 1`:      "names",
		``:                 "GET /api/**",
		`method == 1 ++ 2`: "names",
	} {
		_, err := filter.Compile(src)
		require.Equal(t, fault.Usage, fault.Code(err), src)
		f, ok := errors.AsType[*fault.Error](err)
		require.True(t, ok)
		require.Contains(t, f.Try, try, src)
	}
}

// What was meant as a shorthand is told so in a shorthand's words, with one that is right.
func TestBadShorthandIsToldWhatIsWrongWithIt(t *testing.T) {
	for src, want := range map[string]struct{ says, try string }{
		"GET api":            {`column 5: a path begins with "/"`, "'GET /api'"},
		"GET  api/**":        {`column 6: a path begins with "/"`, "'GET /api/**'"},
		"api/**":             {`column 1: a path begins with "/"`, "'/api/**'"},
		"get /api":           {"column 1: methods are in capitals, with commas", "'GET /api'"},
		"post":               {"methods are in capitals", "'POST'"},
		"GET|POST /api":      {"with commas between them", "'GET,POST /api'"},
		"GET, POST /api":     {"with commas between them", "'GET,POST /api'"},
		"GET/api":            {"column 4: a method and a path have a blank", "'GET /api'"},
		"POST:/api":          {"have a blank", "'POST /api'"},
		"GET '/api'":         {"without quotes", "'GET /api'"},
		`"GET /api"`:         {"it is in quotes", "'GET /api'"},
		"GET http://h:1/a?b": {"column 5: a shorthand has a path, and no scheme and host", `'GET /a', or 'host == "h:1"'`},
		"https://shop/a":     {"no scheme and host", `'/a', or 'host == "shop"'`},
		"GET /a /b":          {"column 8: a shorthand has one path", "'GET /a' and 'GET /b'"},
		"GET && status > 1":  {"and nothing else", `'method == "GET" && status > 1'`},
		"GET,PUT /a status":  {"and nothing else", `method in ["GET", "PUT"] &&`},
	} {
		_, err := filter.Compile(src)
		require.Equal(t, fault.Usage, fault.Code(err), src)
		f, ok := errors.AsType[*fault.Error](err)
		require.True(t, ok)
		require.Contains(t, f.What, strconv.Quote(src))
		require.Contains(t, f.Cause, want.says, src)
		require.Contains(t, f.Try, want.try, src)
		for _, one := range regexp.MustCompile(`'([^']+)'`).FindAllStringSubmatch(f.Try, -1) {
			_, err := filter.Compile(one[1])
			require.NoError(t, err, "%s: what it says to try", src)
		}
	}
	for _, src := range []string{"size/2", "(", "GET ==", "status and", `path = "/a"`, "duration_ms"} {
		_, err := filter.Compile(src)
		require.Error(t, err, src)
		require.NotContains(t, err.Error(), "column", "%s was meant as an expression", src)
	}
}

func TestExcludeIsStrongerThanInclude(t *testing.T) {
	s, err := filter.CompileSet([]string{"GET /**", `status == 503`}, []string{"/health"})
	require.NoError(t, err)
	for _, c := range []struct {
		method, target string
		want           bool
		rule           string
	}{
		{"GET", "/a", true, "GET /**"},
		{"GET", "/health", false, "/health"},
		{"POST", "/a", true, "status == 503"},
	} {
		keep, rule := s.Keep(exchange(c.method, c.target))
		require.Equal(t, c.want, keep)
		require.Equal(t, c.rule, rule)
	}
	require.True(t, s.HeaderOnly())
	keep, _ := s.KeepHeaders(filter.Meta{Method: "PUT", Path: "/a", Status: 200})
	require.False(t, keep, "no include matches")
	_, err = filter.CompileSet(nil, []string{"("})
	require.Error(t, err)
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{"GET /a/**", `status >= 500`, `header("a") matches "("`, "/**/**/*", `any(flags, # == "GAP")`, "((((", "\x00", "GET, POST http://a/b c", "api/**"} {
		f.Add(s)
	}
	x := exchange("GET", "/a/b?c=d")
	f.Fuzz(func(t *testing.T, src string) {
		r, err := filter.Compile(src)
		if err == nil {
			_, _ = r.Match(x)
		} else if fault.Code(err) != fault.Usage {
			t.Fatal(err)
		}
	})
}

func BenchmarkShorthand(b *testing.B)  { benchmark(b, "GET /api/**") }
func BenchmarkExpression(b *testing.B) { benchmark(b, `method == "GET" && path startsWith "/api"`) }

func benchmark(b *testing.B, src string) {
	f, err := filter.Compile(src)
	require.NoError(b, err)
	x := exchange("GET", "/api/items/42")
	b.ReportAllocs()
	for b.Loop() {
		_, _ = f.Match(x)
	}
}
