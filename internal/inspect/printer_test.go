package inspect

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

func entryOf(x *traffic.Exchange) Entry {
	return Entry{x, &topic.Record{Topic: exchanges, Partition: 3, Offset: 44, Value: traffic.AppendExchange(nil, x)}}
}

func some() []*traffic.Exchange {
	get := exchange(0x18a2, 118*time.Millisecond, "/items/42?ref=home", 200)
	post := exchange(0x18a3, 119*time.Millisecond, "/cart", 201)
	post.Request.Method, post.Request.Body, post.Request.BodySize = []byte("POST"), []byte(`{"phone":"13800138000"}`), 1234
	post.Request.Authority = []byte("checkout.shop.example.com:8443")
	post.Response.Duration = 9 * time.Millisecond
	none := exchange(0x18a4, 24*time.Hour, "/search?q=\x1b[2J\xff", 0)
	none.Flags = traffic.NoResponse | traffic.ClientAborted
	return []*traffic.Exchange{get, post, none}
}

func printed(t *testing.T, form Form, width int, xs ...*traffic.Exchange) string {
	t.Helper()
	var b bytes.Buffer
	p := NewPrinter(&b, form, width, &Bodies{Show: true})
	for _, x := range xs {
		require.NoError(t, p.Print(entryOf(x)))
	}
	require.NoError(t, p.Close())
	return b.String()
}

func TestTableHasALineForEachExchange(t *testing.T) {
	require.Equal(t, strings.TrimPrefix(`
2026-11-22 UTC
12:00:00.118  GET     200      4 ms  shop.example.com  /items/42?ref=home                        id 9f3c…:18a2
12:00:00.119  POST    201      9 ms  checkout.shop.example.com:8…  /cart                                     1.2 kB  id 9f3c…:18a3
2026-11-23 UTC
12:00:00.000  GET       –         –  shop.example.com              /search?q=\x1b[2J\xff                     no response,client aborted  id 9f3c…:18a4
`, "\n"), printed(t, Table, 0, some()...))
}

func TestTableKeepsToTheWidthOfTheTerminal(t *testing.T) {
	x := exchange(1, 0, "/"+strings.Repeat("long/", 100)+"中文", 200)
	for _, width := range []int{100, 120, 200} {
		for line := range strings.Lines(printed(t, Table, width, x)) {
			require.LessOrEqual(t, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")), width)
		}
	}
	require.Contains(t, printed(t, Table, 0, x), "中文", "not cut where there is no terminal")
}

func TestTableNeverShowsBodies(t *testing.T) {
	require.NotContains(t, printed(t, Table, 0, some()...), "13800138000")
}

func TestNDJSONHasOneObjectALine(t *testing.T) {
	out := printed(t, NDJSON, 0, some()...)
	require.Equal(t, 3, strings.Count(out, "\n"))
	for line := range strings.Lines(out) {
		require.True(t, json.Valid([]byte(line)))
		require.Contains(t, line, `"kafka":{"partition":3,"offset":44}`)
	}
	require.Contains(t, out, "13800138000")
}

func TestJSONIsOneArray(t *testing.T) {
	for _, n := range []int{0, 1, 3} {
		var list []map[string]any
		require.NoError(t, json.Unmarshal([]byte(printed(t, JSON, 0, some()[:n]...)), &list))
		require.Len(t, list, n)
	}
}

type brokenPipe struct{}

var errPipe = errors.New("broken pipe")

func (brokenPipe) Write([]byte) (int, error) { return 0, errPipe }

func TestPrinterTellsWhenTheReaderHasGone(t *testing.T) {
	p := NewPrinter(brokenPipe{}, NDJSON, 0, &Bodies{Show: true})
	var err error
	for range 1000 {
		if err = p.Print(entryOf(some()[0])); err != nil {
			break
		}
	}
	require.ErrorIs(t, err, errPipe)
	require.ErrorIs(t, p.Close(), errPipe)
}

func one(t *testing.T, form Form, bodies bool, x *traffic.Exchange) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, PrintOne(&b, form, &Bodies{Show: bodies}, entryOf(x)))
	return b.String()
}

