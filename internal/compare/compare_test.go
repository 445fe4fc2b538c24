package compare_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/compare"
	"github.com/reprise-io/reprise/internal/traffic"
)

// answer is a response with that body; fields are "Name: value".
func answer(status int, body string, fields ...string) *traffic.Response {
	r := &traffic.Response{Status: status, Body: []byte(body), BodySize: int64(len(body))}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Headers = append(r.Headers, traffic.Field{Name: []byte(name), Value: []byte(value)})
	}
	return r
}

func recorded(r *traffic.Response, flags traffic.Flags) *traffic.Exchange {
	return &traffic.Exchange{Request: traffic.Request{Method: []byte("GET")}, Response: r, Flags: flags}
}

const jsonType = "Content-Type: application/json; charset=utf-8"

func zipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(s))
	_ = z.Close()
	return b.String()
}

func sized(r *traffic.Response, size int64) *traffic.Response { r.BodySize = size; return r }

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		name      string
		want, got *traffic.Response
		flags     traffic.Flags
		method    string
		verdict   traffic.Verdict
	}{
		{"equal bytes", answer(200, "hello"), answer(200, "hello"), 0, "", traffic.Same},
		{"other bytes", answer(200, "hello"), answer(200, "hullo"), 0, "", traffic.BodyChanged},
		{"status before body", answer(200, "hello"), answer(500, "hullo"), 0, "", traffic.StatusChanged},
		{"nothing recorded", nil, answer(200, ""), 0, "", traffic.NoBaseline},
		{"recorded too late", answer(200, "a"), answer(200, "b"), traffic.NoResponse, "", traffic.NoBaseline},
		{"the gateway's own answer", answer(503, "a"), answer(200, "b"), traffic.LocalReply, "", traffic.NoBaseline},
		{"source without answers", answer(200, "a"), answer(200, "b"), traffic.RequestOnly, "", traffic.NoBaseline},
		{"HEAD has no body", sized(answer(200, ""), 90), answer(200, ""), 0, "HEAD", traffic.Same},
		{"304 has no body", sized(answer(304, ""), 90), answer(304, ""), 0, "", traffic.Same},
		{"headers are volatile", answer(200, "a", "Date: now"), answer(200, "a", "Date: then"), 0, "", traffic.Same},

		{"removed body, status same", sized(answer(200, ""), 90), answer(200, "x"), traffic.RedactionFailed, "", traffic.NoBaseline},
		{"removed body, status other", sized(answer(200, ""), 90), answer(404, "x"), traffic.RedactionFailed, "", traffic.StatusChanged},
		{"removed answer", answer(200, "x"), sized(answer(200, ""), 90), 0, "", traffic.NoBaseline},

		{"cut recording, same beginning", sized(answer(200, "abc"), 9), answer(200, "abcdefghi"), traffic.TruncatedResponse, "", traffic.Same},
		{"cut recording, other beginning", sized(answer(200, "abc"), 9), answer(200, "abXdefghi"), traffic.TruncatedResponse, "", traffic.BodyChanged},
		{"cut recording, shorter answer", sized(answer(200, "abc"), 9), answer(200, "ab"), traffic.TruncatedResponse, "", traffic.BodyChanged},
		{"cut answer, same beginning", answer(200, "abcdef"), sized(answer(200, "abc"), 6), 0, "", traffic.Same},
		{"cut answer of another size", answer(200, "abcdef"), sized(answer(200, "abc"), 7), 0, "", traffic.BodyChanged},
		{"client went away", answer(200, "abc"), answer(200, "abcdef"), traffic.ClientAborted, "", traffic.Same},
		{"both cut", sized(answer(200, "abc"), 9), sized(answer(200, "abcd"), 9), traffic.TruncatedResponse, "", traffic.Same},

		{"JSON spelled otherwise", answer(200, `{"a":1,"b":[1.50,"x"]}`, jsonType), answer(200, "{\"b\": [15e-1, \"\\u0078\"],\n\"a\": 1.0}", jsonType), 0, "", traffic.Same},
		{"JSON by its first byte", answer(200, `{"a":1}`), answer(200, `{ "a" : 1 }`), 0, "", traffic.Same},
		{"JSON in a text is text", answer(200, `{"a":1}`, "Content-Type: text/plain"), answer(200, `{ "a":1}`, "Content-Type: text/plain"), 0, "", traffic.BodyChanged},
		{"broken JSON is bytes", answer(200, `{"a":1`, jsonType), answer(200, `{"a": 1`, jsonType), 0, "", traffic.BodyChanged},
		{"two documents are bytes", answer(200, "{}{}", jsonType), answer(200, "{} {}", jsonType), 0, "", traffic.BodyChanged},
		{"no UTF-8 is bytes", answer(200, "[\"\xff\"]", jsonType), answer(200, "[\"\xfe\"]", jsonType), 0, "", traffic.BodyChanged},

		{"gzip against plain", answer(200, zipped(`{"a":1}`), jsonType, "Content-Encoding: gzip"), answer(200, `{"a":1.0}`, jsonType), 0, "", traffic.Same},
		{"gzip with another content", answer(200, zipped("abc"), "Content-Encoding: gzip"), answer(200, zipped("abd"), "Content-Encoding: gzip"), 0, "", traffic.BodyChanged},
		{"cut gzip", sized(answer(200, zipped(strings.Repeat("abc", 99))[:20], "Content-Encoding: gzip"), 99), answer(200, strings.Repeat("abc", 99)), traffic.TruncatedResponse, "", traffic.Same},
		{"broken gzip is bytes", answer(200, "\x1f\x8bnope", "Content-Encoding: gzip"), answer(200, "\x1f\x8bnope!", "Content-Encoding: gzip"), 0, "", traffic.BodyChanged},
		{"unknown coding is bytes", answer(200, "same", "Content-Encoding: br"), answer(200, "same", "Content-Encoding: br"), 0, "", traffic.Same},
		{"same bytes in another coding", answer(200, "same", "Content-Encoding: br"), answer(200, "same"), 0, "", traffic.Same},
		{"empty bodies", answer(200, ""), answer(200, ""), 0, "", traffic.Same},
		{"empty against something", answer(200, ""), answer(200, "x"), 0, "", traffic.BodyChanged},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := recorded(c.want, c.flags)
			if c.method != "" {
				x.Request.Method = []byte(c.method)
			}
			verdict, differences := compare.Comparer{}.Compare(x, c.got)
			require.Equal(t, c.verdict.String(), verdict.String())
			changed := verdict == traffic.StatusChanged || verdict == traffic.BodyChanged
			require.Equal(t, changed, len(differences) > 0, "%v", differences)
		})
	}
}

