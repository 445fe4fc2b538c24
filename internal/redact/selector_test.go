package redact

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

// selecting returns a Redactor with these selectors beside the default rules.
func selecting(t testing.TB, selectors ...Selector) *Redactor {
	t.Helper()
	rules := DefaultRules()
	for _, s := range selectors {
		if s.Name == "" {
			s.Name = "mine"
		}
		rules.Selectors = append(rules.Selectors, s)
	}
	r, err := New(Options{Key: []byte("a key that only tests use"), Rules: rules})
	require.NoError(t, err)
	return r
}

func inJSONPath(path string, a Treatment) Selector {
	return Selector{Part: InJSON, Path: path, Action: a, With: "x"}
}

func TestSelectorsOfJSON(t *testing.T) {
	rows := []struct {
		name, path string
		action     Treatment
		in, out    string
	}{
		{"a member", "$.a", Mask, `{"a":"secret","b":"secret"}`, `{"a":"******","b":"secret"}`},
		{"a member of a member", "$.a.b", Mask, `{"a":{"b":"xy","c":"xy"},"b":"xy"}`, `{"a":{"b":"**","c":"xy"},"b":"xy"}`},
		{"items", "$.a[*].c", Mask, `{"a":[{"c":"1"},{"c":2,"d":2}]}`, `{"a":[{"c":"*"},{"c":1,"d":2}]}`},
		{"one item", "$.a[1]", Mask, `{"a":["x","y","z"]}`, `{"a":["x","*","z"]}`},
		{"at any depth", "$..t", Mask, `{"t":"x","a":[{"t":"x"}],"u":{"v":{"t":"x"}}}`, `{"t":"*","a":[{"t":"*"}],"u":{"v":{"t":"*"}}}`},
		{"below, at any depth", "$.a..t", Mask, `{"t":"x","a":[[{"t":"x"}]]}`, `{"t":"x","a":[[{"t":"*"}]]}`},
		{"a name with a blank", "$['a b']", Mask, `{"a b":"x"}`, `{"a b":"*"}`},
		{"an escaped name", "$.ab", Mask, `{"a\u0062":"x"}`, `{"a\u0062":"*"}`},
		{"all that is in an object", "$.a", Mask, `{"a":{"b":["x",1.5,true]}}`, `{"a":{"b":["*",1.1,true]}}`},
		{"another text for an object", "$.a", Replace, `{"a":{"b":[1]},"c":1}`, `{"a":"x","c":1}`},
		{"another text for a number", "$.a", Replace, `[{"a":12 }]`, `[{"a":12 }]`}, // $.a is none of an array's
		{"another text for any", "$[*].a", Replace, `[{"a":12 }]`, `[{"a":"x" }]`},
		{"the first member out", "$.a", Drop, `{ "a":1, "b":2}`, `{  "b":2}`},
		{"a member in the middle out", "$.b", Drop, `{"a":1, "b":{"x":[1,"}"]} ,"c":3}`, `{"a":1 ,"c":3}`},
		{"the last member out", "$.c", Drop, `{"a":1,"b":2,"c":"x"}`, `{"a":1,"b":2}`},
		{"the only one out", "$.a", Drop, `{"a":[1,2]}`, `{}`},
		{"two in a row out", "$[*].t", Drop, `[{"t":1,"t":2,"b":3}]`, `[{"b":3}]`},
		{"all items out", "$.a[*]", Drop, `{"a":[1,"b",{"c":3}],"d":4}`, `{"a":[],"d":4}`},
		{"one item out", "$.a[0]", Drop, `{"a":[1,2,3]}`, `{"a":[2,3]}`},
		{"the last item out", "$.a[2]", Drop, `{"a":[1,2,3]}`, `{"a":[1,2]}`},
		{"lines", "$.a", Drop, "{\"a\":1}\n{\"b\":1,\"a\":2}\n", "{}\n{\"b\":1}\n"},
		{"in a string", "$.a", Mask, `{"j":"{\"a\":\"secret\"}"}`, `{"j":"{\"a\":\"******\"}"}`},
		{"out of a string", "$.a", Drop, `{"j":"{\"a\":\"secret\",\"b\":1}"}`, `{"j":"{\"b\":1}"}`},
		{"cut", "$.a", Drop, `{"b":1,"a":"sec`, `{"b":1`},
		{"before the rule for a name", "$.password", Mask, `{"password":"hunter2"}`, `{"password":"*******"}`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r, x := selecting(t, inJSONPath(row.path, row.action)), post("application/json", row.in, field("Content-Length", "999"))
			require.NoError(t, r.Exchange(x))
			require.Equal(t, row.out, string(x.Request.Body))
			require.Equal(t, int64(len(row.out)), x.Request.BodySize)
			if json.Valid([]byte(row.in)) {
				require.True(t, json.Valid(x.Request.Body))
			}
			once := encoded(x)
			require.NoError(t, r.Exchange(x))
			require.Equal(t, once, encoded(x), "twice is once: %v", x.Redactions)
			require.NoError(t, fixed(t).Exchange(x))
			x.RulesDigest = r.Digest()
			require.Equal(t, once, encoded(x), "without the rules too")
		})
	}
}

