package passive

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/packet"
	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/wire"
)

const (
	askOne = "GET /one HTTP/1.1\r\nHost: a\r\n\r\n"
	askTwo = "GET /two HTTP/1.1\r\nHost: a\r\n\r\n"
	yes    = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	no     = "HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno"
)

// wireTap writes the packets of one connection, from 10.0.0.1:4000 ("C") to 10.0.0.2:80 ("S"), and reads them.
type wireTap struct {
	r    *Reader
	at   time.Time
	seq  [2]uint32
	got  []string
	last *traffic.Exchange
}

func newWireTap(cfg Config) *wireTap {
	cfg.Recorder.BodyMax, cfg.Recorder.ResponseWait, cfg.Recorder.TimeSource = 1<<20, time.Minute, traffic.PacketTime
	cfg.Prefix = "x-"
	return &wireTap{r: New(cfg), at: time.Unix(1700000000, 0), seq: [2]uint32{100, 900}}
}

const (
	fin = 1
	syn = 2
	rst = 4
	ack = 16
)

// send captures a segment at the present place of a side's stream; lost: nobody captures it.
func (w *wireTap) send(side string, flags byte, payload string, lost bool) *wireTap {
	from := 0
	if side == "S" {
		from = 1
	}
	tcp := make([]byte, 20, 20+len(payload))
	ports := [2]uint16{4000, 80}
	binary.BigEndian.PutUint16(tcp, ports[from])
	binary.BigEndian.PutUint16(tcp[2:], ports[1-from])
	binary.BigEndian.PutUint32(tcp[4:], w.seq[from])
	if flags&ack != 0 {
		binary.BigEndian.PutUint32(tcp[8:], w.seq[1-from])
	}
	tcp[12], tcp[13] = 5<<4, flags
	tcp = append(tcp, payload...)
	ip := make([]byte, 20)
	ip[0], ip[8], ip[9], ip[12], ip[15], ip[16], ip[19] = 0x45, 64, 6, 10, byte(1+from), 10, byte(2-from)
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(tcp)))
	w.seq[from] += uint32(len(payload))
	if flags&(syn|fin) != 0 {
		w.seq[from]++
	}
	w.at = w.at.Add(time.Millisecond)
	if !lost {
		w.r.Packet(packet.LinkRaw, slices.Concat(ip, tcp), w.at)
		w.take()
	}
	return w
}

func (w *wireTap) open() *wireTap {
	return w.send("C", syn, "", false).send("S", syn|ack, "", false).send("C", ack, "", false)
}

// say captures segments, "C:text" or "S:text"; "C-text" is one that nobody captures.
func (w *wireTap) say(lines ...string) *wireTap {
	for _, l := range lines {
		w.send(l[:1], ack, l[2:], l[1] == '-')
	}
	return w
}

func (w *wireTap) take() {
	for _, c := range w.r.Recorder.Take() {
		x, status := c.Exchange, 0
		w.last = x
		if x.Response != nil {
			status = x.Response.Status
		}
		w.got = append(w.got, strings.TrimSpace(fmt.Sprintf("%s>%s %s %d %v", x.Connection.Client, x.Connection.Server, x.Request.Target, status, x.Flags)))
	}
}

func (w *wireTap) end() []string {
	w.at = w.at.Add(time.Second)
	w.r.Tick(w.at)
	w.r.Finish()
	w.take()
	return w.got
}

const (
	there = "10.0.0.1:4000>10.0.0.2:80 "
	back  = "10.0.0.2:80>10.0.0.1:4000 "
)

