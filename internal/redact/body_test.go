package redact

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

func post(contentType, body string, more ...traffic.Field) *traffic.Exchange {
	x := &traffic.Exchange{Request: traffic.Request{Method: []byte("POST"), Target: []byte("/"), Body: []byte(body), BodySize: int64(len(body))}}
	if contentType != "" {
		x.Request.Headers = append(x.Request.Headers, field("Content-Type", contentType))
	}
	x.Request.Headers = append(x.Request.Headers, more...)
	return x
}

func TestBodiesOfAllTypesLoseTheirSecrets(t *testing.T) {
	r := fixed(t)
	form := "user=bob&password=hunter2secret&tel=138+1234+5678&x=" + card + "&j=%7B%22pin%22%3A%22hunter2secret%22%7D"
	rows := []struct{ name, contentType, body string }{
		{"form", "application/x-www-form-urlencoded", form},
		{"form without a type", "", form},
		{"form sent as JSON", "application/json", form},
		{"JSON sent as a form", "application/x-www-form-urlencoded", `{"password":"hunter2secret","n":` + phone + `}`},
		{"JSON without a type", "", ` [{"password":"hunter2secret"},"` + phone + `"]`},
		{"JSON as text", "text/plain", `{"password":"hunter2secret"}`},
		{"+json", "application/vnd.api+json", `{"data":{"API_KEY":"hunter2secret"}}`},
		{"byte order mark", "application/json", "\xef\xbb\xbf{\"pwd\":\"hunter2secret\"}"},
		{"guarded JSON", "application/json", `)]}',` + "\n" + `{"pwd":"hunter2secret"}`},
		{"JSONP", "application/json", `cb({"pwd":"hunter2secret"})`},
		{"JSON5", "application/json", `{pwd:'hunter2secret', /* ` + phone + ` */ tel:` + phone + `, // ` + phone + "\n}"},
		{"lines of JSON", "application/x-ndjson", `{"pwd":"hunter2secret"}` + "\n" + `{"pwd":"hunter2secret"}` + "\n"},
		{"cut in a string", "application/json", `{"a":[{"pwd":"hunter2secret`},
		{"cut behind a key", "application/json", `{"pwd":"hunter2secret","token":`},
		{"cut form", "application/x-www-form-urlencoded", `a=1&password=hunter2secret&pass`},
		{"object under a key", "application/json", `{"credentials":{"a":["hunter2secret",{"b":"hunter2secret"}]}}`},
		{"escaped key and value", "application/json", `{"pass\u0077ord":"hunter2\u0073ecret","x":"\u0031` + phone[1:] + `"}`},
		{"Unicode escapes around", "application/json", `{"x":"\u624b\u673a\u53f7` + phone + `\u53f7"}`},
		{"key that stands twice", "application/json", `{"pwd":"hunter2secret","pwd":"hunter2secret"}`},
		{"JSON in JSON in JSON", "application/json", `{"a":"{\"b\":\"{\\\"pwd\\\":\\\"hunter2secret\\\"}\"}"}`},
		{"URL in JSON", "application/json", `{"u":"https://h/p?access_token=hunter2secret#x"}`},
		{"event stream", "text/event-stream", "event: x\ndata: {\"pwd\":\"hunter2secret\"}\n\ndata: call " + phone + "\n"},
		{"HTML", "text/html; charset=utf-8", "<b>" + phone + "</b>" + idCard},
		{"XML", "application/soap+xml", "<tel>" + phone + "</tel>"},
		{"links in HTML", "text/html", `<a href="/p?a=1&amp;reset_token=hunter2secret">x</a> ?x <a href='/p?pwd=hunter2secret'>` + phone},
		{"a link in a JSON text", "application/json", `{"mail":1,"text":"open https://h/?a=b&token=hunter2secret now, ` + phone + `"}`},
		{"script", "application/javascript", `var t="` + phone + `"`},
		{"bytes", "application/octet-stream", "\x00\x01" + phone + "\x00"},
		{"protobuf", "application/x-protobuf", "\x0a\x0b" + phone + "\x12\x03abc"},
		{"gRPC", "application/grpc", "\x00\x00\x00\x00\x0d\x0a\x0b" + phone},
		{"Chinese text in GBK that ends in a backslash", "application/json; charset=gbk", "{\"a\":\"\xd5\x5c\",\"pwd\":\"hunter2secret\"}"},
		{"multipart", "multipart/form-data; boundary=xx", "--xx\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nhunter2secret\r\n" +
			"--xx\r\nContent-Disposition: form-data; name=note\r\n\r\ncall " + phone + "\r\n" +
			"--xx\r\nContent-Disposition: form-data; name=j\r\nContent-Type: application/json\r\n\r\n{\"pwd\":\"hunter2secret\"}\r\n" +
			"--xx\r\nContent-Disposition: form-data; name=\"f" + phone + "\"; filename=\"" + phone + ".txt\"\r\n\r\nx\r\n--xx--\r\n"},
		{"cut multipart", `multipart/form-data; boundary="a b"`, "--a b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nhunter2sec"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			x := post(row.contentType, row.body)
			require.NoError(t, r.Exchange(x))
			require.Zero(t, x.Flags)
			require.Len(t, x.Request.Body, len(row.body))
			for _, secret := range append(planted(), "hunter2", "\"hunter") {
				require.NotContains(t, string(encoded(x)), secret)
				require.NotContains(t, string(unescapeJSON(nil, x.Request.Body)), secret)
			}
			require.NotEmpty(t, x.Redactions)
			once := encoded(x)
			require.NoError(t, r.Exchange(x))
			require.Equal(t, once, encoded(x), "a second pass changes nothing")
			seen := map[string]bool{}
			for _, d := range x.Redactions {
				require.False(t, seen[d.Location], d.Location)
				seen[d.Location] = true
			}
		})
	}
}

