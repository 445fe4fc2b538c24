package wire

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

// seen is a message as a test wants to see it.
type seen struct {
	Start     string // "GET /x HTTP/1.1" or "200 HTTP/1.1"
	Fields    string // "Name: value\n" for each
	Body      string
	Trailers  string
	Whole     bool
	Ambiguous bool
}

// frame feeds raw in slices of at most step bytes (0: all at once) and returns the messages and why it stopped.
func frame(f Framer, raw string, step int, to ...Method) (messages []seen, fault Fault) {
	var s Scratch
	method := func() Method {
		finals := 0
		for _, m := range messages {
			if !strings.HasPrefix(m.Start, "1") {
				finals++
			}
		}
		return append(to, make([]Method, finals+1)...)[finals]
	}
	text := func(h *Head) string {
		var b strings.Builder
		for _, field := range h.AppendFields(nil, h.Block) {
			fmt.Fprintf(&b, "%s: %s\n", field.Name, field.Value)
		}
		return b.String()
	}
	for len(raw) > 0 {
		n := len(raw)
		if step > 0 {
			n = min(step, n)
		}
		p := []byte(raw[:n])
		raw = raw[n:]
		for {
			used, ev := f.Next(&s, p, method())
			p = p[used:]
			h := &s.Head
			switch ev {
			case HeadSeen:
				start := fmt.Sprintf("%d %s", h.Status, h.Protocol.Of(h.Block))
				if !f.response {
					start = fmt.Sprintf("%s %s %s", h.Method.Of(h.Block), h.Target.Of(h.Block), h.Protocol.Of(h.Block))
				}
				messages = append(messages, seen{Start: start, Fields: text(h), Ambiguous: h.Ambiguous || h.Doubtful})
			case DataSeen:
				messages[len(messages)-1].Body += string(s.Data)
			case TrailersSeen:
				last := &messages[len(messages)-1]
				last.Trailers, last.Ambiguous = text(h), last.Ambiguous || h.Doubtful
			case EndSeen:
				messages[len(messages)-1].Whole = true
			case Failed:
				if f.Fault() == Ambiguous && len(messages) > 0 && !messages[len(messages)-1].Whole {
					messages[len(messages)-1].Ambiguous = true
				}
				return messages, f.Fault()
			}
			if ev == More {
				break
			}
		}
	}
	if f.EOF() == EndSeen {
		messages[len(messages)-1].Whole = true
	}
	return messages, f.Fault()
}

// eachStep frames raw in several slicings, which must all give the same.
func eachStep(t *testing.T, framer func() Framer, raw string, to ...Method) ([]seen, Fault) {
	t.Helper()
	messages, fault := frame(framer(), raw, 0, to...)
	for _, step := range []int{1, 2, 3, 7, 64} {
		again, faultAgain := frame(framer(), raw, step, to...)
		require.Equal(t, messages, again, "slices of %d bytes", step)
		require.Equal(t, fault, faultAgain, "slices of %d bytes", step)
	}
	return messages, fault
}

func get(target string) seen { return seen{Start: "GET " + target + " HTTP/1.1", Whole: true} }

