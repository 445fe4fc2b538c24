package mirror

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

func TestAnswersEveryRequestOfAConnectionInOrder(t *testing.T) {
	r := start(t, Config{})
	got := r.say("GET /a/../b//c;x=1?q=%%2F&r HTTP/1.1\r\nHost: shop\r\nX-B: 1\r\nx-a: 2\r\nX-B: 3\r\n\r\n" +
		"POST /p HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\n\r\nhello" +
		"PUT /c HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Sum: 7\r\n\r\n" +
		"BREW * HTTP/1.1\r\n\r\n" +
		"POST /empty HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
	require.Equal(t, strings.Repeat(noContent, 5), got)
	all := r.shelf.exchanges(t, 5)
	q := all[0].Request
	require.Equal(t, "GET /a/../b//c;x=1?q=%2F&r HTTP/1.1", fmt.Sprintf("%s %s %s", q.Method, q.Target, q.Protocol))
	require.Equal(t, "Host: shop\nX-B: 1\nx-a: 2\nX-B: 3\n", lined(q.Headers))
	require.Equal(t, "shop", string(q.Authority))
	require.Equal(t, "hello", string(all[1].Request.Body))
	require.EqualValues(t, 5, all[1].Request.BodySize)
	require.Equal(t, "abcde", string(all[2].Request.Body))
	require.Equal(t, "X-Sum: 7\n", lined(all[2].Request.Trailers))
	require.Equal(t, "BREW *", string(all[3].Request.Method)+" "+string(all[3].Request.Target))
	require.Equal(t, "Content-Length: 0\n", lined(all[4].Request.Headers))
	for _, x := range all {
		require.Equal(t, traffic.RequestOnly, x.Flags)
		require.Equal(t, traffic.Mirror, x.Source.Kind)
		require.Empty(t, x.Connection.ID, "the gateway's connection is nobody's session")
		require.Nil(t, x.Response)
	}
}

func TestHTTP10WithAndWithoutKeepAlive(t *testing.T) {
	r := start(t, Config{})
	require.Equal(t, noContentClose, r.say("GET /old HTTP/1.0\r\nConnection: close\r\n\r\n"))
	require.Equal(t, noContentClose, r.say("GET /old HTTP/1.0\r\n\r\n"))
	require.Equal(t, noContentKeep+noContentClose,
		r.say("GET /kept HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /last HTTP/1.0\r\n\r\n"))
	require.Equal(t, noContentClose, r.say("GET /last HTTP/1.1\r\nConnection: close\r\n\r\nGET /behind HTTP/1.1\r\n\r\n"))
	r.shelf.exchanges(t, 5)
}

func TestExpectationIsMetBeforeTheBody(t *testing.T) {
	r := start(t, Config{})
	nc := r.dial()
	send(t, nc, "POST /u HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n")
	expect(t, nc, goOn)
	send(t, nc, "abc")
	expect(t, nc, noContent)
	send(t, nc, "POST /u HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc")
	expect(t, nc, noContent) // the body was there already
	r.shelf.exchanges(t, 2)
}

func TestAnswersBeforeItHandsOver(t *testing.T) {
	r := prepared(t, Config{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r.shelf.mu.Lock() // whoever takes over is busy
	r.run(ln)
	t.Cleanup(r.end)
	nc := r.dial()
	send(t, nc, "GET / HTTP/1.1\r\n\r\n")
	expect(t, nc, noContent)
	r.shelf.mu.Unlock()
	r.shelf.exchanges(t, 1)
}

func TestRequestsThatAreNotWholeAreNone(t *testing.T) {
	r := start(t, Config{})
	for _, c := range []struct{ sent, answered, shed string }{
		{"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc", "", "incomplete"},
		{"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "", "incomplete"},
		{"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", "", "incomplete"},
		{"GET / HTTP/1.1\r\nHost: sh", "", "incomplete"},
		{"GET / HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\nHost: sh", noContent, "incomplete"},
		{"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n", badRequest, "ambiguous"},
		{"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, x\r\nContent-Length: 3\r\n\r\nabc", badRequest, "ambiguous"},
		{"GET /a b HTTP/1.1\r\n\r\n", badRequest, "malformed"},
		{"GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 70<<10) + "\r\n\r\n", tooLarge, "header_too_large"},
		{"GET / HTTP/1.1\r\nReprise-Replay: run-1\r\n\r\n", noContent, "marked"},
	} {
		before, shedBefore := r.shelf.look()
		nc := r.dial()
		send(t, nc, c.sent)
		_ = nc.CloseWrite()
		got, err := io.ReadAll(nc)
		if c.shed != "header_too_large" { // there the rest is not read, and the close resets
			require.NoError(t, err, c.sent)
			require.Equal(t, c.answered, string(got), c.sent)
		}
		require.Eventually(t, func() bool {
			_, shed := r.shelf.look()
			return shed[c.shed] == shedBefore[c.shed]+1
		}, patience, time.Millisecond, c.sent)
		kept, _ := r.shelf.look()
		require.Len(t, kept, len(before)+strings.Count(c.answered, noContent)-boolean(c.shed == "marked"), c.sent)
	}
	require.EqualValues(t, 5, r.Stats().Incomplete.Closed)
}

func TestFlagsWhatOthersReadOtherwise(t *testing.T) {
	r := start(t, Config{})
	for _, c := range []struct{ sent, answered string }{
		{"POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 3\r\n\r\nabc", noContent},
		{"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nHost: b\r\n\r\n", noContent},
		{"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n", noContentClose},
	} {
		before, _ := r.shelf.look()
		nc := r.dial()
		send(t, nc, c.sent)
		_ = nc.CloseWrite()
		got, err := io.ReadAll(nc)
		require.True(t, err == nil || c.answered == noContentClose, "%q: %v", c.sent, err)
		require.Equal(t, c.answered, string(got), c.sent)
		kept := r.shelf.exchanges(t, len(before)+1)
		require.Len(t, kept, len(before)+1)
		x := kept[len(before)]
		require.Equal(t, traffic.RequestOnly|traffic.AmbiguousFraming, x.Flags|traffic.RequestOnly, c.sent)
		require.Equal(t, "abc", string(x.Request.Body))
	}
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestLongBodiesAreReadAndCut(t *testing.T) {
	const size = 20 << 20
	r := start(t, Config{BodyMax: 64 << 10})
	body := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	nc := r.dial()
	send(t, nc, fmt.Sprintf("POST /up HTTP/1.1\r\nContent-Length: %d\r\n\r\n", size))
	_, err := nc.Write(body)
	require.NoError(t, err)
	expect(t, nc, noContent)
	runtime.ReadMemStats(&after)
	x := r.shelf.exchanges(t, 1)[0]
	require.EqualValues(t, size, x.Request.BodySize)
	require.Equal(t, string(body[:64<<10]), string(x.Request.Body))
	require.True(t, x.Flags.Has(traffic.TruncatedRequest))
	require.Less(t, r.shelf.most.Load(), int64(200<<10))
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4<<20), "what is over the bound is not kept anywhere")
}

func TestWithoutBudgetRequestsAreReadAnsweredAndCounted(t *testing.T) {
	r := start(t, Config{})
	r.shelf.limit.Store(8 << 10)
	long := strings.Repeat("x", 100<<10)
	require.Equal(t, noContent+noContent+noContent,
		r.say("POST /1 HTTP/1.1\r\nContent-Length: %d\r\n\r\n%sGET /2 HTTP/1.1\r\n\r\n"+
			"POST /3 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(long), long, len(long), long))
	kept := r.shelf.exchanges(t, 1)
	require.Equal(t, "/2", string(kept[0].Request.Target))
	_, shed := r.shelf.look()
	require.Equal(t, map[string]int{"memory": 2}, shed)
}

func TestOtherProtocolsAreNotPromised(t *testing.T) {
	r := start(t, Config{})
	require.Equal(t, noContent+noContent+noContentClose,
		r.say("GET /h2c HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"+
			"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"+
			"CONNECT db:5432 HTTP/1.1\r\n\r\nsecrets"))
	all := r.shelf.exchanges(t, 3)
	require.Equal(t, traffic.RequestOnly, all[0].Flags)
	require.Equal(t, traffic.RequestOnly|traffic.Upgraded, all[1].Flags)
	require.Equal(t, traffic.RequestOnly|traffic.Connect, all[2].Flags)
}

func TestWhatIsNoHTTPIsCountedAndSaid(t *testing.T) {
	r := start(t, Config{})
	require.Empty(t, r.say("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"))
	require.Empty(t, r.say("SSH-2.0-OpenSSH_9\r\n"))
	require.Eventually(t, func() bool { return r.Stats().Unreadable == 2 }, patience, time.Millisecond)
	require.Contains(t, r.log.String(), "it_is=tls")
	kept, shed := r.shelf.look()
	require.Empty(t, kept)
	require.Empty(t, shed)
}

func TestRequestsInPartsOfOneByte(t *testing.T) {
	r := start(t, Config{})
	nc := r.dial()
	for _, b := range []byte("PUT /p HTTP/1.1\r\nHost: shop\r\nContent-Length: 2\r\n\r\nokPOST /q HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nz\r\n0\r\n\r\n") {
		send(t, nc, string(b))
	}
	expect(t, nc, noContent+noContent)
	all := r.shelf.exchanges(t, 2)
	require.Equal(t, "ok", string(all[0].Request.Body))
	require.Equal(t, "z", string(all[1].Request.Body))
}
