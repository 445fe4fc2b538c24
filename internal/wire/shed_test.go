package wire

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ration is a Shedder that a test commands.
type ration struct {
	used   int64
	most   int64 // 0: any
	shut   bool
	late   bool
	before int64 // what began before goes
	places []*Place
}

func (r *ration) TryAcquire(n int64) bool {
	if r.most > 0 && r.used+n > r.most {
		return false
	}
	r.used += n
	return true
}

func (r *ration) Release(n int64) { r.used -= n }
func (r *ration) Shut() bool      { return r.shut }
func (r *ration) Late() bool      { return r.late }
func (r *ration) Sheds(_ *Place, start int64) bool {
	return start < r.before
}

func (r *ration) Join() *Place {
	p := new(Place)
	r.places = append(r.places, p)
	return p
}

// bench holds dialogs that began a second apart.
type bench struct {
	*ration
	r       *Recorder
	dialogs []*Dialog
	at      time.Time
}

func newBench() *bench {
	budget := new(ration)
	return &bench{ration: budget, at: time.Unix(1700000000, 0), r: NewRecorder(RecorderConfig{BodyMax: 1 << 20, ResponseWait: time.Hour, Budget: budget})}
}

// begin lets a new client say something, a second after the last.
func (b *bench) begin(said string) *Dialog {
	d := new(Dialog)
	d.Start(nil, nil, nil)
	b.at = b.at.Add(time.Second)
	b.r.Requests(d, []byte(said), b.at)
	b.dialogs = append(b.dialogs, d)
	return d
}

// shedFirst gives up what the first n began.
func (b *bench) shedFirst(n int) {
	b.before = time.Unix(1700000000+int64(n), 1).UnixNano()
	b.r.Expire(b.at)
}