func TestSelectorsOfOtherParts(t *testing.T) {
	rows := []struct {
		name     string
		s        Selector
		in, want func(*traffic.Exchange)
	}{
		{
			"a header out",
			Selector{Part: InHeader, Path: "X-Loyalty", Action: Drop},
			func(x *traffic.Exchange) {
				x.Request.Headers = []traffic.Field{field("a", "1"), field("x-loyalty", "2"), field("b", "3"), field("X-LOYALTY", "4")}
			},
			func(x *traffic.Exchange) { x.Request.Headers = []traffic.Field{field("a", "1"), field("b", "3")} },
		},
		{
			"headers by a star",
			Selector{Part: InHeader, Path: "x-loyal*", Action: Mask},
			func(x *traffic.Exchange) { x.Request.Headers = []traffic.Field{field("X-Loyalty-No", "abc")} },
			func(x *traffic.Exchange) { x.Request.Headers = []traffic.Field{field("X-Loyalty-No", "***")} },
		},
		{
			"a cookie out",
			Selector{Part: InCookie, Path: "b", Action: Drop},
			func(x *traffic.Exchange) {
				x.Request.Headers = []traffic.Field{field("Cookie", "b=1; b=2; zz=; b=3"), field("Cookie", "b=4"), field("Cookie", "b=5")}
			},
			func(x *traffic.Exchange) { x.Request.Headers = []traffic.Field{field("Cookie", "zz=")} },
		},
		{
			"a cookie that is set out",
			Selector{Part: InCookie, Path: "b", Action: Drop},
			func(x *traffic.Exchange) {
				x.Response = &traffic.Response{Headers: []traffic.Field{field("Set-Cookie", "b=1; Path=/"), field("Set-Cookie", "c=; Path=/")}}
			},
			func(x *traffic.Exchange) {
				x.Response = &traffic.Response{Headers: []traffic.Field{field("Set-Cookie", "c=; Path=/")}}
			},
		},
		{
			"parameters out",
			Selector{Part: InQuery, Path: "d", Action: Drop},
			func(x *traffic.Exchange) { x.Request.Target = []byte("/a?d=1&d=2&b=3&d=4&c=5&%64=6") },
			func(x *traffic.Exchange) { x.Request.Target = []byte("/a?b=3&c=5") },
		},
		{
			"another text, escaped",
			Selector{Part: InQuery, Path: "d", Action: Replace, With: "a&b=c d"},
			func(x *traffic.Exchange) { x.Request.Target = []byte("/a?d=1&b=3") },
			func(x *traffic.Exchange) { x.Request.Target = []byte("/a?d=a%26b%3Dc%20d&b=3") },
		},
		{
			"a form's field",
			Selector{Part: InForm, Path: "user_*", Action: Mask},
			func(x *traffic.Exchange) {
				x.Request.Body, x.Request.BodySize = []byte("user_x=%41b&a=1"), 15
				x.Request.Headers = []traffic.Field{field("Content-Type", "application/x-www-form-urlencoded"), field("Content-Length", "15")}
			},
			func(x *traffic.Exchange) {
				x.Request.Body, x.Request.BodySize = []byte("user_x=**&a=1"), 13
				x.Request.Headers = []traffic.Field{field("Content-Type", "application/x-www-form-urlencoded"), field("Content-Length", "13")}
			},
		},
		{
			"a part out",
			Selector{Part: InMultipart, Path: "b", Action: Drop},
			func(x *traffic.Exchange) {
				x.Request.Headers = []traffic.Field{field("Content-Type", "multipart/form-data; boundary=x")}
				x.Request.Body = []byte("--x\r\nContent-Disposition: form-data; name=b\r\n\r\n1\r\n--x\r\nContent-Disposition: form-data; name=a\r\n\r\n2\r\n--x--\r\n")
			},
			func(x *traffic.Exchange) {
				x.Request.Headers = []traffic.Field{field("Content-Type", "multipart/form-data; boundary=x")}
				x.Request.Body = []byte("--x\r\nContent-Disposition: form-data; name=a\r\n\r\n2\r\n--x--\r\n")
				x.Request.BodySize = int64(len(x.Request.Body))
			},
		},
		{
			"a pattern",
			Selector{Part: InBody, Path: `order-(\d+)`, Action: Mask},
			func(x *traffic.Exchange) { x.Request.Body = []byte("see order-123, order-4567") },
			func(x *traffic.Exchange) { x.Request.Body = []byte("see order-***, order-****") },
		},
		{
			"a pattern out",
			Selector{Part: InBody, Path: `ab`, Action: Drop},
			func(x *traffic.Exchange) { x.Request.Body = []byte("aabbab.") },
			func(x *traffic.Exchange) { x.Request.Body, x.Request.BodySize = []byte("."), 1 },
		},
		{
			"answers only",
			Selector{Part: InHeader, Path: "a", Action: Mask, On: Answers},
			func(x *traffic.Exchange) {
				x.Request.Headers = []traffic.Field{field("a", "1")}
				x.Response = &traffic.Response{Headers: []traffic.Field{field("a", "1")}}
			},
			func(x *traffic.Exchange) {
				x.Request.Headers = []traffic.Field{field("a", "1")}
				x.Response = &traffic.Response{Headers: []traffic.Field{field("a", "*")}}
			},
		},
		{
			"another path",
			Selector{Part: InHeader, Path: "a", Action: Mask, Where: func(_, path []byte) bool { return string(path) == "/b" }},
			func(x *traffic.Exchange) {
				x.Request.Target, x.Request.Headers = []byte("/a?/b"), []traffic.Field{field("a", "1")}
			},
			func(x *traffic.Exchange) {
				x.Request.Target, x.Request.Headers = []byte("/a?/b"), []traffic.Field{field("a", "1")}
			},
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r := selecting(t, row.s)
			var x, want traffic.Exchange
			x.Request.Method, want.Request.Method = []byte("GET"), []byte("GET")
			row.in(&x)
			row.want(&want)
			require.NoError(t, r.Exchange(&x))
			once := encoded(&x)
			got := x
			got.Redactions, got.RulesDigest = nil, nil
			require.Equal(t, want, got)
			require.NoError(t, r.Exchange(&x))
			require.Equal(t, once, encoded(&x), "twice is once: %v", x.Redactions)
		})
	}
}