func TestConversationsAreRead(t *testing.T) {
	for name, row := range map[string]struct {
		play func(w *wireTap)
		want []string
	}{
		"from its beginning": {func(w *wireTap) {
			w.open().say("C:"+askOne, "S:"+yes, "C:"+askTwo, "S:"+no)
		}, []string{there + "/one 200", there + "/two 404"}},
		"a request in small segments": {func(w *wireTap) {
			w.open().say("C:G", "C:ET /o", "C:ne HTTP/1.1\r\nHost: a\r\n", "C:\r\n", "S:"+yes)
		}, []string{there + "/one 200"}},
		"both in small segments": {func(w *wireTap) {
			w.open().say("C:G", "C:ET /one HTTP/1.1\r\nHost: a\r\n\r\n", "S:HTTP/1.", "S:"+yes[len("HTTP/1."):])
		}, []string{there + "/one 200"}},
		"from the middle": {func(w *wireTap) {
			w.say("S:the rest of something", "C:"+askOne, "S:"+yes)
		}, []string{there + "/one 200"}},
		"from the middle, an answer first": {func(w *wireTap) {
			w.say("S:"+no, "C:"+askOne, "S:"+yes)
		}, []string{there + "/one 200"}},
		"only the client": {func(w *wireTap) {
			w.send("C", syn, "", false).say("C:" + askOne).say("S-" + yes).say("C:" + askTwo)
		}, []string{there + "/one 0 REQUEST_ONLY", there + "/two 0 REQUEST_ONLY"}},
		"no answer": {func(w *wireTap) {
			w.open().say("C:" + askOne)
		}, []string{there + "/one 0 NO_RESPONSE"}},
		"only the server": {func(w *wireTap) {
			w.send("S", syn|ack, "", false).say("C-"+askOne, "S:"+yes, "C-"+askTwo, "S:"+no)
		}, nil},
		"the side that was called asks": {func(w *wireTap) {
			w.open().say("S:"+askOne, "C:"+yes)
		}, []string{back + "/one 200"}},
		"a request that nobody captured": {func(w *wireTap) {
			w.open().say("C:"+askOne, "S:"+yes, "C-"+askTwo, "S:"+no, "C:GET /three HTTP/1.1\r\n\r\n")
			w.at = w.at.Add(time.Second)
			w.say("S:" + yes)
		}, []string{there + "/one 200", there + "/three 200"}},
		"a piece of an answer that nobody captured": {func(w *wireTap) {
			w.open().say("C:"+askOne, "S:HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", "S-abc", "S:def", "C:"+askTwo, "S:"+no)
		}, []string{there + "/one 200 TRUNCATED_RESPONSE,GAP", there + "/two 404"}},
		"behind SOCKS": {func(w *wireTap) {
			w.open().say("C:\x05\x01\x00", "S:\x05\x00", "C:\x05\x01\x00\x01\x01\x02\x03\x04\x00\x50", "S:\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", "C:"+askOne, "S:"+yes)
		}, []string{there + "/one 200"}},
		"behind SOCKS, the other way": {func(w *wireTap) {
			w.open().say("C:NZ\x8d\x08", "S:\x05\x01\x00", "S:"+askOne, "C:"+yes)
		}, []string{back + "/one 200"}},
		"behind a proxy's header": {func(w *wireTap) {
			w.open().say("C:PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"+askOne, "S:"+yes)
		}, []string{there + "/one 200"}},
		"behind a proxy's binary header, in a segment of its own": {func(w *wireTap) {
			w.open().say("C:\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x02ab", "C:"+askOne, "S:"+yes)
		}, []string{there + "/one 200"}},
		"a request to a server of another protocol": {func(w *wireTap) {
			w.open().say("C:"+askOne, "S:SSH-2.0-x\r\n")
		}, nil},
		"another protocol that looks like a request": {func(w *wireTap) {
			w.open().say("C:RUN /x HTTP/1.1\r\n\r\n", "S:+OK")
		}, nil},
		"through a tunnel": {func(w *wireTap) {
			w.open().say("C:CONNECT a:80 HTTP/1.1\r\n\r\n", "S:HTTP/1.1 200 OK\r\n\r\n", "C:"+askOne, "S:"+yes, "C:"+askTwo, "S:"+no)
		}, []string{there + "a:80 200 CONNECT", there + "/one 200", there + "/two 404"}},
		"through a tunnel, in pieces": {func(w *wireTap) {
			w.open().say("C:CONNECT a:80 HTTP/1.1\r\n\r\n", "S:HTTP/1.1 200 OK\r\n\r\n", "C:"+askOne[:1], "C:"+askOne[1:2], "C:"+askOne[2:], "S:"+yes)
		}, []string{there + "a:80 200 CONNECT", there + "/one 200"}},
		"TLS through a tunnel": {func(w *wireTap) {
			w.open().say("C:CONNECT a:443 HTTP/1.1\r\n\r\n", "S:HTTP/1.1 200 OK\r\n\r\n", "C:\x16\x03\x01\x00\x05hello", "S:\x16\x03\x03\x00\x05hello")
			w.say("C:\x17\x03\x03" + strings.Repeat("x", seekFor)).say("C:" + askOne)
		}, []string{there + "a:443 200 CONNECT"}},
		"a tunnel that was refused": {func(w *wireTap) {
			w.open().say("C:CONNECT a:80 HTTP/1.1\r\n\r\n", "S:"+no, "C:"+askOne, "S:"+yes)
		}, []string{there + "a:80 404 CONNECT", there + "/one 200"}},
		"behind an upgrade there is no HTTP": {func(w *wireTap) {
			w.open().say("C:GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", "S:HTTP/1.1 101 Yes\r\n\r\n", "C:"+askOne, "S:"+yes)
		}, []string{there + "/ws 101 UPGRADED"}},
		"data in the opening segment": {func(w *wireTap) {
			w.send("C", syn, askOne, false).send("S", syn|ack, "", false).say("S:"+yes, "C:"+askTwo, "S:"+no)
		}, []string{there + "/one 200", there + "/two 404"}},
		"sequence numbers wrap within a request": {func(w *wireTap) {
			w.seq = [2]uint32{1<<32 - 10, 1<<32 - 20}
			w.open().say("C:"+askOne, "S:"+yes, "C:"+askTwo, "S:"+no)
		}, []string{there + "/one 200", there + "/two 404"}},
		"sent again with other bytes": {func(w *wireTap) {
			w.open().say("C:" + askOne)
			w.seq[0] -= uint32(len(askOne))
			w.say("C:"+strings.Replace(askOne, "/one", "/two", 1), "S:"+yes)
		}, []string{there + "/one 200"}},
		"an answer on the way, and pipelined": {func(w *wireTap) {
			w.open().say("C:"+askOne+askTwo, "S:HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"+yes+no)
		}, []string{there + "/one 200", there + "/two 404"}},
		"HTTP/0.9": {func(w *wireTap) {
			w.open().say("C:GET /old\r\n", "S:<p>old").send("S", fin|ack, "", false)
		}, []string{there + "/old 0 NO_RESPONSE,AMBIGUOUS_FRAMING"}},
		"TLS": {func(w *wireTap) {
			w.open().say("C:\x16\x03\x01\x00\x05hello", "C:"+askOne)
		}, nil},
		"another protocol for long, then something like a request": {func(w *wireTap) {
			w.open()
			for range 20 {
				w.say("C:\x00" + strings.Repeat("x", 1000))
			}
			w.say("C:"+askOne, "S:"+yes)
		}, nil},
		"the client breaks off": {func(w *wireTap) {
			w.open().say("C:"+askOne).send("C", rst, "", false)
			w.at = w.at.Add(2 * time.Second)
			w.r.Tick(w.at)
		}, []string{there + "/one 0 CLIENT_ABORTED"}},
		"an answer that ends with the connection": {func(w *wireTap) {
			w.open().say("C:"+askOne, "S:HTTP/1.1 200 OK\r\n\r\nuntil the end").send("S", fin|ack, "", false)
		}, []string{there + "/one 200"}},
		"HTTP/2": {func(w *wireTap) {
			w.open().say("C:PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", "S:\x00\x00\x00\x04\x00\x00\x00\x00\x00",
				"C:\x00\x00\x0e\x01\x05\x00\x00\x00\x01\x82\x86\x84\x01\x09localhost", "S:\x00\x00\x01\x01\x05\x00\x00\x00\x01\x88")
		}, []string{there + "/ 200"}},
		"HTTP/2, only the client": {func(w *wireTap) {
			w.send("C", syn, "", false).say("C:PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
				"C:\x00\x00\x0e\x01\x05\x00\x00\x00\x01\x82\x86\x84\x01\x09localhost").send("C", fin|ack, "", false)
		}, []string{there + "/ 0 REQUEST_ONLY"}},
		"a target that is not ASCII, only the client": {func(w *wireTap) {
			w.send("C", syn, "", false).say("C:GET /\xc3\xa4 HTTP/1.1\r\n\r\n").send("C", fin|ack, "", false)
		}, []string{there + "/\xc3\xa4 0 REQUEST_ONLY"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWireTap(Config{})
			row.play(w)
			require.Equal(t, row.want, w.end())
		})
	}
}