func lines(differences []traffic.Difference) []string {
	var s []string
	for _, d := range differences {
		s = append(s, fmt.Sprintf("%s %s %s -> %s", d.Path, d.Kind, d.Recorded, d.Got))
	}
	return s
}

func TestDifferencesSayWhereAndWhat(t *testing.T) {
	for _, c := range []struct {
		name, want, got string
		differences     []string
	}{
		{"value", `{"a":{"b":1}}`, `{"a":{"b":2}}`, []string{`/a/b value 1 -> 2`}},
		{"type", `{"a":"1"}`, `{"a":1}`, []string{`/a type "1" -> 1`}},
		{"null is a type", `{"a":null}`, `{"a":{"b":1,"c":2}}`, []string{`/a type null -> {2}`}},
		{"missing and extra", `{"a":1,"c":[1,2]}`, `{"b":true,"c":[1,2]}`, []string{`/a missing 1 -> `, `/b extra  -> true`}},
		{"one line for all elements", `{"items":[{"price":1},{"price":2},{"price":3}]}`, `{"items":[{},{},{"price":4}]}`, []string{`/items/*/price missing 1 -> `, `/items/*/price value 3 -> 4`}},
		{"order of arrays", `[1,2]`, `[2,1]`, []string{`/* value 1 -> 2`}},
		{"longer array", `[1]`, `[1,2,3]`, []string{`/* extra  -> 2`}},
		{"shorter array", `[1,[2]]`, `[1]`, []string{`/* missing [1] -> `}},
		{"pointer escapes", `{"a/b":{"c~d":1}}`, `{"a/b":{"c~d":2}}`, []string{`/a~1b/c~0d value 1 -> 2`}},
		{"the document itself", `1`, `2`, []string{`/ value 1 -> 2`}},
		{"object against array", `{}`, `[]`, []string{`/ type {0} -> [0]`}},
		{"long strings are cut", `["` + strings.Repeat("a", 99) + `"]`, `["b"]`, []string{`/* value "` + strings.Repeat("a", 64) + `…" -> "b"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			verdict, differences := compare.Comparer{}.Compare(recorded(answer(200, c.want, jsonType), 0), answer(200, c.got, jsonType))
			require.Equal(t, traffic.BodyChanged, verdict)
			require.Equal(t, c.differences, lines(differences))
		})
	}
}

func TestGRPCStatusIsAStatus(t *testing.T) {
	const kind = "Content-Type: application/grpc"
	call := func(code string) *traffic.Response {
		r := answer(200, "", kind)
		if code != "" {
			r.Trailers = []traffic.Field{{Name: []byte("grpc-status"), Value: []byte(code)}}
		}
		return r
	}
	for _, row := range []struct {
		name      string
		want, got *traffic.Response
		verdict   traffic.Verdict
		change    string
	}{
		{"the same", call("0"), call("0"), traffic.Same, ""},
		{"changed", call("0"), call("14"), traffic.StatusChanged, "value 0 14"},
		{"in the header", call("5"), answer(200, "", kind, "grpc-status: 7"), traffic.StatusChanged, "value 5 7"},
		{"missing", call("0"), call(""), traffic.StatusChanged, "missing 0 "},
		{"none recorded", call(""), call("2"), traffic.Same, ""},
		{"the answer could not be redacted", call("0"), answer(200, ""), traffic.Same, ""},
	} {
		verdict, differences := compare.Comparer{}.Compare(recorded(row.want, 0), row.got)
		require.Equal(t, row.verdict, verdict, row.name)
		if row.change == "" {
			require.Empty(t, differences, row.name)
			continue
		}
		require.Len(t, differences, 1)
		d := differences[0]
		require.Equal(t, "grpc-status", d.Path)
		require.Equal(t, row.change, fmt.Sprintf("%s %s %s", d.Kind, d.Recorded, d.Got), row.name)
	}
}

func TestNumbersAreComparedByValue(t *testing.T) {
	for _, c := range []struct {
		a, b  string
		equal bool
	}{
		{"1", "1.0", true},
		{"-0", "0", true},
		{"0.0e5", "0", true},
		{"10e-1", "1", true},
		{"1E+2", "100", true},
		{"0.001", "1e-3", true},
		{"123.4500", "1234.5e-1", true},
		{"12345678901234567890", "12345678901234567891", false}, // float64 would not tell
		{"0.1", "0.10000000000000001", false},
		{"1", "-1", false},
		{"1e400", "1e401", false},
		{"1e99999999999999", "1e99999999999999", true},
		{"1e99999999999999", "1e99999999999998", false},
	} {
		verdict, _ := compare.Comparer{}.Compare(recorded(answer(200, "["+c.a+"]"), 0), answer(200, "["+c.b+"]"))
		require.Equal(t, c.equal, verdict == traffic.Same, "%s %s", c.a, c.b)
	}
}

func TestValuesRedactedWithAnotherKeyAreLeftOut(t *testing.T) {
	const want = `{"user":{"phone":"13800000001","name":"a"},"list":[{"token":"x"},{"token":"y"}]}`
	const got = `{"user":{"phone":"13900000002","name":"a"},"list":[{"token":"p"},{"token":"q"}]}`
	x := recorded(answer(200, want, jsonType), 0)
	redactions := func(key string, places ...string) {
		x.Redactions = nil
		for _, p := range places {
			x.Redactions = append(x.Redactions, traffic.Redaction{KeyID: key, Location: p})
		}
	}
	judge := func() traffic.Verdict {
		v, _ := compare.Comparer{KeyID: "mine"}.Compare(x, answer(200, got, jsonType))
		return v
	}
	redactions("theirs", "response.json:/user/phone", "response.json:/list/0/token", "response.json:/list/1/token")
	require.Equal(t, traffic.Same, judge())
	redactions("theirs", "response.json:/user/phone", "response.json:/list/*/token", "request.json:/phone")
	require.Equal(t, traffic.Same, judge())
	redactions("theirs", "response.json:/user/phone~@0", "response.json:/list/0/token~query:phone#0", "response.json:/list/*/token~json:/a~-")
	require.Equal(t, traffic.Same, judge(), "values within strings")
	redactions("theirs", "response.json:/user~0/phone", "response.json:/list/*/token")
	require.Equal(t, traffic.BodyChanged, judge(), "a name with a tilde is another one")
	redactions("theirs", "response.json:/user/phone", "response.json:/list/0/token")
	require.Equal(t, traffic.BodyChanged, judge(), "the second token is not listed")
	redactions("mine", "response.json:/user/phone", "response.json:/list/*/token")
	require.Equal(t, traffic.BodyChanged, judge(), "the same key gives the same pseudonym")
	v, _ := compare.Comparer{KeyID: "mine", OtherUser: true}.Compare(x, answer(200, got, jsonType))
	require.Equal(t, traffic.Same, v, "unless it is another user's")
	redactions("theirs", "response.form:phone")
	require.Equal(t, traffic.NoBaseline, judge(), "a place that no path leads to")
	redactions("theirs", "response.header:Set-Cookie#0", "request.header:Cookie#0")
	require.Equal(t, traffic.BodyChanged, judge(), "headers are no part of it")
	redactions("theirs", "response.set-cookie:sid#0")
	require.Equal(t, traffic.BodyChanged, judge(), "nor are the cookies that an answer sets")
	redactions("theirs", "response.json:/user/phone")
	x.Response.BodySize++
	require.Equal(t, traffic.NoBaseline, judge(), "a cut body with redacted values")
}

func TestWorkIsBounded(t *testing.T) {
	var want, got strings.Builder
	want.WriteString("{")
	got.WriteString("{")
	for i := range 500 {
		fmt.Fprintf(&want, `"k%03d":1,`, i)
		fmt.Fprintf(&got, `"k%03d":2,`, i)
	}
	want.WriteString(`"z":0}`)
	got.WriteString(`"z":0}`)
	_, differences := compare.Comparer{}.Compare(recorded(answer(200, want.String()), 0), answer(200, got.String()))
	require.Len(t, differences, 100)

	deep := strings.Repeat("[", 5000) + "%d" + strings.Repeat("]", 5000)
	verdict, differences := compare.Comparer{}.Compare(recorded(answer(200, fmt.Sprintf(deep, 1)), 0), answer(200, fmt.Sprintf(deep, 2)))
	require.Equal(t, traffic.BodyChanged, verdict)
	require.Less(t, len(differences[0].Path), 300)

	bomb := zipped(strings.Repeat("a", 9<<20))
	verdict, _ = compare.Comparer{}.Compare(recorded(answer(200, bomb, "Content-Encoding: gzip"), 0), answer(200, zipped(strings.Repeat("a", 8<<20)), "Content-Encoding: gzip"))
	require.Equal(t, traffic.Same, verdict, "equal as far as it is looked at")
}

func FuzzCompare(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":null}]}`), []byte(`{"a":[1.0,{"b":false}]}`), true)
	f.Add([]byte(zipped("a")), []byte("a"), false)
	f.Fuzz(func(t *testing.T, a, b []byte, zip bool) {
		want, got := answer(200, string(a)), answer(200, string(b))
		if zip {
			want.Headers = []traffic.Field{{Name: []byte("content-encoding"), Value: []byte("gzip")}}
		}
		verdict, differences := compare.Comparer{}.Compare(recorded(want, 0), got)
		require.Equal(t, verdict == traffic.BodyChanged, len(differences) > 0)
		require.LessOrEqual(t, len(differences), 100)
		reverse, _ := compare.Comparer{}.Compare(recorded(got, 0), want)
		require.Equal(t, verdict, reverse, "both ways the same verdict")
		same, _ := compare.Comparer{}.Compare(recorded(want, 0), want)
		require.Equal(t, traffic.Same, same)
	})
}
