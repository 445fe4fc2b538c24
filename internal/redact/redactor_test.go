package redact

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

func fixed(t testing.TB) *Redactor {
	t.Helper()
	r, err := New(Options{Key: []byte("a key that only tests use")})
	require.NoError(t, err)
	return r
}

func field(name, value string) traffic.Field {
	return traffic.Field{Name: []byte(name), Value: []byte(value)}
}

func zipped(t testing.TB, s string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write([]byte(s))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func unzipped(t testing.TB, b []byte) string {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(b))
	require.NoError(t, err)
	var out bytes.Buffer
	_, err = out.ReadFrom(r)
	require.NoError(t, err)
	return out.String()
}

// The values that are planted everywhere below; none may be left.
const (
	phone    = "13812345678"
	idCard   = "11010519491231002X"
	card     = "4111111111111111"
	card4    = "6222 0230 9324 0464"
	password = "Tr0ub4dor&3 is long"
	token    = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
	session  = "9f86d081884c7d659a2feaa0c55ad015"
)

func planted() []string {
	return []string{
		phone, "138 1234 5678", idCard, strings.ToLower(idCard), card, card4, password, token, session,
		url.QueryEscape(password), url.QueryEscape(token), "hunter2secret", "dXNlcjpodW50ZXIyc2VjcmV0",
	}
}

func sample(t testing.TB) *traffic.Exchange {
	q := url.QueryEscape
	return &traffic.Exchange{
		ID: traffic.MakeID([16]byte{1}, 1),
		Request: traffic.Request{
			Method:    []byte("POST"),
			Authority: []byte("user:hunter2secret@shop.example"),
			Target: []byte("/users/" + phone + "/cards/" + card + ";jsessionid=" + session + "?q=a+b&phone=" + phone +
				"&access_token=" + token + "&next=" + q("/cb?token="+token+"&x=1") + "&f=" + q(`{"password":"`+password+`"}`) +
				"&%70assword=" + q(password) + "#access_token=" + token),
			Protocol: []byte("HTTP/1.1"),
			Headers: []traffic.Field{
				field("Host", "shop.example"),
				field("authorization", "Bearer "+token),
				field("Proxy-Authorization", "Basic dXNlcjpodW50ZXIyc2VjcmV0"),
				field("Cookie", "theme=dark; sid="+session+"; JSESSIONID="+session),
				field("X-Api-Key", session),
				field("X-Auth-Token", token),
				field("X-User-Phone", "+86"+phone),
				field("Referer", "https://user:hunter2secret@shop.example/a?token="+token),
				field("Content-Type", "application/json; charset=utf-8"),
				field("Content-Length", "12345678901"),
			},
			Body: []byte(`{"user":{"password":"` + password + `","phone":` + phone + `,"note":"id ` + idCard + `, tel ` + phone +
				`"},"cards":["` + card4 + `",{"card_number":"` + card + `"}],"` + phone + `":true,"tokens":[{"access_token":"` + token +
				`"}],"inner":"{\"token\":\"` + token + `\"}","esc":"\u0031` + phone[1:] + `"}`),
		},
		Response: &traffic.Response{
			Status: 302,
			Headers: []traffic.Field{
				field("Set-Cookie", "sid="+session+"; Path=/; HttpOnly"),
				field("Location", "/done?code=1#id_token="+token),
				field("Content-Encoding", "gzip"),
				field("Content-Type", "text/html"),
			},
			Body: zipped(t, "<p>Call "+phone+", or 138 1234 5678, "+idCard+"</p>"),
		},
	}
}

func encoded(x *traffic.Exchange) []byte { return traffic.AppendExchange(nil, x) }

// everything is the record as stored, and what a reader can decode from it.
func everything(t testing.TB, x *traffic.Exchange) string {
	b := string(encoded(x))
	if x.Response != nil && len(x.Response.Body) > 0 {
		if v, _ := traffic.Get(x.Response.Headers, "Content-Encoding"); string(v) == "gzip" {
			b += unzipped(t, x.Response.Body)
		}
	}
	return b
}

func TestNoPlantedValueIsLeftInTheRecord(t *testing.T) {
	r, x := fixed(t), sample(t)
	for _, v := range []string{phone, idCard, card, card4, token, session} {
		require.Contains(t, everything(t, x), v, "the sample must hold what is searched for")
	}
	require.NoError(t, r.Exchange(x))
	out := everything(t, x)
	for _, v := range planted() {
		require.NotContains(t, out, v)
		require.NotContains(t, fmt.Sprint(x.Redactions), v)
	}
	require.Zero(t, x.Flags)
	t.Logf("%s", x.Request.Target)
	t.Logf("%s", x.Request.Body)
	for _, f := range x.Request.Headers {
		t.Logf("%s: %s", f.Name, f.Value)
	}
	for _, d := range x.Redactions {
		t.Logf("%-20s %s", d.Rule, d.Location)
	}
}

