package packet

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func FuzzDecode(f *testing.F) {
	tcp := buildTCP(4000, 80, 100, 200, PSH|ACK, question)
	f.Add(uint32(LinkEthernet), buildEther(typeIPv4, buildIPv4(protoTCP, tcp)))
	f.Add(uint32(LinkLinux2), append(append(be16(typeIPv6), make([]byte, 18)...), buildIPv6(protoTCP, tcp)...))
	f.Add(uint32(LinkEthernet), buildEther(typeIPv4, buildIPv4(protoUDP, buildUDP(1, portVXLAN, append([]byte{8, 0, 0, 0, 0, 0, 7, 0}, buildEther(typeIPv4, buildIPv4(protoTCP, tcp))...)))))
	f.Add(uint32(LinkRaw), buildIPv4(protoGRE, append([]byte{0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 1, 0, 0, 0, 0, 0, 1}, buildEther(typeIPv4, buildIPv4(protoTCP, tcp))...)))
	f.Add(uint32(LinkRadiotap), []byte("\x00\x00\x08\x00\x00\x00\x00\x00\x88\x01"))
	f.Fuzz(func(t *testing.T, link uint32, data []byte) {
		var d Decoder
		var s Segment
		for range 2 { // fragments meet themselves
			if d.Decode(LinkType(link), data, zero, &s) {
				require.GreaterOrEqual(t, s.Missing, 0)
				require.LessOrEqual(t, len(s.Payload), max(len(data), maxDatagram))
			}
		}
	})
}

func FuzzReader(f *testing.F) {
	f.Add(pcapFileOf(bigOrder, microMagic, 0, "first", "second"))
	f.Add(pcapFileOf(littleOrder, kernelMagic, 8, "first"))
	f.Add(bytes.Join([][]byte{
		ngSection(littleOrder), ngInterface(littleOrder, LinkRaw, ngOption(littleOrder, optionResolution, 0x8a)), ngPacket(littleOrder, 0, 7<<20, "x"),
	}, nil))
	f.Fuzz(func(t *testing.T, content []byte) {
		r, err := NewReader(bytes.NewReader(content))
		var n int64
		for f := (Frame{}); err == nil; n++ {
			if err = r.Next(&f); err != nil {
				break
			}
			require.Equal(t, n+1, f.Number)
			require.GreaterOrEqual(t, f.Length, len(f.Data))
			require.LessOrEqual(t, f.Offset+int64(len(f.Data)), int64(len(content)))
		}
		var broken *BrokenError
		if !errors.Is(err, io.EOF) {
			require.ErrorAs(t, err, &broken)
			require.LessOrEqual(t, broken.Offset, int64(len(content)))
			require.Equal(t, n, broken.Packets)
		}
	})
}

// truthful checks that what an Assembler tells is what was sent: byte n of a stream is a function of n, and gaps are as
// long as they are said to be.
type truthful struct {
	t     *testing.T
	from  [2]int64 // position of the next byte; -1: not known
	ended [2]bool
	over  bool
}

func streamByte(n int64) byte { return byte(n*7 + n>>8) }

func (l *truthful) Data(_ *Conn, s Side, p []byte, _ time.Time) {
	require.False(l.t, l.over || l.ended[s])
	require.NotEmpty(l.t, p)
	for _, b := range p {
		if b != streamByte(l.from[s]) {
			l.t.Fatalf("side %d, byte %d is wrong", s, l.from[s])
		}
		l.from[s]++
	}
}

func (l *truthful) Gap(_ *Conn, s Side, n int64, _ time.Time) {
	require.False(l.t, l.over)
	require.Positive(l.t, n)
	l.from[s] += n
}

func (l *truthful) Ended(_ *Conn, s Side, _ time.Time) {
	require.False(l.t, l.over || l.ended[s])
	l.ended[s] = true
}

func (l *truthful) Closed(*Conn, Closing, time.Time) {
	require.False(l.t, l.over)
	l.over = true
}

// FuzzAssembler sends the segments of two streams in an order, with repetitions, overlaps and holes that the input
// chooses: five bytes a segment (side and flags, position, length, acknowledgement, time).
func FuzzAssembler(f *testing.F) {
	f.Add(uint32(0xfffffff0), []byte{0, 0, 10, 0, 1, 1, 0, 20, 10, 1, 0, 10, 5, 20, 1})
	f.Add(uint32(1), []byte{0, 5, 5, 0, 0, 0, 0, 10, 0, 9, 1, 0, 3, 12, 1, 3, 3, 0, 12, 200})
	f.Fuzz(func(t *testing.T, isn uint32, ops []byte) {
		l := &truthful{t: t}
		a := NewAssembler(l, Limits{PerSide: 1 << 10, Total: 1 << 11, Idle: 1 << 62})
		ends := [2]Endpoint{{fromV4(addrA), 4000, true}, {fromV4(addrB), 80, true}}
		at := zero
		send := func(s *Segment) {
			if !l.over {
				a.Segment(s, at)
			}
			require.LessOrEqual(t, a.Held(), 1<<11+1<<10)
		}
		send(&Segment{Src: ends[0], Dst: ends[1], Seq: isn - 1, Flags: SYN})
		send(&Segment{Src: ends[1], Dst: ends[0], Seq: isn - 1, Ack: isn, Flags: SYN | ACK})
		ops = ops[:min(len(ops), 2000)]
		for ; len(ops) >= 5; ops = ops[5:] {
			side := ops[0] & 1
			from := int64(ops[1]) * 4
			payload := make([]byte, ops[2])
			for i := range payload {
				payload[i] = streamByte(from + int64(i))
			}
			flags := ACK
			if ops[0]&0x0e == 2 { // the only possible end
				flags, from, payload = ACK|FIN, 1500, nil
			}
			if ops[0]&0x7e == 4 {
				flags |= RST
			}
			at = at.Add(time.Duration(ops[4]) * 10 * time.Millisecond)
			send(&Segment{
				Src: ends[side], Dst: ends[1-side], Seq: isn + uint32(from), Ack: isn + uint32(ops[3])*4, Flags: flags, Payload: payload,
			})
		}
		a.Finish()
		require.Zero(t, a.Held())
		require.Empty(t, a.conns)
	})
}
