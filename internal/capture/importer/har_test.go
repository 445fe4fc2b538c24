package importer

import (
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/traffic"
)

func entry(method, url string) string {
	return fmt.Sprintf(`{"request":{"method":%s,"url":%s}}`, method, url)
}

func har(entries ...string) string {
	return `{"log":{"version":"1.2","creator":{"name":"x"},"entries":[` + strings.Join(entries, ",") + `],"pages":[]}}`
}

func readHAR(t *testing.T, content string, o Options) ([]*traffic.Exchange, Stats, error) {
	t.Helper()
	return readAll(t, write(t, "x.har", content), o)
}

func oneHAR(t *testing.T, entry string) *traffic.Exchange {
	t.Helper()
	xs, _, err := readHAR(t, har(entry), Options{})
	require.NoError(t, err)
	require.Len(t, xs, 1)
	return xs[0]
}

func fields(pairs ...string) []traffic.Field {
	fs := []traffic.Field{}
	for i := 0; i < len(pairs); i += 2 {
		fs = append(fs, traffic.Field{Name: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	return fs
}

func TestHARGivesTheWholeExchange(t *testing.T) {
	x := oneHAR(t, `{
		"startedDateTime": "2026-11-22T21:42:10.118001+08:00", "time": 12.5, "connection": "443", "serverIPAddress": "[::1]",
		"_initiator": {"type": "script", "stack": {}}, "cache": {}, "timings": {"blocked": -1, "wait": 7.25, "receive": 1},
		"request": {"method": "POST", "url": "https://shop.example.com:8443/cart?item=42#top", "httpVersion": "http/2.0",
			"headers": [{"name": ":authority", "value": "shop.example.com:8443"}, {"name": "X-Twice", "value": "1"},
				{"name": "x-twice", "value": "2"}, {"name": "content-length", "value": "11"}],
			"cookies": [], "queryString": [{"name": "item", "value": "42"}], "headersSize": -1, "bodySize": 11,
			"postData": {"mimeType": "application/json", "text": "{\"item\":42}"}},
		"response": {"status": 201, "statusText": "", "httpVersion": "h2", "headers": [{"name": "content-type", "value": "application/json"}],
			"content": {"size": 11, "mimeType": "application/json", "text": "{\"ok\":true}"}, "redirectURL": "", "bodySize": -1}}`)
	require.Equal(t, &traffic.Exchange{
		ID: x.ID, CaptureTime: time.Date(2026, 11, 22, 13, 42, 10, 118_001_000, time.UTC), TimeSource: traffic.LogTime,
		Source:     traffic.Source{Kind: traffic.Import, Name: []byte("x.har")},
		Connection: traffic.Connection{ID: []byte("443"), Server: []byte("[::1]:8443")},
		Request: traffic.Request{
			Method: []byte("POST"), Scheme: []byte("https"), Authority: []byte("shop.example.com:8443"),
			Target: []byte("/cart?item=42"), Protocol: []byte("HTTP/2.0"),
			Headers: fields("X-Twice", "1", "x-twice", "2", "content-length", "11"), Body: []byte(`{"item":42}`), BodySize: 11,
		},
		Response: &traffic.Response{
			Status: 201, Protocol: []byte("HTTP/2.0"), Headers: fields("content-type", "application/json"),
			Body: []byte(`{"ok":true}`), BodySize: 11, TTFB: 7250 * time.Microsecond, Duration: 12500 * time.Microsecond,
		},
	}, x)
}

func TestHARURLsAreCutWhereTheirDelimitersAre(t *testing.T) {
	for url, want := range map[string][3]string{
		"https://shop":                     {"https", "shop", "/"},
		"https://shop?a=1":                 {"https", "shop", "/?a=1"},
		"https://shop#top":                 {"https", "shop", "/"},
		"https://shop/a/../b;c=d?e=//f?#g": {"https", "shop", "/a/../b;c=d?e=//f?"},
		"http://[::1]:8080/a":              {"http", "[::1]:8080", "/a"},
		"${proto}://shop/?q=1":             {"${proto}", "shop", "/?q=1"},
		"wss://shop/socket":                {"wss", "shop", "/socket"},
		"http://user:secret@shop/a@b":      {"http", "shop", "/a@b"},
		"http://shop/a b\\nc":              {"http", "shop", "/a%20b%0Ac"},
		"http://shop/caf\u00e9":            {"http", "shop", "/caf\u00e9"},
	} {
		x := oneHAR(t, entry(`"GET"`, `"`+url+`"`))
		require.Equal(t, want, [3]string{string(x.Request.Scheme), string(x.Request.Authority), string(x.Request.Target)}, url)
	}
}

func TestHARBodiesOfRequestsAreNeverGuessed(t *testing.T) {
	for name, row := range map[string]struct {
		post, body string
		size       int64
		flags      traffic.Flags
	}{
		"text":                     {`"postData":{"text":"a=1"}`, "a=1", 3, 0},
		"text wins over params":    {`"postData":{"text":"a=1","params":[{"name":"b"}]}`, "a=1", 3, 0},
		"text in UTF-8":            {`"postData":{"mimeType":"text/plain","text":"caf\u00e9"}`, "café", 5, 0},
		"base64":                   {`"postData":{"text":"/+8=","encoding":"base64"}`, "\xff\xef", 2, 0},
		"base64, custom field":     {`"postData":{"text":"/+8","_encoding":"base64"}`, "\xff\xef", 2, 0},
		"base64, for URLs":         {`"postData":{"text":"_-8","encoding":"Base64"}`, "\xff\xef", 2, 0},
		"not base64 as it says":    {`"postData":{"text":"?","encoding":"base64"}`, "", 0, traffic.TruncatedRequest},
		"only params":              {`"postData":{"mimeType":"application/x-www-form-urlencoded","params":[{"name":"a","value":"1"}]}`, "", 0, traffic.TruncatedRequest},
		"only params, with a size": {`"bodySize":7,"postData":{"text":"","params":[{"name":"a","value":"1"}]}`, "", 7, traffic.TruncatedRequest},
		"only a size":              {`"bodySize":7`, "", 7, traffic.TruncatedRequest},
		"only Content-Length":      {`"headers":[{"name":"content-length","value":"7"}]`, "", 7, traffic.TruncatedRequest},
		"no body":                  {`"bodySize":0,"postData":null`, "", 0, 0},
		"size unknown":             {`"bodySize":-1`, "", 0, 0},
		"an empty body":            {`"bodySize":0,"postData":{"mimeType":"","text":"","params":[]}`, "", 0, 0},
		"nothing about the body":   {`"postData":{"mimeType":"text/plain"}`, "", 0, 0},
		// One character for a byte: told by the length, else by the media type.
		"bytes as Latin-1, by length":  {`"bodySize":4,"postData":{"mimeType":"text/plain","text":"caf\u00e9"}`, "caf\xe9", 4, 0},
		"UTF-8, by length":             {`"bodySize":5,"postData":{"mimeType":"image/png","text":"caf\u00e9"}`, "café", 5, 0},
		"bytes as Latin-1, by type":    {`"postData":{"mimeType":"application/octet-stream","text":"\u00ff\u0000"}`, "\xff\x00", 2, 0},
		"bytes as Latin-1, by charset": {`"postData":{"mimeType":"text/plain; charset=ISO-8859-1","text":"\u00e9"}`, "\xe9", 1, 0},
		"JSON is UTF-8":                {`"postData":{"mimeType":"application/json","text":"\u00e9"}`, "é", 2, 0},
		"not Latin-1":                  {`"postData":{"mimeType":"application/octet-stream","text":"\u00e9\u4e2d"}`, "é中", 5, 0},
	} {
		t.Run(name, func(t *testing.T) {
			x := oneHAR(t, `{"request":{"method":"POST","url":"http://shop/",`+row.post+`}}`)
			require.Equal(t, row.body, string(x.Request.Body))
			require.Equal(t, row.size, x.Request.BodySize)
			require.Equal(t, row.flags|traffic.RequestOnly, x.Flags)
		})
	}
}

func TestHARResponses(t *testing.T) {
	gzip := base64.StdEncoding.EncodeToString([]byte("\x1f\x8b\x08raw"))
	for name, row := range map[string]struct {
		response string
		want     *traffic.Response
		flags    traffic.Flags
	}{
		"none":              {`null`, nil, traffic.RequestOnly},
		"status null":       {`{"status":null,"headers":[]}`, nil, traffic.RequestOnly},
		"status 0, blocked": {`{"status":0,"_error":"net::ERR_ABORTED","content":{}}`, &traffic.Response{}, traffic.NoResponse},
		"status below 0":    {`{"status":-2,"headers":[]}`, &traffic.Response{}, traffic.NoResponse},
		"status as text":    {`{"status":"204"}`, &traffic.Response{Status: 204, Headers: fields()}, 0},
		"upgrade":           {`{"status":101,"content":{"size":0,"text":""}}`, &traffic.Response{Status: 101, Headers: fields()}, traffic.Upgraded},
		"base64": {
			`{"status":200,"content":{"size":3,"encoding":"base64","text":"/+8B"}}`,
			&traffic.Response{Status: 200, Headers: fields(), Body: []byte("\xff\xef\x01"), BodySize: 3}, 0,
		},
		"the decoded body without its coding": {
			`{"status":200,"headers":[{"name":"Content-Encoding","value":"br"},{"name":"Content-Length","value":"9"},{"name":"ETag","value":"e"}],"content":{"size":2,"text":"hi"}}`,
			&traffic.Response{Status: 200, Headers: fields("ETag", "e"), Body: []byte("hi"), BodySize: 2}, 0,
		},
		"a body that was left coded": {
			`{"status":200,"headers":[{"name":"Content-Encoding","value":"gzip"}],"content":{"encoding":"base64","text":"` + gzip + `"}}`,
			&traffic.Response{Status: 200, Headers: fields("Content-Encoding", "gzip"), Body: []byte("\x1f\x8b\x08raw"), BodySize: 6}, 0,
		},
		"a body that was left coded, which its bytes do not show": {
			`{"status":200,"headers":[{"name":"Content-Encoding","value":"br"},{"name":"Content-Length","value":"3"}],"content":{"size":90,"encoding":"base64","text":"/+8B"}}`,
			&traffic.Response{Status: 200, Headers: fields("Content-Encoding", "br", "Content-Length", "3"), Body: []byte("\xff\xef\x01"), BodySize: 3}, 0,
		},
		"the same, by what went over the wire": {
			`{"status":200,"bodySize":3,"headers":[{"name":"Content-Encoding","value":"deflate"}],"content":{"size":90,"encoding":"base64","text":"/+8B"}}`,
			&traffic.Response{Status: 200, Headers: fields("Content-Encoding", "deflate"), Body: []byte("\xff\xef\x01"), BodySize: 3}, 0,
		},
		"headers without anything": {
			`{"status":200,"headers":[null,{},{"name":"","value":""},{"name":"a","value":"b"}]}`,
			&traffic.Response{Status: 200, Headers: fields("a", "b")}, 0,
		},
		"the body is not in the file": {
			`{"status":200,"headers":[{"name":"Content-Encoding","value":"br"}],"content":{"size":99,"mimeType":"image/png"}}`,
			&traffic.Response{Status: 200, Headers: fields("Content-Encoding", "br"), BodySize: 99}, traffic.TruncatedResponse,
		},
		"base64 that is none": {
			`{"status":200,"content":{"encoding":"base64","text":"?"}}`,
			&traffic.Response{Status: 200, Headers: fields()}, traffic.TruncatedResponse,
		},
		"several fields in one, as browsers join them": {
			`{"status":200,"headers":[{"name":"set-cookie","value":"a=1\nb=2\r\nc=3"},{"name":"x","value":null},{"name":"n","value":5}]}`,
			&traffic.Response{Status: 200, Headers: fields("set-cookie", "a=1", "set-cookie", "b=2", "set-cookie", "c=3", "x", "", "n", "5")}, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := oneHAR(t, `{"request":{"method":"GET","url":"http://shop/"},"response":`+row.response+`}`)
			require.Equal(t, row.want, x.Response)
			require.Equal(t, row.flags, x.Flags)
		})
	}
}

func TestHARMarksWhatIsNotAnOrdinaryRequest(t *testing.T) {
	x := oneHAR(t, `{"_fromCache":"disk","request":{"method":"GET","url":"http://shop/"},"response":{"status":200}}`)
	require.Equal(t, traffic.LocalReply, x.Flags)
	x = oneHAR(t, `{"request":{"method":"CONNECT","url":"http://shop:443"},"response":{"status":200}}`)
	require.Equal(t, traffic.Connect, x.Flags)
	x = oneHAR(t, `{"request":{"method":"GET","url":"http://shop/","headers":[{"name":"Host","value":"a"},{"name":"host","value":"b"}]},"response":{"status":200}}`)
	require.Equal(t, traffic.AmbiguousFraming, x.Flags)
	_, stats, err := readHAR(t, har(entry(`"GET"`, `"data:image/png;base64,AAAA"`), entry(`"GET"`, `"blob:https://shop/1"`), entry(`"GET"`, `"http://shop/"`)), Options{})
	require.NoError(t, err)
	require.EqualValues(t, 2, stats.Ignored)
	require.EqualValues(t, 1, stats.Exchanges)
}

func TestHARCutsBodies(t *testing.T) {
	xs, _, err := readHAR(t, har(`{"request":{"method":"POST","url":"http://a/","postData":{"text":"abcdef"}},"response":{"status":200,"content":{"text":"ghijkl"}}}`), Options{BodyMax: 4})
	require.NoError(t, err)
	require.Equal(t, "abcd", string(xs[0].Request.Body))
	require.EqualValues(t, 6, xs[0].Request.BodySize)
	require.Equal(t, "ghij", string(xs[0].Response.Body))
	require.EqualValues(t, 6, xs[0].Response.BodySize)
	require.Equal(t, traffic.TruncatedRequest|traffic.TruncatedResponse, xs[0].Flags)
}

func TestHARTimes(t *testing.T) {
	at := func(started string) string {
		return `{"startedDateTime":` + started + `,"request":{"method":"GET","url":"http://a/"}}`
	}
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	path := write(t, "x.har", har(
		at(`null`),                             // the file's own time
		at(`""`),                               // a millisecond later
		at(`"2026-11-22T12:00:00.000Z"`),       // its own
		at(`"yesterday"`),                      // a millisecond after that
		at(`"2026-11-22T20:00:00+0800"`),       // no colon in the zone
		at(`"2026-11-22 12:00:00.5"`),          // no zone
		at(`"0001-01-01T00:00:00Z"`),           // no time at all
		at(`1795348800250`),                    // ms
		at(`"1795348800.5"`),                   // seconds
		at(`"2026-11-22T11:00:00.123456789Z"`), // back: file order stays
	))
	written := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	require.NoError(t, os.Chtimes(path, written, written))
	xs, stats, err := readAll(t, path, Options{})
	require.NoError(t, err)
	var got []time.Time
	for _, x := range xs {
		got = append(got, x.CaptureTime)
	}
	require.Equal(t, []time.Time{
		written, written.Add(time.Millisecond), noon, noon.Add(time.Millisecond), noon, noon.Add(500 * time.Millisecond),
		noon.Add(501 * time.Millisecond), noon.Add(250 * time.Millisecond), noon.Add(500 * time.Millisecond), time.Date(2026, 11, 22, 11, 0, 0, 123456789, time.UTC),
	}, got)
	require.Equal(t, written, stats.First)
	require.Equal(t, noon.Add(501*time.Millisecond), stats.Last)
}

func TestHARRequestLineAmongTheHeadersIsNoHeader(t *testing.T) {
	x := oneHAR(t, `{"request":{"method":"GET","url":"http://shop/?to=http://a/","headers":[
		{"name":"GET /?to=http","value":"//a/ HTTP/1.1"},{"name":"Host","value":"shop"}]}}`)
	require.Equal(t, fields("Host", "shop"), x.Request.Headers)
}

func TestHARProtocolsAreWrittenInOneWay(t *testing.T) {
	for version, want := range map[string]string{
		"HTTP/1.1": "HTTP/1.1", "http/1.0": "HTTP/1.0", "HTTP/2.0": "HTTP/2.0", "h2": "HTTP/2.0", "h3": "HTTP/3.0", "unknown": "", "": "",
	} {
		require.Equal(t, want, string(protocol(version)))
	}
}

func TestBrokenHARSaysWhatWasReadAndWhere(t *testing.T) {
	good := entry(`"GET"`, `"http://shop/"`)
	for name, row := range map[string]struct {
		content     string
		exchanges   int
		what, cause string
		code        int
	}{
		"no log":                 {`{"creator":{"log":{"entries":[]}}}`, 0, "this is no HAR", `no "log"`, fault.Failure},
		"log is no object":       {`{"log":[1]}`, 0, "broken off at byte", "where an object should", fault.Failure},
		"no entries":             {`{"log":{"version":"1.2"}}`, 0, "this is no HAR", `no "entries"`, fault.Failure},
		"entries is no list":     {`{"log":{"entries":{"0":1}}}`, 0, "broken off", "not a list", fault.Failure},
		"no JSON":                {`{hello`, 0, "this is no HAR", "invalid character", fault.Failure},
		"ends before the log":    {`{"a":[1,2`, 0, "this is no HAR", "the file ends", fault.Failure},
		"ends inside an entry":   {strings.TrimSuffix(har(good, good), `"}}],"pages":[]}}`), 1, "broken off at entry 2, byte", "the file ends before the JSON does", fault.Incomplete},
		"ends between entries":   {`{"log":{"entries":[` + good + `,`, 1, "broken off at entry", "the file ends", fault.Incomplete},
		"ends behind the list":   {`{"log":{"entries":[` + good + `]`, 1, "broken off at entry 1", "the file ends", fault.Incomplete},
		"nonsense in the middle": {`{"log":{"entries":[` + good + `,{"request":!}` + `]}}`, 1, "entry 2", "invalid character", fault.Incomplete},
		"something behind":       {har(good) + har(good), 1, "broken off", "behind the end", fault.Incomplete},
		"entry that is a number": {har(good, `7`, good), 2, "1 of 3 entries could not be read, the first is entry 2", "", fault.Incomplete},
		"entry without request":  {har(`{}`, good), 1, "1 of 2 entries", "no request", fault.Incomplete},
		"URL that is an object":  {har(entry(`"GET"`, `{}`), good), 1, "1 of 2 entries", "an object stands where a string should"[3:], fault.Incomplete},
		"headers are no list":    {har(`{"request":{"method":"GET","url":"http://a/","headers":{"a":"b"}}}`, good), 1, "1 of 2 entries", "its request.headers is of another kind than in a HAR: object", fault.Incomplete},
		"URL without a scheme":   {har(entry(`"GET"`, `"/cart"`), good), 1, "1 of 2 entries", "want SCHEME://HOST", fault.Incomplete},
		"URL without a host":     {har(entry(`"GET"`, `"http:///cart"`), good), 1, "1 of 2 entries", "without a host", fault.Incomplete},
		"method with a break":    {har(entry(`"GET / HTTP/1.1\r\nX: y"`, `"http://shop/"`), good), 1, "1 of 2 entries", "no method", fault.Incomplete},
		"header name with a break": {
			har(`{"request":{"method":"GET","url":"http://a/","headers":[{"name":"a\r\nb","value":"c"}]}}`, good), 1, "1 of 2", "header has name", fault.Incomplete,
		},
		"status out of range":        {har(`{"request":{"method":"GET","url":"http://a/"},"response":{"status":2000}}`, good), 1, "1 of 2", "status 2000", fault.Incomplete},
		"no entry could be read":     {har(`7`), 0, "1 of 1 entries", "", fault.Failure},
		"nested deeper than allowed": {`{"log":{"a":` + strings.Repeat("[", 20_000), 0, "broken off", "", fault.Failure},
	} {
		t.Run(name, func(t *testing.T) {
			xs, stats, err := readHAR(t, row.content, Options{})
			require.Error(t, err)
			require.Equal(t, row.code, fault.Code(err), err)
			require.Contains(t, err.Error(), "x.har: ")
			require.Contains(t, err.Error(), row.what)
			require.Contains(t, err.Error(), row.cause)
			require.Len(t, xs, row.exchanges)
			require.EqualValues(t, row.exchanges, stats.Exchanges)
		})
	}
}

func TestHARWithoutEntriesIsNoFault(t *testing.T) {
	for _, content := range []string{har(), `{"log":{"entries":null}}`} {
		xs, _, err := readHAR(t, content, Options{})
		require.NoError(t, err)
		require.Empty(t, xs)
	}
}

func FuzzHAR(f *testing.F) {
	f.Add(oneEntry)
	f.Add(har(entry(`"GET"`, `"http://shop/"`), `{"startedDateTime":"2026-11-22T12:00:00Z","time":1e400,"request":{"method":"POST","url":"http://a/?#","headers":[{"name":"a","value":"b\nc"}],"postData":{"text":"\u00ff","mimeType":"x/y"}},"response":{"status":200,"content":{"text":"AA==","encoding":"base64","size":-1}}}`))
	f.Add(`{"log":{"entries":[7,null,[],{"request":null}]}} `)
	f.Fuzz(func(t *testing.T, content string) {
		xs, stats, err := readAll(t, write(t, "x.har", content), Options{Format: "har", BodyMax: 64})
		require.EqualValues(t, len(xs), stats.Exchanges)
		if stats.Broken > 0 {
			require.Error(t, err)
		}
		for _, x := range xs {
			q := x.Request
			require.NotEmpty(t, q.Method)
			require.NotEmpty(t, q.Authority)
			require.Equal(t, byte('/'), q.Target[0])
			require.LessOrEqual(t, len(q.Body), 64)
			require.False(t, x.CaptureTime.IsZero())
			for _, text := range [][]byte{q.Method, q.Authority, q.Target} {
				require.NotContains(t, string(text), "\n")
				require.NotContains(t, string(text), " ")
			}
			for _, h := range q.Headers {
				require.NotContains(t, string(h.Name)+string(h.Value), "\n")
			}
		}
	})
}
