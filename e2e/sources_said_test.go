//go:build e2e

package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// said is a request as the client wrote it.
type said struct {
	method, target string
	fields         []string
	body           string
	chunked        bool
	trailer        string // behind a chunked body
}

func sayings() []said {
	long := strings.Repeat("0123456789", 30000)
	length := func(body string) string { return fmt.Sprintf("Content-Length: %d", len(body)) }
	return []said{
		{method: "GET", target: "/a%2Fb//c;x=1?a=b&c=%20%2f&&", fields: []string{"X-Dup: 1", "x-other: 2", "X-Dup: 3", "Accept: */*", "x-dUP: 4"}},
		{method: "POST", target: "/json", fields: []string{"Content-Type: application/json", length(`{"n":1}`), "Cookie: a=1; b=2", "Accept-Language: en"}, body: `{"n":1}`},
		{method: "POST", target: "/chunked", fields: []string{"User-Agent: e2e/1", "Trailer: X-Sum"}, body: long[:20000], chunked: true, trailer: "X-Sum: 7"},
		{method: "PUT", target: "/put", fields: []string{length("\x00\xff\n"), "X-After: 1"}, body: "\x00\xff\n"},
		{method: "DELETE", target: "/delete?id=1", fields: []string{length("why")}, body: "why"},
		{method: "HEAD", target: "/head"},
		{method: "OPTIONS", target: "/options", fields: []string{"Origin: http://x"}},
		{method: "POST", target: "/empty", fields: []string{length("")}},
		{method: "GET", target: "/zip", fields: []string{"Accept-Encoding: gzip"}},
		{method: "GET", target: "/gone", fields: []string{"Connection: keep-alive"}},
		{method: "GET", target: "/trailing"},
		{method: "GET", target: "/latin", fields: []string{"X-Latin: caf\xe9", "Referer: http://x/y"}},
		{method: "POST", target: "/long", fields: []string{length(long)}, body: long},
	}
}

const saidTo = "shop.example:8443" // what Host says

// lines are the header as it stands on the wire.
func (s said) lines() []string {
	lines := append([]string{"Host: " + saidTo}, s.fields...)
	if s.chunked {
		lines = append(lines, "Transfer-Encoding: chunked")
	}
	return lines
}

func (s said) String() string {
	head := message(append([]string{s.method + " " + s.target + " HTTP/1.1"}, s.lines()...)...)
	if !s.chunked {
		return head + s.body
	}
	half := len(s.body) / 2
	return head + fmt.Sprintf("%x;ext=1\r\n%s\r\n%x\r\n%s\r\n0\r\n%s\r\n\r\n", half, s.body[:half], len(s.body)-half, s.body[half:], s.trailer)
}

// conversation is what a client said and heard on one connection.
type conversation struct {
	client, server string // addresses
	turns          []turn
}

// turn is a request with its answer.
type turn struct {
	said
	from, to time.Time // before the first byte was sent, and when the last had come
	raw      string    // the answer as it came
	status   int
	answer   string // its body, with its content coding
	trailer  string // behind it
}

// converse says everything to an address.
func converse(t *testing.T, addr string) *conversation {
	t.Helper()
	conn := dial(t, addr)
	var raw strings.Builder
	r := bufio.NewReader(io.TeeReader(conn, &raw))
	c := &conversation{client: conn.LocalAddr().String(), server: addr}
	for _, s := range sayings() {
		raw.Reset()
		now := turn{said: s, from: time.Now()}
		_, err := io.WriteString(conn, s.String())
		require.NoError(t, err)
		res, err := http.ReadResponse(r, &http.Request{Method: s.method})
		require.NoError(t, err)
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		now.to, now.raw, now.status, now.answer = time.Now(), raw.String(), res.StatusCode, string(body)
		for name, values := range res.Trailer {
			if len(values) > 0 {
				now.trailer = name + ": " + values[0]
			}
		}
		want := 200
		if s.target == "/gone" {
			want = 404
		}
		require.Equal(t, want, now.status, s.target)
		if want == 200 && s.target != "/zip" && s.method != "HEAD" {
			require.Equal(t, fmt.Sprintf("%s %d", s.method, len(s.body)), now.answer, "production got all of it")
		}
		c.turns = append(c.turns, now)
	}
	return c
}

// sizeOnWire is that of the answer's body with its chunks.
func (now turn) sizeOnWire() int {
	_, body, _ := strings.Cut(now.raw, "\r\n\r\n")
	return len(body)
}

// answerLines are the answer's header as it came.
func (now turn) answerLines() []string {
	head, _, _ := strings.Cut(now.raw, "\r\n\r\n")
	return strings.Split(head, "\r\n")[1:]
}
