package fire

import (
	"strconv"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/reprise-io/reprise/internal/traffic"
)

// take does what a frame says. An error ends the connection; one of a stream only that. mu is held.
func (c *h2Conn) take(frame http2.Frame) error {
	if _, ok := frame.(*http2.SettingsFrame); !ok && !c.hello {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		return c.takeSettings(f)
	case *http2.MetaHeadersFrame:
		return c.takeHeaders(f)
	case *http2.DataFrame:
		return c.takeData(f)
	case *http2.WindowUpdateFrame:
		return c.takeWindow(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			_ = c.framer.WritePing(true, f.Data)
			return c.replied(9 + len(f.Data))
		}
	case *http2.RSTStreamFrame:
		if st, err := c.streamOf(f.StreamID); st != nil {
			c.end(st, &streamReset{f.ErrCode}, f.ErrCode == http2.ErrCodeRefusedStream)
		} else {
			return err
		}
	case *http2.GoAwayFrame:
		c.gone = &goneAway{code: f.ErrCode}
		for id, st := range c.streams {
			if id > f.LastStreamID {
				c.end(st, c.gone, true)
			}
		}
		if c.err == nil {
			c.leave()
		}
	case *http2.PushPromiseFrame: // we have forbidden it
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil
}

// streamOf returns the stream of a frame; nil when it is over already. One of which the peer cannot know is an error.
func (c *h2Conn) streamOf(id uint32) (*stream, error) {
	st := c.streams[id]
	if st != nil && !st.start.IsZero() {
		return st, nil
	}
	if st != nil || id%2 == 0 || id >= c.nextID {
		return nil, http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil, nil
}

// replied counts what the peer made us write: it must not ask for more than it reads.
func (c *h2Conn) replied(n int) error {
	if c.replies += n; c.replies > repliesMax {
		return errFlood
	}
	return nil
}

func (c *h2Conn) takeSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		switch s.ID {
		case http2.SettingMaxConcurrentStreams:
			c.peer.streams = s.Val
		case http2.SettingMaxFrameSize:
			c.peer.frameMax = int(min(s.Val, outMax))
		case http2.SettingInitialWindowSize:
			more := int64(s.Val) - c.peer.window
			c.peer.window = int64(s.Val)
			for _, st := range c.streams {
				if st.window += more; st.window > maxWindow {
					return http2.ConnectionError(http2.ErrCodeFlowControl)
				}
			}
			c.wakeAll()
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !c.hello {
		c.hello = true
		close(c.ready)
	}
	_ = c.framer.WriteSettingsAck()
	return c.replied(9)
}

func (c *h2Conn) takeWindow(f *http2.WindowUpdateFrame) error {
	if f.StreamID == 0 {
		if c.window += int64(f.Increment); c.window > maxWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		c.wakeAll()
		return nil
	}
	st, err := c.streamOf(f.StreamID)
	if st == nil {
		return err
	}
	if st.window += int64(f.Increment); st.window > maxWindow {
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeFlowControl}
	}
	st.wake()
	return nil
}

// takeHeaders reads the head of an answer, one before it (1xx), or its trailers.
func (c *h2Conn) takeHeaders(f *http2.MetaHeadersFrame) error {
	st, err := c.streamOf(f.StreamID)
	if st == nil {
		return err
	}
	st.started = true
	bad := func(cause string) error {
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol, Cause: &badAnswer{cause}}
	}
	if f.Truncated {
		return bad("its head is too large")
	}
	if st.headed {
		if !f.StreamEnded() || len(f.PseudoFields()) > 0 {
			return bad("a second head")
		}
		st.response.Trailers = ownFields(f.RegularFields())
		c.answered(st)
		return nil
	}
	status, err := strconv.Atoi(f.PseudoValue("status"))
	if err != nil || status < 100 || status > 999 {
		return bad("it has no status")
	}
	if status < 200 {
		if f.StreamEnded() || status == 101 {
			return bad("an end without an answer")
		}
		return nil
	}
	st.headed, st.ttfb = true, time.Since(st.start)
	st.response.Status, st.response.Protocol, st.response.Headers = status, []byte("HTTP/2.0"), ownFields(f.RegularFields())
	if f.StreamEnded() {
		c.answered(st)
	}
	return nil
}

// takeData reads a part of a body. All of it is consumed at once, so its room is given back soon.
func (c *h2Conn) takeData(f *http2.DataFrame) error {
	if c.received += int(f.Length); c.received > connWindow {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	if c.received >= connWindow/4 {
		_ = c.framer.WriteWindowUpdate(0, uint32(c.received))
		c.received = 0
	}
	st, err := c.streamOf(f.StreamID)
	if st == nil {
		return err
	}
	st.started = true
	st.received += int(f.Length)
	switch {
	case st.received > streamWindow:
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeFlowControl}
	case !st.headed:
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol, Cause: &badAnswer{"a body without a head"}}
	}
	data, r := f.Data(), &st.response
	r.BodySize += int64(len(data))
	r.Body = append(r.Body, data[:min(len(data), c.bodyMax-len(r.Body))]...)
	switch {
	case f.StreamEnded():
		c.answered(st)
	case st.received >= streamWindow/4:
		_ = c.framer.WriteWindowUpdate(f.StreamID, uint32(st.received))
		st.received = 0
	}
	return nil
}

// answered ends a stream whose answer is whole. The peer may have answered before it has read everything.
func (c *h2Conn) answered(st *stream) {
	st.took = time.Since(st.start)
	c.carried = true
	if !st.sent {
		_ = c.framer.WriteRSTStream(st.id, http2.ErrCodeCancel)
	}
	c.end(st, nil, false)
}

// abort ends a stream whose answer is malformed.
func (c *h2Conn) abort(bad http2.StreamError) {
	st := c.streams[bad.StreamID]
	if st == nil {
		return
	}
	st.started = true
	_ = c.framer.WriteRSTStream(st.id, bad.Code)
	c.end(st, bad, false)
}

// ownFields copies fields into memory of their own, all of it one piece.
func ownFields(fields []hpack.HeaderField) []traffic.Field {
	size := 0
	for i := range fields {
		size += len(fields[i].Name) + len(fields[i].Value)
	}
	text, own := make([]byte, 0, size), make([]traffic.Field, len(fields))
	for i := range fields {
		from := len(text)
		text = append(text, fields[i].Name...)
		middle := len(text)
		text = append(text, fields[i].Value...)
		own[i] = traffic.Field{Name: text[from:middle:middle], Value: text[middle:len(text):len(text)]}
	}
	return own
}
