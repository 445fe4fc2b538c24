package mirror

import (
	"bufio"
	"errors"
	"io"
	"strconv"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/reprise-io/reprise/internal/wire"
)

const (
	preface = http2.ClientPreface

	maxStreams       = 256     // at once on a connection
	streamWindow     = 1 << 20 // what is received is used up at once: windows bound nothing, they only must not hold up
	connectionWindow = 16 << 20
	defaultWindow    = 65535

	frameBuffer = 16 << 10
)

// Header blocks of the answers, without use of the peer's table.
const (
	noContentBlock = "\x89"                                                          // :status 204
	grpcBlock      = "\x88\x0f\x10\x10application/grpc" + "\x00\x0bgrpc-status\x010" // :status 200, OK without a message
)

// http2Conn reads HTTP/2. Frames are read one after the other and nothing of a body waits anywhere, so there is nothing to
// schedule: answers have no body and are not subject to flow control.
type http2Conn struct {
	c       *conn
	frames  *http2.Framer
	streams map[uint32]*stream
	highest uint32 // stream that the peer opened
	owed    uint32 // bytes received and not given back to the connection's window
	leaving bool   // GOAWAY was sent
	err     error  // why it ended; nil: a fault of ours
}

// stream is one request.
type stream struct {
	in   arrival
	owed uint32
	grpc bool
}

func newHTTP2(c *conn, ahead []byte) *http2Conn {
	h := &http2Conn{c: c, streams: make(map[uint32]*stream)}
	in := &prefixed{ahead: ahead, Reader: c}
	h.frames = http2.NewFramer(answers{c}, bufio.NewReaderSize(in, frameBuffer))
	h.frames.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	h.frames.MaxHeaderListSize = wire.MaxHeader
	h.frames.SetMaxReadFrameSize(16 << 10) // the protocol's default
	h.frames.SetReuseFrames()
	c.busy = func() bool { return len(h.streams) > 0 }
	return h
}

// prefixed reads what was read ahead first.
type prefixed struct {
	ahead []byte
	io.Reader
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.ahead) > 0 {
		n := copy(b, p.ahead)
		p.ahead = p.ahead[n:]
		return n, nil
	}
	return p.Reader.Read(b)
}

// answers is where frames go: to what the connection sends before it reads on.
type answers struct{ c *conn }

func (a answers) Write(p []byte) (int, error) {
	a.c.out = append(a.c.out, p...)
	if len(a.c.out) >= flushAt {
		return len(p), a.c.flush()
	}
	return len(p), nil
}

// run serves until the connection ends.
func (h *http2Conn) run() {
	h.err = errors.Join(
		h.frames.WriteSettings(
			http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: maxStreams},
			http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow},
			http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: wire.MaxHeader},
		),
		h.frames.WriteWindowUpdate(0, connectionWindow-defaultWindow),
	)
	for h.err == nil {
		if h.c.m.draining.Load() && !h.leaving {
			h.leave(http2.ErrCodeNo)
		}
		if h.leaving && len(h.streams) == 0 {
			h.err = errDrained
			return
		}
		frame, err := h.frames.ReadFrame()
		if err == nil {
			err = h.take(frame)
		}
		h.err = h.failed(err)
	}
	if errors.Is(h.err, errDrained) && !h.leaving {
		h.leave(http2.ErrCodeNo)
	}
}

// failed answers a violation of the protocol: one of a stream ends the stream, any other the connection.
func (h *http2Conn) failed(err error) error {
	if err == nil {
		return nil
	}
	if se, ok := errors.AsType[http2.StreamError](err); ok {
		if s := h.streams[se.StreamID]; s != nil {
			s.in.lose(lostMalformed)
			delete(h.streams, se.StreamID)
		}
		h.highest = max(h.highest, se.StreamID)
		h.c.lost[lostMalformed]++
		return h.frames.WriteRSTStream(se.StreamID, se.Code)
	}
	code := http2.ErrCodeFrameSize
	if ce, ok := errors.AsType[http2.ConnectionError](err); ok {
		code = http2.ErrCode(ce)
	} else if !errors.Is(err, http2.ErrFrameTooLarge) {
		return err
	}
	h.c.m.stats.unreadable.Add(1)
	h.c.m.complain("a gateway's HTTP/2 cannot be read; its connection is closed", "error", err, "from", string(h.c.gateway))
	h.leave(code)
	return err
}