const soap = `<?xml version="1.0"?><!-- for ` + phone + ` -->
<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body a='1'>
 <u:Login xmlns:u="urn:x"><u:userPassword>hunter2&amp;secret</u:userPassword><Token><![CDATA[hunter2<secret]]></Token>
 <phone>+86&#32;138&#x31;2345678</phone><note>call ` + phone + ` &lt;now&gt;</note><entry key="password">hunter2secret</entry>
 <card no="` + card + `" cvv="hunter2secret"/><v x="a &quot;b&quot;" password = "hunter2 &quot;secret&quot;"/><n>1</n></u:Login>
</s:Body></s:Envelope>`

func TestXMLIsRedactedByName(t *testing.T) {
	for _, contentType := range []string{"text/xml; charset=utf-8", "application/soap+xml", "text/plain", ""} {
		r, x := fixed(t), post(contentType, soap)
		require.NoError(t, r.Exchange(x))
		require.Zero(t, x.Flags)
		out := string(x.Request.Body)
		require.NotContains(t, out, "hunter2")
		require.NotContains(t, out, phone)
		require.NotContains(t, out, "2345678")
		require.NotContains(t, out, card)
		for _, stays := range []string{`xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body a='1'>`, `&lt;now&gt;`, `x="a &quot;b&quot;"`, `<n>1</n></u:Login>`} {
			require.Contains(t, out, stays)
		}
		readsAsXML(t, out)
		once := encoded(x)
		require.NoError(t, r.Exchange(x))
		require.Equal(t, once, encoded(x))
	}
}