func TestWhatCannotBeReadIsRemoved(t *testing.T) {
	r := fixed(t)
	rows := []struct {
		name string
		x    *traffic.Exchange
	}{
		{"unknown coding", post("application/json", "{}", field("Content-Encoding", "compress"))},
		{"broken brotli", post("application/json", "{}", field("Content-Encoding", "br"))},
		{"too many codings", post("application/json", "{}", field("Content-Encoding", "gzip, br, gzip, br"))},
		{"broken gzip", post("application/json", "{\"pwd\":1}", field("Content-Encoding", "gzip"))},
		{"bomb", post("", string(zipped(t, strings.Repeat("0", 9<<20))), field("Content-Encoding", "gzip"))},
		{"multipart without boundary", post("multipart/form-data", "--x\r\n\r\n\r\n")},
		{"multipart with another boundary", post("multipart/form-data; boundary=y", "--x\r\n\r\n\r\n")},
		{"base64 in multipart", post("multipart/form-data; boundary=x", "--x\r\nContent-Transfer-Encoding: base64\r\n\r\nMTM4\r\n--x--")},
		{"UTF-16 that was cut in a character", post("application/json", "{\x00\"\x00a\x00\"\x00:\x001\x00}")},
		{"declared UTF-16 that is none", post("text/plain; charset=UTF-16LE", "\x00\xd8\x00\x00")},
		{"UTF-32", post("text/plain; charset=UTF-32", "a\x00\x00\x00")},
		{"deeper than anything real", post("application/json", strings.Repeat("[", maxJSONDepth+2)+`{"pwd":"x"}`)},
		{"compressed gRPC", post("application/grpc", "\x01\x00\x00\x00\x01x")},
		{"gRPC in base64", post("application/grpc-web-text", "AAAA")},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			size := len(row.x.Request.Body)
			require.NoError(t, r.Exchange(row.x))
			require.Empty(t, row.x.Request.Body)
			require.Equal(t, int64(size), row.x.Request.BodySize)
			require.Equal(t, traffic.RedactionFailed|traffic.RedactionFailedRequest, row.x.Flags)
			require.Empty(t, row.x.Redactions)
		})
	}
}

func TestCompressedBodiesAreRedactedInside(t *testing.T) {
	r := fixed(t)
	plain := `{"pwd":"hunter2secret","rows":"` + strings.Repeat("abc ", 500) + `"}`
	encoders := map[string]struct {
		header string
		write  func(io.Writer) io.WriteCloser
		read   func(io.Reader) (io.Reader, error)
	}{
		"zlib": {
			"deflate", func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) },
			func(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) },
		},
		"raw deflate": {
			"deflate", func(w io.Writer) io.WriteCloser { f, _ := flate.NewWriter(w, 1); return f },
			func(r io.Reader) (io.Reader, error) { return flate.NewReader(r), nil },
		},
		"brotli": {
			"br", func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) },
			func(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil },
		},
		"gzip in brotli": {
			"gzip, br", func(w io.Writer) io.WriteCloser { b := brotli.NewWriter(w); return both{gzip.NewWriter(b), b} },
			func(r io.Reader) (io.Reader, error) { return gzip.NewReader(brotli.NewReader(r)) },
		},
		"zstd": {
			"zstd", func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z },
			func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) },
		},
	}
	for name, c := range encoders {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			w := c.write(&b)
			_, err := io.WriteString(w, plain)
			require.NoError(t, err)
			require.NoError(t, w.Close())
			x := post("application/json", b.String(), field("Content-Encoding", c.header), field("Content-Length", strconv.Itoa(b.Len())))
			require.NoError(t, r.Exchange(x))
			require.Zero(t, x.Flags)
			require.Equal(t, int64(len(x.Request.Body)), x.Request.BodySize, "nothing is missing of it")
			length, _ := traffic.Get(x.Request.Headers, "Content-Length")
			require.Equal(t, strconv.Itoa(len(x.Request.Body)), string(length))
			in, err := c.read(bytes.NewReader(x.Request.Body))
			require.NoError(t, err)
			out, err := io.ReadAll(in)
			require.NoError(t, err)
			require.Equal(t, strings.Replace(plain, "hunter2secret", string(r.Pseudonym("secret", []byte("hunter2secret"))), 1), string(out))
			once := encoded(x)
			require.NoError(t, r.Exchange(x))
			require.Equal(t, once, encoded(x))
		})
	}
}

