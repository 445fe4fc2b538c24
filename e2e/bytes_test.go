//go:build e2e

package e2e_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

// talk is one conversation over raw TCP: what each side sends, in pieces. Every piece of a side is sent when the other
// has sent what stands before it, so that the order of a real dialogue is kept.
type talk struct {
	name      string
	steps     []step
	end       ending
	exchanges int // that the tap frames in it, at least
	check     func(t *testing.T, all map[string][]*traffic.Exchange)
}

// step is a piece that one side sends.
type step struct {
	from side
	data []byte
}

type side int

const (
	client side = iota
	server
)

// ending is how a conversation ends.
type ending int

const (
	clientCloses ending = iota
	serverCloses
	clientHalfCloses // the client ends its direction before the last piece of the server
	serverHalfCloses // the server ends its direction before the last piece of the client
	clientResets
	serverResets
)

func says(from side, parts ...string) step { return step{from, []byte(strings.Join(parts, ""))} }

// byteByByte sends every byte on its own: no parser may depend on where a read ends.
func byteByByte(s step) []step {
	all := make([]step, len(s.data))
	for i := range all {
		all[i] = step{s.from, s.data[i : i+1]}
	}
	return all
}

const crlf = "\r\n"

func message(lines ...string) string { return strings.Join(lines, crlf) + crlf + crlf }

func big(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%07d,", i)
	}
	return b.String()[:n]
}

func zipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, s)
	_ = z.Close()
	return b.String()
}

