package wire

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

// ledger is a Budget that a test can look into.
type ledger struct {
	limit int64
	used  atomic.Int64
	panic bool
}

func (l *ledger) TryAcquire(n int64) bool {
	if l.panic {
		panic("budget")
	}
	if l.used.Add(n) > l.limit {
		l.used.Add(-n)
		return false
	}
	return true
}

func (l *ledger) Release(n int64) { l.used.Add(-n) }

// talk plays a conversation against one dialog. Lines begin with C (client) or S (server) and a colon; "fin" ends a
// side, "rst" is the client's reset, "wait" lets ResponseWait pass; anything else is sent. Lines with B fill the budget, or
// free it. Every step takes 1 ms.
type talk struct {
	*Recorder
	d      Dialog
	now    time.Time
	step   int // bytes fed at a time; 0: all
	budget *ledger
	got    []traffic.Exchange
	closed bool
}

func newTalk(step int) *talk {
	t := &talk{step: step, now: time.Unix(1000, 0), budget: &ledger{limit: 1 << 30}}
	t.Recorder = NewRecorder(RecorderConfig{
		BodyMax: 100, ResponseWait: 2 * time.Second, MarkHeader: "Reprise-Replay", Budget: t.budget,
	})
	t.d.Start([]byte("c1"), []byte("1.1.1.1:1"), []byte("2.2.2.2:2"))
	return t
}

func (t *talk) say(lines ...string) *talk {
	for _, line := range lines {
		side, text, _ := strings.Cut(line, ":")
		t.now = t.now.Add(time.Millisecond)
		switch {
		case text == "fin" && side == "C":
			t.ClientDone(&t.d, t.now)
		case text == "fin":
			t.ServerDone(&t.d, t.now)
		case text == "rst":
			t.closed = true
			t.Close(&t.d, true, t.now)
		case side == "B":
			if t.budget.limit = 1 << 30; text == "full" {
				t.budget.limit = t.budget.used.Load()
			}
		case text == "wait":
			t.now = t.now.Add(t.cfg.ResponseWait)
			t.Expire(t.now)
		default:
			for p := []byte(text); len(p) > 0; {
				n := len(p)
				if t.step > 0 {
					n = min(n, t.step)
				}
				slice := append([]byte(nil), p[:n]...)
				if side == "C" {
					t.Requests(&t.d, slice, t.now)
				} else {
					t.Responses(&t.d, slice, t.now)
				}
				clear(slice) // nothing may alias it
				p = p[n:]
			}
		}
		t.take()
	}
	return t
}

func (t *talk) take() {
	for _, c := range t.Take() {
		t.got = append(t.got, *c.Exchange)
		t.budget.Release(c.Bytes)
	}
}

// end closes the connection and returns a line for each exchange.
func (t *talk) end() []string {
	if !t.closed {
		t.Close(&t.d, false, t.now.Add(time.Millisecond))
	}
	t.take()
	var lines []string
	for _, x := range t.got {
		line := fmt.Sprintf("%d %s %s %q", x.Connection.Sequence, x.Request.Method, x.Request.Target, x.Request.Body)
		if int64(len(x.Request.Body)) != x.Request.BodySize {
			line += fmt.Sprintf(" of %d", x.Request.BodySize)
		}
		for _, f := range x.Request.Trailers {
			line += fmt.Sprintf(" %s=%s", f.Name, f.Value)
		}
		if res := x.Response; res != nil {
			line += fmt.Sprintf(" → %d %q", res.Status, res.Body)
			if int64(len(res.Body)) != res.BodySize {
				line += fmt.Sprintf(" of %d", res.BodySize)
			}
			for _, f := range res.Trailers {
				line += fmt.Sprintf(" %s=%s", f.Name, f.Value)
			}
		}
		lines = append(lines, strings.TrimSpace(line+" "+x.Flags.String()))
	}
	return lines
}

const (
	ok1 = "S:HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1"
	ok2 = "S:HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2"
)