func TestOnlyWhatIsWantedIsRead(t *testing.T) {
	w := newWireTap(Config{Wanted: func(s *packet.Segment) bool { return s.Dst.Port == 81 || s.Src.Port == 81 }})
	require.Empty(t, w.open().say("C:"+askOne, "S:"+yes).end())
}

func TestExchangesHaveTheTimesOfPackets(t *testing.T) {
	w := newWireTap(Config{Recorder: wire.RecorderConfig{Source: traffic.Source{Kind: traffic.Import}}})
	w.open()
	began := w.at.Add(time.Millisecond)
	w.send("C", ack, askOne, false)
	w.at = w.at.Add(40 * time.Millisecond)
	w.send("S", ack, yes[:10], false)
	w.at = w.at.Add(9 * time.Millisecond)
	w.send("S", ack, yes[10:], false)
	x := w.last
	require.NotNil(t, x)
	require.Equal(t, began.UTC(), x.CaptureTime)
	require.Equal(t, traffic.PacketTime, x.TimeSource)
	require.Equal(t, 41*time.Millisecond, x.Response.TTFB)
	require.Equal(t, 51*time.Millisecond, x.Response.Duration)
	require.Equal(t, "x-1", string(x.Connection.ID))
	require.EqualValues(t, 1, x.Connection.Sequence)
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("\x00" + askOne + "\xff\x01" + yes + "\xff\x02" + askTwo + "\xff\x03" + no))
	f.Add([]byte("\x04\xff\x00PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\x01" + yes))
	f.Fuzz(func(t *testing.T, script []byte) {
		w := newWireTap(Config{})
		w.open()
		for part := range strings.SplitSeq(string(script), "\xff") {
			if part == "" {
				continue
			}
			side := "C"
			if part[0]&1 != 0 {
				side = "S"
			}
			flags := byte(ack)
			if part[0]&0x38 == 0x38 {
				flags |= fin
			}
			w.send(side, flags, part[1:], part[0]&6 == 6)
			if part[0]&0x40 != 0 {
				w.at = w.at.Add(time.Second)
			}
		}
		w.end()
		counts := &w.r.Recorder.Counts
		lost := int64(0)
		for _, n := range counts.Lost {
			lost += n
		}
		require.Zero(t, counts.Opaque[0], "a panic")
		require.Equal(t, counts.Seen, int64(len(w.got))+lost)
	})
}
