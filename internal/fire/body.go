package fire

import (
	"strconv"

	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/wire"
)

// trailing reports whether there are trailers to send, and whether they are nothing but that.
func (s *Sender) trailing(shot *Shot, r *traffic.Request) (some, safe bool) {
	for i := range r.Trailers {
		f := &r.Trailers[i]
		if s.isTrailer(shot, f.Name) {
			if !token(f.Name) || !fieldValue(f.Value) {
				return false, false
			}
			some = true
		}
	}
	return some, true
}

// isTrailer reports whether a trailer is sent: not what would be left out of the header or was set or removed there, and
// nothing that must not come last, as servers join trailers with the header.
func (s *Sender) isTrailer(shot *Shot, name []byte) bool {
	if kindOf(name) != kept || wire.ForbidsAsTrailer(name) || overridesMethod(name) || named(shot.hop, name) ||
		named(s.remove, name) {
		return false
	}
	for i := range s.cfg.SetHeaders {
		if traffic.EqualName(name, string(s.cfg.SetHeaders[i].Name)) {
			return false
		}
	}
	return true
}

// appendFraming appends the field that says where the body ends, in the recorded case of its name.
func (shot *Shot) appendFraming(b, name []byte, n int) []byte {
	want := "Content-Length"
	if shot.chunked {
		want = "Transfer-Encoding"
	}
	if is(name, want) {
		b = append(b, name...)
	} else {
		b = append(b, want...)
	}
	b = append(b, ": "...)
	if shot.chunked {
		return append(b, "chunked\r\n"...)
	}
	b = strconv.AppendInt(b, int64(n), 10)
	return append(b, "\r\n"...)
}

// appendBody appends the body, and the trailers for both protocols. How a body was cut into chunks is not recorded: it is
// one.
func (s *Sender) appendBody(shot *Shot, r *traffic.Request) {
	b := shot.bytes
	if shot.chunked && len(r.Body) > 0 {
		b = strconv.AppendInt(b, int64(len(r.Body)), 16)
		b = append(b, "\r\n"...)
	}
	shot.bodyFrom = len(b)
	b = append(b, r.Body...)
	shot.bodyTo = len(b)
	shot.trailers = shot.trailers[:0]
	if shot.chunked {
		if len(r.Body) > 0 {
			b = append(b, "\r\n"...)
		}
		b = append(b, "0\r\n"...)
		for i := range r.Trailers {
			f := &r.Trailers[i]
			if !s.isTrailer(shot, f.Name) {
				continue
			}
			b = appendField(b, f.Name, f.Value)
			if shot.route != viaHTTP1 {
				shot.trailers = appendLiteral(shot.trailers, f.Name, f.Value)
			}
		}
		b = append(b, "\r\n"...)
	}
	shot.bytes = b
}
