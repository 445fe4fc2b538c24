package packet

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// listened writes down what it is told: "a:text" for data of the side that is called a (the client where that is known),
// "a-5" for a gap of five bytes, "a." for an end, "closed", "reset a" or "lost".
type listened struct {
	lines []string
	low   Endpoint
}

func (l *listened) name(c *Conn, s Side) string {
	if c.Ends[s] == l.low {
		return "a"
	}
	return "b"
}

func (l *listened) add(format string, args ...any) {
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

func (l *listened) Data(c *Conn, from Side, p []byte, _ time.Time) {
	l.add("%s:%s", l.name(c, from), p)
}

func (l *listened) Gap(c *Conn, from Side, n int64, _ time.Time) { l.add("%s-%d", l.name(c, from), n) }
func (l *listened) Ended(c *Conn, from Side, _ time.Time)        { l.add("%s.", l.name(c, from)) }

func (l *listened) Closed(c *Conn, why Closing, _ time.Time) {
	switch {
	case why.Lost:
		l.add("lost")
	case why.Reset:
		l.add("reset %s", l.name(c, why.By))
	default:
		l.add("closed")
	}
}

// talk is a connection between a, 10.0.0.1:4000, and b, 10.0.0.2:80, whose segments a test writes.
type talk struct {
	*listened
	a    *Assembler
	at   time.Time
	isnA uint32
	isnB uint32
}

func newTalk(limits Limits) *talk {
	l := &listened{low: Endpoint{fromV4(addrA), 4000, true}}
	return &talk{listened: l, a: NewAssembler(l, limits), at: zero, isnA: 1000, isnB: 5000}
}

// says feeds a segment of a or b: positions count from 0 behind the SYN.
func (k *talk) says(who string, flags Flags, seq, ack int, payload string) *talk {
	low, high := k.low, Endpoint{fromV4(addrB), 80, true}
	s := Segment{Src: low, Dst: high, Seq: k.isnA + 1 + uint32(seq), Ack: k.isnB + 1 + uint32(ack), Flags: flags, Payload: []byte(payload)}
	if who == "b" {
		s.Src, s.Dst = high, low
		s.Seq, s.Ack = k.isnB+1+uint32(seq), k.isnA+1+uint32(ack)
	}
	k.at = k.at.Add(time.Millisecond)
	k.a.Segment(&s, k.at)
	return k
}

func (k *talk) shakeHands() *talk {
	return k.says("a", SYN, -1, 0, "").says("b", SYN|ACK, -1, 0, "").says("a", ACK, 0, 0, "")
}

func (k *talk) later(d time.Duration) *talk {
	k.at = k.at.Add(d)
	k.a.Tick(k.at)
	return k
}

func (k *talk) finish() string {
	k.a.Finish()
	return strings.Join(k.lines, " ")
}

func TestStreamsArePutTogether(t *testing.T) {
	long := func(d time.Duration) func(*talk) *talk { return func(k *talk) *talk { return k.later(d) } }
	for name, row := range map[string]struct {
		talk func(k *talk) *talk
		want string
	}{
		"one after the other": {func(k *talk) *talk {
			return k.shakeHands().says("a", ACK, 0, 0, "ask").says("b", ACK, 0, 3, "answer").says("a", FIN|ACK, 3, 6, "").
				says("b", FIN|ACK, 6, 4, "").says("a", ACK, 4, 7, "")
		}, "a:ask b:answer a. b. closed"},
		"out of order": {func(k *talk) *talk {
			return k.shakeHands().says("a", ACK, 3, 0, "def").says("a", ACK, 6, 0, "ghi").says("a", ACK, 0, 0, "abc")
		}, "a:abc a:def a:ghi lost"},
		"sent again": {func(k *talk) *talk {
			return k.shakeHands().says("a", ACK, 0, 0, "abc").says("a", ACK, 0, 0, "abc").says("a", ACK, 0, 0, "abcdef").says("a", ACK, 2, 0, "cdef")
		}, "a:abc a:def lost"},
		"overlaps: the first copy counts": {func(k *talk) *talk {
			return k.shakeHands().says("a", ACK, 2, 0, "CD").says("a", ACK, 5, 0, "F").says("a", ACK, 0, 0, "abcdefg")
		}, "a:ab a:CD a:e a:F a:g lost"},
		"keep-alive probe with a byte of garbage": {func(k *talk) *talk {
			return k.shakeHands().says("a", ACK, 0, 0, "abc").says("a", ACK, 2, 0, "\x00").says("a", ACK, 3, 0, "def")
		}, "a:abc a:def lost"},
		"probe of a closed window": {func(k *talk) *talk {
			return k.shakeHands().says("a", ACK, 0, 0, "abc").says("a", ACK, 3, 0, "d").says("a", ACK, 3, 0, "def")
		}, "a:abc a:d a:ef lost"},
		"data in the SYN": {func(k *talk) *talk {
			return k.says("a", SYN, -1, 0, "abc").says("b", SYN|ACK, -1, 3, "").says("a", ACK, 3, 0, "def")
		}, "a:abc a:def lost"},
		"data in the SYN that was not taken": {func(k *talk) *talk {
			return k.says("a", SYN, -1, 0, "abc").says("b", SYN|ACK, -1, 0, "").says("a", ACK, 0, 0, "abcdef")
		}, "a:abc a:def lost"},
		"sequence numbers wrap": {func(k *talk) *talk {
			k.isnA = 0xffffffff - 4
			return k.shakeHands().says("a", ACK, 5, 0, "fgh").says("a", ACK, 0, 0, "abcde").says("b", ACK, 0, 8, "x")
		}, "a:abcde a:fgh b:x lost"},
		"the answer was captured before its question": {func(k *talk) *talk {
			return k.shakeHands().says("b", ACK, 0, 3, "answer").says("a", ACK, 0, 0, "ask")
		}, "a:ask b:answer lost"},
		"the acknowledgement was captured before what it acknowledges": {func(k *talk) *talk {
			return k.shakeHands().says("a", ACK, 0, 0, "abc").says("b", ACK, 0, 6, "").says("a", ACK, 3, 0, "def")
		}, "a:abc a:def lost"},
		"a hole that was acknowledged is a gap": {func(k *talk) *talk {
			return k.shakeHands().says("a", ACK, 0, 0, "abc").says("a", ACK, 6, 0, "ghi").says("b", ACK, 0, 9, "x").later(200 * time.Millisecond)
		}, "a:abc a-3 a:ghi b:x lost"},
		"a gap ends where the next question shows the answer's end": {func(k *talk) *talk {
			// Of b's stream 0–10 and 10–20 are missing; a acknowledged the first ten before it asked again.
			return k.shakeHands().says("a", ACK, 0, 0, "one").says("b", ACK, 20, 6, "tail").says("a", ACK, 3, 10, "two").
				later(200*time.Millisecond).says("a", ACK, 6, 24, "").later(200 * time.Millisecond)
		}, "a:one b-10 a:two b-10 b:tail lost"},
		"a hole that was not acknowledged waits longer": {func(k *talk) *talk {
			return long(11 * time.Second)(k.shakeHands().says("a", ACK, 3, 0, "def").later(time.Second).says("a", ACK, 6, 0, "ghi"))
		}, "a-3 a:def a:ghi lost"},
		"a hole at the end of the capture": {func(k *talk) *talk {
			return k.shakeHands().says("a", ACK, 3, 0, "def")
		}, "a-3 a:def lost"},
		"nothing of the beginning": {func(k *talk) *talk {
			return k.says("a", ACK, 700, 300, "abc").says("b", ACK, 300, 703, "x").says("a", FIN|ACK, 703, 301, "").says("b", FIN|ACK, 301, 704, "")
		}, "a:abc b:x a. b. closed"},
		"only one side": {func(k *talk) *talk {
			return k.says("a", SYN, -1, 0, "").says("a", ACK, 0, 0, "abc").says("a", ACK, 3, 50, "def").says("a", FIN|ACK, 6, 90, "").later(time.Second)
		}, "a:abc b-50 a:def b-40 a. lost"},
		"the end comes before what is missing": {func(k *talk) *talk {
			return k.shakeHands().says("a", FIN|ACK, 3, 0, "def").says("a", ACK, 0, 0, "abc")
		}, "a:abc a:def a. lost"},
		"a reset": {func(k *talk) *talk {
			return k.shakeHands().says("a", ACK, 0, 0, "abc").says("a", RST, 3, 0, "").later(2 * time.Second)
		}, "a:abc reset a"},
		"a reset that nobody believes": {func(k *talk) *talk {
			return k.shakeHands().says("a", ACK, 0, 0, "abc").says("b", RST, 9, 3, "").says("a", ACK, 3, 0, "def").later(2 * time.Second)
		}, "a:abc a:def lost"},
		"a forged end before the handshake": {func(k *talk) *talk {
			return k.says("a", SYN, -1, 0, "").says("b", FIN|ACK, 0, 0, "").says("b", SYN|ACK, -1, 0, "").says("a", ACK, 0, 0, "abc").says("b", ACK, 0, 3, "x")
		}, "a:abc b:x lost"},
		"the ports are used again": {func(k *talk) *talk {
			k.shakeHands().says("a", ACK, 0, 0, "abc").says("a", FIN|ACK, 3, 0, "").says("b", FIN|ACK, 0, 4, "")
			k.isnA, k.isnB = 777000, 888000
			return k.shakeHands().says("a", ACK, 0, 0, "new")
		}, "a:abc a. b. closed a:new lost"},
		"the ports are used again, and the end was not seen": {func(k *talk) *talk {
			k.shakeHands().says("a", ACK, 0, 0, "abc")
			k.isnA, k.isnB = 777000, 888000
			return k.shakeHands().says("a", ACK, 0, 0, "new")
		}, "a:abc lost a:new lost"},
		"the same SYN again, after the first met what was left of another connection": {func(k *talk) *talk {
			k.says("a", SYN, -1, 0, "").says("b", ACK, 90000, 70000, "").says("a", RST, 70000, 0, "").later(3 * time.Second)
			return k.shakeHands().says("a", ACK, 0, 0, "abc").says("b", ACK, 0, 3, "x")
		}, "a-70000 reset a a:abc b:x lost"},
		"the same SYN again, at once": {func(k *talk) *talk {
			k.says("a", SYN, -1, 0, "").says("b", ACK, 90000, 70000, "").says("a", RST, 70000, 0, "")
			return k.shakeHands().says("a", ACK, 0, 0, "abc").says("b", ACK, 0, 3, "x").later(2 * time.Second)
		}, "a-70000 reset a a:abc b:x lost"},
		"a SYN that nobody answers changes nothing": {func(k *talk) *talk {
			k.shakeHands().says("a", ACK, 0, 0, "abc")
			k.isnA += 99000
			k.says("a", SYN, -1, 0, "")
			k.isnA -= 99000
			return k.says("a", ACK, 3, 0, "def")
		}, "a:abc a:def lost"},
		"what is sent again after the end is left": {func(k *talk) *talk {
			return k.shakeHands().says("a", ACK, 0, 0, "abc").says("a", FIN|ACK, 3, 0, "").says("b", FIN|ACK, 0, 4, "").
				later(time.Second).says("a", FIN|ACK, 0, 0, "abc")
		}, "a:abc a. b. closed"},
		"a silent connection is forgotten": {func(k *talk) *talk {
			return k.shakeHands().says("a", ACK, 0, 0, "abc").later(6*time.Minute).says("a", ACK, 3, 0, "def")
		}, "a:abc lost a:def lost"},
		"the capture missed more than any window": {func(k *talk) *talk {
			k.shakeHands().says("a", ACK, 0, 0, "abc")
			for i := range 5 {
				k.says("a", ACK, 500<<20+i, 0, "x")
			}
			return k
		}, "a:abc a--1 a:x a:x lost"},
	} {
		t.Run(name, func(t *testing.T) {
			k := newTalk(Limits{})
			require.Equal(t, row.want, row.talk(k).finish())
			require.Zero(t, k.a.Held())
			require.Zero(t, k.a.blocked.n)
			require.Empty(t, k.a.conns)
		})
	}
}

func TestWhoOpenedIsTheClient(t *testing.T) {
	k := newTalk(Limits{}).says("b", SYN|ACK, -1, 0, "")
	c := k.a.recent
	require.True(t, c.Opened)
	require.Equal(t, k.low, c.Ends[c.Client])
	require.True(t, c.Begins(0) && c.Begins(1))
	require.False(t, c.Seen(c.Client))
}

func TestWhatWaitsIsBounded(t *testing.T) {
	k := newTalk(Limits{PerSide: 1 << 20, Total: 2 << 20, Connections: 100})
	payload := strings.Repeat("x", 1000)
	for port := range 500 {
		k.low.Port = uint16(port + 1)
		k.shakeHands()
		for i := range 20 {
			k.says("a", ACK, 10+i*2000, 0, payload)
		}
		require.LessOrEqual(t, k.a.Held(), 2<<20)
		require.LessOrEqual(t, len(k.a.conns), 100)
	}
	require.Positive(t, k.a.Stats.Forgotten)
	k = newTalk(Limits{PerSide: 1 << 16}).shakeHands()
	for i := range 10_000 {
		k.says("a", ACK, 10+i*2, 0, "x")
		require.LessOrEqual(t, k.a.Held(), 1<<16+200)
	}
	require.Positive(t, k.a.Stats.Overflows)
	k = newTalk(Limits{}).shakeHands()
	for i := range 2 * maxPieces { // backwards
		k.says("a", ACK, 100_000-i*2, 0, "x")
	}
	k.finish()
	require.Zero(t, k.a.Held())
}

// purse is a Budget.
type purse struct{ used, most int64 }

func (p *purse) TryAcquire(n int64) bool {
	if p.used+n > p.most {
		return false
	}
	p.used += n
	return true
}

func (p *purse) Release(n int64) { p.used -= n }

func TestWhatWaitsIsBooked(t *testing.T) {
	b := &purse{most: 10_000}
	k := newTalk(Limits{Budget: b})
	payload := strings.Repeat("x", 1000)
	for port := range 20 {
		k.low.Port = uint16(port + 1)
		k.shakeHands().says("a", ACK, 10, 0, payload)
		require.EqualValues(t, k.a.Held(), b.used)
	}
	require.EqualValues(t, 20-10_000/(1000+pieceCost), k.a.Stats.Overflows, "those that have waited longest give their holes up")
	b.most = 0
	k.says("a", ACK, 0, 0, payload[:9]) // fills the hole of the last
	k.at = k.at.Add(time.Second)
	k.a.Tick(k.at)
	require.EqualValues(t, k.a.Held(), b.used, "what is told is given back")
	k.finish()
	require.Zero(t, b.used)
}

func TestTheUsualPathAllocatesNothing(t *testing.T) {
	l := &counted{}
	a := NewAssembler(l, Limits{})
	var d Decoder
	var s Segment
	ask := buildEther(typeIPv4, buildIPv4(protoTCP, buildTCP(4000, 80, 1, 1, ACK|PSH, question)))
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if d.Decode(LinkEthernet, ask, zero, &s) {
			s.Seq += uint32(l.n * len(question))
			a.Segment(&s, zero)
		}
	}))
	require.Equal(t, 1001, l.n)
}

type counted struct{ n int }

func (c *counted) Data(*Conn, Side, []byte, time.Time) { c.n++ }
func (c *counted) Gap(*Conn, Side, int64, time.Time)   {}
func (c *counted) Ended(*Conn, Side, time.Time)        {}
func (c *counted) Closed(*Conn, Closing, time.Time)    {}
