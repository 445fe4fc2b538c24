package mirror

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

// parsed makes fields of "Name: value" lines.
func parsed(lines ...string) []traffic.Field {
	var fields []traffic.Field
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		fields = append(fields, traffic.Field{Name: []byte(name), Value: []byte(value)})
	}
	return fields
}

// resolved is a copy that came from gateway 10.0.0.7 with these fields.
func resolved(arrival time.Time, lines ...string) *traffic.Exchange {
	x := &traffic.Exchange{Request: traffic.Request{
		Method: []byte("GET"), Target: []byte("/copy"), Protocol: []byte("HTTP/1.1"), Headers: parsed(lines...),
	}}
	x.Request.Authority, _ = traffic.Get(x.Request.Headers, "Host")
	resolve(x, []byte("10.0.0.7"), arrival)
	return x
}

func TestWhatTheClientSentIsFound(t *testing.T) {
	const is = "GET http copied HTTP/1.1 /copy"
	for _, c := range []struct {
		from []string
		want string // method scheme authority protocol target
	}{
		{nil, is},
		{[]string{"X-Tap-Host: shop", "x-envoy-original-host: b", "X-Forwarded-Host: c"}, "GET http shop HTTP/1.1 /copy"},
		{[]string{"X-Forwarded-Host: c, d", "x-envoy-original-host: b:80"}, "GET http b:80 HTTP/1.1 /copy"},
		{[]string{"X-Forwarded-Host: c, d"}, "GET http c HTTP/1.1 /copy"},
		{[]string{"X-Tap-Host: no host", "X-Forwarded-Host: a/b"}, is},
		{[]string{"X-Tap-Host: a", "X-Tap-Host: b"}, is},                          // which one is forged?
		{[]string{"X-Tap-Host: a", "X-Tap-Host: a"}, "GET http a HTTP/1.1 /copy"}, // Envoy and nginx agree
		{[]string{"X-Tap-Host: "}, is},                                            // nginx without a Host
		{[]string{"X-Original-URI: /a%2F../b?c"}, "GET http copied HTTP/1.1 /a%2F../b?c"},
		{[]string{"x-envoy-original-path: /e", "X-Original-URI: /n"}, "GET http copied HTTP/1.1 /n"},
		{[]string{"x-envoy-original-path: /e"}, "GET http copied HTTP/1.1 /e"},
		{[]string{"X-Original-URI: /n", "x-tap-original-uri: /t"}, "GET http copied HTTP/1.1 /t"},
		{[]string{"X-Original-URI: *"}, "GET http copied HTTP/1.1 *"},
		{[]string{"X-Original-URI: nothing"}, is},
		{[]string{"X-Original-URI: /a b"}, is},
		{[]string{"X-Original-Method: POST"}, "POST http copied HTTP/1.1 /copy"},
		{[]string{"X-Original-Method: PO ST"}, is},
		{[]string{"X-Forwarded-Proto: HTTPS,http"}, "GET https copied HTTP/1.1 /copy"},
		{[]string{"X-Forwarded-Proto: gopher"}, is},
		{[]string{"X-Tap-Proto: HTTP/2.0"}, "GET http copied HTTP/2.0 /copy"},
		{[]string{"x-tap-proto: HTTP/3"}, "GET http copied HTTP/3.0 /copy"},
		{[]string{"X-Tap-Proto: SPDY"}, is},
	} {
		q := resolved(time.Now(), append([]string{"Host: copied"}, c.from...)...).Request
		require.Equal(t, c.want, fmt.Sprintf("%s %s %s %s %s", q.Method, q.Scheme, q.Authority, q.Protocol, q.Target), "%v", c.from)
	}
}

// HTTP/2 has no Host; a client of HTTP/1 whose request was copied over it sent one.
func TestHostIsThereWhenTheClientSentIt(t *testing.T) {
	for proto, want := range map[string]string{
		"HTTP/1.1": "host: shop:8443\nx-a: 1\n", "HTTP/1.0": "host: shop:8443\nx-a: 1\n", "HTTP/2": "x-a: 1\n", "": "x-a: 1\n",
	} {
		x := &traffic.Exchange{Request: traffic.Request{
			Authority: []byte("shop:8443"), Target: []byte("/"), Protocol: []byte("HTTP/2.0"), Headers: parsed("x-a: 1", "x-tap-proto: "+proto),
		}}
		resolve(x, nil, time.Now())
		require.Equal(t, want, lined(x.Request.Headers), proto)
	}
	require.Equal(t, "X-A: 1\n", lined(resolved(time.Now(), "X-A: 1").Request.Headers), "nobody said a host")
}

