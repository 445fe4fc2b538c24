package packet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

// readFile reads a capture to its end or to where it breaks off.
func readFile(content []byte) (frames []Frame, err error) {
	r, err := NewReader(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	for f := (Frame{}); ; {
		if err := r.Next(&f); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return frames, err
		}
		kept := f
		kept.Data = bytes.Clone(f.Data)
		frames = append(frames, kept)
	}
}

func pcapFileOf(order binary.AppendByteOrder, magic uint32, extra int, packets ...string) []byte {
	b := order.AppendUint32(nil, magic)
	b = order.AppendUint16(order.AppendUint16(b, 2), 4)
	b = append(b, make([]byte, 8)...)
	b = order.AppendUint32(b, 65535)
	b = order.AppendUint32(b, uint32(LinkLinux)|4<<28)
	for i, p := range packets {
		b = order.AppendUint32(b, 1700000000+uint32(i))
		b = order.AppendUint32(b, 123456)
		b = order.AppendUint32(b, uint32(len(p)))
		b = order.AppendUint32(b, uint32(len(p)+i)) // the second was cut by a byte
		b = append(append(b, make([]byte, extra)...), p...)
	}
	return b
}

func TestPcapInEveryForm(t *testing.T) {
	for name, row := range map[string]struct {
		order binary.AppendByteOrder
		magic uint32
		extra int
		nsec  int
	}{
		"µs":              {binary.LittleEndian, microMagic, 0, 123456000},
		"ns":              {binary.LittleEndian, nanoMagic, 0, 123456},
		"big endian":      {binary.BigEndian, microMagic, 0, 123456000},
		"ns, big endian":  {binary.BigEndian, nanoMagic, 0, 123456},
		"patched libpcap": {binary.LittleEndian, kernelMagic, 8, 123456000},
	} {
		t.Run(name, func(t *testing.T) {
			content := pcapFileOf(row.order, row.magic, row.extra, "first", "second")
			require.True(t, IsCapture(content))
			frames, err := readFile(content)
			require.NoError(t, err)
			require.Len(t, frames, 2)
			require.Equal(t, Frame{
				Data: []byte("second"), Time: time.Unix(1700000001, int64(row.nsec)), Link: LinkLinux, Length: 7,
				Offset: int64(24 + 16 + row.extra + 5), Number: 2,
			}, frames[1])
			for n := range len(content) - 1 {
				_, err := readFile(content[:n])
				if n == 24 || n == int(frames[1].Offset) {
					require.NoError(t, err, n)
					continue
				}
				var broken *BrokenError
				require.ErrorAs(t, err, &broken, n)
				require.LessOrEqual(t, broken.Offset, int64(n))
			}
		})
	}
}

// ngBlock builds a block.
func ngBlock(order binary.AppendByteOrder, kind uint32, body ...[]byte) []byte {
	content := slices.Concat(body...)
	content = append(content, make([]byte, (4-len(content)%4)%4)...)
	size := uint32(len(content) + 12)
	return order.AppendUint32(append(order.AppendUint32(order.AppendUint32(nil, kind), size), content...), size)
}

func ngSection(order binary.AppendByteOrder) []byte {
	return ngBlock(order, blockSection, order.AppendUint32(nil, orderMagic), order.AppendUint16(order.AppendUint16(nil, 1), 0), bytes.Repeat([]byte{0xff}, 8))
}

func ngInterface(order binary.AppendByteOrder, link LinkType, options ...[]byte) []byte {
	return ngBlock(order, blockInterface, order.AppendUint16(nil, uint16(link)), []byte{0, 0}, order.AppendUint32(nil, 10), slices.Concat(options...))
}

func ngOption(order binary.AppendByteOrder, code uint16, value ...byte) []byte {
	b := append(order.AppendUint16(order.AppendUint16(nil, code), uint16(len(value))), value...)
	return append(b, make([]byte, (4-len(value)%4)%4)...)
}

func ngPacket(order binary.AppendByteOrder, of uint32, stamp uint64, data string) []byte {
	h := order.AppendUint32(order.AppendUint32(order.AppendUint32(nil, of), uint32(stamp>>32)), uint32(stamp))
	h = order.AppendUint32(order.AppendUint32(h, uint32(len(data))), uint32(len(data)))
	return ngBlock(order, blockPacket, h, []byte(data))
}