func TestTheOldestUnfinishedAreGivenUp(t *testing.T) {
	const half = "POST /%d HTTP/1.1\r\nContent-Length: 10\r\n\r\nhello"
	b := newBench()
	for i := range 4 {
		b.begin(fmt.Sprintf(half, i))
	}
	require.False(t, b.r.Expire(b.at).IsZero(), "it looks again as long as there is something")
	require.Equal(t, time.Unix(1700000001, 0).UnixNano(), b.places[0].Oldest())
	held := b.used
	b.shedFirst(2)
	require.Equal(t, held/2, b.used)
	require.EqualValues(t, 2, b.r.Counts.Lost[LostMemory])
	require.Equal(t, time.Unix(1700000003, 0).UnixNano(), b.places[0].Oldest())
	for _, d := range b.dialogs { // all go on, and what follows on them is captured
		b.r.Requests(d, []byte("world"), b.at)
		b.r.Responses(d, []byte(ok), b.at)
		b.r.Requests(d, []byte("GET /next HTTP/1.1\r\n\r\n"), b.at.Add(time.Minute))
		b.r.Responses(d, []byte(ok), b.at.Add(time.Minute))
		b.r.Close(d, false, b.at)
	}
	var got []string
	for _, c := range b.r.Take() {
		got = append(got, string(c.Exchange.Request.Target))
		b.Release(c.Bytes)
	}
	require.Equal(t, []string{"/next", "/next", "/2", "/next", "/3", "/next"}, got)
	require.Zero(t, b.used)
	require.EqualValues(t, 8, b.r.Counts.Seen)
	require.True(t, b.r.Expire(b.at).IsZero())
	require.EqualValues(t, Never, b.places[0].Oldest())
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func TestTheOldestMakeRoomForWhatComes(t *testing.T) {
	b := newBench()
	b.before = Never
	b.begin("POST /0 HTTP/1.1\r\nContent-Length: 10\r\n\r\nhello")
	b.most = 3 * b.used
	for i := range 5 {
		b.begin(fmt.Sprintf("POST /%d HTTP/1.1\r\nContent-Length: 10\r\n\r\nhello", i+1))
	}
	require.EqualValues(t, 3, b.r.Counts.Lost[LostMemory])
	for _, d := range b.dialogs {
		b.r.Close(d, false, b.at)
	}
	var got string
	for _, c := range b.r.Take() {
		got += string(c.Exchange.Request.Target)
	}
	require.Equal(t, "/3/4/5", got)
}

func TestStreamsAreGivenUpOneByOne(t *testing.T) {
	b := newBench()
	c, s := speakers()
	d := b.begin(c.hello()[2:])
	hear := func(lines ...string) {
		for _, l := range lines {
			b.at = b.at.Add(time.Second)
			if l[:2] == "C:" {
				b.r.Requests(d, []byte(l[2:]), b.at)
			} else {
				b.r.Responses(d, []byte(l[2:]), b.at)
			}
		}
	}
	hear(s.hello(), c.post(1, "/1"), c.post(3, "/3"))
	b.before = b.at.UnixNano()
	b.r.Expire(b.at)
	require.EqualValues(t, 1, b.r.Counts.Lost[LostMemory])
	hear(c.data(1, true, "one"), c.data(3, true, "three"), s.answer(3, "3"), s.answer(1, "1"), c.get(5, "/5"), s.answer(5, "5"))
	out := b.r.Take()
	require.Len(t, out, 2)
	require.Equal(t, "three", string(out[0].Exchange.Request.Body))
	require.Equal(t, "/5", string(out[1].Exchange.Request.Target), "the connection is read on")
	require.EqualValues(t, 3, b.r.Counts.Seen)
	for _, c := range out {
		b.Release(c.Bytes)
	}
	b.r.Close(d, false, b.at)
	require.Zero(t, b.used)
}

func TestHeadsThatDoNotEndAreGivenUpWithTheirConnections(t *testing.T) {
	b := newBench()
	head := "GET / HTTP/1.1\r\nA: " + strings.Repeat("a", 8<<10)
	old := b.begin(head)
	b.begin(head)
	asked := b.begin("GET /1 HTTP/1.1\r\n\r\n")
	b.r.Responses(asked, []byte("HTTP/1.1 200 OK\r\nA: "+strings.Repeat("a", 8<<10)), b.at)
	held := b.used
	b.shedFirst(1)
	require.Less(t, b.used, held)
	require.True(t, old.Opaque())
	require.EqualValues(t, 1, b.r.Counts.Lost[LostMemory])
	require.EqualValues(t, 2, b.r.Counts.Seen)
	b.r.Requests(b.dialogs[1], []byte("\r\n\r\n"), b.at)
	b.r.Responses(b.dialogs[1], []byte(ok), b.at)
	require.Len(t, b.r.Take(), 1, "the younger one is read to its end")
	b.shedFirst(3)
	for _, d := range b.dialogs {
		b.r.Close(d, false, b.at)
	}
	b.r.Take()
	require.EqualValues(t, 3, b.r.Counts.Seen)
	require.True(t, b.r.Expire(b.at).IsZero())
}

func TestAShutBudgetKeepsNothingAndCountsAll(t *testing.T) {
	b := newBench()
	before := b.begin("POST /before HTTP/1.1\r\nContent-Length: 10\r\n\r\nhello")
	b.shut = true
	during := b.begin("GET /during HTTP/1.1\r\n\r\n")
	long := b.begin("GET /long HTTP/1.1\r\nA: " + strings.Repeat("a", 8<<10))
	b.r.Expire(b.at)
	require.EqualValues(t, 2, b.r.Counts.Lost[LostProtection])
	require.Equal(t, "self_protection", LostProtection.String())
	b.r.Requests(long, []byte("\r\n\r\n"), b.at)
	b.r.Requests(before, []byte("world"), b.at)
	require.EqualValues(t, 3, b.r.Counts.Lost[LostProtection], "framing has gone on")
	require.Zero(t, b.used)
	b.shut = false
	for _, d := range []*Dialog{before, during, long} {
		b.r.Responses(d, []byte(ok), b.at)
		b.r.Requests(d, []byte("GET /after HTTP/1.1\r\n\r\n"), b.at)
		b.r.Responses(d, []byte(ok), b.at)
	}
	require.Len(t, b.r.Take(), 3, "and captures again without a new connection")
	require.EqualValues(t, 6, b.r.Counts.Seen)
}

// Whatever is given up in between: all that was seen is handed over once or lost once, and nothing stays booked.
func FuzzShedding(f *testing.F) {
	c, s := speakers()
	h2 := strings.Join([]string{c.hello(), s.hello(), c.post(1, "/1"), c.post(3, "/3"), "!", c.data(1, true, "x"), s.answer(1, "y")}, "\xff")
	f.Add([]byte("C:POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nhello\xff!\xffC:world\xffS:"+ok+"\xffC:GET /2 HTTP/1.1\r\n\r\n\xffS:"+ok), uint8(1))
	f.Add([]byte(h2), uint8(0))
	f.Add([]byte("C:GET / HTTP/1.1\r\nA: "+strings.Repeat("a", 5000)+"\xff!\xff~\xffC:\r\n\r\n\xff~\xffS:"+ok), uint8(2))
	f.Fuzz(func(t *testing.T, script []byte, spare uint8) {
		b := newBench()
		var dialogs [3]*Dialog
		for i := range dialogs {
			dialogs[i] = b.begin("")
		}
		taken := int64(0)
		for i, part := range strings.Split(string(script), "\xff") {
			b.at = b.at.Add(time.Second)
			d := dialogs[i*int(spare%3)%3]
			switch {
			case part == "!":
				b.before = b.at.Add(-time.Duration(spare) * time.Second).UnixNano()
			case part == "=":
				b.most = b.used + int64(spare)
			case part == "~":
				b.shut = !b.shut
			case strings.HasPrefix(part, "C:"):
				b.r.Requests(d, []byte(part[2:]), b.at)
			case strings.HasPrefix(part, "S:"):
				b.r.Responses(d, []byte(part[2:]), b.at)
			}
			b.r.Expire(b.at)
		}
		for _, d := range dialogs {
			b.r.Close(d, false, b.at)
		}
		b.r.Expire(b.at)
		for _, c := range b.r.Take() {
			b.Release(c.Bytes)
			taken++
		}
		for _, n := range b.r.Counts.Lost {
			taken += n
		}
		require.Zero(t, b.r.Counts.Opaque[0], "a panic")
		require.Equal(t, b.r.Counts.Seen, taken)
		require.Zero(t, b.used)
		require.Nil(t, b.r.heads.first())
		require.Nil(t, b.r.unfinished.first())
	})
}

func TestNothingBecomesLargeWhileABudgetIsLate(t *testing.T) {
	answer := func(size int) []byte {
		return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size))
	}
	b := newBench()
	before := b.begin("POST /before HTTP/1.1\r\nContent-Length: 20000\r\n\r\n" + strings.Repeat("x", 10000))
	b.late = true
	held := b.used
	during := b.begin("POST /during HTTP/1.1\r\nContent-Length: 20000\r\n\r\n" + strings.Repeat("x", 10000))
	require.EqualValues(t, 1, b.r.Counts.Lost[LostBehind])
	require.Equal(t, "behind", LostBehind.String())
	require.Equal(t, held, b.used, "nothing of it is kept")
	b.r.Requests(before, []byte(strings.Repeat("x", 10000)), b.at)
	b.r.Responses(before, answer(20000), b.at)
	require.Len(t, b.r.Take(), 1, "what was large is captured")
	b.r.Requests(during, []byte(strings.Repeat("x", 10000)), b.at)
	b.r.Responses(during, []byte(ok), b.at)
	require.Empty(t, b.r.Take())

	b.r.Requests(during, []byte("GET /small HTTP/1.1\r\n\r\nGET /large HTTP/1.1\r\n\r\nGET /small HTTP/1.1\r\n\r\n"), b.at)
	b.r.Responses(during, slices.Concat(answer(5000), answer(20000), answer(5000)), b.at)
	require.Len(t, b.r.Take(), 2, "small ones go on, on the same connection too")
	require.EqualValues(t, 2, b.r.Counts.Lost[LostBehind])
	b.late = false
	b.r.Requests(during, []byte("GET /after HTTP/1.1\r\n\r\n"), b.at)
	b.r.Responses(during, answer(20000), b.at)
	require.Len(t, b.r.Take(), 1)
	require.EqualValues(t, 6, b.r.Counts.Seen)
}