func TestShadowIsTakenFromTheEndOfTheName(t *testing.T) {
	for host, want := range map[string]string{
		"shop.example-shadow":      "shop.example",
		"shop.example-shadow:8443": "shop.example:8443",
		"127.0.0.1-shadow:18200":   "127.0.0.1:18200",
		"[::1]-shadow:80":          "[::1]:80",
		"[::1]-shadow":             "[::1]",
		"[::1]:80":                 "[::1]:80",
		"a-shadow.example":         "a-shadow.example",
		"-shadow":                  "-shadow",
		"x-shadow-shadow":          "x-shadow",
		"":                         "",
	} {
		x := resolved(time.Now(), "Host: "+host, "X-A: 1")
		require.Equal(t, want, string(x.Request.Authority), host)
		require.Equal(t, "Host: "+want+"\nX-A: 1\n", lined(x.Request.Headers))
	}
}

func TestClientIsNeverTheGateway(t *testing.T) {
	for _, c := range []struct {
		from []string
		want string
	}{
		{nil, ""},
		{[]string{"X-Tap-Client: 1.2.3.4:5", "X-Real-IP: 9.9.9.9"}, "1.2.3.4:5"},
		{[]string{"X-Tap-Client: [2001:db8::1]:5"}, "[2001:db8::1]:5"},
		{[]string{"X-Tap-Client: 2001:db8::1:54321"}, "[2001:db8::1]:54321"}, // nginx's $remote_addr:$remote_port
		{[]string{"X-Tap-Client: unix::0", "x-envoy-external-address: 8.8.8.8"}, "8.8.8.8"},
		{[]string{"X-Real-IP: 7.7.7.7", "X-Forwarded-For: 6.6.6.6, 5.5.5.5"}, "7.7.7.7"},
		{[]string{"X-Forwarded-For: 6.6.6.6, 5.5.5.5"}, "6.6.6.6"},
		{[]string{"X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 5.5.5.5"}, "6.6.6.6"},
		{[]string{"X-Forwarded-For: 6.6.6.6"}, "6.6.6.6"}, // of a gateway that adds only the client
		{[]string{"X-Forwarded-For: 192.0.2.2", "x-envoy-internal: true"}, ""},
		{[]string{"X-Forwarded-For: 9.9.9.9,192.0.2.2,192.0.2.2", "x-envoy-internal: true"}, "9.9.9.9"},
		{[]string{"X-Forwarded-For: unknown, 5.5.5.5"}, ""},
	} {
		require.Equal(t, c.want, string(resolved(time.Now(), c.from...).Connection.Client), "%v", c.from)
	}
}

func TestConnectionsOfTwoGatewaysDoNotMeet(t *testing.T) {
	for value, want := range map[string]string{
		"123-4":                  "10.0.0.7/123 4",
		"123":                    "10.0.0.7/123 0",
		"123-0":                  "10.0.0.7/123-0 0",
		"123-x":                  "10.0.0.7/123-x 0",
		"a-b-7":                  "10.0.0.7/a-b 7",
		"1 2":                    " 0",
		"":                       " 0",
		strings.Repeat("1", 200): " 0",
	} {
		c := resolved(time.Now(), "X-Tap-Conn: "+value).Connection
		require.Equal(t, want, fmt.Sprintf("%s %d", c.ID, c.Sequence), value)
	}
}