func TestReadsRequests(t *testing.T) {
	for _, row := range []struct {
		name, raw string
		want      []seen
		fault     Fault
	}{
		{"pipelined", "GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n", []seen{get("/a"), get("/b")}, 0},
		{
			"order, case and duplicates of fields stay", "GET / HTTP/1.1\r\nB: 1\r\na:2\r\nB:\t3 \r\nx-E:\r\n\r\n",
			[]seen{{Start: "GET / HTTP/1.1", Fields: "B: 1\na: 2\nB: 3\nx-E: \n", Whole: true}},
			0,
		},
		{
			"a length, and empty lines behind it", "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
			[]seen{{Start: "POST / HTTP/1.1", Fields: "Content-Length: 3\n", Body: "abc", Whole: true}, get("/b")},
			0,
		},
		{
			"a media type among the trailers",
			"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nVary: *\r\nContent-Type: a/b\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
			[]seen{{Start: "POST / HTTP/1.1", Fields: "Transfer-Encoding: chunked\n", Body: "abc", Trailers: "Vary: *\nContent-Type: a/b\n", Whole: true}, get("/b")},
			0,
		},
		{
			"chunks with extensions and trailers",
			"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n00A ; x\r\n0123456789\r\n0\r\nT: 1\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
			[]seen{{Start: "POST / HTTP/1.1", Fields: "Transfer-Encoding: chunked\n", Body: "abc0123456789", Trailers: "T: 1\n", Whole: true}, get("/b")},
			0,
		},
		{
			"every line ends in LF", "GET / HTTP/1.1\nA: b\n\nGET /b HTTP/1.1\n\n",
			[]seen{{Start: "GET / HTTP/1.1", Fields: "A: b\n", Whole: true}, get("/b")},
			0,
		},
		{
			"a fold is joined", "GET / HTTP/1.1\r\nA: b\r\n  c \r\n\td\r\n\r\n",
			[]seen{{Start: "GET / HTTP/1.1", Fields: "A: b c d\n", Whole: true}},
			0,
		},
		{
			"nothing is read behind a request that closes", "GET / HTTP/1.0\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
			[]seen{{Start: "GET / HTTP/1.0", Whole: true}},
			Unexpected,
		},
		{
			"1.0 can keep the connection", "GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
			[]seen{{Start: "GET /a HTTP/1.0", Fields: "Connection: Keep-Alive\n", Whole: true}, get("/b")},
			0,
		},
		{
			"nothing is read behind an upgrade without an answer",
			"GET / HTTP/1.1\r\nConnection: x, Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05hello",
			[]seen{{Start: "GET / HTTP/1.1", Fields: "Connection: x, Upgrade\nUpgrade: websocket\n", Whole: true}},
			Unexpected,
		},
		{
			"nor behind CONNECT", "CONNECT a:1 HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n",
			[]seen{{Start: "CONNECT a:1 HTTP/1.1", Whole: true}},
			Unexpected,
		},
		{
			"the end inside a body", "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc",
			[]seen{{Start: "POST / HTTP/1.1", Fields: "Content-Length: 9\n", Body: "abc"}},
			Cut,
		},
		{"the end inside a head", "GET /a HTTP/1.1\r\n\r\nGET /b HTT", []seen{get("/a")}, Cut},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", nil, TLS},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", nil, HTTP2},
		{"a method that begins like HTTP/2's", "PRINT /a HTTP/1.1\r\n\r\n", []seen{{Start: "PRINT /a HTTP/1.1", Whole: true}}, 0},
		{"Redis", "*1\r\n$4\r\nPING\r\n", nil, NotHTTP},
		{"memcached", "get foo\r\n", nil, NotHTTP},
		{"HTTP/0.9", "GET /\r\n", nil, NotHTTP},
		{"binary", "\x00\x01\x02", nil, NotHTTP},
		{"a line without an end", strings.Repeat("A", 100), nil, NotHTTP},
		{"a target with a space", "GET /a b HTTP/1.1\r\n\r\n", nil, Malformed},
		{"an unknown version", "GET /a HTTP/3.1\r\n\r\n", nil, Malformed},
		{"a block too large", "GET /a HTTP/1.1\r\nA: " + strings.Repeat("a", MaxHeader) + "\r\n\r\n", nil, TooLarge},
		{"too many lines", "GET /a HTTP/1.1\r\n" + strings.Repeat("a:\r\n", MaxFields+1) + "\r\n", nil, TooLarge},
	} {
		t.Run(row.name, func(t *testing.T) {
			messages, fault := eachStep(t, Requests, row.raw)
			require.Equal(t, row.want, messages)
			require.Equal(t, row.fault.String(), fault.String())
		})
	}
}

