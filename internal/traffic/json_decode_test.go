package traffic

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestJSONRoundTrip(t *testing.T) {
	want := shopExchange()
	var got Exchange
	require.NoError(t, ParseJSON(AppendJSON(nil, want, JSONOptions{Bodies: true, Redactions: true, HasKafka: true, Offset: 3}), &got))
	require.NotEmpty(t, got.Redactions)
	// What the JSON form does not have.
	want.TimeSource, want.RulesDigest, want.SampleHash = 0, nil, 0
	want.Connection.ID, want.Connection.Sequence = nil, 0
	want.Response.Protocol = nil
	want.Response.Trailers = nil
	require.Equal(t, want, &got)
}

func TestJSONOfOtherWritersIsRead(t *testing.T) {
	var x Exchange
	require.NoError(t, ParseJSON([]byte(` { "time" : "2026-11-22T14:00:00+01:00", "request" : { "method":"PUT","target":"/é",
		"headers":[["A","1"],["a","2"]],"body_b64":"AP8=","trailers":null}, "response":{"status":204} , "flags":["CLIENT_ABORTED"]} `), &x))
	require.Equal(t, time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC), x.CaptureTime)
	require.Equal(t, "/é", string(x.Request.Target))
	require.Equal(t, []byte{0, 0xff}, x.Request.Body)
	require.EqualValues(t, 2, x.Request.BodySize)
	require.Equal(t, 204, x.Response.Status)
	require.Equal(t, ClientAborted, x.Flags)
	require.NoError(t, ParseJSON([]byte(`{"flags":["NON_UTF8"],"request":{"target":"/é","authority":"ÃÂ©","method":"中é"}}`), &x))
	require.Equal(t, "/\xe9", string(x.Request.Target))
	require.Equal(t, "\xc3\xc2\xa9", string(x.Request.Authority))
	require.Equal(t, "中é", string(x.Request.Method))
	require.Zero(t, x.Flags)
}

func TestJSONThatIsWrongIsRefused(t *testing.T) {
	for text, says := range map[string]string{
		``:                                     "unexpected EOF",
		`{"request":`:                          "unexpected EOF",
		`{} {}`:                                "behind the object",
		`[]`:                                   "no object",
		`{"requests":{}}`:                      `unknown field "requests"`,
		`{"request":{"methud":"GET"}}`:         `unknown field "methud"`,
		`{"request":{"method":1}}`:             "request.method is a number",
		`{"id":"12"}`:                          "48 hexadecimal digits",
		`{"time":"yesterday"}`:                 "RFC 3339",
		`{"time":"1969-01-01T00:00:00Z"}`:      "RFC 3339",
		`{"source":"moon"}`:                    `unknown source "moon"`,
		`{"flags":["UNSPECIFIED"]}`:            "unknown flag",
		`{"flags":["WHATEVER"]}`:               "unknown flag",
		`{"request":{"headers":[["a"]]}}`:      "a name and a value",
		`{"request":{"headers":[["a",1]]}}`:    "a name and a value",
		`{"request":{"headers":[["a",null]]}}`: "a name and a value",
		`{"request":{"body":"a","body_b64":"YQ=="}}`: "both",
		`{"request":{"body_b64":"@"}}`:               "base64",
		`{"request":{"body":"abc","body_size":2}}`:   "less than the body",
		`{"request":{"body_size":-1}}`:               "negative",
		`{"response":{"status":1000}}`:               "status 1000",
		`{"response":{"ttfb_ns":-1}}`:                "negative",
		`{"response":{"status":"200"}}`:              "response.status is a string",
		"{\"request\":{\"method\":\"\xff\"}}":        "not UTF-8",
	} {
		require.ErrorContains(t, ParseJSON([]byte(text), new(Exchange)), says, text)
	}
}

// FuzzJSONRoundTrip checks that what is read from the JSON form is written as the same text again.
func FuzzJSONRoundTrip(f *testing.F) {
	for seed := range uint64(16) {
		f.Add(seed, []byte("/items/42?ref=\xff\u2028\x9b"))
	}
	f.Fuzz(func(t *testing.T, seed uint64, text []byte) {
		x := random{rand.New(rand.NewPCG(seed, 5)), text}.exchange()
		x.Request.BodySize = max(x.Request.BodySize, int64(len(x.Request.Body)))
		x.CaptureTime = time.Unix(0, int64(seed>>2)).UTC()
		x.Flags &= 1<<16 - 2
		x.Source.Kind %= 7
		if x.Response != nil {
			x.Response.BodySize = max(x.Response.BodySize, int64(len(x.Response.Body)))
			x.Response.Status &= 511
			x.Response.TTFB, x.Response.Duration = max(x.Response.TTFB, 0), max(x.Response.Duration, 0)
		}
		first := AppendJSON(nil, x, JSONOptions{Bodies: true})
		var got Exchange
		require.NoError(t, ParseJSON(first, &got), string(first))
		if x.Flags.Has(NonUTF8) {
			return // by itself it is no more than a claim
		}
		require.Equal(t, string(first), string(AppendJSON(nil, &got, JSONOptions{Bodies: true})))
	})
}

// FuzzParseJSON checks that what is accepted can be written and read again.
func FuzzParseJSON(f *testing.F) {
	f.Add(AppendJSON(nil, shopExchange(), JSONOptions{Bodies: true}))
	f.Add([]byte(`{"flags":["NON_UTF8"],"request":{"target":"/é","headers":[["a","b"]],"body_b64":"AP8="},"response":{"status":1}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var x, again Exchange
		if ParseJSON(text, &x) != nil {
			return
		}
		require.NoError(t, ParseJSON(AppendJSON(nil, &x, JSONOptions{Bodies: true}), &again))
		require.Equal(t, x.Request.Body, again.Request.Body)
		require.Equal(t, x.Request.Target, again.Request.Target)
	})
}