// A body whose length is known has its memory after the first half, and is not copied again; what comes of it decides how
// much that is, not what was announced.
func TestABodyHasRoomForTwiceWhatHasCome(t *testing.T) {
	const whole, first = 64 << 10, 40 << 10
	send := func(announced string, bodyMax int) (budget *ration, body func(n int)) {
		budget = new(ration)
		r := NewRecorder(RecorderConfig{BodyMax: bodyMax, ResponseWait: time.Hour, Budget: budget})
		d, now := new(Dialog), time.Now()
		d.Start(nil, nil, nil)
		r.Requests(d, []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), now)
		r.Responses(d, []byte("HTTP/1.1 200 OK\r\n"+announced+"\r\n\r\n"), now)
		head := budget.used
		return budget, func(n int) {
			r.Responses(d, []byte(strings.Repeat("x", n)), now)
			budget.used -= head
			head = 0
		}
	}

	budget, body := send("Content-Length: 65536", 1<<20)
	body(first)
	require.EqualValues(t, whole, budget.used, "the rest has room")
	body(whole - first)
	require.EqualValues(t, whole, budget.used)

	budget, body = send("Content-Length: 1000000000", 1<<20)
	body(1 << 10)
	require.EqualValues(t, 2<<10, budget.used, "most of it may never come")

	budget, body = send("Content-Length: 1000000000", first+1)
	body(first)
	require.EqualValues(t, first+1, budget.used, "no more than is kept")

	budget, body = send("Connection: close", 1<<20)
	body(first)
	require.EqualValues(t, first, budget.used, "nothing is known of the rest")
}