func talks() []talk {
	tenMB := big(10 << 20)
	zip := zipped(big(5000))
	return []talk{
		{name: "pipelined", exchanges: 3, steps: []step{
			says(client, message("GET /pipelined/1 HTTP/1.1", "Host: a"), message("GET /pipelined/2 HTTP/1.1", "Host: a"), "GET /pipelined/3 HT"),
			says(client, "TP/1.1\r\nHost: a\r\n\r\n"),
			says(server, message("HTTP/1.1 200 OK", "Content-Length: 3"), "one", message("HTTP/1.1 204 No Content")),
			says(server, message("HTTP/1.1 200 OK", "Content-Length: 5"), "three"),
		}, check: func(t *testing.T, all map[string][]*traffic.Exchange) {
			require.Equal(t, "one", string(one(t, all, "/pipelined/1").Response.Body))
			require.Equal(t, 204, one(t, all, "/pipelined/2").Response.Status)
			require.Equal(t, "three", string(one(t, all, "/pipelined/3").Response.Body))
			require.EqualValues(t, 3, one(t, all, "/pipelined/3").Connection.Sequence)
		}},
		{name: "chunked both ways, with trailers, byte by byte", exchanges: 1, steps: append(
			byteByByte(says(client, message("POST /chunked HTTP/1.1", "host: a", "Transfer-Encoding: chunked", "Trailer: X-Sum"),
				"5;ext=1\r\nhello\r\n", "6\r\n world\r\n", "0\r\nX-Sum: 11\r\n\r\n")),
			byteByByte(says(server, message("HTTP/1.1 200 Fine", "transfer-encoding: chunked"), "A\r\n0123456789\r\n", "0\r\n\r\n"))...,
		), check: func(t *testing.T, all map[string][]*traffic.Exchange) {
			x := one(t, all, "/chunked")
			require.Equal(t, "hello world", string(x.Request.Body))
			require.EqualValues(t, 11, x.Request.BodySize)
			require.Len(t, x.Request.Trailers, 1)
			require.Equal(t, "0123456789", string(x.Response.Body))
		}},
		{name: "100 and 103 before the answer", exchanges: 1, steps: []step{
			says(client, message("POST /expect HTTP/1.1", "Host: a", "Expect: 100-continue", "Content-Length: 4")),
			says(server, message("HTTP/1.1 100 Continue")),
			says(client, "body"),
			says(server, message("HTTP/1.1 103 Early Hints", "Link: </x>; rel=preload")),
			says(server, message("HTTP/1.1 201 Created", "Content-Length: 0")),
		}, check: func(t *testing.T, all map[string][]*traffic.Exchange) {
			x := one(t, all, "/expect")
			require.Equal(t, 201, x.Response.Status)
			require.Equal(t, "body", string(x.Request.Body))
		}},
		{name: "HEAD with a length, then GET", exchanges: 2, steps: []step{
			says(client, message("HEAD /head HTTP/1.1", "Host: a")),
			says(server, message("HTTP/1.1 200 OK", "Content-Length: 1000000")),
			says(client, message("GET /after-head HTTP/1.1", "Host: a")),
			says(server, message("HTTP/1.1 200 OK", "Content-Length: 2"), "ok"),
		}, check: func(t *testing.T, all map[string][]*traffic.Exchange) {
			require.Empty(t, one(t, all, "/head").Response.Body)
			require.Equal(t, "ok", string(one(t, all, "/after-head").Response.Body))
		}},
		{name: "gzip", exchanges: 1, steps: []step{
			says(client, message("GET /gzip HTTP/1.1", "Host: a", "Accept-Encoding: gzip")),
			says(server, message("HTTP/1.1 200 OK", "Content-Encoding: gzip", fmt.Sprintf("Content-Length: %d", len(zip))), zip),
		}, check: func(t *testing.T, all map[string][]*traffic.Exchange) {
			require.Equal(t, zip, string(one(t, all, "/gzip").Response.Body), "content coding is kept")
		}},
		{name: "10 MB both ways", exchanges: 1, steps: []step{
			says(client, message("PUT /big HTTP/1.1", "Host: a", fmt.Sprintf("Content-Length: %d", len(tenMB))), tenMB),
			says(server, message("HTTP/1.1 200 OK", fmt.Sprintf("Content-Length: %d", len(tenMB))), tenMB),
		}, check: func(t *testing.T, all map[string][]*traffic.Exchange) {
			x := one(t, all, "/big")
			require.EqualValues(t, len(tenMB), x.Request.BodySize)
			require.EqualValues(t, len(tenMB), x.Response.BodySize)
			require.True(t, x.Flags.Has(traffic.TruncatedRequest|traffic.TruncatedResponse), x.Flags)
			require.Equal(t, tenMB[:256<<10], string(x.Request.Body))
		}},
		{name: "the client ends its direction first", exchanges: 1, end: clientHalfCloses, steps: []step{
			says(client, message("GET /half HTTP/1.0")),
			says(server, message("HTTP/1.0 200 OK"), "until the end"),
		}, check: func(t *testing.T, all map[string][]*traffic.Exchange) {
			require.Equal(t, "until the end", string(one(t, all, "/half").Response.Body))
		}},
		{name: "the server ends its direction first", exchanges: 1, end: serverHalfCloses, steps: []step{
			says(client, message("GET /server-half HTTP/1.1", "Host: a")),
			says(server, message("HTTP/1.1 200 OK", "Connection: close"), "all of it"),
			says(client, "what the client still had to say"),
		}},
		{name: "the server closes", exchanges: 1, end: serverCloses, steps: []step{
			says(client, message("GET /close HTTP/1.1", "Host: a")),
			says(server, message("HTTP/1.1 200 OK", "Connection: close", "Content-Length: 3"), "bye"),
		}},
		{name: "the client resets in the middle of its body", end: clientResets, exchanges: 1, steps: []step{
			says(client, message("POST /client-reset HTTP/1.1", "Host: a", "Content-Length: 100"), "only this"),
		}},
		{name: "the server resets in the middle of its body", end: serverResets, exchanges: 1, steps: []step{
			says(client, message("GET /server-reset HTTP/1.1", "Host: a")),
			says(server, message("HTTP/1.1 200 OK", "Content-Length: 100"), "only this"),
		}},
		{name: "upgrade", exchanges: 1, steps: []step{
			says(client, message("GET /upgrade HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: websocket")),
			says(server, message("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket")),
			says(client, "\x81\x85\x00\x00\x00\x00hello", message("GET /not-a-request HTTP/1.1", "Host: a")),
			says(server, "\x81\x05world\x00\xff"),
		}, check: func(t *testing.T, all map[string][]*traffic.Exchange) {
			require.True(t, one(t, all, "/upgrade").Flags.Has(traffic.Upgraded))
			require.Empty(t, all["/not-a-request"], "bytes after an upgrade are no requests")
		}},
		{name: "no HTTP at all", steps: []step{
			says(client, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\x00\x00"),
			says(server, "\x16\x03\x03\x00\x7a\x02\x00\x00 and its answer\r\n\r\n"),
		}},
		{name: "two lengths that differ, and a length beside chunks", steps: []step{
			says(client, message("POST /smuggle HTTP/1.1", "Host: a", "Content-Length: 4", "Content-Length: 5"), "abcde"),
			says(client, message("POST /smuggle-te HTTP/1.1", "Host: a", "Content-Length: 30", "Transfer-Encoding: chunked"),
				"0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"),
			says(server, message("HTTP/1.1 400 Bad Request", "Content-Length: 0")),
		}, check: func(t *testing.T, all map[string][]*traffic.Exchange) {
			replayable := 0
			for _, target := range []string{"/smuggle", "/smuggle-te", "/smuggled"} {
				for _, x := range all[target] {
					if x.Flags.Unreplayable() == 0 {
						replayable++
					}
				}
			}
			require.Zero(t, replayable, "ambiguous framing is never a replayable request")
		}},
	}
}

func one(t *testing.T, all map[string][]*traffic.Exchange, target string) *traffic.Exchange {
	t.Helper()
	require.Len(t, all[target], 1, target)
	require.NotNil(t, all[target][0].Response, target)
	return all[target][0]
}

func TestTapPassesBytesUnchanged(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	origin, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer origin.Close()
	tap := startTap(t, prefix, origin.Addr().String(), "--redact", "off")
	total := 0
	for _, k := range talks() {
		t.Run(k.name, func(t *testing.T) { k.run(t, origin, tap.addr) })
		total += k.exchanges
	}
	if t.Failed() {
		return
	}
	require.NoError(t, waitQuiet(t, tap))
	c := tap.counts(t)
	require.GreaterOrEqual(t, c.produced, total)
	require.Equal(t, c.seen, c.produced, "%+v", c)
	all := exchanges(t, names)
	for _, k := range talks() {
		if k.check != nil {
			t.Run("recorded: "+k.name, func(t *testing.T) { k.check(t, all) })
		}
	}
}

// waitQuiet waits until the tap has seen the same for longer than it waits for answers, and owes nothing.
func waitQuiet(t *testing.T, tap *tapped) error {
	t.Helper()
	last, since := counts{}, time.Now()
	ctx := within(t, 2*time.Minute)
	for {
		c := tap.counts(t)
		if c != last {
			last, since = c, time.Now()
		}
		if c.pending == 0 && time.Since(since) > 2500*time.Millisecond {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%w: %+v", ctx.Err(), c)
		}
	}
}

// run holds the conversation through the tap and compares what arrived with what was sent.
func (k *talk) run(t *testing.T, origin *net.TCPListener, tap string) {
	front := dial(t, tap)
	require.NoError(t, origin.SetDeadline(time.Now().Add(2*time.Minute)))
	back, err := origin.AcceptTCP()
	require.NoError(t, err)
	defer back.Close()
	require.NoError(t, back.SetDeadline(time.Now().Add(2*time.Minute)))
	ends := map[side]*net.TCPConn{client: front, server: back}
	other := map[side]side{client: server, server: client}
	for i, s := range k.steps {
		last := i == len(k.steps)-1
		switch {
		case last && k.end == clientHalfCloses:
			require.NoError(t, front.CloseWrite())
			requireEOF(t, back)
		case last && k.end == serverHalfCloses:
			require.NoError(t, back.CloseWrite())
			requireEOF(t, front)
		}
		k.pass(t, ends[s.from], ends[other[s.from]], s.data)
	}
	switch k.end {
	case clientCloses, clientHalfCloses, serverHalfCloses:
		require.NoError(t, front.Close())
		if k.end == clientCloses {
			requireEOF(t, back)
		}
	case serverCloses:
		require.NoError(t, back.Close())
		requireEOF(t, front)
	case clientResets:
		require.NoError(t, front.SetLinger(0))
		require.NoError(t, front.Close())
		requireReset(t, back)
	case serverResets:
		require.NoError(t, back.SetLinger(0))
		require.NoError(t, back.Close())
		requireReset(t, front)
	}
}

// pass sends data from one end and reads exactly it at the other.
func (k *talk) pass(t *testing.T, from, to *net.TCPConn, data []byte) {
	t.Helper()
	sent := make(chan error, 1)
	go func() {
		_, err := from.Write(data)
		sent <- err
	}()
	got := make([]byte, len(data))
	_, err := io.ReadFull(to, got)
	require.NoError(t, err)
	require.NoError(t, <-sent)
	require.True(t, bytes.Equal(data, got), "bytes changed on their way")
}

func requireEOF(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	n, err := conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.Zero(t, n, "a byte that nobody sent")
}

func requireReset(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	_, err := conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET, "as without the tap")
}