func TestStopsAtAmbiguousRequests(t *testing.T) {
	const next = "\r\nGET /smuggled HTTP/1.1\r\n\r\n"
	for _, row := range []struct{ name, fields string }{
		{"a length beside chunked and another coding", "Content-Length: 5\r\nTransfer-Encoding: chunked, x\r\n"},
		{"lengths that differ", "Content-Length: 5\r\nContent-Length: 6\r\n"},
		{"a list of lengths", "Content-Length: 5, 5\r\n"},
		{"a signed length", "Content-Length: +5\r\n"},
		{"a hexadecimal length", "Content-Length: 0x5\r\n"},
		{"an empty length", "Content-Length:\r\n"},
		{"a length that overflows", "Content-Length: 18446744073709551616\r\n"},
		{"chunked twice", "Transfer-Encoding: chunked, chunked\r\n"},
		{"chunked not last", "Transfer-Encoding: chunked, gzip\r\n"},
		{"chunked with a parameter", "Transfer-Encoding: chunked;q=1\r\n"},
		{"an unknown coding", "Transfer-Encoding: xchunked\r\n"},
		{"an empty coding", "Transfer-Encoding:\r\n"},
		{"a folded coding", "Transfer-Encoding:\r\n chunked\r\n"},
		{"a folded length", "Content-Length: 1\r\n 2\r\n"},
		{"a fold behind the start line", " Content-Length: 5\r\n"},
		{"a fold that hides a length", "A: b\r\n Content-Length: 5\r\n"},
		{"a value that hides a length", "A: b Content-Length : 5\r\n"},
		{"a space before the colon", "Content-Length : 5\r\n"},
		{"a bare CR", "A: b\rContent-Length: 5\r\n"},
		{"a NUL in a value", "A: b\x00\r\n"},
		{"a NUL in a name", "A\x00: b\r\n"},
		{"no colon", "Content-Length 5\r\n"},
		{"a name with a blank", "Content Length: 5\r\n"},
		{"a name with a tab", "X-Encoding\t: 5\r\n"},
		{"mixed line ends", "A: b\nC: d\r\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			messages, fault := eachStep(t, Requests, "POST / HTTP/1.1\r\n"+row.fields+"\r\n"+"0\r\n"+next)
			require.Equal(t, Ambiguous, fault)
			require.Len(t, messages, 1)
			require.True(t, messages[0].Ambiguous)
			require.False(t, messages[0].Whole)
			require.Empty(t, messages[0].Body)
		})
	}
	for _, row := range []struct{ name, chunks string }{
		{"a size with a sign", "+5\r\nhello\r\n0\r\n"},
		{"a size with 0x", "0x5\r\nhello\r\n0\r\n"},
		{"a blank behind the size", "5 \r\nhello\r\n0\r\n"},
		{"a blank before the size", " 5\r\nhello\r\n0\r\n"},
		{"a size that overflows", "fffffffffffffffff\r\nhello\r\n0\r\n"},
		{"a bare LF behind the size", "5\nhello\r\n0\r\n"},
		{"a bare CR in an extension", "5;a\rb\r\nhello\r\n0\r\n"},
		{"a bare LF in an extension", "5;a\nb\r\nhello\r\n0\r\n"},
		{"data longer than its size", "5\r\nhello!\r\n0\r\n"},
		{"a bare LF behind the data", "5\r\nhello\n0\r\n"},
		{"no size", "\r\nhello\r\n0\r\n"},
		{"an extension without a name", "5;\r\nhello\r\n0\r\n"},
		{"an extension that is none", "5; =a\r\nhello\r\n0\r\n"},
		{"an endless extension", "5;" + strings.Repeat("a", 20<<10) + "\r\nhello\r\n0\r\n"},
		{"a length in the trailers", "5\r\nhello\r\n0\r\nContent-Length: 7\r\n"},
		{"a bare LF in the trailers", "5\r\nhello\r\n0\r\nA: b\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			messages, fault := eachStep(t, Requests,
				"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"+row.chunks+next)
			require.Equal(t, Ambiguous, fault)
			require.Len(t, messages, 1)
			require.True(t, messages[0].Ambiguous)
		})
	}
}

