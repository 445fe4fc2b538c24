package importer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/traffic"
)

// madeCapture is a pcap file with that many requests, each answered but the last, on one connection whose beginning was
// not seen.
func madeCapture(requests int) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	b = append(b, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 101, 0, 0, 0)
	seq := [2]uint32{1000, 9000}
	at := uint32(0)
	add := func(from int, payload string) {
		h := make([]byte, 40)
		h[0], h[8], h[9], h[12], h[15], h[16], h[19] = 0x45, 64, 6, 10, byte(1+from), 10, byte(2-from)
		binary.BigEndian.PutUint16(h[2:], uint16(40+len(payload)))
		ports := [2]uint16{4000, 80}
		binary.BigEndian.PutUint16(h[20:], ports[from])
		binary.BigEndian.PutUint16(h[22:], ports[1-from])
		binary.BigEndian.PutUint32(h[24:], seq[from])
		binary.BigEndian.PutUint32(h[28:], seq[1-from])
		h[32], h[33] = 5<<4, 16
		seq[from] += uint32(len(payload))
		at++
		b = binary.LittleEndian.AppendUint32(b, 1700000000)
		b = binary.LittleEndian.AppendUint32(b, at)
		b = binary.LittleEndian.AppendUint32(b, uint32(40+len(payload)))
		b = binary.LittleEndian.AppendUint32(b, uint32(40+len(payload)))
		b = append(append(b, h...), payload...)
	}
	for i := range requests {
		add(0, fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: shop\r\n\r\n", i+1))
		if i < requests-1 {
			add(1, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n%04d", i+1))
		}
	}
	return b
}

func TestACaptureIsImported(t *testing.T) {
	content := string(madeCapture(3))
	path := write(t, "x.bin", content)
	xs, stats, err := readAll(t, path, Options{})
	require.NoError(t, err)
	require.Len(t, xs, 3)
	require.Equal(t, Stats{Exchanges: 3, Answered: 2, Packets: 5, First: xs[0].CaptureTime, Last: xs[2].CaptureTime}, stats)
	for i, x := range xs {
		require.Equal(t, fmt.Sprintf("/%d", i+1), string(x.Request.Target))
		require.Equal(t, traffic.PacketTime, x.TimeSource)
		require.Equal(t, traffic.Source{Kind: traffic.Import, Name: []byte("x.bin")}, x.Source)
		require.Equal(t, "10.0.0.1:4000", string(x.Connection.Client))
		require.Equal(t, "10.0.0.2:80", string(x.Connection.Server))
		require.EqualValues(t, i+1, x.ID.Seq())
		if i < 2 {
			require.Equal(t, fmt.Sprintf("%04d", i+1), string(x.Response.Body))
		}
	}
	require.Equal(t, traffic.NoResponse, xs[2].Flags)
	again, _, err := readAll(t, write(t, "y.pcap.gz", zip(t, content)), Options{Format: "pcap"})
	require.NoError(t, err)
	for i := range xs {
		require.Equal(t, xs[i].ID, again[i].ID, "the same content has the same ids")
	}
}

func TestABrokenCaptureIsReadUpToThere(t *testing.T) {
	content := madeCapture(4)
	xs, stats, err := readAll(t, write(t, "x.pcap", string(content[:len(content)-1])), Options{})
	require.Equal(t, fault.Incomplete, fault.Code(err))
	require.ErrorContains(t, err, "behind 6 packets")
	require.ErrorContains(t, err, fmt.Sprintf("byte %d", len(content)-16-40-len("GET /4 HTTP/1.1\r\nHost: shop\r\n\r\n")))
	require.Len(t, xs, 3)
	require.EqualValues(t, 6, stats.Packets)

	compressed := zip(t, string(content))
	xs, _, err = readAll(t, write(t, "x.pcap.gz", compressed[:len(compressed)-9]), Options{})
	require.Equal(t, fault.Incomplete, fault.Code(err))
	require.NotEmpty(t, xs)

	_, _, err = readAll(t, write(t, "x.pcap", string(content[:24])), Options{})
	require.Equal(t, fault.Failure, fault.Code(err))
	require.ErrorContains(t, err, "no HTTP request")
	_, _, err = readAll(t, write(t, "x.pcap", string(content[:20])), Options{})
	require.Equal(t, fault.Failure, fault.Code(err))
	_, _, err = readAll(t, write(t, "x.pcap", "nothing of the kind"), Options{Format: "pcap"})
	require.ErrorContains(t, err, "byte 0")
}

// cutTo is what a capture with that snaplen has of each packet.
func cutTo(capture []byte, snaplen uint32) []byte {
	out := slices.Clone(capture[:24])
	for rest := capture[24:]; len(rest) > 0; {
		length := binary.LittleEndian.Uint32(rest[8:])
		kept := min(length, snaplen)
		out = binary.LittleEndian.AppendUint32(append(out, rest[:8]...), kept)
		out = append(append(out, rest[12:16]...), rest[16:16+kept]...)
		rest = rest[16+length:]
	}
	return out
}

func TestACaptureThatIsCutSaysSo(t *testing.T) {
	_, stats, err := readAll(t, write(t, "x.pcap", string(cutTo(madeCapture(4), 40))), Options{})
	require.Equal(t, fault.Failure, fault.Code(err))
	require.ErrorContains(t, err, "no HTTP request")
	require.ErrorContains(t, err, "7 of the packets are cut: the capture kept at most 40 bytes of each (snaplen)")
	f, ok := errors.AsType[*fault.Error](err)
	require.True(t, ok)
	require.Contains(t, f.Try, "tcpdump -s 0")
	require.EqualValues(t, 7, stats.Cut)

	xs, stats, err := readAll(t, write(t, "y.pcap", string(cutTo(madeCapture(4), 78))), Options{})
	require.NoError(t, err, "requests are whole, answers are not")
	require.Len(t, xs, 4)
	require.EqualValues(t, 3, stats.Cut)
	require.Positive(t, stats.Gaps)
}

func TestACaptureWithoutTimesHasThatOfItsFile(t *testing.T) {
	le := binary.LittleEndian
	block := func(kind uint32, body []byte) []byte {
		body = append(body, make([]byte, -len(body)&3)...)
		b := le.AppendUint32(le.AppendUint32(nil, kind), uint32(12+len(body)))
		return le.AppendUint32(append(b, body...), uint32(12+len(body)))
	}
	b := block(0x0a0d0d0a, append(le.AppendUint32(nil, 0x1a2b3c4d), 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255))
	b = append(b, block(1, []byte{101, 0, 0, 0, 0, 0, 0, 0})...)
	for pcap := madeCapture(2)[24:]; len(pcap) > 0; { // simple packet blocks, which have none
		n := int(le.Uint32(pcap[8:]))
		b = append(b, block(3, append(le.AppendUint32(nil, uint32(n)), pcap[16:16+n]...))...)
		pcap = pcap[16+n:]
	}
	path := write(t, "x.pcapng", string(b))
	written := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	require.NoError(t, os.Chtimes(path, written, written))
	xs, _, err := readAll(t, path, Options{})
	require.NoError(t, err)
	require.Len(t, xs, 2)
	require.Equal(t, written, xs[0].CaptureTime.UTC())
	require.Equal(t, written, xs[1].CaptureTime.UTC())
	require.Equal(t, 200, xs[0].Response.Status)
}

func TestRequestsThatCannotBeReadAreCounted(t *testing.T) {
	bad := strings.Replace(string(madeCapture(2)), "GET /2 ", "GET  2 ", 1) // a space too many
	xs, stats, err := readAll(t, write(t, "x.pcap", bad), Options{})
	require.NoError(t, err)
	require.Len(t, xs, 1)
	require.EqualValues(t, 1, stats.Broken)
}

func TestReadingACaptureEndsWithWhoReads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pcap")
	require.NoError(t, os.WriteFile(path, madeCapture(5000), 0o600))
	f, err := Open(path, Options{})
	require.NoError(t, err)
	defer f.Close()
	calls := 0
	_, err = f.Each(context.Background(), func(*traffic.Exchange) error {
		if calls++; calls == 10 {
			return os.ErrClosed
		}
		return nil
	})
	require.ErrorIs(t, err, os.ErrClosed)
	require.Equal(t, 10, calls)
	ctx, cancel := context.WithCancel(context.Background())
	_, err = f.Each(ctx, func(*traffic.Exchange) error { cancel(); return nil })
	require.ErrorIs(t, err, context.Canceled)
	stats, err := f.Each(context.Background(), func(*traffic.Exchange) error { return nil })
	require.NoError(t, err)
	require.EqualValues(t, 5000, stats.Exchanges)
	require.Equal(t, f.Size(), f.read.Load())
}
