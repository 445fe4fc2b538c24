package wire

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

const (
	askOne   = "GET /one HTTP/1.1\r\nHost: a\r\n\r\n"
	askTwo   = "GET /two HTTP/1.1\r\nHost: a\r\n\r\n"
	askThree = "GET /three HTTP/1.1\r\nHost: a\r\n\r\n"
	yes      = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	no       = "HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno"
)

// passing is a dialog that is seen as packets.
type passing struct{ *talk }

func newPassing() passing { return passing{newTalk(0)} }

func (p passing) gap(side string, n int64) passing {
	if p.now = p.now.Add(time.Millisecond); side == "C" {
		p.RequestsGap(&p.d, n, p.now)
	} else {
		p.ResponsesGap(&p.d, n, p.now)
	}
	p.take()
	return p
}

// summary is the exchanges in the order in which they ended, as "/target status flags".
func (p passing) summary() []string {
	p.Close(&p.d, false, p.now)
	p.take()
	lines := make([]string, 0, len(p.got))
	for _, x := range p.got {
		status := 0
		if x.Response != nil {
			status = x.Response.Status
		}
		lines = append(lines, fmt.Sprintf("%s %d %v", x.Request.Target, status, x.Flags))
	}
	return lines
}

func TestAGapIsNeverGuessedOver(t *testing.T) {
	post := "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
	chunked := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, row := range map[string]struct {
		play func(p passing)
		want []string
	}{
		"inside a request's body": {func(p passing) {
			p.say("C:" + post + "012")
			p.gap("C", 4)
			p.say("C:789"+askTwo, "S:"+yes, "S:"+no)
		}, []string{"/up 200 TRUNCATED_REQUEST,GAP", "/two 404 "}},
		"up to the end of a request's body": {func(p passing) {
			p.say("C:" + post)
			p.gap("C", 10)
			p.say("S:"+yes, "C:"+askTwo, "S:"+no)
		}, []string{"/up 200 TRUNCATED_REQUEST,GAP", "/two 404 "}},
		"beyond a request's body": {func(p passing) {
			p.say("C:" + post)
			p.gap("C", 300)
			p.say("S:"+yes, "C:rest of something", "C:"+askTwo, "S:"+no)
		}, []string{"/up 200 TRUNCATED_REQUEST,GAP", "/two 404 "}},
		"inside a response's body": {func(p passing) {
			p.say("C:"+askOne, "S:HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01")
			p.gap("S", 4)
			p.say("S:6789", "C:"+askTwo, "S:"+no)
		}, []string{"/one 200 TRUNCATED_RESPONSE,GAP", "/two 404 "}},
		"inside a chunk": {func(p passing) {
			p.say("C:"+askOne, "S:"+chunked+"a\r\n01")
			p.gap("S", 4)
			p.say("S:6789\r\n0\r\n\r\n", "C:"+askTwo, "S:"+no)
		}, []string{"/one 200 TRUNCATED_RESPONSE,GAP", "/two 404 "}},
		"beyond a chunk": {func(p passing) {
			p.say("C:"+askOne, "S:"+chunked+"a\r\n01")
			p.gap("S", 40)
			p.say("S:more of it", "C:"+askTwo, "S:"+no)
		}, []string{"/one 200 TRUNCATED_RESPONSE,GAP", "/two 404 "}},
		"a whole answer": {func(p passing) {
			p.say("C:" + askOne)
			p.gap("S", 44)
			p.say("C:"+askTwo, "S:"+no)
		}, []string{"/one 0 NO_RESPONSE,GAP", "/two 404 "}},
		"a whole request: its answer is nobody's": {func(p passing) {
			p.say("C:"+askOne, "S:"+yes)
			p.gap("C", 28)
			p.say("S:"+no, "C:"+askThree, "S:"+yes)
		}, []string{"/one 200 ", "/three 200 "}},
		"in a pipeline: nobody knows whose the answers are": {func(p passing) {
			p.say("C:" + askOne)
			p.gap("C", 28)
			p.say("C:"+askThree, "S:"+yes, "S:"+no, "S:"+yes)
		}, []string{"/three 0 NO_RESPONSE", "/one 200 "}},
		"of a size that nobody knows, in a body": {func(p passing) {
			p.say("C:"+askOne, "S:HTTP/1.1 200 OK\r\n\r\nuntil the end")
			p.gap("S", -1)
			p.say("S:and more", "C:"+askTwo, "S:"+no)
		}, []string{"/one 200 TRUNCATED_RESPONSE,GAP", "/two 404 "}},
		"in a body that the end ends": {func(p passing) {
			p.say("C:"+askOne, "S:HTTP/1.1 200 OK\r\n\r\nuntil")
			p.gap("S", 7)
			p.say("S:end", "S:fin")
		}, []string{"/one 200 TRUNCATED_RESPONSE,GAP"}},
		"what looks like a request in a lost body is none": {func(p passing) {
			p.gap("C", 9)
			p.say("C:GETTING / HTTP/1.1x", "C:x"+askOne, "C:"+askTwo, "S:"+no)
		}, []string{"/two 404 "}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPassing()
			row.play(p)
			require.Equal(t, row.want, p.summary())
			for _, x := range p.got {
				if x.Flags.Has(traffic.Gap) && x.Response != nil {
					require.GreaterOrEqual(t, x.Response.BodySize, int64(len(x.Response.Body)))
				}
			}
			require.Zero(t, p.budget.used.Load(), "the books close")
			require.EqualValues(t, len(p.got), p.Counts.Seen)
		})
	}
}