// both is a coding on top of another.
type both struct {
	io.WriteCloser
	outer io.Closer
}

func (b both) Close() error { return errors.Join(b.WriteCloser.Close(), b.outer.Close()) }

func TestCompressedBodyWithoutSecretsStaysByteForByte(t *testing.T) {
	r := fixed(t)
	b := string(zipped(t, `{"a":"b"}`))
	x := post("application/json", b, field("Content-Encoding", "gzip"))
	require.NoError(t, r.Exchange(x))
	require.Equal(t, b, string(x.Request.Body))
}

func TestCutGzipIsRedactedAsFarAsItGoes(t *testing.T) {
	r := fixed(t)
	var rows strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&rows, `{"i":%d,"pwd":"hunter2secret%d"},`, i*7919, i)
	}
	b := zipped(t, "["+rows.String())
	x := post("application/json", string(b[:len(b)/2]), field("Content-Encoding", "gzip"))
	x.Flags = traffic.TruncatedRequest
	require.NoError(t, r.Exchange(x))
	require.Equal(t, traffic.TruncatedRequest, x.Flags)
	out := unzipped(t, x.Request.Body)
	require.NotContains(t, out, "hunter2secret")
	require.Greater(t, strings.Count(out, `"pwd"`), 100)
}

func TestUndeclaredGzipIsReadToo(t *testing.T) {
	r := fixed(t)
	x := post("application/gzip", string(zipped(t, "call "+phone)))
	require.NoError(t, r.Exchange(x))
	require.NotContains(t, unzipped(t, x.Request.Body), phone)
	x = post("application/octet-stream", "\x1f\x8b\x08 not gzip "+phone)
	require.NoError(t, r.Exchange(x))
	require.Zero(t, x.Flags)
	require.NotContains(t, string(x.Request.Body), phone)
}

func TestBinaryBodyPasses(t *testing.T) {
	r := fixed(t)
	b := make([]byte, 64<<10)
	for i := range b {
		b[i] = byte(i * 2654435761 >> 7)
	}
	x := post("image/png", string(b))
	require.NoError(t, r.Exchange(x))
	require.Equal(t, b, x.Request.Body)
	require.Empty(t, x.Redactions)
}

func FuzzExchange(f *testing.F) {
	for _, s := range []string{"application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/event-stream", "text/plain; charset=gbk", "text/xml", "application/grpc", "application/x-protobuf", ""} {
		f.Add("/a?b=c;d#e", "sid=1; a", s, []byte("--x\r\nContent-Disposition: form-data; name=pwd\r\n\r\n{\"pwd\":\"\\u00313\"}&pin=%31&a=%7B%22pin%22:12%7D\r\n--x--"))
		f.Add("http://u:p@h/;sid=13812345678?%7B\"pin\":1}", "a=b", s, []byte("{\"token\":-0.5e9,'x':\"\\ud83d\\ude00\\\",\"13812345678\":[13812345678,\"13812345678\"]}"))
	}
	r := fixed(f)
	f.Fuzz(func(t *testing.T, target, cookie, contentType string, body []byte) {
		x := post(contentType, string(body), field("Cookie", cookie), field("Set-Cookie", cookie), field("Authorization", cookie), field("Location", target))
		x.Request.Target = []byte(target)
		require.NoError(t, ignoreMany(r.Exchange(x)))
		once := encoded(x)
		require.NoError(t, ignoreMany(r.Exchange(x)))
		require.Equal(t, once, encoded(x), "twice is once")
		switch {
		case len(x.Request.Body) == 0:
		case bytes.ContainsAny(body, "&\x00"): // an entity or UTF-16
			require.LessOrEqual(t, len(x.Request.Body), 2*len(body))
		default:
			require.Len(t, x.Request.Body, len(body))
		}
		require.Len(t, x.Request.Target, len(target))
	})
}

func ignoreMany(err error) error {
	if errors.Is(err, errTooMany) || errors.Is(err, errTooDeep) {
		return nil
	}
	return err
}