func TestTimeIsTheGatewaysWithinReason(t *testing.T) {
	arrival := time.Unix(1_795_398_900, 0)
	for _, c := range []struct {
		from   string
		want   time.Time
		source traffic.TimeSource
		flags  traffic.Flags
	}{
		{"X-Tap-Time: 1795398827.346377", time.Unix(1795398827, 346377000), traffic.GatewayTime, 0},
		{"X-Tap-Time: 1795398827.346", time.Unix(1795398827, 346000000), traffic.GatewayTime, 0},
		{"X-Tap-Time: 1795398827", time.Unix(1795398827, 0), traffic.GatewayTime, 0},
		{"X-Tap-Time-Us: 1795398827346377", time.Unix(1795398827, 346377000), traffic.GatewayTime, 0},
		{"X-Tap-Time: 1795399190", time.Unix(1795399190, 0), traffic.GatewayTime, 0}, // ahead: the pipeline's to flag
		{"X-Tap-Time: 1795398599.9", arrival, traffic.OwnClock, traffic.ClockReplaced},
		{"X-Tap-Time: 1795399200.1", arrival, traffic.OwnClock, traffic.ClockReplaced},
		{"X-Tap-Time-Us: 1", arrival, traffic.OwnClock, traffic.ClockReplaced},
		{"X-Tap-Time: yesterday", arrival, traffic.OwnClock, 0},
		{"X-Tap-Time: 1795398827.", time.Unix(1795398827, 0), traffic.GatewayTime, 0},
		{"X-Tap-Time: 1795398827.-1", arrival, traffic.OwnClock, 0},
		{"X-Tap-Time: -1795398827", arrival, traffic.OwnClock, 0},
		{"X-Tap-Time: 99999999999999999999", arrival, traffic.OwnClock, 0},
		{"X-Tap-Time: 9223372036854775807", arrival, traffic.OwnClock, 0},
		{"X-Tap-Time-Us: 9223372036854775807", arrival, traffic.OwnClock, traffic.ClockReplaced},
		{"X-Tap-Time: ", arrival, traffic.OwnClock, 0},
	} {
		x := resolved(arrival, c.from)
		require.Equal(t, c.want.UTC(), x.CaptureTime, c.from)
		require.Equal(t, c.source, x.TimeSource, c.from)
		require.Equal(t, c.flags|traffic.RequestOnly, x.Flags, c.from)
	}
}

func TestBodiesThatTheGatewayKeptBack(t *testing.T) {
	for _, c := range []struct {
		from []string
		size int64
		cut  bool
	}{
		{nil, 3, false},
		{[]string{"X-Tap-Body-Len: 3"}, 3, false},
		{[]string{"X-Tap-Body-Len: 4194304", "X-Tap-Truncated: true"}, 4194304, true},
		{[]string{"X-Original-Length: 10"}, 10, true},
		{[]string{"X-Original-Length: 2"}, 3, false},
		{[]string{"X-Original-Length: ten"}, 3, false},
		{[]string{"X-Tap-Truncated: 1"}, 3, true},
		{[]string{"X-Tap-Truncated: false"}, 3, false},
	} {
		x := &traffic.Exchange{Request: traffic.Request{Body: []byte("abc"), BodySize: 3, Headers: parsed(c.from...)}}
		resolve(x, nil, time.Now())
		require.Equal(t, c.size, x.Request.BodySize, "%v", c.from)
		require.Equal(t, c.cut, x.Flags.Has(traffic.TruncatedRequest), "%v", c.from)
	}
}

func TestStoredFieldsAreTheClients(t *testing.T) {
	x := resolved(time.Now(), "host: tap:1", "X-Tap-Host: shop", "X-A: 1", "X-TAP-TE: trailers", "x-a: 2", "X-Original-URI: /",
		"X-Request-Id: r", "X-Tap-Anything: new", "x-envoy-original-path: /", "x-envoy-internal: true", "X-Forwarded-For: 1.1.1.1", "Host: second")
	require.Equal(t, "host: shop\nX-A: 1\nTE: trailers\nx-a: 2\nX-Request-Id: r\nx-envoy-internal: true\nX-Forwarded-For: 1.1.1.1\nHost: second\n",
		lined(x.Request.Headers))
	x = resolved(time.Now(), "TE: gzip", "X-Tap-TE: trailers")
	require.Equal(t, "TE: gzip\n", lined(x.Request.Headers), "what came through is not doubled")
}

func FuzzResolve(f *testing.F) {
	f.Add("X-Tap-Host: a\nX-Tap-Time: 1.5\nX-Tap-Conn: 1-2\nX-Forwarded-For: a, b\nHost: [::1]-shadow:8")
	f.Fuzz(func(_ *testing.T, lines string) {
		resolved(time.Unix(1, 0), strings.Split(lines, "\n")...)
	})
}