func TestPairsRequestsWithResponses(t *testing.T) {
	long := strings.Repeat("x", 150)
	for _, row := range []struct {
		name string
		talk []string
		want []string
	}{
		{
			"keep-alive",
			[]string{"C:GET /1 HTTP/1.1\r\n\r\n", ok1, "C:GET /2 HTTP/1.1\r\n\r\n", ok2, "C:fin"},
			[]string{`1 GET /1 "" → 200 "1"`, `2 GET /2 "" → 200 "2"`},
		},
		{
			"pipelined",
			[]string{
				"C:GET /1 HTTP/1.1\r\n\r\nHEAD /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\n", ok1,
				"S:HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", ok2,
			},
			[]string{`1 GET /1 "" → 200 "1"`, `2 HEAD /2 "" → 200 ""`, `3 GET /3 "" → 200 "2"`},
		},
		{
			"1xx is not the answer",
			[]string{
				"C:POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
				"S:HTTP/1.1 100 Continue\r\n\r\n", "C:ab", "S:HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", ok1,
			},
			[]string{`1 POST / "ab" → 200 "1"`},
		},
		{
			"an answer before the request's end",
			[]string{"C:POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nab", ok1, "C:cd", "C:GET /2 HTTP/1.1\r\n\r\n", ok2},
			[]string{`1 POST / "abcd" → 200 "1"`, `2 GET /2 "" → 200 "2"`},
		},
		{
			"an answer that ends with the connection",
			[]string{"C:GET / HTTP/1.0\r\n\r\n", "S:HTTP/1.0 200 OK\r\n\r\nabc", "S:fin"},
			[]string{`1 GET / "" → 200 "abc"`},
		},
		{
			"the client closes its half and waits",
			[]string{"C:GET / HTTP/1.1\r\n\r\n", "C:fin", ok1, "S:fin"},
			[]string{`1 GET / "" → 200 "1"`},
		},
		{
			"bodies beyond the cap are counted",
			[]string{
				"C:POST / HTTP/1.1\r\nContent-Length: 150\r\n\r\n" + long,
				"S:HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n96\r\n" + long + "\r\n0\r\n\r\n",
			},
			[]string{`1 POST / "` + long[:100] + `" of 150 → 200 "` + long[:100] + `" of 150 TRUNCATED_REQUEST,TRUNCATED_RESPONSE`},
		},
		{
			"no answer in time, and a late one",
			[]string{"C:GET /1 HTTP/1.1\r\n\r\n", "C:wait", ok1, "C:GET /2 HTTP/1.1\r\n\r\n", ok2},
			[]string{`1 GET /1 "" NO_RESPONSE`, `2 GET /2 "" → 200 "2"`},
		},
		{
			"an answer not ended in time",
			[]string{
				"C:GET /1 HTTP/1.1\r\n\r\n", "S:HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "C:wait", "S:defghi",
				"C:GET /2 HTTP/1.1\r\n\r\n", ok2,
			},
			[]string{`1 GET /1 "" → 200 "abc" of 9 TRUNCATED_RESPONSE`, `2 GET /2 "" → 200 "2"`},
		},
		{"the client gives up", []string{"C:GET /1 HTTP/1.1\r\n\r\n", "C:rst"}, []string{`1 GET /1 "" CLIENT_ABORTED`}},
		{"the client gives up politely", []string{"C:GET /1 HTTP/1.1\r\n\r\n", "C:fin", "S:fin"}, []string{`1 GET /1 "" CLIENT_ABORTED`}},
		{
			"the client gives up inside the answer",
			[]string{"C:GET /1 HTTP/1.1\r\n\r\n", "S:HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "C:rst"},
			[]string{`1 GET /1 "" → 200 "abc" of 9 TRUNCATED_RESPONSE,CLIENT_ABORTED`},
		},
		{
			"the client gives up inside the request",
			[]string{"C:POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nab", "C:rst"},
			[]string{`1 POST / "ab" of 4 TRUNCATED_REQUEST,CLIENT_ABORTED`},
		},
		{"the server closes without an answer", []string{"C:GET /1 HTTP/1.1\r\n\r\n", "S:fin"}, []string{`1 GET /1 "" NO_RESPONSE`}},
		{
			"the server closes inside the answer",
			[]string{"C:GET /1 HTTP/1.1\r\n\r\n", "S:HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "S:fin"},
			[]string{`1 GET /1 "" → 200 "abc" of 9 TRUNCATED_RESPONSE`},
		},
		{
			"a request behind the server's end",
			[]string{"C:GET /1 HTTP/1.1\r\n\r\n", ok1, "S:fin", "C:GET /2 HTTP/1.1\r\n\r\n"},
			[]string{`1 GET /1 "" → 200 "1"`, `2 GET /2 "" NO_RESPONSE`},
		},
		{
			"an upgrade",
			[]string{"C:GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "S:HTTP/1.1 101 S\r\n\r\n\x81\x00", "C:GET /no HTTP/1.1\r\n\r\n", ok1},
			[]string{`1 GET /ws "" → 101 "" UPGRADED`},
		},
		{
			"an upgrade refused",
			[]string{"C:GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", ok1, "C:GET /2 HTTP/1.1\r\n\r\n", ok2},
			[]string{`1 GET /ws "" → 200 "1"`, `2 GET /2 "" → 200 "2"`},
		},
		{
			"a tunnel",
			[]string{"C:CONNECT a:1 HTTP/1.1\r\n\r\n", "S:HTTP/1.1 200 OK\r\n\r\n", "C:GET /no HTTP/1.1\r\n\r\n", ok1},
			[]string{`1 CONNECT a:1 "" → 200 "" CONNECT`},
		},
		{
			"a marked request",
			[]string{"C:GET /1 HTTP/1.1\r\nreprise-replay: live\r\n\r\nGET /2 HTTP/1.1\r\n\r\n", ok1, ok2},
			[]string{`2 GET /2 "" → 200 "2"`},
		},
		{
			"a length beside chunked: what comes behind is as doubtful",
			[]string{"C:GET /1 HTTP/1.1\r\n\r\nPOST /2 HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /3 HTTP/1.1\r\n\r\n", ok1, ok2, ok1, "C:GET /4 HTTP/1.1\r\n\r\n", ok2},
			[]string{`1 GET /1 "" → 200 "1"`, `2 POST /2 "" → 200 "2" AMBIGUOUS_FRAMING`, `3 GET /3 "" → 200 "1" AMBIGUOUS_FRAMING`, `4 GET /4 "" → 200 "2" AMBIGUOUS_FRAMING`},
		},
		{
			"ambiguous framing of which nothing is read",
			[]string{"C:GET /1 HTTP/1.1\r\n\r\nPOST /2 HTTP/1.1\r\nTransfer-Encoding: chunked, x\r\n\r\n0\r\n\r\nGET /no HTTP/1.1\r\n\r\n", ok1, ok2, ok1},
			[]string{`2 POST /2 "" AMBIGUOUS_FRAMING`, `1 GET /1 "" → 200 "1"`},
		},
		{
			"HTTP/0.9, answered in its own way",
			[]string{"C:GET /1?a=b\r\n", "S:<html>one</html>"},
			[]string{`1 GET /1?a=b "" NO_RESPONSE,AMBIGUOUS_FRAMING`},
		},
		{
			"HTTP/0.9, answered as if it were 1.0, and bytes behind it",
			[]string{"C:GET /1\nHost: a\r\n\r\nGET /2\r\n", "S:HTTP/1.0 400 Bad Request\r\nContent-Length: 2\r\n\r\nno"},
			[]string{`1 GET /1 "" → 400 "no" AMBIGUOUS_FRAMING`},
		},
		{"not HTTP/0.9", []string{"C:GET /1 x\r\n", "S:x"}, nil},
		{"nor as a second request", []string{"C:GET /1 HTTP/1.1\r\n\r\nGET /2\r\n", ok1}, []string{`1 GET /1 "" → 200 "1"`}},
		{
			"two hosts, in the header and in the trailers",
			[]string{
				"C:GET /1 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: b\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
				ok1, ok2, ok1,
			},
			[]string{`1 GET /1 "" → 200 "1" AMBIGUOUS_FRAMING`, `2 POST /2 "" Host=b → 200 "2" AMBIGUOUS_FRAMING`, `3 GET /3 "" → 200 "1"`},
		},
		{
			"ambiguous framing inside the body",
			[]string{"C:POST /1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n+1\r\nb\r\n0\r\n\r\nGET /no HTTP/1.1\r\n\r\n", ok1},
			[]string{`1 POST /1 "a" AMBIGUOUS_FRAMING`},
		},
		{
			"an answer that cannot be framed",
			[]string{"C:GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n", "S:HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n11", "C:GET /3 HTTP/1.1\r\n\r\n"},
			[]string{`1 GET /1 "" → 200 "" TRUNCATED_RESPONSE`, `2 GET /2 "" NO_RESPONSE`, `3 GET /3 "" NO_RESPONSE`},
		},
		{"an answer nobody asked for", []string{"S:HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n", "C:GET /1 HTTP/1.1\r\n\r\n", ok1}, []string{`1 GET /1 "" → 200 "1"`}},
		{
			"trailers, for which there is no room any more",
			[]string{
				"C:GET /1 HTTP/1.1\r\n\r\n", "S:HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", "B:full", "S:0\r\nT: v\r\n\r\n", "B:free",
				"C:POST /2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "B:full", "C:0\r\nT: v\r\n\r\n", "B:free", ok2, "C:GET /3 HTTP/1.1\r\n\r\n", ok1,
			},
			[]string{`1 GET /1 "" → 200 "a" TRUNCATED_RESPONSE`, `3 GET /3 "" → 200 "1"`},
		},
		{"TLS", []string{"C:\x16\x03\x01\x00\x01\x01", "S:\x16\x03\x03GET"}, nil},
		{"a server that speaks first", []string{"S:220 ready\r\n", "C:GET /1 HTTP/1.1\r\n\r\n", ok1}, nil},
		{"rubbish between requests", []string{"C:GET /1 HTTP/1.1\r\n\r\nrubbish\r\n", ok1, "C:GET /2 HTTP/1.1\r\n\r\n", ok2}, []string{`1 GET /1 "" → 200 "1"`}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var counts Counts
			for _, step := range []int{0, 1, 3, 10} {
				conversation := newTalk(step)
				require.Equal(t, row.want, conversation.say(row.talk...).end(), "slices of %d bytes", step)
				require.Zero(t, conversation.budget.used.Load(), "the budget is given back")
				require.Zero(t, conversation.waiting)
				lost := int64(0)
				for _, n := range conversation.Counts.Lost {
					lost += n
				}
				require.Equal(t, conversation.Counts.Seen, int64(len(row.want))+lost, "every request seen is handed over or lost")
				if step == 0 {
					counts = conversation.Counts
				}
				require.Equal(t, counts, conversation.Counts, "slices of %d bytes", step)
			}
		})
	}
}

func TestTellsTimes(t *testing.T) {
	conversation := newTalk(0)
	conversation.say("C:GET /", "C: HTTP/1.1\r\n\r\n", "S:HTTP/1.1 200 OK\r\n", "S:Content-Length: 2\r\n\r\na", "S:b").end()
	x := conversation.got[0]
	require.Equal(t, time.Unix(1000, 1e6).UTC(), x.CaptureTime)
	require.Equal(t, 2*time.Millisecond, x.Response.TTFB)
	require.Equal(t, 4*time.Millisecond, x.Response.Duration)
	require.Equal(t, "c1", string(x.Connection.ID))
	require.Equal(t, "1.1.1.1:1", string(x.Connection.Client))
}

func TestCountsWhyADialogIsOpaque(t *testing.T) {
	for _, row := range []struct {
		talk []string
		want Fault
	}{
		{[]string{"C:\x16\x03\x01\x00"}, TLS},
		{[]string{"C:PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x01\x05\x00\x00\x00\x01"}, HTTP2},
		{[]string{"C:GET / HTTP/1.1\r\n\r\n", ok1, "C:PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}, HTTP2},
		{[]string{"C:\x00"}, NotHTTP},
		{[]string{"S:+OK\r\n"}, NotHTTP},
		{[]string{"C:GET  HTTP/1.1\r\n\r\n"}, Malformed},
		{[]string{"C:GET / HTTP/1.1\r\nContent-Length 5\r\n\r\n"}, Ambiguous},
		{[]string{"C:CONNECT a:1 HTTP/1.1\r\n\r\n", "S:HTTP/1.1 200 OK\r\n\r\n"}, Switched},
		{[]string{"C:GET / HTTP/1.1\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\n\r\n", ok1}, Unexpected},
	} {
		conversation := newTalk(0).say(row.talk...)
		require.True(t, conversation.d.Opaque(), row.want)
		conversation.end()
		var want Counts
		want.Opaque[row.want] = 1
		require.Equal(t, want.Opaque, conversation.Counts.Opaque)
	}
}

func TestShedsWhatTheBudgetRefuses(t *testing.T) {
	body := strings.Repeat("x", 90)
	post := "C:POST / HTTP/1.1\r\nContent-Length: 90\r\n\r\n" + body

	t.Run("a request, while framing goes on", func(t *testing.T) {
		conversation := newTalk(7)
		conversation.budget.limit = 100
		conversation.say(post, ok1)
		conversation.budget.limit = 1 << 20
		require.Equal(t, []string{`2 GET /2 "" → 200 "2"`}, conversation.say("C:GET /2 HTTP/1.1\r\n\r\n", ok2).end())
		require.Equal(t, int64(1), conversation.Counts.Lost[LostMemory])
		require.Zero(t, conversation.budget.used.Load())
	})
	t.Run("a request in its body", func(t *testing.T) {
		conversation := newTalk(7)
		conversation.budget.limit = int64(slotSize + 300)
		conversation.say("C:POST / HTTP/1.1\r\nContent-Length: 90\r\n\r\n")
		require.NotZero(t, conversation.budget.used.Load())
		conversation.budget.limit = conversation.budget.used.Load()
		require.Empty(t, conversation.say("C:"+body, ok1).end())
		require.Equal(t, int64(1), conversation.Counts.Lost[LostMemory])
		require.Zero(t, conversation.budget.used.Load())
	})
	t.Run("the rest of a response's body", func(t *testing.T) {
		conversation := newTalk(0)
		conversation.say("C:GET / HTTP/1.1\r\n\r\n", "S:HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\nabc")
		conversation.budget.limit = conversation.budget.used.Load()
		conversation.say("S:" + body[:40])
		conversation.budget.limit = 1 << 20
		require.Equal(t, []string{`1 GET / "" → 200 "abc" of 90 TRUNCATED_RESPONSE`}, conversation.say("S:"+body[:47]).end())
		require.Zero(t, conversation.budget.used.Load())
	})
	t.Run("a long header in parts", func(t *testing.T) {
		conversation := newTalk(1000)
		conversation.budget.limit = 10 << 10
		conversation.say("C:GET / HTTP/1.1\r\nA: " + strings.Repeat("a", 50<<10) + "\r\n\r\n")
		require.True(t, conversation.d.Opaque())
		require.Empty(t, conversation.end())
		require.Equal(t, int64(1), conversation.Counts.Lost[LostMemory])
		require.Zero(t, conversation.budget.used.Load())
	})
}

func TestAPanicCostsOneDialog(t *testing.T) {
	conversation := newTalk(0)
	conversation.say("C:GET /1 HTTP/1.1\r\n\r\n")
	conversation.budget.panic = true
	conversation.say("C:GET /2 HTTP/1.1\r\n\r\n")
	conversation.budget.panic = false
	require.True(t, conversation.d.Opaque())
	require.Empty(t, conversation.say(ok1, "C:GET /3 HTTP/1.1\r\n\r\n").end())
	require.Equal(t, int64(2), conversation.Counts.Lost[LostPanic])
	require.Equal(t, int64(2), conversation.Counts.Seen)
	require.Zero(t, conversation.budget.used.Load())

	conversation.d.Start(nil, nil, nil)
	conversation.closed = false
	require.Equal(t, []string{`1 GET /4 "" → 200 "1"`}, conversation.say("C:GET /4 HTTP/1.1\r\n\r\n", ok1).end())
}

// FuzzDialog: whatever both sides say in whatever slices, the same exchanges come out, everything seen is accounted for
// and every byte of the budget comes back.
func FuzzDialog(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed), []byte(seeds[6]), uint8(3), uint8(9), int64(1<<20))
		f.Add([]byte(seeds[1]), []byte(seed), uint8(30), uint8(4), int64(2000))
	}
	f.Fuzz(func(t *testing.T, requests, responses []byte, cut, step uint8, limit int64) {
		var first []string
		for _, step := range []int{0, int(step) + 1, 1} {
			conversation := newTalk(step)
			if step != 0 || limit < 5000 {
				conversation.budget.limit = limit & 0xffff
			}
			at := min(int(cut), len(requests))
			half := len(responses) / 2
			conversation.say("C:"+string(requests[:at]), "S:"+string(responses[:half]), "C:"+string(requests[at:]), "S:"+string(responses[half:]))
			got := conversation.end()
			require.Zero(t, conversation.budget.used.Load())
			require.Zero(t, conversation.waiting)
			lost := int64(0)
			for _, n := range conversation.Counts.Lost {
				lost += n
			}
			require.Equal(t, conversation.Counts.Seen, int64(len(got))+lost)
			require.Zero(t, conversation.Counts.Lost[LostPanic])
			if limit < 1<<16 {
				continue
			}
			conversation = newTalk(step)
			got = conversation.say("C:"+string(requests[:at]), "S:"+string(responses[:half]), "C:"+string(requests[at:]), "S:"+string(responses[half:])).end()
			if step == 0 {
				first = got
			}
			require.Equal(t, first, got)
		}
	})
}
