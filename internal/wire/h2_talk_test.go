package wire

import (
	"bytes"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// speaker writes one direction of an HTTP/2 conversation, as lines for talk. Calls must be in the order in which their
// bytes are sent.
type speaker struct {
	side    string
	out     bytes.Buffer
	frames  *http2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder
}

func newSpeaker(side string) *speaker {
	s := &speaker{side: side}
	s.frames = http2.NewFramer(&s.out, nil)
	s.frames.AllowIllegalWrites = true
	s.encoder = hpack.NewEncoder(&s.block)
	return s
}

// speakers returns a client and a server.
func speakers() (c, s *speaker) { return newSpeaker("C:"), newSpeaker("S:") }

// line takes what was written.
func (s *speaker) line(errs ...error) string {
	for _, err := range errs {
		if err != nil {
			panic(err)
		}
	}
	defer s.out.Reset()
	return s.side + s.out.String()
}

// hello is what both begin with.
func (s *speaker) hello(settings ...http2.Setting) string {
	if s.side == "C:" {
		s.out.WriteString(http2.ClientPreface)
	}
	return s.line(s.frames.WriteSettings(settings...))
}

func (s *speaker) settings(settings ...http2.Setting) string {
	return s.line(s.frames.WriteSettings(settings...))
}

func (s *speaker) ack() string { return s.line(s.frames.WriteSettingsAck()) }

// encode makes a block of "name: value" lines; an empty one ends nothing.
func (s *speaker) encode(fields ...string) []byte {
	s.block.Reset()
	for _, f := range fields {
		i := strings.Index(f[1:], ":") + 1
		if err := s.encoder.WriteField(hpack.HeaderField{Name: f[:i], Value: strings.TrimPrefix(f[i+1:], " ")}); err != nil {
			panic(err)
		}
	}
	return bytes.Clone(s.block.Bytes())
}

// headers sends a block whole.
func (s *speaker) headers(stream uint32, end bool, fields ...string) string {
	return s.line(s.frames.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, EndStream: end, EndHeaders: true, BlockFragment: s.encode(fields...),
	}))
}

// parts sends a block in frames of n bytes, with padding and a priority.
func (s *speaker) parts(stream uint32, end bool, n int, fields ...string) string {
	block := s.encode(fields...)
	head := min(n, len(block))
	err := s.frames.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, EndStream: end, EndHeaders: head == len(block), BlockFragment: block[:head], PadLength: 7,
		Priority: http2.PriorityParam{StreamDep: 3, Weight: 9},
	})
	for block = block[head:]; err == nil && len(block) > 0; block = block[head:] {
		head = min(n, len(block))
		err = s.frames.WriteContinuation(stream, head == len(block), block[:head])
	}
	return s.line(err)
}

func request(method, path string, more ...string) []string {
	return append([]string{":method: " + method, ":scheme: http", ":authority: shop.example", ":path: " + path}, more...)
}

// get sends a request that is whole.
func (s *speaker) get(stream uint32, path string, more ...string) string {
	return s.headers(stream, true, request("GET", path, more...)...)
}

// post begins a request with a body.
func (s *speaker) post(stream uint32, path string, more ...string) string {
	return s.headers(stream, false, request("POST", path, more...)...)
}

// answer sends a whole 200.
func (s *speaker) answer(stream uint32, body string) string {
	return s.headers(stream, false, ":status: 200", "server: x") + s.data(stream, true, body)[2:]
}

func (s *speaker) data(stream uint32, end bool, data string) string {
	return s.line(s.frames.WriteData(stream, end, []byte(data)))
}

func (s *speaker) padded(stream uint32, end bool, data string) string {
	return s.line(s.frames.WriteDataPadded(stream, end, []byte(data), make([]byte, 200)))
}

func (s *speaker) reset(stream uint32) string {
	return s.line(s.frames.WriteRSTStream(stream, http2.ErrCodeCancel))
}

func (s *speaker) goAway(last uint32) string {
	return s.line(s.frames.WriteGoAway(last, http2.ErrCodeNo, []byte("bye")))
}

func (s *speaker) raw(kind http2.FrameType, flags http2.Flags, stream uint32, payload string) string {
	return s.line(s.frames.WriteRawFrame(kind, flags, stream, []byte(payload)))
}