// readsAsXML reads a document to its end.
func readsAsXML(t *testing.T, doc string) {
	t.Helper()
	for d := xml.NewDecoder(strings.NewReader(doc)); ; {
		if _, err := d.Token(); err != nil {
			require.ErrorIs(t, err, io.EOF, doc)
			return
		}
	}
}

func TestSelectorsOfXML(t *testing.T) {
	const doc = `<o a="1"><b>xy</b><c><b i="q&amp;q">z</b></c><n:d xmlns:n="u">w<b/>w</n:d></o>`
	rows := []struct {
		path   string
		action Treatment
		out    string
	}{
		{"/o/b", Mask, `<o a="1"><b>**</b><c><b i="q&amp;q">z</b></c><n:d xmlns:n="u">w<b/>w</n:d></o>`},
		{"//b", Mask, `<o a="1"><b>**</b><c><b i="q&amp;q">*</b></c><n:d xmlns:n="u">w<b/>w</n:d></o>`},
		{"//b", Drop, `<o a="1"><c></c><n:d xmlns:n="u">ww</n:d></o>`},
		{"/o/*/b", Drop, `<o a="1"><b>xy</b><c></c><n:d xmlns:n="u">ww</n:d></o>`},
		{"/o/c", Replace, `<o a="1"><b>xy</b><c>&lt;x&gt;</c><n:d xmlns:n="u">w<b/>w</n:d></o>`},
		{"/o/d", Replace, `<o a="1"><b>xy</b><c><b i="q&amp;q">z</b></c><n:d xmlns:n="u">&lt;x&gt;</n:d></o>`},
		{"//@i", Mask, `<o a="1"><b>xy</b><c><b i="***">z</b></c><n:d xmlns:n="u">w<b/>w</n:d></o>`},
		{"//b/@i", Drop, `<o a="1"><b>xy</b><c><b>z</b></c><n:d xmlns:n="u">w<b/>w</n:d></o>`},
		{"/o/@a", Replace, `<o a="&lt;x&gt;"><b>xy</b><c><b i="q&amp;q">z</b></c><n:d xmlns:n="u">w<b/>w</n:d></o>`},
		{"/o/c", Mask, `<o a="1"><b>xy</b><c><b i="***">*</b></c><n:d xmlns:n="u">w<b/>w</n:d></o>`},
	}
	for _, row := range rows {
		t.Run(row.path, func(t *testing.T) {
			r, x := selecting(t, Selector{Part: InXML, Path: row.path, Action: row.action, With: "<x>"}), post("text/xml", doc)
			require.NoError(t, r.Exchange(x))
			require.Equal(t, row.out, string(x.Request.Body))
			readsAsXML(t, row.out)
			once := encoded(x)
			require.NoError(t, r.Exchange(x))
			require.Equal(t, once, encoded(x), "twice is once: %v", x.Redactions)
		})
	}
}

// framed puts messages into gRPC's frames.
func framed(flag byte, messages ...string) string {
	var b []byte
	for _, m := range messages {
		b = append(binary.BigEndian.AppendUint32(append(b, flag), uint32(len(m))), m...)
	}
	return string(b)
}

