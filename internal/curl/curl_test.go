package curl_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/curl"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/traffic"
)

func TestReadsWhatCurlWouldSend(t *testing.T) {
	for line, want := range map[string]struct {
		method, authority, target, body string
		headers                         string // some of them
	}{
		`curl shop.example`:                                {"GET", "shop.example", "/", "", "Host: shop.example"},
		`curl -s 'https://shop.example:8443/a?b=c&d#e'`:    {"GET", "shop.example:8443", "/a?b=c&d", "", "Host: shop.example:8443"},
		`curl -XDELETE http://h/a`:                         {"DELETE", "h", "/a", "", ""},
		`curl -sSLI http://h/a | jq .`:                     {"HEAD", "h", "/a", "", ""},
		`curl http://h/a;`:                                 {"GET", "h", "/a;", "", ""}, // no blank: no end of a command here
		`curl -d a=1 -d b=2 http://h/`:                     {"POST", "h", "/", "a=1&b=2", "Content-Type: application/x-www-form-urlencoded"},
		`curl --json '{"a":"b c"}' http://h/`:              {"POST", "h", "/", `{"a":"b c"}`, "Content-Type: application/json|Accept: application/json"},
		`curl --data-raw '@x' --request PUT http://h/`:     {"PUT", "h", "/", "@x", ""},
		`curl --data-urlencode 'q=a b&c' -G http://h/?x`:   {"GET", "h", "/?x&q=a+b%26c", "", ""},
		`curl -d "" http://h/`:                             {"POST", "h", "/", "", ""},
		`curl -H 'X-A:1' -H "X-B: \"2\"" -H 'X-C;' h`:      {"GET", "h", "/", "", `X-A: 1|X-B: "2"|X-C: `},
		`curl -H 'User-Agent:' -b 'sid=1; a=b' -A x h`:     {"GET", "h", "/", "", "Cookie: sid=1; a=b"},
		`curl -u me:secret http://h/`:                      {"GET", "h", "/", "", "Authorization: Basic bWU6c2VjcmV0"},
		`curl http://me:secret@h/`:                         {"GET", "h", "/", "", "Authorization: Basic bWU6c2VjcmV0"},
		`curl -H 'Host: other' http://h/`:                  {"GET", "other", "/", "", "Host: other"},
		"curl 'http://h/a' \\\n  -H 'X-A: 1' \\\r\n -d x":  {"POST", "h", "/a", "x", "X-A: 1"},
		`curl $'http://h/\x61\u00e9' --data-raw $'a\n\'b'`: {"POST", "h", "/a%C3%A9", "a\n'b", ""},
		`curl --url http://h/a -o /dev/null --max-time 3`:  {"GET", "h", "/a", "", ""},
		`curl -F name=x -F 'file=y;type=text/csv' http://h/`: {
			"POST", "h", "/", "--------------------------reprise\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nx\r\n" +
				"--------------------------reprise\r\nContent-Disposition: form-data; name=\"file\"\r\nContent-Type: text/csv\r\n\r\ny\r\n" +
				"--------------------------reprise--\r\n", "Content-Type: multipart/form-data; boundary=------------------------reprise",
		},
	} {
		x, err := curl.Parse(line)
		require.NoError(t, err, line)
		q := x.Request
		require.Equal(t, want.method, string(q.Method), line)
		require.Equal(t, want.authority, string(q.Authority), line)
		require.Equal(t, want.target, string(q.Target), line)
		require.Equal(t, want.body, string(q.Body), line)
		require.EqualValues(t, len(want.body), q.BodySize)
		for _, h := range strings.Split(want.headers, "|") {
			if name, value, ok := strings.Cut(h, ": "); ok {
				got, _ := traffic.Get(q.Headers, name)
				require.Equal(t, value, string(got), line)
			}
		}
	}
	x, err := curl.Parse(`curl -H 'User-Agent:' h`)
	require.NoError(t, err)
	_, there := traffic.Get(x.Request.Headers, "User-Agent")
	require.False(t, there, "taken away")
}

func TestBadCommandsSayWhy(t *testing.T) {
	for line, why := range map[string]string{
		"":                             "does not begin",
		"wget http://h/":               "does not begin",
		"curl":                         "no URL",
		"curl -s":                      "no URL",
		"curl http://h/ http://i/":     "two URLs",
		"curl ftp://h/":                "not one of HTTP",
		"curl http:///a":               "not one of HTTP",
		"curl 'http://h/":              "not closed",
		`curl "http://h/`:              "not closed",
		"curl --hedaer a:b http://h":   "unknown flag --hedaer",
		"curl -Z http://h":             "unknown flag -Z",
		"curl -H":                      "no value",
		"curl -H nocolon http://h":     "Name: value",
		"curl -d @secrets http://h":    "no", // file
		"curl -F a=@f http://h":        "names a file",
		"curl -b jar.txt http://h":     "names a file",
		"curl -H @f http://h":          "names a file",
		"curl -d a -F b=c http://h":    "two bodies",
		"curl http://h/%zz":            "cannot be read",
		"curl -H $'a: b\\nc' http://h": "line break",
	} {
		_, err := curl.Parse(line)
		require.Equal(t, fault.Usage, fault.Code(err), line)
		f, ok := errors.AsType[*fault.Error](err)
		require.True(t, ok)
		require.Contains(t, f.Cause, why, line)
		require.NotEmpty(t, f.Try)
	}
	_, err := curl.Parse("curl " + strings.Repeat("a", 1<<20))
	require.ErrorContains(t, err, "more than")
}

func FuzzParse(f *testing.F) {
	f.Add(`curl -X POST -H 'A: b' -d "x\"y" $'http://h/\u00e9' --json {} -F a=b`)
	f.Add("curl \\\n -sSGd 'a' -b c=d -u e:f h#i | x")
	f.Fuzz(func(t *testing.T, line string) {
		x, err := curl.Parse(line)
		if err != nil {
			require.Equal(t, fault.Usage, fault.Code(err))
			return
		}
		require.NotEmpty(t, x.Request.Authority)
		for _, h := range x.Request.Headers {
			require.NotContains(t, string(h.Value), "\n")
		}
	})
}
