package mirror

import (
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/wire"
)

// head takes the fields of a request in their order.
func (s *stream) head(f *http2.MetaHeadersFrame) {
	fields := joinCookies(f.RegularFields())
	for i := range fields {
		switch name, value := fields[i].Name, fields[i].Value; name {
		case "content-length":
			s.in.expected = length(value)
		case "content-type":
			s.grpc = strings.HasPrefix(value, "application/grpc")
		case s.in.c.m.cfg.MarkHeader:
			s.in.lost = lostMarked
		}
	}
	switch {
	case f.Truncated:
		s.in.lost = lostLargeHeader
		return
	case s.in.lost != 0, !s.in.room(exchangeSize + sizeOf(f.Fields)):
		return
	}
	x := &traffic.Exchange{}
	q := &x.Request
	q.Method, q.Target = []byte(f.PseudoValue("method")), []byte(f.PseudoValue("path"))
	q.Scheme, q.Authority = []byte(f.PseudoValue("scheme")), []byte(f.PseudoValue("authority"))
	q.Protocol = []byte("HTTP/2.0")
	q.Headers = copied(make([]traffic.Field, 0, len(fields)), fields)
	if len(q.Authority) == 0 {
		q.Authority, _ = traffic.Get(q.Headers, "Host")
	}
	if q.HostInDoubt() {
		x.Flags |= traffic.AmbiguousFraming
	}
	if wire.MethodOf(q.Method) == wire.MethodConnect {
		x.Flags |= traffic.Connect
		q.Target = q.Authority
	}
	s.in.exchange = x
}

// joinCookies puts the parts of a cookie field together, as RFC 9113 8.2.3 wants it where the request leaves HTTP/2.
func joinCookies(fields []hpack.HeaderField) []hpack.HeaderField {
	first := -1
	kept := fields[:0:0]
	for i := range fields {
		switch {
		case fields[i].Name != "cookie":
		case first < 0:
			first = i
		default:
			if len(kept) == 0 {
				kept = append(kept, fields[:i]...)
			}
			kept[first].Value += "; " + fields[i].Value
			continue
		}
		if len(kept) > 0 {
			kept = append(kept, fields[i])
		}
	}
	if len(kept) > 0 {
		return kept
	}
	return fields
}

func sizeOf(fields []hpack.HeaderField) int {
	n := len(fields) * fieldSize
	for i := range fields {
		n += len(fields[i].Name) + len(fields[i].Value)
	}
	return n
}

// copied appends fields with memory of their own.
func copied(to []traffic.Field, fields []hpack.HeaderField) []traffic.Field {
	block := make([]byte, 0, sizeOf(fields))
	for i := range fields {
		at := len(block)
		block = append(append(block, fields[i].Name...), fields[i].Value...)
		end := at + len(fields[i].Name)
		to = append(to, traffic.Field{Name: block[at:end:end], Value: block[end:len(block):len(block)]})
	}
	return to
}