// proto is a field with a length.
func proto(number byte, v string) string {
	return string([]byte{number<<3 | 2, byte(len(v))}) + v
}

func TestGRPCFieldsByNumber(t *testing.T) {
	in := framed(0, proto(1, proto(3, "secret")+proto(2, "kept"))+"\x28\x96\x01", proto(1, proto(3, "again"))+proto(9, "call "+phone))
	rows := []struct {
		path   string
		action Treatment
		out    string
	}{
		{"/shop.Cart/*:1.3", Replace, framed(0, proto(1, proto(3, "longer text")+proto(2, "kept"))+"\x28\x96\x01", proto(1, proto(3, "longer text"))+proto(9, "call PHONE"))},
		{"/shop.Cart/Add:1.3", Drop, framed(0, proto(1, proto(2, "kept"))+"\x28\x96\x01", proto(1, "")+proto(9, "call PHONE"))},
		{"/shop.Cart/Add:1", Mask, framed(0, proto(1, proto(3, "******")+proto(2, "****"))+"\x28\x96\x01", proto(1, proto(3, "*****"))+proto(9, "call PHONE"))},
		{"/shop.Cart/Add:5", Replace, framed(0, proto(1, proto(3, "secret")+proto(2, "kept"))+"\x28\x80\x01", proto(1, proto(3, "again"))+proto(9, "call PHONE"))},
		{"/other/*:1", Drop, framed(0, proto(1, proto(3, "secret")+proto(2, "kept"))+"\x28\x96\x01", proto(1, proto(3, "again"))+proto(9, "call PHONE"))},
	}
	for _, row := range rows {
		t.Run(row.path, func(t *testing.T) {
			r := selecting(t, Selector{Part: InGRPC, Path: row.path, Action: row.action, With: "longer text"})
			want := strings.ReplaceAll(row.out, "PHONE", string(r.Pseudonym("cn-mobile", []byte(phone))))
			want = strings.ReplaceAll(want, string([]byte{9<<3 | 2, 10}), string([]byte{9<<3 | 2, 16})) // PHONE is shorter
			want = fixFrames(want)
			x := post("application/grpc", in)
			x.Request.Target = []byte("/shop.Cart/Add")
			require.NoError(t, r.Exchange(x))
			require.Equal(t, want, string(x.Request.Body))
			once := encoded(x)
			require.NoError(t, r.Exchange(x))
			require.Equal(t, once, encoded(x), "twice is once: %v", x.Redactions)
		})
	}
}

// fixFrames corrects the length of the second frame, in which a word was put in the place of a longer one.
func fixFrames(s string) string {
	b := []byte(s)
	second := 5 + int(binary.BigEndian.Uint32(b[1:]))
	binary.BigEndian.PutUint32(b[second+1:], uint32(len(b)-second-5))
	return string(b)
}

func TestCompressedGRPCIsRedactedInside(t *testing.T) {
	r := fixed(t)
	x := post("application/grpc+proto", framed(1, string(zipped(t, proto(1, "call "+phone))))+framed(0, proto(2, phone)), field("grpc-encoding", "gzip"))
	require.NoError(t, r.Exchange(x))
	require.Zero(t, x.Flags)
	b := x.Request.Body
	size := int(binary.BigEndian.Uint32(b[1:]))
	mobile := string(r.Pseudonym("cn-mobile", []byte(phone)))
	require.Equal(t, proto(1, "call "+mobile), unzipped(t, b[5:5+size]))
	require.Equal(t, framed(0, proto(2, mobile)), string(b[5+size:]))
	once := encoded(x)
	require.NoError(t, r.Exchange(x))
	require.Equal(t, once, encoded(x))
}

