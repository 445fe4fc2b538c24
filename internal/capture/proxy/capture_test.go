package proxy

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

// turn is one thing said in a conversation.
type turn struct {
	server bool
	text   string
}

func ask(text string) turn   { return turn{false, text} }
func reply(text string) turn { return turn{true, text} }

// hold plays a conversation through the proxy, each turn written in slices of step bytes (0: at once) and awaited on the
// other side, unchanged.
func hold(t *testing.T, client, server net.Conn, step int, turns []turn) {
	t.Helper()
	for _, turn := range turns {
		from, to := client, server
		if turn.server {
			from, to = server, client
		}
		for text := turn.text; text != ""; {
			n := len(text)
			if step > 0 {
				n = min(step, n)
			}
			tell(t, from, to, text[:n])
			text = text[n:]
		}
	}
}

func TestCapturesWhatGoesBy(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte(strings.Repeat("hello ", 100)))
	require.NoError(t, z.Close())
	gz := zipped.String()
	for _, row := range []struct {
		name  string
		turns []turn
		want  []string
	}{
		{
			"keep-alive",
			[]turn{ask(get), reply(answer), ask("GET /2 HTTP/1.1\r\n\r\n"), reply(answer)},
			[]string{`1 GET / "" → 200 "ok"`, `2 GET /2 "" → 200 "ok"`},
		},
		{
			"pipelined",
			[]turn{
				ask(get + "HEAD /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\n"),
				reply(answer + "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" + answer),
			},
			[]string{`1 GET / "" → 200 "ok"`, `2 HEAD /2 "" → 200 ""`, `3 GET /3 "" → 200 "ok"`},
		},
		{
			"chunked, with a trailer",
			[]turn{
				ask("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\n"),
				reply("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
			},
			[]string{`1 POST / "abcde" → 200 "ok"`},
		},
		{
			"1xx",
			[]turn{
				ask("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"), reply("HTTP/1.1 100 Continue\r\n\r\n"),
				ask("ab"), reply("HTTP/1.1 103 Early Hints\r\n\r\n" + answer),
			},
			[]string{`1 POST / "ab" → 200 "ok"`},
		},
		{
			"gzip stays gzip",
			[]turn{ask(get), reply(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", len(gz), gz))},
			[]string{fmt.Sprintf(`1 GET / "" → 200 %q`, gz)},
		},
		{
			"an upgrade, and nothing behind it",
			[]turn{
				ask("GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
				reply("HTTP/1.1 101 Switching\r\n\r\n"), ask("\x81\x85abcd"), reply(answer), ask(get),
			},
			[]string{`1 GET /ws "" → 101 "" UPGRADED`},
		},
		{
			"a length beside chunked, and what comes behind it",
			[]turn{ask("POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get), reply(answer + answer)},
			[]string{`1 POST / "" → 200 "ok" AMBIGUOUS_FRAMING`, `2 GET / "" → 200 "ok" AMBIGUOUS_FRAMING`},
		},
		{
			"ambiguous framing, and nothing behind it",
			[]turn{ask("POST / HTTP/1.1\r\nTransfer-Encoding: chunked, x\r\n\r\n0\r\n\r\n" + get), reply(answer + answer)},
			[]string{`1 POST / "" AMBIGUOUS_FRAMING`},
		},
	} {
		for _, step := range []int{0, 1} {
			t.Run(fmt.Sprintf("%s/slices of %d", row.name, step), func(t *testing.T) {
				r, client, server := pair(t)
				hold(t, client, server, step, row.turns)
				got := r.shelf.exchanges(t, len(row.want))
				require.Equal(t, row.want, lineOf(got))
				require.NoError(t, client.Close())
				requireEnd(t, server)
				r.end()
				require.Len(t, r.shelf.kept, len(row.want))
			})
		}
	}
}

func TestTellsWhereAndWhen(t *testing.T) {
	r, client, server := pair(t)
	before := time.Now()
	hold(t, client, server, 0, []turn{ask("GET /a?b HTTP/1.1\r\nHost: shop\r\nX-y: 1\r\nx-Y: 2\r\n\r\n"), reply(answer)})
	x := r.shelf.exchanges(t, 1)[0]
	require.WithinRange(t, x.CaptureTime, before, time.Now())
	require.Equal(t, time.UTC, x.CaptureTime.Location())
	require.Equal(t, traffic.OwnClock, x.TimeSource)
	require.Equal(t, traffic.Source{Kind: traffic.Proxy, Name: []byte("test")}, x.Source)
	require.Equal(t, client.LocalAddr().String(), string(x.Connection.Client))
	require.Equal(t, server.LocalAddr().String(), string(x.Connection.Server))
	require.NotEmpty(t, x.Connection.ID)
	require.Equal(t, "http", string(x.Request.Scheme))
	require.Equal(t, "shop", string(x.Request.Authority))
	require.Equal(t, "/a?b", string(x.Request.Target))
	require.Equal(t, "HTTP/1.1", string(x.Request.Protocol))
	require.Equal(t, "X-y", string(x.Request.Headers[1].Name))
	require.Equal(t, "2", string(x.Request.Headers[2].Value))
	require.Positive(t, x.Response.TTFB)
	require.GreaterOrEqual(t, x.Response.Duration, x.Response.TTFB)
	require.Less(t, x.Response.Duration, patience)
}

func TestBelievesNoFieldsOfGateways(t *testing.T) {
	r, client, server := pair(t)
	hold(t, client, server, 0, []turn{ask("GET /a HTTP/1.1\r\nHost: shop\r\nX-Tap-Host: evil\r\nX-Original-URI: /evil\r\nX-Original-Method: DELETE\r\n" +
		"X-Tap-Time: 1\r\nX-Tap-Client: 6.6.6.6\r\nX-Tap-Conn: 6-6\r\nx-envoy-original-host: evil\r\n\r\n"), reply(answer)})
	x := r.shelf.exchanges(t, 1)[0]
	require.Equal(t, "GET shop /a", string(x.Request.Method)+" "+string(x.Request.Authority)+" "+string(x.Request.Target))
	require.Equal(t, traffic.OwnClock, x.TimeSource)
	require.Equal(t, client.LocalAddr().String(), string(x.Connection.Client))
	require.Len(t, x.Request.Headers, 8, "they are the client's own")
}

func TestDoesNotCaptureReplays(t *testing.T) {
	r, client, server := pair(t)
	hold(t, client, server, 0, []turn{ask("GET /1 HTTP/1.1\r\nREPRISE-REPLAY: live;loop=0;clone=0\r\n\r\n"), reply(answer), ask("GET /2 HTTP/1.1\r\n\r\n"), reply(answer)})
	require.Equal(t, []string{`2 GET /2 "" → 200 "ok"`}, lineOf(r.shelf.exchanges(t, 1)))
	r.shelf.until(t, func() bool { return r.shelf.shed["marked"] == 1 })
}

func TestGivesUpWaitingForAnAnswer(t *testing.T) {
	r, client, server := pair(t, func(c *Config) { c.ResponseWait = 20 * time.Millisecond })
	hold(t, client, server, 0, []turn{ask("GET /1 HTTP/1.1\r\n\r\n")})
	require.Equal(t, []string{`1 GET /1 "" NO_RESPONSE`}, lineOf(r.shelf.exchanges(t, 1)))
	hold(t, client, server, 0, []turn{reply(answer)})
	// What comes after a late answer is paired as if it had not been; unless this machine was too late with that as well.
	n, late := 1, func(n int) string { return fmt.Sprintf(`%d GET /%d "" NO_RESPONSE`, n, n) }
	next := func(text string) string {
		n++
		hold(t, client, server, 0, []turn{ask(fmt.Sprintf("GET /%d HTTP/1.1\r\n\r\n", n)), reply(text)})
		return line(r.shelf.exchanges(t, n)[n-1])
	}
	for cut, whole := false, false; !cut || !whole; {
		if got := next("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"); got != late(n) {
			require.Equal(t, fmt.Sprintf(`%d GET /%d "" → 200 "abc" TRUNCATED_RESPONSE`, n, n), got)
			cut = true
		}
		hold(t, client, server, 0, []turn{reply("defghi")})
		if got := next(answer); got != late(n) {
			require.Equal(t, fmt.Sprintf(`%d GET /%d "" → 200 "ok"`, n, n), got)
			whole = true
		}
		require.Less(t, n, 100, "it is always late")
	}
}

func TestShedsWithoutBudgetWhileTrafficGoesOn(t *testing.T) {
	r, client, server := pair(t)
	r.shelf.limit.Store(1)
	hold(t, client, server, 0, []turn{ask("GET /1 HTTP/1.1\r\n\r\n"), reply(answer), ask("GET /2 HTTP/1.1\r\n\r\n"), reply(answer)})
	r.shelf.until(t, func() bool { return r.shelf.shed["memory"] == 2 })
	r.shelf.limit.Store(0)
	hold(t, client, server, 0, []turn{ask("GET /3 HTTP/1.1\r\n\r\n"), reply(answer)})
	require.Equal(t, []string{`3 GET /3 "" → 200 "ok"`}, lineOf(r.shelf.exchanges(t, 1)))
}

// bomb is a Budget that fails once.
type bomb struct {
	*shelf
	armed bool // only the loop uses it, before that the test
}

func (b *bomb) TryAcquire(n int64) bool {
	if b.armed {
		b.armed = false
		panic("a fault in the parser")
	}
	return b.shelf.TryAcquire(n)
}

func TestAFaultInTheParserCostsOneConnectionsCapture(t *testing.T) {
	r, client, server := pair(t, func(c *Config) { c.Budget = &bomb{c.Budget.(*shelf), true} })
	hold(t, client, server, 0, []turn{ask("GET /1 HTTP/1.1\r\n\r\n"), reply(answer), ask("GET /2 HTTP/1.1\r\n\r\n"), reply(answer)})
	r.shelf.until(t, func() bool { return r.shelf.shed["panic"] == 1 })
	require.Equal(t, int64(1), r.Stats().Panics)
}

func TestManyConnectionsAtOnce(t *testing.T) {
	const connections, requests = 200, 20
	address, accept := listen(t)
	r := newRig(t, address, func(c *Config) { c.Loops = 2 })
	go func() {
		for range connections {
			server := accept()
			go func() {
				defer server.Close()
				for block := make([]byte, 4096); ; {
					n, err := server.Read(block)
					if err != nil {
						return
					}
					for range bytes.Count(block[:n], []byte("\r\n\r\n")) {
						_, _ = server.Write([]byte(answer))
					}
				}
			}()
		}
	}()
	done := make(chan error, connections)
	for i := range connections {
		client := r.dial()
		go func() {
			got := make([]byte, len(answer))
			for j := range requests {
				_, err := fmt.Fprintf(client, "GET /%d/%d HTTP/1.1\r\n\r\n", i, j)
				if err == nil {
					_, err = readFull(client, got)
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- client.Close()
		}()
	}
	for range connections {
		require.NoError(t, <-done)
	}
	ids := map[string]int{}
	for _, x := range r.shelf.exchanges(t, connections*requests) {
		ids[string(x.Connection.ID)]++
		require.Equal(t, 200, x.Response.Status)
		var i, j int
		_, err := fmt.Sscanf(string(x.Request.Target), "/%d/%d", &i, &j)
		require.NoError(t, err)
		require.Equal(t, uint64(j+1), x.Connection.Sequence)
	}
	require.Len(t, ids, connections)
	eventually(t, func() bool { return r.Stats().Connections == 0 })
	require.Equal(t, int64(connections), r.Stats().Accepted)
}