func TestPcapngWithInterfacesSectionsAndOptions(t *testing.T) {
	le, be := binary.LittleEndian, binary.BigEndian
	old := le.AppendUint32(le.AppendUint16(le.AppendUint16(nil, 1), 0), 0)
	old = le.AppendUint32(le.AppendUint32(le.AppendUint32(old, 5), 3), 9)
	content := slices.Concat(
		ngSection(le),
		ngBlock(le, 0x0bad, []byte("a block of somebody's own")),
		ngInterface(le, LinkEthernet),
		ngInterface(le, LinkRaw, ngOption(le, 2, []byte("eth0")...), ngOption(le, optionResolution, 9), ngOption(le, optionOffset, 16, 0, 0, 0, 0, 0, 0, 0), ngOption(le, optionEnd)),
		ngInterface(le, LinkNull, ngOption(le, optionResolution, 0x80|10)),
		ngPacket(le, 0, 1_700_000_000_123_456, "micro"),
		ngPacket(le, 1, 1_700_000_000_123_456_789, "nano"),
		ngPacket(le, 2, 1_700_000_000<<10|512, "binary"),
		ngPacket(le, 2, 10_000_000_000<<10, "2286"),
		ngBlock(le, blockOldPacket, old, []byte("old")),
		ngBlock(le, blockSimple, le.AppendUint32(nil, 12), []byte("simple, 12 o")),
		ngSection(be),
		ngInterface(be, LinkLinux2),
		ngPacket(be, 0, 1_700_000_000_000_000, "big"),
	)
	frames, err := readFile(content)
	require.NoError(t, err)
	type short struct {
		data   string
		link   LinkType
		length int
		at     time.Time
	}
	got := make([]short, 0, len(frames))
	for _, f := range frames {
		got = append(got, short{string(f.Data), f.Link, f.Length, f.Time})
	}
	require.Equal(t, []short{
		{"micro", LinkEthernet, 5, time.Unix(1700000000, 123456000)},
		{"nano", LinkRaw, 4, time.Unix(1700000016, 123456789)},
		{"binary", LinkNull, 6, time.Unix(1700000000, 500000000)},
		{"2286", LinkNull, 4, time.Time{}}, // nanoseconds of 64 bits end before
		{"old", LinkRaw, 9, time.Unix(16, 5)},
		{"simple, 12", LinkEthernet, 12, time.Unix(16, 5)}, // cut by the interface's snap length; it has no time of its own
		{"big", LinkLinux2, 3, time.Unix(1700000000, 0)},
	}, got)
	for n := range content {
		frames, err := readFile(content[:n])
		var broken *BrokenError
		if err != nil {
			require.ErrorAs(t, err, &broken, n)
			require.EqualValues(t, len(frames), broken.Packets)
		}
	}
}

func TestBrokenFilesSayWhere(t *testing.T) {
	le := binary.LittleEndian
	damaged := pcapFileOf(le, microMagic, 0, "first", "second")
	le.PutUint32(damaged[24+16+5+8:], 0x7fffffff)
	wrongSize := slices.Concat(ngSection(le), ngInterface(le, LinkRaw), ngPacket(le, 0, 1, "fine"), ngPacket(le, 0, 1, "not fine"))
	wrongSize[len(wrongSize)-4]++
	for name, row := range map[string]struct {
		content []byte
		offset  int64
		packets int64
		reason  string
	}{
		"no capture":        {[]byte("hello, world"), 0, 0, "no capture file"},
		"empty":             {nil, 0, 0, "ends inside its header"},
		"impossible length": {damaged, 45, 1, "2147483647 bytes cannot be"},
		"lengths differ":    {wrongSize, int64(len(wrongSize)) - 40, 1, "two lengths differ"},
		"no interface":      {slices.Concat(ngSection(le), ngPacket(le, 0, 1, "x")), 28, 0, "no block describes"},
		"no byte order":     {append([]byte{0x0a, 0x0d, 0x0d, 0x0a}, make([]byte, 40)...), 0, 0, "byte order"},
		"block of 8 bytes":  {slices.Concat(ngSection(le), le.AppendUint32(le.AppendUint32(nil, 6), 8), make([]byte, 8)), 28, 0, "8 bytes cannot be"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readFile(row.content)
			var broken *BrokenError
			require.ErrorAs(t, err, &broken)
			require.Equal(t, row.offset, broken.Offset)
			require.Equal(t, row.packets, broken.Packets)
			require.Contains(t, broken.Error(), row.reason)
		})
	}
	r, err := NewReader(io.MultiReader(bytes.NewReader(pcapFileOf(le, microMagic, 0)), iotest.ErrReader(io.ErrClosedPipe)))
	require.NoError(t, err)
	require.ErrorIs(t, r.Next(&Frame{}), io.ErrClosedPipe)
}