func TestUTF16IsRedacted(t *testing.T) {
	r := fixed(t)
	for _, w := range []width{little16, big16} {
		x := post("application/json; charset=utf-16", string(widened([]byte("\ufeff{\"pwd\":\"hunter2secret\",\"a\":\"密\"}"), w)))
		require.NoError(t, r.Exchange(x))
		require.Zero(t, x.Flags)
		out := narrowed(x.Request.Body, w)
		require.NotContains(t, string(out), "hunter2")
		require.Contains(t, string(out), `"a":"密"`)
		once := encoded(x)
		require.NoError(t, r.Exchange(x))
		require.Equal(t, once, encoded(x))
	}
}

func TestAClonesValuesAreOthersWhereARuleChoseThem(t *testing.T) {
	r := selecting(t, Selector{Part: InJSON, Path: "$.customer", Kind: Secret}, Selector{Part: InHeader, Path: "X-Shop-User"})
	x := post("application/json", `{"customer":"alice liddell","b":"alice"}`, field("X-Shop-User", "alice-liddell"))
	require.NoError(t, r.Exchange(x))
	k, err := NewRekeyer([]byte("seed"), nil)
	require.NoError(t, err)
	was := bytes.Clone(x.Request.Body)
	header := bytes.Clone(x.Request.Headers[1].Value)
	_, err = k.Request(x, 1, 0)
	require.NoError(t, err)
	require.NotEqual(t, was, x.Request.Body)
	require.Len(t, x.Request.Body, len(was))
	require.Contains(t, string(x.Request.Body), `"b":"alice"`)
	require.NotEqual(t, header, x.Request.Headers[1].Value)
}

func TestBadSelectorsAreRefused(t *testing.T) {
	for _, s := range []Selector{
		{Part: InJSON, Path: "a.b"},
		{Part: InJSON, Path: "$"},
		{Part: InJSON, Path: "$.a["},
		{Part: InJSON, Path: "$.a[x]"},
		{Part: InJSON, Path: "$.a[-1]"},
		{Part: InJSON, Path: "$..a.."},
		{Part: InJSON, Path: "$" + strings.Repeat(".a", 99)},
		{Part: InXML, Path: "a"},
		{Part: InXML, Path: "/a/@"},
		{Part: InXML, Path: "/@a"},
		{Part: InXML, Path: "/a[1]"},
		{Part: InGRPC, Path: "/a/b"},
		{Part: InGRPC, Path: "/a/b:0"},
		{Part: InGRPC, Path: "/a/b:x"},
		{Part: InBody, Path: "("},
		{Part: InBody, Path: "a*"},
		{Part: InHeader, Path: "Content-Length"},
		{Part: InHeader, Path: ""},
		{Path: "x"},
		{Part: InQuery, Path: "x", Action: Replace, With: "a\nb"},
	} {
		s.Name = "bad"
		require.Error(t, s.Check(), "%+v", s)
	}
	rules := DefaultRules()
	rules.Selectors = []Selector{{Name: "a", Part: InQuery, Path: "x", Action: Replace, With: phone}}
	_, err := New(Options{Rules: rules})
	require.ErrorContains(t, err, "would itself be redacted")
}

func TestABodyThatRulesMakeTooLongIsRemoved(t *testing.T) {
	r := selecting(t, Selector{Part: InJSON, Path: "$[*]", Action: Replace, With: strings.Repeat("x", maxWith)})
	x := post("application/json", "["+strings.Repeat("1,", 100)+"1]")
	require.NoError(t, r.Exchange(x))
	require.Empty(t, x.Request.Body)
	require.Equal(t, traffic.RedactionFailed|traffic.RedactionFailedRequest, x.Flags)
}