func TestFlagsRequestsThatOthersReadOtherwise(t *testing.T) {
	const smuggled = "GET /smuggled HTTP/1.1\r\n\r\n"
	post := func(fields, body, trailers string) seen {
		return seen{Start: "POST / HTTP/1.1", Fields: fields, Body: body, Trailers: trailers, Whole: true, Ambiguous: true}
	}
	const chunked, length, hosts = "Transfer-Encoding: chunked\n", "Content-Length: 40\n", "Host: a\nHost: b\n"
	for _, row := range []struct {
		name, fields, behind string
		want                 []seen
		fault                Fault
	}{
		{"a length beside chunked: what comes behind is as doubtful", length + chunked, "5\r\nhello\r\n0\r\n\r\n" + smuggled, []seen{post(length+chunked, "hello", ""), {Start: "GET /smuggled HTTP/1.1", Whole: true, Ambiguous: true}}, 0},
		{"chunked beside a length, smuggled in a chunk", chunked + length, "1a\r\n" + smuggled + "\r\n0\r\n\r\n", []seen{post(chunked+length, smuggled, "")}, 0},
		{"two hosts", hosts, "GET /b HTTP/1.1\r\n\r\n", []seen{post(hosts, "", ""), get("/b")}, 0},
		{"the same host twice", "host: a\nHost: a\n", "", []seen{post("host: a\nHost: a\n", "", "")}, 0},
		{"a line without a colon", "A: b\nfoo bar\n", "GET /b HTTP/1.1\r\n\r\n", []seen{post("A: b\n", "", ""), get("/b")}, 0},
		{"a name that is none", chunked + "na me: x\n: y\n", "1\r\na\r\n0\r\n\r\nGET /b HTTP/1.1\r\n\r\n", []seen{post(chunked, "a", ""), get("/b")}, 0},
		{"a trailer that is none", chunked, "0\r\nfoo\r\n\r\nGET /b HTTP/1.1\r\n\r\n", []seen{post(chunked, "", ""), get("/b")}, 0},
		{"a host as trailer", chunked, "0\r\nHost: b\r\n\r\nGET /b HTTP/1.1\r\n\r\n", []seen{post(chunked, "", "Host: b\n"), get("/b")}, 0},
		{"who is asking, as trailer", chunked, "0\r\nA: b\r\nauthorization: x\r\n\r\n", []seen{post(chunked, "", "A: b\nauthorization: x\n")}, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			head := "POST / HTTP/1.1\r\n" + strings.ReplaceAll(row.fields, "\n", "\r\n") + "\r\n"
			messages, fault := eachStep(t, Requests, head+row.behind)
			require.Equal(t, row.want, messages)
			require.Equal(t, row.fault.String(), fault.String())
			_, flags, err := ParseRequest([]byte(head+row.behind), -1)
			require.NoError(t, err)
			require.Equal(t, "AMBIGUOUS_FRAMING", flags.String())
		})
	}
}

func TestReadsResponses(t *testing.T) {
	ok := func(body string) seen { return seen{Start: "200 HTTP/1.1", Body: body, Whole: true} }
	with := func(m seen, fields string) seen { m.Fields = fields; return m }
	length := func(body string) seen { return with(ok(body), fmt.Sprintf("Content-Length: %d\n", len(body))) }
	for _, row := range []struct {
		name, raw string
		to        []Method
		want      []seen
		fault     Fault
	}{
		{
			"one after the other", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200\r\nContent-Length: 2\r\n\r\nbb", nil,
			[]seen{length("a"), length("bb")},
			0,
		},
		{"until the connection closes", "HTTP/1.1 200 OK\r\n\r\nhello", nil, []seen{ok("hello")}, 0},
		{
			"to HEAD: no body", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
			[]Method{MethodHead},
			[]seen{with(ok(""), "Content-Length: 5\n"), length("a")},
			0,
		},
		{
			"204 and 304: no body", "HTTP/1.1 204 N\r\n\r\nHTTP/1.1 304 N\r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", nil,
			[]seen{{Start: "204 HTTP/1.1", Whole: true}, {Start: "304 HTTP/1.1", Fields: "Content-Length: 9\n", Whole: true}, length("a")},
			0,
		},
		{
			"100 before the answer", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", nil,
			[]seen{{Start: "100 HTTP/1.1", Whole: true}, length("a")},
			0,
		},
		{
			"101: what follows is no HTTP", "HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n\x81\x05hello", nil,
			[]seen{{Start: "101 HTTP/1.1", Fields: "Upgrade: x\n", Whole: true}},
			Switched,
		},
		{"2xx to CONNECT", "HTTP/1.1 200 OK\r\n\r\n\x16\x03\x01", []Method{MethodConnect}, []seen{ok("")}, Switched},
		{
			"an error to CONNECT", "HTTP/1.1 403 No\r\nContent-Length: 1\r\n\r\na",
			[]Method{MethodConnect},
			[]seen{{Start: "403 HTTP/1.1", Fields: "Content-Length: 1\n", Body: "a", Whole: true}},
			0,
		},
		{
			"chunked wins over a length", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2 \r\nab\r\n0\r\n\r\n", nil,
			[]seen{with(ok("ab"), "Content-Length: 1\nTransfer-Encoding: chunked\n")},
			0,
		},
		{
			"spaces before a colon, bare LFs, lines without a colon", "HTTP/1.1 200 OK\nA : b\nrubbish\nContent-Length: 1\r\n\na", nil,
			[]seen{with(ok("a"), "A: b\nContent-Length: 1\n")},
			0,
		},
		{
			"lengths that differ", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", nil,
			[]seen{{Start: "200 HTTP/1.1", Fields: "Content-Length: 1\nContent-Length: 2\n", Ambiguous: true}},
			Ambiguous,
		},
		{
			"a chunk that cannot be read", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz", nil,
			[]seen{{Start: "200 HTTP/1.1", Fields: "Transfer-Encoding: chunked\n"}},
			Malformed,
		},
		{"something else", "220 mail ready\r\n", nil, nil, NotHTTP},
		{"a status that is no number", "HTTP/1.1 2x0 OK\r\n\r\n", nil, nil, Malformed},
	} {
		t.Run(row.name, func(t *testing.T) {
			messages, fault := eachStep(t, Responses, row.raw, row.to...)
			require.Equal(t, row.want, messages)
			require.Equal(t, row.fault.String(), fault.String())
		})
	}
}

