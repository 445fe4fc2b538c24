package wire

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/reprise-io/reprise/internal/traffic"
)

// The errors of ParseRequest, ParseResponse and Answer; what is returned wraps one of them.
var (
	ErrIncomplete = errors.New("message ends inside its header block")
	ErrMalformed  = errors.New("malformed message")
)

// ParseRequest reads one whole request from memory. What it returns aliases raw, except a chunked body. The body is cut
// at bodyMax bytes (negative: no limit) and flagged TRUNCATED_REQUEST, as is one that raw does not hold whole. Bytes
// behind the message are ignored. Ambiguous framing is no error but the flag AMBIGUOUS_FRAMING.
func ParseRequest(raw []byte, bodyMax int) (traffic.Request, traffic.Flags, error) {
	m := message{framer: Requests(), body: body{max: bodyMax, alias: true}}
	if _, err := m.read(raw, MethodOther); err != nil {
		return traffic.Request{}, 0, err
	}
	m.framer.EOF()
	req := m.request
	req.Body, req.BodySize, req.Trailers = m.body.kept, max(m.body.size, m.length), m.trailers
	flags := m.flags()
	if flags.Has(traffic.TruncatedResponse) {
		flags = flags&^traffic.TruncatedResponse | traffic.TruncatedRequest
	}
	if m.doubtful || m.framer.Fault() == Ambiguous {
		flags |= traffic.AmbiguousFraming
	}
	return req, flags, nil
}

// ParseResponse reads one whole response to a request with that method from memory, as ParseRequest does; 1xx before
// it are skipped and a body without a length ends with raw.
func ParseResponse(raw []byte, method string, bodyMax int) (*traffic.Response, traffic.Flags, error) {
	m := message{framer: Responses(), body: body{max: bodyMax, alias: true}}
	if _, err := m.read(raw, MethodOf([]byte(method))); err != nil {
		return nil, 0, err
	}
	if m.framer.EOF() == EndSeen {
		m.whole = true
	}
	res := m.response
	res.Body, res.BodySize, res.Trailers = m.body.kept, max(m.body.size, m.length), m.trailers
	return &res, m.flags(), nil
}

// message is one message on its way from a Framer.
type message struct {
	framer   Framer
	scratch  Scratch
	request  traffic.Request
	response traffic.Response
	trailers []traffic.Field
	body     body
	length   int64 // of the body as announced; 0 if it was not
	own      bool  // copy what is kept
	headed   bool
	whole    bool
	closes   bool
	switches bool
	doubtful bool
}

// read feeds p until the message is whole and returns how much of p it used. Without an error the head was read, unless
// the message owns its bytes and may come in parts.
func (m *message) read(p []byte, to Method) (n int, err error) {
	for !m.whole {
		used, ev := m.framer.Next(&m.scratch, p[n:], to)
		n += used
		switch ev {
		case HeadSeen:
			m.head()
		case DataSeen:
			m.body.add(m.scratch.Data)
		case TrailersSeen:
			m.doubtful = m.doubtful || m.scratch.Head.Doubtful
			m.trailers = m.scratch.Head.AppendFields(nil, m.keep(m.scratch.Head.Block))
		case EndSeen:
			m.whole = m.headed
		case Failed:
			if m.headed && !m.own {
				return n, nil
			}
			return n, fmt.Errorf("%w: %v", ErrMalformed, m.framer.Fault())
		case More:
			if m.headed || m.own {
				return n, nil
			}
			return n, ErrIncomplete
		}
	}
	return n, nil
}

func (m *message) head() {
	h := &m.scratch.Head
	if m.framer.response && h.Status/100 == 1 && !h.Switch {
		return
	}
	block := m.keep(h.Block)
	fields := h.AppendFields(make([]traffic.Field, 0, len(h.Fields)), block)
	if m.framer.response {
		m.response = traffic.Response{Status: h.Status, Protocol: h.Protocol.Of(block), Headers: fields}
	} else {
		h.Request(&m.request, block, fields)
	}
	m.headed, m.closes, m.switches, m.doubtful = true, h.Close, h.Switch, h.Doubtful
	m.length = max(h.Length, 0)
}

func (m *message) keep(block []byte) []byte {
	if m.own {
		return bytes.Clone(block)
	}
	return block
}

// flags tells a response that is not whole; the caller knows whether it is one.
func (m *message) flags() traffic.Flags {
	if !m.whole || int64(len(m.body.kept)) < m.body.size {
		return traffic.TruncatedResponse
	}
	return 0
}

// Request fills r with the head, whose fields were made from block.
func (h *Head) Request(r *traffic.Request, block []byte, fields []traffic.Field) {
	r.Method, r.Target, r.Protocol = h.Method.Of(block), h.Target.Of(block), h.Protocol.Of(block)
	if r.Headers = fields; h.simple {
		r.Protocol = []byte("HTTP/0.9")
	}
	if h.Scheme.To > 0 {
		r.Scheme = h.Scheme.Of(block)
	}
	if r.Authority = h.Authority.Of(block); h.Authority.To == 0 {
		r.Authority = authority(r)
	}
}

// authority is the Host field, or else what the target names.
func authority(r *traffic.Request) []byte {
	if host, ok := traffic.Get(r.Headers, "Host"); ok {
		return host
	}
	if equalMethod(r.Method, "CONNECT") {
		return r.Target
	}
	if _, rest, ok := bytes.Cut(r.Target, []byte("://")); ok && r.Target[0] != '/' {
		if end := bytes.IndexAny(rest, "/?#"); end >= 0 {
			rest = rest[:end:end]
		}
		return rest
	}
	return nil
}

// body keeps a body up to max bytes (negative: all) and counts the rest.
type body struct {
	kept  []byte
	size  int64
	max   int
	alias bool // the first part may be kept as it is, without a copy
}

func (b *body) add(p []byte) {
	b.size += int64(len(p))
	if b.max >= 0 {
		p = p[:min(len(p), b.max-len(b.kept))]
	}
	if b.alias && b.kept == nil {
		b.kept = p[:len(p):len(p)]
		return
	}
	b.kept = append(b.kept, p...)
}
