package fire

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/reprise-io/reprise/internal/traffic"
)

// captureTimeFormat is RFC 3339 with all nanoseconds.
const captureTimeFormat = "2006-01-02T15:04:05.000000000Z07:00"

// Mark tells the copies of one exchange apart.
type Mark struct{ Loop, Clone uint32 }

// Shot is one request, ready to be written.
type Shot struct {
	bytes      []byte
	method     string
	idempotent bool

	conn    *conn // on which Begin has written, and when and how much
	began   time.Time
	written int

	kinds []fieldKind // scratch of Prepare
	hop   [][]byte
	set   []bool
}

// Bytes returns the request as it is written.
func (shot *Shot) Bytes() []byte { return shot.bytes }

// Prepare builds the bytes of a request: its line with the target in origin form, Host, the recorded fields in their
// order, case and number without those of single hops, gateways, tracing and earlier replays, the changes that were
// asked for, the marks, and the body behind a Content-Length. shot is nil and reason set when that would not be the one
// request that was recorded. The shot does not alias x.
func (s *Sender) Prepare(x *traffic.Exchange, m Mark) (shot *Shot, reason string) {
	r := &x.Request
	if x.Flags.Unreplayable() != 0 || len(r.Body) == 0 && r.BodySize > 0 {
		return nil, BadFlags
	}
	host, reason := s.host(r)
	if reason != "" {
		return nil, reason
	}
	shot = s.shots.get()
	shot.method = methodName(r.Method)
	shot.idempotent = idempotent(shot.method)
	if shot.bytes, reason = appendStartLine(shot.bytes[:0], r); reason == "" {
		if !s.appendFields(shot, r, host) {
			reason = UnsafeBytes
		}
	}
	if reason == "" && !s.appendMarks(shot, x, m) {
		reason = UnsafeBytes
	}
	if reason != "" {
		s.shots.put(shot)
		return nil, reason
	}
	for i, f := range s.cfg.SetHeaders {
		if !shot.set[i] {
			shot.bytes = appendField(shot.bytes, f.Name, f.Value)
		}
	}
	shot.bytes = append(shot.bytes, "\r\n"...)
	shot.bytes = append(shot.bytes, r.Body...)
	return shot, ""
}

// host returns the value of Host.
func (s *Sender) host(r *traffic.Request) (host []byte, reason string) {
	if s.cfg.Host != hostRecorded {
		return s.hostValue, ""
	}
	host = recordedAuthority(r)
	if authority, _, ok := absoluteForm(r.Target); ok && len(r.Authority) == 0 {
		host = authority
	}
	e, ok := parseEndpoint(string(host))
	switch {
	case !fieldValue(host) || !visible(host):
		return nil, UnsafeBytes
	case !ok || s.cfg.Guard == nil || !s.cfg.Guard.hostAllowed(e):
		return nil, HostNotAllowed
	}
	return host, ""
}

// appendStartLine appends the request line. An absolute target loses its scheme and authority.
func appendStartLine(b []byte, r *traffic.Request) (_ []byte, reason string) {
	if !token(r.Method) {
		return b, UnsafeBytes
	}
	b = append(b, r.Method...)
	b = append(b, ' ')
	target := r.Target
	options := string(r.Method) == "OPTIONS"
	_, rest, absolute := absoluteForm(target)
	switch {
	case string(r.Method) == "CONNECT":
		return b, NoTarget
	case len(target) > 0 && target[0] == '/', options && string(target) == "*":
	case absolute && options && len(rest) == 0:
		target = []byte("*")
	case absolute:
		if target = rest; len(rest) == 0 || rest[0] != '/' {
			b = append(b, '/')
		}
		if fragment := bytes.IndexByte(target, '#'); fragment >= 0 {
			target = target[:fragment]
		}
	default:
		return b, NoTarget
	}
	if !visible(target) {
		return b, UnsafeBytes
	}
	b = append(b, target...)
	return append(b, " HTTP/1.1\r\n"...), ""
}

