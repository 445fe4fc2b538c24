package rewrite_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/rewrite"
	"github.com/reprise-io/reprise/internal/traffic"
)

func fields(lines ...string) (all []traffic.Field) {
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		all = append(all, traffic.Field{Name: []byte(name), Value: []byte(value)})
	}
	return all
}

func lines(all []traffic.Field) (out []string) {
	for _, f := range all {
		out = append(out, string(f.Name)+": "+string(f.Value))
	}
	return out
}

func request(method, target, body string, headers ...string) *traffic.Exchange {
	return &traffic.Exchange{Request: traffic.Request{
		Method: []byte(method), Target: []byte(target), Authority: []byte("shop.example"), Protocol: []byte("HTTP/1.1"),
		Headers: fields(headers...), Body: []byte(body), BodySize: int64(len(body)),
	}}
}

func place(t *testing.T, s string) rewrite.Place {
	t.Helper()
	p, err := rewrite.ParsePlace(s)
	require.NoError(t, err)
	return p
}

const jsonType = "Content-Type: application/json"

func zipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(s))
	_ = z.Close()
	return b.String()
}

func TestPathFindsOneValue(t *testing.T) {
	const doc = ` {"a":{"b":[1,{"x y":"é\n"},"l"],"id":7},"list":[[{"id":"deep"}]],"n":null,"t":true,"e":{}} `
	for path, want := range map[string]string{
		"$.a.b[0]": "1", "$.a.b[1]['x y']": "é\n", `$.a.b[1]["x y"]`: "é\n", "$.a.b[2]": "l", "$.a.id": "7", "$..id": "7",
		"$.list[0][0].id": "deep", "$.list..id": "deep", "$.n": "null", "$.t": "true", "$.e": "{}", "$.a.b": `[1,{"x y":"é\n"},"l"]`,
	} {
		p, err := rewrite.ParsePath(path)
		require.NoError(t, err, path)
		got, ok := p.Value([]byte(doc))
		require.True(t, ok, path)
		if path == "$.a.b" {
			want = `[1,{"x y":"é\n"},"l"]`
		}
		require.Equal(t, want, string(got), path)
	}
	for _, path := range []string{"$.x", "$.a.b[3]", "$.a.b.id", "$.a[0]", "$.list.id", "$..nope"} {
		p, err := rewrite.ParsePath(path)
		require.NoError(t, err, path)
		_, ok := p.Value([]byte(doc))
		require.False(t, ok, path)
	}
	for _, bad := range []string{"", "a", "$a", "$.", "$..", "$.*", "$[", "$[x]", "$['a", "$[-1]", "$..a..b", "$." + strings.Repeat("a.", 40) + "a"} {
		_, err := rewrite.ParsePath(bad)
		require.Error(t, err, bad)
	}
	for _, broken := range []string{"", "{", `{"a"`, `{"a":`, `{"a":{"b"`, "[", `"`, `{"a" 1}`, "}", strings.Repeat("[", 9999)} {
		p, _ := rewrite.ParsePath("$.a.b")
		_, ok := p.Value([]byte(broken))
		require.False(t, ok, broken)
	}
}

func TestPathPutsLikeWhatStandsThere(t *testing.T) {
	for _, c := range []struct{ path, doc, value, want string }{
		{"$.id", `{"id": 17, "x":1}`, "23", `{"id": 23, "x":1}`},
		{"$.id", `{"id": 17}`, "new-3", `{"id": "new-3"}`},
		{"$.id", `{"id":"17"}`, "23", `{"id":"23"}`},
		{"$.id", `{"id":17}`, "23 ", `{"id":"23 "}`},
		{"$.id", `{"id":"a"}`, "q\"\\\n", `{"id":"q\"\\\u000a"}`},
		{"$.u.id", `{"u":{}}`, "1", `{"u":{"id":"1"}}`},
		{"$.u.id", `{"u":{"a":1 }}`, "x", `{"u":{"a":1 ,"id":"x"}}`},
		{"$[1]", `[1,2]`, "x", `[1,"x"]`},
	} {
		p, err := rewrite.ParsePath(c.path)
		require.NoError(t, err)
		got, ok := p.Put([]byte(c.doc), []byte(c.value))
		require.True(t, ok, c.doc)
		require.Equal(t, c.want, string(got))
	}
	p, _ := rewrite.ParsePath("$[5]")
	_, ok := p.Put([]byte(`[1]`), []byte("x"))
	require.False(t, ok, "nothing is made up in an array")
}

