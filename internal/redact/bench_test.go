package redact

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

// small is a request and answer of 1 KB in all, with a session cookie and a token.
func small() *traffic.Exchange {
	return &traffic.Exchange{
		Request: traffic.Request{
			Method: []byte("GET"), Scheme: []byte("http"), Authority: []byte("shop.example.com"),
			Target: []byte("/api/items/42?ref=home&page=2"), Protocol: []byte("HTTP/1.1"),
			Headers: []traffic.Field{
				field("Host", "shop.example.com"),
				field("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"),
				field("Accept", "application/json"), field("Accept-Encoding", "gzip, deflate, br"),
				field("Accept-Language", "zh-CN,zh;q=0.9"), field("Referer", "http://shop.example.com/home"),
				field("X-Request-Id", "5f3c0d1e-7a52-4c49-9e75-1a2b3c4d5e6f"),
			},
		},
		Response: &traffic.Response{
			Status: 200,
			Headers: []traffic.Field{
				field("Content-Type", "application/json"), field("Content-Length", "402"),
				field("Date", "Mon, 23 Nov 2026 09:00:00 GMT"), field("Server", "shop/1.0"),
			},
			Body: []byte(`{"id":42,"name":"Blue kettle","price":39.9,"currency":"CNY","stock":12,"tags":["kitchen","sale"],` +
				`"description":"A kettle that boils a litre of water in two minutes and looks good.","images":["/img/42-1.jpg","/img/42-2.jpg"],` +
				`"rating":{"average":4.6,"count":1289},"updated_at":"2026-11-20T10:11:12Z","related":[17,23,99,1204],"seller":{"id":7,"name":"Tea & more"}}`),
		},
	}
}

func withSecrets() *traffic.Exchange {
	x := small()
	x.Request.Headers = append(x.Request.Headers, field("Cookie", "sid="+session+"; theme=dark"), field("Authorization", "Bearer "+token))
	return x
}

func document(size int, secrets bool) []byte {
	var b strings.Builder
	b.WriteString("[")
	for i := 0; b.Len() < size; i++ {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, `{"id":%d,"name":"Item number %d","price":%d.90,"created_at":"2026-11-20T10:11:12Z","tags":["a","bc","def"],`+
			`"description":"Some words that describe the item, neither short nor long.","order_id":"2026112000%06d","active":true`, i, i, i%100, i)
		if secrets {
			fmt.Fprintf(&b, `,"phone":"138%08d","password":"pw-%d"`, i, i)
		}
		b.WriteString("}")
	}
	return append([]byte(b.String()), ']')
}

func benchmark(b *testing.B, x *traffic.Exchange, size int) {
	r := fixed(b)
	request, response := slices.Clone(x.Request.Headers), slices.Clone(x.Response.Headers)
	target, authority, body, answer := x.Request.Target, x.Request.Authority, x.Request.Body, x.Response.Body
	require.NoError(b, r.Exchange(x))
	b.SetBytes(int64(size))
	b.ReportAllocs()
	from := cpu(b)
	for b.Loop() {
		copy(x.Request.Headers, request)
		copy(x.Response.Headers, response)
		x.Request.Target, x.Request.Authority, x.Request.Body, x.Response.Body = target, authority, body, answer
		x.Redactions = nil
		if err := r.Exchange(x); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(size)*float64(b.N)/(cpu(b)-from).Seconds()/1e6, "MB/cpu-s")
}

// cpu is the time that this process has had: on a machine that is shared the clock says little.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkSmall(b *testing.B) {
	x := small()
	benchmark(b, x, len(encoded(x)))
}

func BenchmarkSmallWithCookieAndToken(b *testing.B) {
	x := withSecrets()
	benchmark(b, x, len(encoded(x)))
}

func BenchmarkJSON(b *testing.B) {
	for _, secrets := range []bool{false, true} {
		b.Run(fmt.Sprintf("secrets=%t", secrets), func(b *testing.B) {
			x := small()
			x.Response.Body = document(64<<10, secrets)
			benchmark(b, x, len(x.Response.Body))
		})
	}
}