func TestViewReadsLikeHTTP(t *testing.T) {
	x := some()[1]
	x.Connection = traffic.Connection{ID: []byte("c7"), Sequence: 3, Client: []byte("10.0.0.9:51234")}
	x.Session, x.Flags = []byte("s-5c1f"), traffic.TruncatedRequest
	x.Redactions = []traffic.Redaction{
		{Rule: "authorization", Location: "request.header:Authorization#0"}, {Rule: "phone", Location: "request.json:/phone"},
	}
	x.Request.Headers = append(x.Request.Headers, traffic.Field{Name: []byte("X-Evil"), Value: []byte("\x1b]0;title\x07")})
	x.Response.Headers = []traffic.Field{{Name: []byte("Content-Type"), Value: []byte("text/plain")}}
	x.Response.Body, x.Response.BodySize = []byte("ok\nthen\ttab\x1b[2J\n"), 16
	x.Response.Trailers = []traffic.Field{{Name: []byte("X-Sum"), Value: []byte("1")}}
	head := strings.TrimPrefix(`
exchange  9f3c00000000000000000000000000000000000000`+`0018a3
record    reprise.exchanges partition 3 offset 44
captured  2026-11-22 12:00:00.119000000 UTC by proxy gateway-1
between   10.0.0.9:51234 and unknown
connection c7, request 3 on it
session   s-5c1f
flags     TRUNCATED_REQUEST
redacted  request.header:Authorization#0 (authorization)
          request.json:/phone (phone)

POST /cart HTTP/1.1
Host: shop.example.com
X-Evil: \x1b]0;title\a
`, "\n")
	require.Equal(t, head+`
(1,234 bytes, hidden; --show-bodies shows them)

HTTP/1.1 201 Created    first byte after 3 ms, last after 9 ms
Content-Type: text/plain

(16 bytes, hidden; --show-bodies shows them)
X-Sum: 1
`, one(t, Table, false, x))
	require.Equal(t, head+`
{"phone":"13800138000"}
(the first 23 of 1,234 bytes)

HTTP/1.1 201 Created    first byte after 3 ms, last after 9 ms
Content-Type: text/plain

ok
then	tab\x1b[2J
X-Sum: 1
`, one(t, Table, true, x))
}

func TestViewUnpacksGzipAndLeavesBinaryAlone(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write([]byte(strings.Repeat("hello ", 100)))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	x := some()[0]
	x.Response.Headers = []traffic.Field{{Name: []byte("content-encoding"), Value: []byte("GZIP")}}
	x.Response.Body, x.Response.BodySize = packed.Bytes(), int64(packed.Len())
	out := one(t, Table, true, x)
	require.Contains(t, out, "hello hello")
	require.Contains(t, out, "bytes of gzip)")

	x.Response.Body = packed.Bytes()[:packed.Len()-8] // cut off: what there is
	require.Contains(t, one(t, Table, true, x), "hello hello")

	x.Response.Body = []byte("\x1f\x8b\x00\xff")
	require.Contains(t, one(t, Table, true, x), "(4 bytes that are no text; -o json has them in base64)")

	x.Response.Body = nil
	require.Contains(t, one(t, Table, true, x), "bytes, not recorded)")
	require.Contains(t, one(t, Table, true, some()[2]), "(no response was seen)")
}

func TestViewCountsGRPCMessages(t *testing.T) {
	headers := []traffic.Field{{Name: []byte("content-type"), Value: []byte("application/grpc")}}
	for body, want := range map[string]string{
		"\x00\x00\x00\x00\x01\xff\x01\x00\x00\x00\x00":    "\n(11 bytes that are no text, in 2 gRPC messages; -o json has them in base64)\n",
		"\x00\x00\x00\x00\x01\xff\x00\x00":                "\n(8 bytes that are no text, in 1 gRPC message and a part of one; -o json has them in base64)\n",
		strings.Repeat("\x00\x00\x00\x00\x01\xff", 10001): "\n(60,006 bytes that are no text, in more than 10,000 gRPC messages; -o json has them in base64)\n",
	} {
		var b strings.Builder
		content(&b, headers, []byte(body), int64(len(body)), true)
		require.Equal(t, want, b.String())
	}
}

func TestOneInEveryForm(t *testing.T) {
	x := some()[1]
	require.Equal(t, string(traffic.AppendExchange(nil, x)), one(t, Raw, false, x))
	require.Equal(t, 1, strings.Count(one(t, NDJSON, false, x), "\n"))
	var object map[string]any
	require.NoError(t, json.Unmarshal([]byte(one(t, JSON, false, x)), &object))
	require.Equal(t, x.ID.String(), object["id"])
}

func TestWording(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "–", -1: "–", 50 * time.Microsecond: "0.1 ms", 300 * time.Microsecond: "0.3 ms", 4 * time.Millisecond: "4 ms",
		9960 * time.Microsecond: "10 ms", 31*time.Millisecond + 400*time.Microsecond: "31 ms", 999 * time.Millisecond: "999 ms",
		1200 * time.Millisecond: "1.2 s", 2 * time.Second: "2 s", 38 * time.Second: "38 s", 279 * time.Second: "4 m 39 s",
	} {
		require.Equal(t, want, duration(d), d)
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1234: "1.2 kB", 999_999: "1.0 MB", 262_144: "262 kB", 1 << 30: "1.1 GB"} {
		require.Equal(t, want, size(n), n)
	}
	require.Equal(t, "9.8 GiB", diskSize(9<<30+858993459))
	require.Equal(t, "–", diskSize(-1))
	require.Equal(t, "12.5 %", percent(1, 8))
	require.Equal(t, "–", percent(0, 0))
	require.Equal(t, "2026-11-22 00:00 – 14:00 UTC", span(noon.Add(-12*time.Hour), noon.Add(2*time.Hour)))
	require.Equal(t, "2026-11-22 12:00 – 2026-11-23 12:00 UTC", span(noon, noon.AddDate(0, 0, 1)))
	require.Equal(t, "2026-11-22 12:00:00 – 12:00:07 UTC", span(noon, noon.Add(7*time.Second)))
	require.Equal(t, "ab…", fit("abcd", 3))
	require.Equal(t, "abcd", fit("abcd", 0))
}