// FuzzSelectors: whatever bodies look like, twice is once, and what was well formed stays so.
func FuzzSelectors(f *testing.F) {
	all := []Selector{
		{Name: "a", Part: InJSON, Path: "$..a", Action: Drop},
		{Name: "b", Part: InJSON, Path: "$.b[*]", Action: Replace, With: `"b<`},
		{Name: "c", Part: InJSON, Path: "$..c[1]", Action: Mask},
		{Name: "d", Part: InXML, Path: "//a", Action: Drop},
		{Name: "e", Part: InXML, Path: "/x/b", Action: Replace, With: `"b<`},
		{Name: "f", Part: InXML, Path: "//@c", Action: Mask},
		{Name: "g", Part: InGRPC, Path: "/*:1.*", Action: Drop},
		{Name: "h", Part: InGRPC, Path: "/*:2", Action: Replace, With: "longer than it was"},
		{Name: "i", Part: InQuery, Path: "a", Action: Drop},
		{Name: "j", Part: InQuery, Path: "b*", Action: Replace, With: "&="},
		{Name: "k", Part: InForm, Path: "a", Action: Drop},
		{Name: "l", Part: InMultipart, Path: "a", Action: Drop},
		{Name: "m", Part: InCookie, Path: "a", Action: Drop},
	}
	r, plain := selecting(f, all...), fixed(f)
	for _, s := range []string{"application/json", "text/xml", "application/grpc", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", ""} {
		f.Add("/a?a=1&b=2&c", "a=1; b", s, []byte(`{"a":1,"b":[1,{"a":2,"c":["x","y"]}],"s":"{\"a\":1}"}`))
		f.Add("/?b&a", "b; a=", s, []byte(`<x a="1"><a c="d"><a/></a><b>1<i/></b></x>`))
		f.Add("/?b&a", "b; a=", s, []byte(framed(0, proto(1, proto(2, "x"))+proto(2, "y"))))
		f.Add("/?b&a", "b; a=", s, []byte("--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x\r\n\r\n2\r\n--x--"))
	}
	f.Fuzz(func(t *testing.T, target, cookie, contentType string, body []byte) {
		x := post(contentType, string(body), field("Cookie", cookie), field("Content-Length", "1"))
		x.Request.Target = []byte(target)
		require.NoError(t, ignoreMany(r.Exchange(x)))
		if json.Valid(body) && len(x.Request.Body) > 0 && strings.Contains(contentType, "json") {
			require.True(t, json.Valid(x.Request.Body), "%q", x.Request.Body)
		}
		if x.Flags == 0 && len(x.Request.Body) > 0 {
			require.LessOrEqual(t, len(x.Request.Body), len(body)*40+100)
		}
		if !wellFormedBody(body) { // another text can make other structure of what has none
			x.Request.Body = nil
			x.Redactions = nil
			x.Request.Target = []byte(target)
			require.NoError(t, ignoreMany(r.Exchange(x)))
		}
		once := encoded(x)
		require.NoError(t, ignoreMany(r.Exchange(x)))
		require.Equal(t, once, encoded(x), "twice is once: %v", x.Redactions)
		require.NoError(t, ignoreMany(plain.Exchange(x)))
	})
}

// wellFormedBody reports whether a body is a JSON or XML document, or one gRPC message.
func wellFormedBody(b []byte) bool {
	if json.Valid(b) {
		return !bytes.ContainsAny(b, "\\<=") // a string in it may be broken JSON, XML or a form
	}
	if len(b) > 5 && b[0] == 0 && int(binary.BigEndian.Uint32(b[1:])) == len(b)-5 {
		return wellFormed(b[5:], 0)
	}
	d := xml.NewDecoder(bytes.NewReader(b))
	for n := 0; ; n++ {
		if _, err := d.Token(); err != nil {
			return errors.Is(err, io.EOF) && n > 0 && b[0] == '<'
		}
	}
}

func TestAnAnswerGoesByItsRequest(t *testing.T) {
	r := selecting(t, Selector{Part: InHeader, Path: "a", Action: Mask, Where: func(_, path []byte) bool { return string(path) == "/b" }})
	for target, want := range map[string]string{"/a": "1", "/b?c": "*", "": "*"} {
		q := &traffic.Request{Method: []byte("GET"), Target: []byte(target)}
		if target == "" { // what is not known may be any
			q = nil
		}
		res := &traffic.Response{Headers: []traffic.Field{field("a", "1")}}
		_, err := r.Response(q, res)
		require.NoError(t, err)
		require.Equal(t, want, string(res.Headers[0].Value), target)
	}
}