func TestResumesAfterARefusedUpgrade(t *testing.T) {
	f := Requests()
	var s Scratch
	raw := []byte("GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n")
	for ev := HeadSeen; ev != More; {
		var n int
		n, ev = f.Next(&s, raw, MethodOther)
		raw = raw[n:]
	}
	f.Resume()
	_, ev := f.Next(&s, []byte("GET /b HTTP/1.1\r\n\r\n"), MethodOther)
	require.Equal(t, HeadSeen, ev)
	require.Equal(t, "/b", string(s.Head.Target.Of(s.Head.Block)))
}

func TestHoldsNoMoreThanAHeaderBlock(t *testing.T) {
	for _, raw := range []string{
		"GET /" + strings.Repeat("a", 1<<20),
		"GET / HTTP/1.1\r\n" + strings.Repeat("a:b\r\n", 1<<18),
		"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("a: b\r\n", 1<<18),
		"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1\r\na\r\n", 1<<18),
		strings.Repeat("\r\n", 1<<19),
	} {
		f, most := Requests(), 0
		var s Scratch
		for p := []byte(raw); len(p) > 0; {
			slice := p[:min(len(p), 1000)]
			n, ev := f.Next(&s, slice, MethodOther)
			most = max(most, f.Held())
			if p = p[n:]; ev == Failed {
				break
			}
		}
		require.Less(t, most, 2*MaxHeader)
		require.LessOrEqual(t, len(s.Head.Fields), MaxFields)
	}
}

func TestParsesMessagesInMemory(t *testing.T) {
	req, flags, err := ParseRequest([]byte("PUT http://a.example:8/x?y HTTP/1.1\r\nX: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nT: 2\r\n\r\n"), 4)
	require.NoError(t, err)
	require.Equal(t, traffic.TruncatedRequest, flags)
	require.Equal(t, "a.example:8", string(req.Authority))
	require.Equal(t, "http://a.example:8/x?y", string(req.Target))
	require.Equal(t, "abcd", string(req.Body))
	require.Equal(t, int64(5), req.BodySize)
	require.Equal(t, "T", string(req.Trailers[0].Name))

	_, flags, err = ParseRequest([]byte("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), -1)
	require.NoError(t, err)
	require.True(t, flags.Has(traffic.AmbiguousFraming))

	_, _, err = ParseRequest([]byte("GET / HTTP/1.1\r\nHost: a\r\n"), -1)
	require.ErrorIs(t, err, ErrIncomplete)
	_, _, err = ParseRequest([]byte("hello\r\n\r\n"), -1)
	require.ErrorIs(t, err, ErrMalformed)
	_, _, err = ParseRequest(nil, -1)
	require.ErrorIs(t, err, ErrIncomplete)

	res, flags, err := ParseResponse([]byte("HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\nhello"), "GET", -1)
	require.NoError(t, err)
	require.Zero(t, flags)
	require.Equal(t, 200, res.Status)
	require.Equal(t, "hello", string(res.Body))
	res, flags, err = ParseResponse([]byte("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"), "GET", -1)
	require.NoError(t, err)
	require.Equal(t, traffic.TruncatedResponse, flags)
	require.Equal(t, int64(9), res.BodySize)
	res, flags, err = ParseResponse([]byte("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), "HEAD", -1)
	require.NoError(t, err)
	require.Zero(t, flags)
	require.Empty(t, res.Body)
}