func TestSecondPassChangesNothing(t *testing.T) {
	r, x := fixed(t), sample(t)
	require.NoError(t, r.Exchange(x))
	once := encoded(x)
	require.NoError(t, r.Exchange(x))
	require.Equal(t, once, encoded(x))

	other, err := New(Options{Key: []byte("another key")})
	require.NoError(t, err)
	x.RulesDigest = nil
	require.NoError(t, other.Exchange(x))
	x.RulesDigest = r.Digest()
	require.Equal(t, once, encoded(x), "what is listed stays, whoever wrote it")
}

func TestSecondPassRedactsWhatIsNotListed(t *testing.T) {
	r, x := fixed(t), sample(t)
	require.NoError(t, r.Exchange(x))
	before := len(x.Redactions)
	x.Request.Headers = append(x.Request.Headers, field("Authorization", "Bearer "+token))
	x.Request.Target = append(bytes.Clone(x.Request.Target[:bytes.IndexByte(x.Request.Target, '#')]), "&mobile="+phone...)
	x.Request.Body = append(bytes.TrimSuffix(bytes.Clone(x.Request.Body), []byte("}")), `,"user":{"password":"`+password+`"}}`...)
	require.NoError(t, r.Exchange(x))
	require.Len(t, x.Redactions, before+3)
	for _, v := range planted() {
		require.NotContains(t, everything(t, x), v)
	}
}

func TestInputIsReplacedNeverWrittenInto(t *testing.T) {
	r, x := fixed(t), sample(t)
	record := encoded(x)
	kept := bytes.Clone(record)
	var d traffic.Decoder
	require.NoError(t, d.Decode(record, x))
	require.NoError(t, r.Exchange(x))
	require.Equal(t, kept, record)
}

func TestBytesOutsideReplacedValuesStay(t *testing.T) {
	r := fixed(t)
	body := "{ \"a\" : 1.50e+03 ,\n\t\"b\":\"\\u00e9\xff\", \"phone\":\"" + phone + "\" , \"a\":[ ] }"
	x := &traffic.Exchange{Request: traffic.Request{
		Target:  []byte("/a%2fb/%7Euser?x=%e4%bd%a0&&y=&=z&tel=%31" + phone[1:] + "&z"),
		Headers: []traffic.Field{field("Content-Type", "application/json"), field("X-Odd", "  a\tb ")},
		Body:    []byte(body),
	}}
	require.NoError(t, r.Exchange(x))
	token := string(r.Pseudonym("cn-mobile", []byte(phone)))
	require.Equal(t, strings.ReplaceAll(body, phone, token), string(x.Request.Body))
	require.Equal(t, "/a%2fb/%7Euser?x=%e4%bd%a0&&y=&=z&tel=%31"+token[1:]+"&z", string(x.Request.Target))
	require.Equal(t, "  a\tb ", string(x.Request.Headers[1].Value))
}

func TestLengthsAreKept(t *testing.T) {
	r, x := fixed(t), sample(t)
	target, body := len(x.Request.Target), len(x.Request.Body)
	plain := len(unzipped(t, x.Response.Body))
	require.NoError(t, r.Exchange(x))
	require.Len(t, x.Request.Target, target)
	require.Len(t, x.Request.Body, body)
	require.Len(t, unzipped(t, x.Response.Body), plain)
	length, _ := traffic.Get(x.Request.Headers, "Content-Length")
	require.Equal(t, "12345678901", string(length))
}

func TestEqualValuesJoin(t *testing.T) {
	r, x := fixed(t), sample(t)
	require.NoError(t, r.Exchange(x))
	out := everything(t, x)
	mobile := string(r.Pseudonym("cn-mobile", []byte(phone)))
	require.Contains(t, string(x.Request.Target), "/users/"+mobile+"/")
	require.Contains(t, string(x.Request.Body), `"phone":`+mobile+`,`)
	require.Contains(t, string(x.Request.Headers[6].Value), "+86"+mobile)
	login := string(r.Pseudonym("secret", []byte(token)))
	require.Equal(t, "Bearer "+login, string(x.Request.Headers[1].Value))
	require.Equal(t, 9, strings.Count(out, login), "every place of the token")
	cookie := string(r.Pseudonym("secret", []byte(session)))
	require.Contains(t, string(x.Request.Headers[3].Value), "sid="+cookie+"; JSESSIONID="+cookie)
	require.Equal(t, "sid="+cookie+"; Path=/; HttpOnly", string(x.Response.Headers[0].Value))
}