func TestRulesMakeTheRequestTheTargetWants(t *testing.T) {
	x := request("POST", "/api/orders/7?debug=1&a=b%20c#f", zipped(`{"tenant":"prod","n":1,"host":"shop.example"}`),
		"X-Tenant: prod", "X-Old: 1", jsonType, "Content-Encoding: gzip", "Content-MD5: abc", "Idempotency-Key: 0f8fad5b-d9cb-469f-a165-70867728950e")
	before := lines(x.Request.Headers)
	r := rewrite.Rules{
		BasePath: "/v2", Seed: []byte("s"),
		Paths: []rewrite.PathRule{{From: regexp.MustCompile(`^/api/(\w+)`), To: "/$1"}},
		Edits: []rewrite.Edit{
			{Place: place(t, "query debug"), Remove: true},
			{Place: place(t, "query env"), Value: []byte("pre prod")},
			{Place: place(t, "header x-tenant"), Value: []byte("test")},
			{Place: place(t, "header X-Old"), Remove: true},
			{Place: place(t, "header X-New"), Value: []byte("1")},
			{Place: place(t, "json $.tenant"), Value: []byte("test")},
			{Place: place(t, "json $.n"), Value: []byte(`{"m":[2]}`), JSON: true},
			{Place: place(t, "header X-No"), Value: []byte("1"), Where: never{}},
		},
		Bodies: []rewrite.BodyRule{{From: regexp.MustCompile(`shop\.example`), To: []byte("preprod.internal")}},
		Fresh:  []rewrite.Place{place(t, "header Idempotency-Key"), place(t, "header X-None")},
	}
	got, err := r.Apply(x, 0, 0)
	require.NoError(t, err)
	require.Equal(t, "/v2/orders/7?a=b%20c&env=pre+prod", string(got.Target))
	h := lines(got.Headers)
	require.Equal(t, []string{"X-Tenant: test", jsonType, "Content-Encoding: gzip"}, h[:3])
	require.Contains(t, h, "X-New: 1")
	require.NotContains(t, h, "X-No: 1")
	require.Len(t, h, 5, "the digest of the old body is gone: %v", h)
	z, err := gzip.NewReader(bytes.NewReader(got.Body))
	require.NoError(t, err)
	plain, err := io.ReadAll(z)
	require.NoError(t, err)
	require.JSONEq(t, `{"tenant":"test","n":{"m":[2]},"host":"preprod.internal"}`, string(plain))
	require.EqualValues(t, len(got.Body), got.BodySize)
	require.Equal(t, before, lines(x.Request.Headers), "what was recorded is as it was")

	key, _ := traffic.Get(got.Headers, "Idempotency-Key")
	require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$`, string(key))
	again, err := r.Apply(x, 0, 0)
	require.NoError(t, err)
	same, _ := traffic.Get(again.Headers, "Idempotency-Key")
	require.Equal(t, key, same, "a crash repeats the key")
	for name, apply := range map[string]func() (traffic.Request, error){
		"loop":  func() (traffic.Request, error) { return r.Apply(x, 1, 0) },
		"clone": func() (traffic.Request, error) { return r.Apply(x, 0, 1) },
		"run": func() (traffic.Request, error) {
			other := r
			other.Seed = []byte("t")
			return other.Apply(x, 0, 0)
		},
	} {
		q, err := apply()
		require.NoError(t, err)
		k, _ := traffic.Get(q.Headers, "Idempotency-Key")
		require.NotEqual(t, string(key), string(k), name)
	}
}

type never struct{}

func (never) Match(*traffic.Exchange) (bool, error) { return false, nil }

func TestABodyThatCannotBeReadIsNotSentAsItWas(t *testing.T) {
	r := rewrite.Rules{Bodies: []rewrite.BodyRule{{From: regexp.MustCompile("a"), To: []byte("b")}}}
	for _, h := range []string{"Content-Encoding: lzma", "Content-Encoding: br", "Content-Encoding: zstd", "Content-Encoding: deflate", "Content-Encoding: gzip", "Content-Encoding: gzip, gzip"} {
		_, err := r.Apply(request("POST", "/", "aaa", h), 0, 0)
		require.Error(t, err, h)
		require.NotContains(t, err.Error(), "aaa")
	}
}

func TestBodiesAreRewrittenInsideEveryCoding(t *testing.T) {
	x := request("POST", "/", `{"id":"a"}`, jsonType)
	for _, coding := range []string{"gzip", "x-gzip", "deflate", "br", "zstd", "identity"} {
		coded, err := rewrite.Encode(coding, x.Request.Body)
		require.NoError(t, err)
		q := request("POST", "/", string(coded), jsonType, "Content-Encoding: "+coding)
		ok, err := rewrite.Put(&q.Request, place(t, "json $.id"), []byte("b"))
		require.NoError(t, err, coding)
		require.True(t, ok)
		got, ok := place(t, "json $.id").OfRequest(&q.Request)
		require.True(t, ok, coding)
		require.Equal(t, "b", string(got), coding)
		require.EqualValues(t, len(q.Request.Body), q.Request.BodySize)
	}
}

func TestPlacesAreChecked(t *testing.T) {
	for _, bad := range []string{
		"", "header", "cookies a", "header Reprise-Replay", "header Host", "header Content-Length", "header a b", "header Transfer-Encoding",
		"segment 0", "segment x", "json x", "body (",
	} {
		_, err := rewrite.ParsePlace(bad)
		require.Error(t, err, bad)
	}
	require.Error(t, place(t, "query q").InAnswer())
	require.Error(t, place(t, "body x").InRequest())
	require.NoError(t, place(t, "json $.a").InAnswer())
}

func FuzzPath(f *testing.F) {
	f.Add("$.a[0]..b", `{"a":[{"b":"x"}]}`, "v")
	f.Add("$['a']", `{"a":1}`, "\xff\"")
	f.Fuzz(func(t *testing.T, path, doc, value string) {
		p, err := rewrite.ParsePath(path)
		if err != nil {
			return
		}
		from, to, ok := p.Find([]byte(doc))
		if !ok {
			return
		}
		require.True(t, 0 <= from && from < to && to <= len(doc))
		out, ok := p.Put([]byte(doc), []byte(value))
		require.True(t, ok)
		got, ok := p.Value(out)
		require.True(t, ok, "%q in %q", path, out)
		require.Equal(t, string([]rune(value)), string([]rune(string(got))), "JSON has no bytes that are no UTF-8")
	})
}

func FuzzPlace(f *testing.F) {
	f.Add("json $.a", "/a/b;x?c=d&c#e", `{"a":"b"}`, "a=b; c", "session=x; Path=/; Max-Age=3")
	f.Add("form a", "http://x/%zz?%zz=1", `a=b&a`, ";;=", "=;Expires=Wed, 21 Oct 2015 07:28:00 GMT")
	f.Fuzz(func(t *testing.T, name, target, body, cookie, set string) {
		p, err := rewrite.ParsePlace(name)
		if err != nil {
			return
		}
		x := request("POST", target, body, "Cookie: "+cookie, jsonType)
		was := target
		p.OfRequest(&x.Request)
		p.OfAnswer(&traffic.Response{Headers: fields("Set-Cookie: " + set), Body: []byte(body)})
		q := x.Request
		if p.InRequest() == nil {
			_, err := rewrite.Put(&q, p, []byte("v"))
			require.NoError(t, err)
		}
		require.Equal(t, was, string(x.Request.Target))
		require.Equal(t, "Cookie: "+cookie, "Cookie: "+string(x.Request.Headers[0].Value))
	})
}
