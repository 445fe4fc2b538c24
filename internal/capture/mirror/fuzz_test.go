package mirror

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/reprise-io/reprise/internal/wire"
)

// sliced is a connection that brings given bytes in slices of given sizes, and keeps what is answered.
type sliced struct {
	net.Conn // nil: nothing else is called
	data     []byte
	sizes    []byte
	answers  strings.Builder
}

func (s *sliced) Read(p []byte) (int, error) {
	if len(s.data) == 0 {
		return 0, io.EOF
	}
	n := min(len(p), len(s.data))
	if len(s.sizes) > 0 {
		n = min(n, 1+int(s.sizes[0]))
		s.sizes = append(s.sizes[1:], s.sizes[0])
	}
	copy(p, s.data[:n])
	s.data = s.data[n:]
	return n, nil
}

func (s *sliced) Write(p []byte) (int, error)      { return s.answers.Write(p) }
func (*sliced) Close() error                       { return nil }
func (*sliced) RemoteAddr() net.Addr               { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 7), Port: 1} }
func (*sliced) SetReadDeadline(_ time.Time) error  { return nil }
func (*sliced) SetWriteDeadline(_ time.Time) error { return nil }

// served is what a Mirror makes of bytes.
func served(t *testing.T, data, sizes []byte) (answers string, s *shelf, m *Mirror) {
	s = newShelf()
	m = on(newPipes(), Config{BodyMax: 64, Sink: s, Budget: s})
	nc := &sliced{data: append([]byte(nil), data...), sizes: append([]byte(nil), sizes...)}
	c := m.enter(nc)
	c.serve()
	require.Zero(t, s.used.Load(), "budget")
	require.Zero(t, m.Stats().Panics)
	return nc.answers.String(), s, m
}

// whole counts the requests that a framer finds whole.
func whole(data []byte) int {
	f, scratch, n := wire.Requests(), wire.Scratch{}, 0
	for {
		used, ev := f.Next(&scratch, data, wire.MethodOther)
		data = data[used:]
		switch ev {
		case wire.EndSeen:
			n++
			f.Resume()
		case wire.More, wire.Failed:
			return n
		}
	}
}

// FuzzServe: any bytes in any slices. Every whole request of HTTP/1.x is answered once, in order, and kept, counted or
// lost once; however the bytes are sliced, the same.
func FuzzServe(f *testing.F) {
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /c HTTP/1.0\r\n\r\n",
		"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n3\r\nabc\r\n0\r\nX: 1\r\n\r\nGET / HTTP/1.1\r\nX-Tap-Conn: 1-2\r\n\r\n",
		"CONNECT a:1 HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nGET / HTTP/1.1\r\n\r\n",
		http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00" + "\x00\x00\x07\x01\x05\x00\x00\x00\x01\x82\x86\x84\x41\x02hi",
		"PRI * HTTP/2.0\r\n\r\nXX", "\x16\x03\x01", "GET / HTTP/1.1\r\nReprise-Replay: x\r\n\r\n",
	} {
		f.Add([]byte(seed), []byte{3, 200})
	}
	f.Fuzz(func(t *testing.T, data, sizes []byte) {
		all, s, m := served(t, data, nil)
		parts, s2, m2 := served(t, data, sizes)
		kept, shed := s.look()
		kept2, shed2 := s2.look()
		require.Equal(t, shed, shed2)
		require.Len(t, kept2, len(kept))
		require.Equal(t, m.Stats().Answered, m2.Stats().Answered)
		for i := range kept {
			require.Equal(t, string(kept[i].Request.Target), string(kept2[i].Request.Target))
			require.Equal(t, string(kept[i].Request.Body), string(kept2[i].Request.Body))
		}
		if strings.HasPrefix(string(data), preface) {
			return
		}
		answers := strings.ReplaceAll(all, goOn, "")
		require.Equal(t, answers, strings.ReplaceAll(parts, goOn, ""), "the same however it is sliced")
		n := strings.Count(answers, "HTTP/1.1 204")
		require.EqualValues(t, n, m.Stats().Answered)
		require.Equal(t, n, len(kept)+shed["marked"])
		if !strings.Contains(string(data), "CONNECT") { // ends a connection for us, not for the framer
			require.Equal(t, whole(data), n)
		}
	})
}

// FuzzHTTP2: any frames in any slices. Every stream is answered at most once, and whatever was answered is kept or counted.
func FuzzHTTP2(f *testing.F) {
	var frames bytes.Buffer
	framer := http2.NewFramer(&frames, nil)
	block := []byte("\x82\x86\x84\x41\x02hi")
	_ = framer.WriteSettings()
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndStream: true, EndHeaders: true})
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: block[:3], PadLength: 4})
	_ = framer.WriteContinuation(3, true, block[3:])
	_ = framer.WriteDataPadded(3, false, []byte("abc"), []byte{0, 0})
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: []byte("\x00\x01x\x01y"), EndStream: true, EndHeaders: true})
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 5, BlockFragment: block, EndHeaders: true})
	_ = framer.WriteRSTStream(5, http2.ErrCodeCancel)
	_ = framer.WritePing(false, [8]byte{})
	f.Add(frames.Bytes(), []byte{8, 200})
	f.Fuzz(func(t *testing.T, data, sizes []byte) {
		answers, s, m := served(t, append([]byte(preface), data...), sizes)
		answered := map[uint32]int{}
		for read := http2.NewFramer(nil, strings.NewReader(answers)); ; {
			frame, err := read.ReadFrame()
			if err != nil {
				require.ErrorIs(t, err, io.EOF)
				break
			}
			if h, ok := frame.(*http2.HeadersFrame); ok {
				require.True(t, h.StreamEnded())
				answered[h.StreamID]++
				require.Equal(t, 1, answered[h.StreamID], "stream %d", h.StreamID)
			}
		}
		kept, shed := s.look()
		require.EqualValues(t, len(answered), m.Stats().Answered)
		require.Equal(t, len(answered), len(kept)+shed["marked"]+shed["header_too_large"])
	})
}