func TestABodyIsKeptUpToItsFirstGap(t *testing.T) {
	p := newPassing()
	p.say("C:"+askOne, "S:HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01")
	p.gap("S", 4)
	p.say("S:6789")
	p.summary()
	require.Equal(t, "01", string(p.got[0].Response.Body))
	require.EqualValues(t, 10, p.got[0].Response.BodySize)
}

func TestADialogMayBeginInTheMiddle(t *testing.T) {
	p := newPassing()
	p.d.StartMidway(nil, nil, nil)
	require.True(t, p.d.Lost())
	p.say("S:rest of an answer", "C:rest of a request", "S:"+yes, "C:"+askTwo, "S:"+no)
	require.Equal(t, []string{"/two 404 "}, p.summary())
	require.EqualValues(t, 1, p.Counts.ResponsesForeign)
}

func TestWithoutTheServersSideNothingIsMissing(t *testing.T) {
	p := newPassing()
	p.d.OneSided(true)
	p.say("C:"+askOne, "C:"+askTwo, "C:fin")
	require.Equal(t, []string{"/one 0 REQUEST_ONLY", "/two 0 REQUEST_ONLY"}, p.summary())
	p = newPassing()
	p.d.OneSided(true)
	p.say("C:" + askOne)
	p.d.OneSided(false)
	require.Equal(t, []string{"/one 0 NO_RESPONSE"}, p.summary())
}

func TestAClientThatGoesOnAfterClose(t *testing.T) {
	closing := "GET /one HTTP/1.0\r\nHost: a\r\n\r\n"
	p := newPassing()
	p.say("C:"+closing, "S:"+yes, "C:"+askTwo, "S:"+no)
	require.Equal(t, []string{"/one 200 ", "/two 404 "}, p.summary(), "the server goes on too")
	p = newPassing()
	p.say("C:"+closing, "C:"+askTwo, "C:fin")
	require.Equal(t, []string{"/one 0 CLIENT_ABORTED", "/two 0 CLIENT_ABORTED,AMBIGUOUS_FRAMING"}, p.summary(), "nobody knows whether it is read")
}

func TestAServerOfAnotherProtocolGetsNoRequests(t *testing.T) {
	p := newPassing()
	p.say("C:" + askOne)
	p.NotHTTP(&p.d, p.now)
	require.Empty(t, p.summary())
	require.EqualValues(t, 1, p.Counts.Lost[LostMalformed])
	require.True(t, p.d.Opaque())
}

func TestAGapEndsReadingOfHTTP2(t *testing.T) {
	p := newPassing()
	p.say("C:" + preface)
	p.gap("S", 3)
	p.say("C:" + askOne)
	require.Empty(t, p.summary())
	require.True(t, p.d.Opaque())
}

func TestWhatBeginsLikeAMessage(t *testing.T) {
	for text, want := range map[string]bool{
		askOne:                              true,
		"GET /long?" + "x":                  true,
		"CONNECT shop:443 HTTP/1.1\r\n":     true,
		"MKCALENDAR /x HTTP/1.1\r\n":        true,
		preface:                             true,
		"get /lower HTTP/1.1\r\n":           false,
		"MKCALENDAR /x":                     false,
		"GET x":                             false,
		"GET / HTTP/3.0\r\n":                false,
		"GET /a b HTTP/1.1\r\n":             false,
		"HTTP/1.1 200 OK\r\n":               false,
		"\x16\x03\x01":                      false,
		"GET":                               false,
		"":                                  false,
		"GET /\x00":                         false,
		"POST /a\r\nGET / HTTP/1.1\r\n\r\n": false,
	} {
		require.Equal(t, want, BeginsRequest([]byte(text)), "%q", text)
	}
	for text, want := range map[string]bool{
		yes: true, "HTTP/1.0 500\r\n": true, "HTTP/1.1 204\n": true, "HTTP/1.1 2": false, "HTTP/1.1 20x": false, "HTTP/2 200": false, "": false,
	} {
		require.Equal(t, want, BeginsResponse([]byte(text)), "%q", text)
	}
}

// FuzzGaps plays bytes and gaps against a dialog: nothing panics, the books close, and what is flagged is all that may be.
func FuzzGaps(f *testing.F) {
	f.Add([]byte("C"+askOne+"\x00S"+yes+"\x00c\x05\x00C"+askTwo+"\x00s\x03\x00S"+no), true)
	f.Add([]byte("CCONNECT a:80 HTTP/1.1\r\n\r\n\x00SHTTP/1.1 200 OK\r\n\r\n\x00C"+askOne+"\x00S"+yes), false)
	f.Add([]byte("CPOST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n123\x00c\x03\x00C789\x00s\xff\x00S"+yes), false)
	f.Fuzz(func(t *testing.T, script []byte, midway bool) {
		p := newPassing()
		if midway {
			p.d.StartMidway(nil, nil, nil)
		}
		for len(script) > 0 {
			end := 0
			for end < len(script) && script[end] != 0 {
				end++
			}
			if p.d.EnterTunnel() {
				require.True(t, p.d.Lost())
			}
			step := script[:end]
			script = script[min(end+1, len(script)):]
			if len(step) < 2 {
				continue
			}
			switch step[0] {
			case 'C':
				p.Requests(&p.d, step[1:], p.now)
			case 'S':
				p.Responses(&p.d, step[1:], p.now)
			case 'c':
				p.RequestsGap(&p.d, int64(int8(step[1])), p.now)
			case 's':
				p.ResponsesGap(&p.d, int64(int8(step[1])), p.now)
			}
		}
		p.summary()
		var lost int64
		for _, n := range p.Counts.Lost {
			lost += n
		}
		require.Zero(t, p.Counts.Opaque[0], "a panic")
		require.Equal(t, p.Counts.Seen, int64(len(p.got))+lost)
	})
}