// dense is a document of short members, as lists of things are.
func dense(size int) []byte {
	b := []byte(`{"items":[`)
	for i := 0; len(b) < size; i++ {
		b = fmt.Appendf(b, `{"id":%d,"name":"%s teapot","price":%d.%02d,"stock":%d},`, i*7919%1e6, "copper"[i%3:], i%900, i%100, i%500)
	}
	return append(b[:len(b)-1], "]}"...)
}

func BenchmarkDenseJSON(b *testing.B) {
	for _, size := range []int{1, 64} {
		b.Run(fmt.Sprintf("%dKiB", size), func(b *testing.B) {
			x := small()
			x.Response.Body = dense(size << 10)
			benchmark(b, x, len(x.Response.Body))
		})
	}
}

func BenchmarkDenseJSONWithSecretsInFront(b *testing.B) {
	x := small()
	x.Response.Body = append([]byte(`{"phone":"13812345678","password":"correct horse","cart":`), append(dense(64<<10), '}')...)
	benchmark(b, x, len(x.Response.Body))
}

// order is a request as shops get them most: a document of 1 KiB with a phone number and a password in front.
func order() *traffic.Exchange {
	body := append([]byte(`{"phone":"13812345678","password":"correct horse","cart":`), append(dense(900), '}')...)
	return &traffic.Exchange{
		Request: traffic.Request{
			Method: []byte("POST"), Scheme: []byte("http"), Authority: []byte("127.0.0.1:8080"), Target: []byte("/orders"), Protocol: []byte("HTTP/1.1"),
			Headers: []traffic.Field{
				field("Host", "127.0.0.1:8080"), field("Content-Type", "application/json"), field("Content-Length", strconv.Itoa(len(body))),
			},
			Body: body,
		},
		Response: &traffic.Response{
			Status: 200,
			Headers: []traffic.Field{
				field("Server", "nginx/1.26.3"), field("Date", "Mon, 23 Nov 2026 09:00:00 GMT"), field("Content-Type", "text/plain"),
				field("Content-Length", "32"), field("Connection", "keep-alive"),
			},
			Body: []byte(`{"order":1042,"state":"taken"}` + "\n"),
		},
	}
}

func BenchmarkOrder(b *testing.B) {
	x := order()
	benchmark(b, x, len(x.Request.Body))
}

// BenchmarkBare is an exchange of which there is next to nothing to redact.
func BenchmarkBare(b *testing.B) {
	x := order()
	x.Request.Method, x.Request.Headers, x.Request.Body = []byte("GET"), x.Request.Headers[:1], nil
	x.Response.Body = []byte("a small answer of about a hundred bytes, as many services give when they are asked for one\n")
	benchmark(b, x, len(x.Response.Body))
}

func BenchmarkXML(b *testing.B) {
	x := small()
	x.Response.Headers[0] = field("Content-Type", "application/xml")
	x.Response.Body = []byte("<items>" + strings.Repeat(`<item id="42"><name>Blue kettle</name><price currency="CNY">39.90</price><since>2026-11-20</since></item>`+"\n", 600) + "</items>")
	benchmark(b, x, len(x.Response.Body))
}

func BenchmarkHTML(b *testing.B) {
	x := small()
	x.Response.Headers[0] = field("Content-Type", "text/html")
	x.Response.Body = []byte(strings.Repeat(`<li class="item-42"><a href="/items/42?page=2">Blue kettle, 39.90</a> since 2026-11-20</li>`+"\n", 700))
	benchmark(b, x, len(x.Response.Body))
}

func BenchmarkForm(b *testing.B) {
	x := small()
	x.Request.Headers = append(x.Request.Headers, field("Content-Type", "application/x-www-form-urlencoded"))
	x.Request.Body = []byte(strings.Repeat("name=Some+Name&city=%E4%B8%8A%E6%B5%B7&page=2&text=hello+world&", 500))
	benchmark(b, x, len(x.Request.Body))
}

func BenchmarkGzip(b *testing.B) {
	x := small()
	plain := document(64<<10, true)
	x.Response.Headers = append(x.Response.Headers, field("Content-Encoding", "gzip"))
	x.Response.Body = zipped(b, string(plain))
	benchmark(b, x, len(plain))
}