// leave says that no further stream will be read.
func (h *http2Conn) leave(code http2.ErrCode) {
	h.leaving = true
	_ = h.frames.WriteGoAway(h.highest, code, nil)
}

func (h *http2Conn) take(frame http2.Frame) error {
	id := frame.Header().StreamID
	switch f := frame.(type) {
	case *http2.MetaHeadersFrame:
		if s := h.streams[id]; s != nil {
			return h.trailers(id, s, f)
		}
		return h.open(id, f)
	case *http2.DataFrame:
		return h.data(id, f)
	case *http2.RSTStreamFrame:
		if s := h.streams[id]; s != nil {
			s.in.cut(cutReset)
			delete(h.streams, id)
		}
	case *http2.SettingsFrame:
		if !f.IsAck() {
			return h.frames.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			return h.frames.WritePing(true, f.Data)
		}
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil // WINDOW_UPDATE, PRIORITY, GOAWAY and what is not known: nothing to do
}

// open begins a request.
func (h *http2Conn) open(id uint32, f *http2.MetaHeadersFrame) error {
	switch {
	case id%2 == 0:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	case id <= h.highest: // a stream that was closed: it may have been on its way
		return h.frames.WriteRSTStream(id, http2.ErrCodeStreamClosed)
	}
	h.highest = id
	if h.leaving || len(h.streams) >= maxStreams {
		h.c.incomplete(cutRefused)
		return h.frames.WriteRSTStream(id, http2.ErrCodeRefusedStream)
	}
	s := &stream{in: arrival{c: h.c, start: h.c.at, expected: -1}}
	h.streams[id] = s
	s.head(f)
	if f.StreamEnded() {
		return h.end(id, s)
	}
	return nil
}

func (h *http2Conn) trailers(id uint32, s *stream, f *http2.MetaHeadersFrame) error {
	if !f.StreamEnded() || len(f.PseudoFields()) > 0 {
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
	}
	switch fields := f.Fields; {
	case f.Truncated:
		s.in.lose(lostLargeHeader)
	case s.in.exchange != nil && s.in.room(sizeOf(fields)):
		s.in.exchange.Request.Trailers = copied(nil, fields)
	}
	return h.end(id, s)
}

func (h *http2Conn) data(id uint32, f *http2.DataFrame) error {
	n := f.Header().Length // padding counts too
	if h.owed += n; h.owed >= connectionWindow/4 {
		if err := h.frames.WriteWindowUpdate(0, h.owed); err != nil {
			return err
		}
		h.owed = 0
	}
	s := h.streams[id]
	if s == nil {
		if id > h.highest {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		return nil // of a stream that was reset meanwhile
	}
	s.in.body(f.Data())
	if f.StreamEnded() {
		return h.end(id, s)
	}
	if s.owed += n; s.owed >= streamWindow/4 {
		owed := s.owed
		s.owed = 0
		return h.frames.WriteWindowUpdate(id, owed)
	}
	return nil
}

// end answers a request that is whole.
func (h *http2Conn) end(id uint32, s *stream) error {
	if s.in.expected >= 0 && s.in.expected != s.in.size {
		s.in.cut(cutLength)
		delete(h.streams, id)
		return h.frames.WriteRSTStream(id, http2.ErrCodeProtocol)
	}
	block := noContentBlock
	if s.grpc {
		block = grpcBlock
	}
	err := h.frames.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: []byte(block), EndStream: true, EndHeaders: true,
	})
	s.in.whole()
	delete(h.streams, id)
	return err
}

// close books what did not arrive whole.
func (h *http2Conn) close() {
	for _, s := range h.streams {
		if h.err == nil {
			s.in.lose(lostPanic)
			h.c.lost[lostPanic]++
			continue
		}
		s.in.cut(ending(h.err))
	}
}

// length reads an announced length; -1: none that can be believed.
func length(value string) int64 {
	n, err := strconv.ParseUint(value, 10, 62)
	if err != nil {
		return -1
	}
	return int64(n)
}