// appendFields appends the recorded fields and those that the body needs. false: a field is no field, or more than one.
func (s *Sender) appendFields(shot *Shot, r *traffic.Request, host []byte) bool {
	shot.kinds, shot.hop, shot.set = shot.kinds[:0], shot.hop[:0], append(shot.set[:0], s.unset...)
	hasHost, perConnection := false, false
	for i := range r.Headers {
		kind := kindOf(r.Headers[i].Name)
		shot.kinds = append(shot.kinds, kind)
		hasHost = hasHost || kind == hostField
		perConnection = perConnection || kind == stripped
	}
	if perConnection {
		shot.hop = perHop(shot.hop, r.Headers)
	}
	b := shot.bytes
	if !hasHost {
		b = appendField(b, []byte("Host"), host)
	}
	hostDone, lengthDone, traceDone := !hasHost, false, false
	crumbs, cookiesDone := bytes.HasPrefix(r.Protocol, []byte("HTTP/2")), false
	for i := range r.Headers {
		f, kind := &r.Headers[i], shot.kinds[i]
		if s.changes && s.change(shot, &b, f.Name) {
			continue
		}
		switch {
		case kind == hostField && !hostDone:
			b, hostDone = appendField(b, f.Name, host), true
		case kind == lengthMark && !lengthDone:
			b, lengthDone = appendLength(b, f.Name, len(r.Body)), true
		case kind == trace && !traceDone:
			b, traceDone = appendTrace(b), true
		case kind == kept && (len(shot.hop) == 0 || !named(shot.hop, f.Name)):
			if !token(f.Name) || !fieldValue(f.Value) {
				return false
			}
			switch {
			case !crumbs || !is(f.Name, "cookie"):
				b = appendField(b, f.Name, f.Value)
			case !cookiesDone:
				b, cookiesDone = appendCookies(b, r.Headers[i:]), true
			}
		}
	}
	if !lengthDone && len(r.Body) > 0 {
		b = appendLength(b, nil, len(r.Body))
	}
	shot.bytes = b
	return true
}

// change applies --set-header and --remove-header to a recorded field, and reports whether it is dealt with. The first of
// its name gives its place to what is set.
func (s *Sender) change(shot *Shot, b *[]byte, name []byte) (done bool) {
	for i, f := range s.cfg.SetHeaders {
		if !bytes.EqualFold(f.Name, name) {
			continue
		}
		if done = true; !shot.set[i] {
			shot.set[i] = true
			*b = appendField(*b, f.Name, f.Value)
		}
	}
	return done || named(s.remove, name)
}

func appendField(b, name, value []byte) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// appendCookies joins the Cookie fields, of which HTTP/2 has one for each cookie and HTTP/1.1 only one (RFC 9113 8.2.3).
func appendCookies(b []byte, fields []traffic.Field) []byte {
	between := "cookie: "
	for i := range fields {
		if is(fields[i].Name, "cookie") {
			b = append(append(b, between...), fields[i].Value...)
			between = "; "
		}
	}
	return append(b, "\r\n"...)
}

func appendLength(b, name []byte, n int) []byte {
	if is(name, "content-length") {
		b = append(b, name...)
	} else {
		b = append(b, "Content-Length"...)
	}
	b = append(b, ": "...)
	b = strconv.AppendInt(b, int64(n), 10)
	return append(b, "\r\n"...)
}

// appendTrace appends a traceparent of its own, unsampled: what the target does must not show up in production's traces.
func appendTrace(b []byte) []byte {
	var id [24]byte
	for i := 0; i < len(id); i += 8 {
		for n, j := rand.Uint64(), 0; j < 8; n, j = n>>8, j+1 {
			id[i+j] = byte(n)
		}
	}
	id[0] |= 1 // neither of the two may be all zeros
	id[16] |= 1
	b = append(b, "traceparent: 00-"...)
	b = hex.AppendEncode(b, id[:16])
	b = append(b, '-')
	b = hex.AppendEncode(b, id[16:])
	return append(b, "-00\r\n"...)
}

// appendMarks says to everybody who sees the request that it is a replay, and of what.
func (s *Sender) appendMarks(shot *Shot, x *traffic.Exchange, m Mark) bool {
	b := append(shot.bytes, s.mark...)
	b = strconv.AppendUint(b, uint64(m.Loop), 10)
	b = append(b, ";clone="...)
	b = strconv.AppendUint(b, uint64(m.Clone), 10)
	b = append(b, "\r\nReprise-Exchange-Id: "...)
	b = hex.AppendEncode(b, x.ID[:])
	b = append(b, "\r\nReprise-Capture-Time: "...)
	b = x.CaptureTime.UTC().AppendFormat(b, captureTimeFormat)
	b = append(b, "\r\n"...)
	if authority := recordedAuthority(&x.Request); len(authority) > 0 {
		if !fieldValue(authority) {
			return false
		}
		b = append(b, "Reprise-Original-Host: "...)
		b = append(b, authority...)
		b = append(b, "\r\n"...)
	}
	shot.bytes = b
	return true
}

// methodName returns the method without allocating for the usual ones.
func methodName(m []byte) string {
	switch string(m) {
	case "GET":
		return "GET"
	case "HEAD":
		return "HEAD"
	case "POST":
		return "POST"
	case "PUT":
		return "PUT"
	case "DELETE":
		return "DELETE"
	case "PATCH":
		return "PATCH"
	case "OPTIONS":
		return "OPTIONS"
	}
	return string(m)
}

// idempotent reports whether sending a request twice is meant to have the effect of sending it once (RFC 9110 9.2.2).
func idempotent(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE":
		return true
	}
	return false
}