func TestAuthorizationKeepsItsForm(t *testing.T) {
	r := fixed(t)
	rows := []struct{ name, in, like string }{
		{"the scheme stays", "Bearer abc", `^Bearer [a-z]{3}$`},
		{"padding stays", "Basic dXNlcjpwYXNzd29yZDE=", `^Basic [A-Za-z0-9]{19}=$`},
		{
			"names of parameters stay", `Digest username="bob", response="0123456789abcdef", qop=auth`,
			`^Digest username="[a-z]{3}", response="[0-9a-f]{16}", qop=[a-z]{4}$`,
		},
		{
			"AWS", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us, SignedHeaders=host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6",
			`^AWS4-HMAC-SHA256 Credential=[A-Za-z0-9/]{23}, SignedHeaders=[a-z]{4};[a-z]-[a-z]{3}-[a-z]{4}, Signature=[0-9a-f]{32}$`,
		},
		{"no scheme", "d41d8cd98f00b204e9800998ecf8427e", `^[0-9a-f]{32}$`},
		{"no parameters after all", "Custom abc=def=, q", `^Custom [a-z]{3}=[a-z]{3}=, [a-z]$`},
	}
	for _, row := range rows {
		x := &traffic.Exchange{Request: traffic.Request{Headers: []traffic.Field{field("Authorization", row.in)}}}
		require.NoError(t, r.Exchange(x))
		out := string(x.Request.Headers[0].Value)
		require.Regexp(t, row.like, out, row.name)
		require.NotEqual(t, row.in, out, row.name)
		require.Len(t, x.Redactions, 1)
	}
}

func TestHeadersByName(t *testing.T) {
	r := fixed(t)
	const v = "abcdefghij"
	secret := []string{
		"X-API-KEY", "x-api-key-id", "Api-Key", "apikey", "X-Auth", "X-Access-Token", "X-Csrf-Token", "X-XSRF-TOKEN",
		"X-CSRFToken", "X-Amz-Security-Token", "X-Session-Id", "Mcp-Session-Id", "X-Hub-Signature-256", "X-Client-Secret",
		"Private-Token", "X-User-Password", "X-Plex-Token", "X-Shopify-Access-Token", "OAuth-Token", "Authentication-Info",
	}
	open := []string{
		"Host", "User-Agent", "Accept", "X-Request-Id", "X-Forwarded-For", "Authority", "X-Author", "X-Tokens-Left", "Access-Control-Allow-Credentials",
		"WWW-Authenticate", "Sec-WebSocket-Key", "Idempotency-Key", "X-Sidebar", "Etag",
	}
	for _, name := range secret {
		x := &traffic.Exchange{Request: traffic.Request{Headers: []traffic.Field{field(name, v)}}}
		require.NoError(t, r.Exchange(x))
		require.NotEqual(t, v, string(x.Request.Headers[0].Value), name)
		require.Equal(t, "request.header:"+name+"#0", x.Redactions[0].Location)
	}
	for _, name := range open {
		x := &traffic.Exchange{Request: traffic.Request{Headers: []traffic.Field{field(name, v)}}}
		require.NoError(t, r.Exchange(x))
		require.Equal(t, v, string(x.Request.Headers[0].Value), name)
	}
	// digits in structural fields mean something else
	x := &traffic.Exchange{Request: traffic.Request{Headers: []traffic.Field{field("ETag", phone), field("Content-Length", phone)}}}
	require.NoError(t, r.Exchange(x))
	require.Empty(t, x.Redactions)
}

func TestHeadersWithURLsInside(t *testing.T) {
	r := fixed(t)
	for _, f := range []traffic.Field{
		field("Refresh", "0; url=https://h/?a=1&token=hunter2secret"),
		field("Link", `<https://h/?token=hunter2secret&page=2>; rel="next", </x?sid=hunter2secret>`),
		field("X-Original-URL", "/x?password=hunter2secret"), field("Origin", "https://bob:hunter2secret@h"),
		field("X-Context", `{"token":"hunter2secret"}`),
	} {
		x := &traffic.Exchange{Request: traffic.Request{Headers: []traffic.Field{f}}}
		require.NoError(t, r.Exchange(x))
		require.NotContains(t, string(encoded(x)), "hunter2secret")
		once := encoded(x)
		require.NoError(t, r.Exchange(x))
		require.Equal(t, once, encoded(x))
	}
}

func TestPathIsThatOfTheRedactedTarget(t *testing.T) {
	r := fixed(t)
	rows := map[string]string{
		"/a/b?c=d":                         "/a/b",
		"/users/" + phone + "/x?y":         "",
		"http://h:1/users/" + phone + "#f": "",
		"http://h":                         "/",
		"*":                                "*",
	}
	for target, want := range rows {
		got := string(r.Path([]byte(target)))
		x := &traffic.Exchange{Request: traffic.Request{Target: []byte(target)}}
		require.NoError(t, r.Exchange(x))
		require.Equal(t, string(PathOf(x.Request.Target)), got)
		require.NotContains(t, got, phone)
		if want != "" {
			require.Equal(t, want, got)
		}
	}
}

func TestTooManyValuesFailClosed(t *testing.T) {
	r := fixed(t)
	big := []byte("[" + strings.TrimSuffix(strings.Repeat(phone+",", maxRedactions+1), ",") + "]")
	x := &traffic.Exchange{Request: traffic.Request{
		Headers: []traffic.Field{field("Content-Type", "application/json"), field("Cookie", "sid="+session)}, Body: big, BodySize: int64(len(big)),
	}}
	require.NoError(t, r.Exchange(x))
	require.Empty(t, x.Request.Body)
	require.Equal(t, int64(len(big)), x.Request.BodySize)
	require.True(t, x.Flags.Has(traffic.RedactionFailed|traffic.RedactionFailedRequest))
	require.Len(t, x.Redactions, 1, "the cookie; nothing for the body that is gone")

	headers := &traffic.Exchange{}
	for range maxRedactions + 1 {
		headers.Request.Headers = append(headers.Request.Headers, field("X-Api-Key", "abcdef"))
	}
	require.Error(t, r.Exchange(headers), "such a record is dropped")
}

func TestDigestAndKeyIDFollowTheKey(t *testing.T) {
	a, b := fixed(t), fixed(t)
	require.Equal(t, a.Digest(), b.Digest())
	other, err := New(Options{Key: []byte("another")})
	require.NoError(t, err)
	require.NotEqual(t, a.Digest(), other.Digest())
	require.NotEqual(t, a.KeyID(), other.KeyID())
	one, err := New(Options{})
	require.NoError(t, err)
	two, err := New(Options{})
	require.NoError(t, err)
	require.NotEqual(t, one.Digest(), two.Digest(), "a random key has a random id")
	rules := DefaultRules()
	rules.Version++
	newer, err := New(Options{Key: []byte("a key that only tests use"), Rules: rules})
	require.NoError(t, err)
	require.NotEqual(t, a.Digest(), newer.Digest())
	require.Equal(t, a.KeyID(), newer.KeyID())
}

func TestResponseAlone(t *testing.T) {
	r := fixed(t)
	res := &traffic.Response{
		Headers: []traffic.Field{field("Content-Type", "application/json"), field("Set-Cookie", "sid="+session)},
		Body:    []byte(`{"phone":"` + phone + `"}`),
	}
	flags, err := r.Response(nil, res)
	require.NoError(t, err)
	require.Zero(t, flags)
	require.Equal(t, `{"phone":"`+string(r.Pseudonym("cn-mobile", []byte(phone)))+`"}`, string(res.Body))
	require.NotContains(t, string(res.Headers[1].Value), session)

	res = &traffic.Response{Headers: []traffic.Field{field("Content-Encoding", "br")}, Body: []byte("??")}
	flags, err = r.Response(nil, res)
	require.NoError(t, err)
	require.Equal(t, traffic.RedactionFailed, flags)
	require.Empty(t, res.Body)
	require.Equal(t, int64(2), res.BodySize)
}

func TestTextIsSafeToShow(t *testing.T) {
	r := fixed(t)
	require.NotContains(t, string(r.Text([]byte("call "+phone))), phone)
	require.NotContains(t, string(r.Text([]byte(`{"token":"`+token+`"}`))), token)
	plain := []byte("nothing here")
	require.Equal(t, plain, r.Text(plain))
}

func TestConcurrentUse(t *testing.T) {
	r := fixed(t)
	first := sample(t)
	require.NoError(t, r.Exchange(first))
	want := encoded(first)
	done := make(chan []byte)
	for range 8 {
		go func() {
			var last []byte
			for range 50 {
				x := sample(t)
				if r.Exchange(x) == nil {
					last = encoded(x)
				}
			}
			done <- last
		}()
	}
	for range 8 {
		require.Equal(t, want, <-done)
	}
}
