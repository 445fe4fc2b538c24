package fire

import (
	"bytes"
	"time"

	"github.com/reprise-io/reprise/internal/traffic"
)

// Shot is one request, ready to be written.
type Shot struct {
	bytes      []byte // the request as HTTP/1.1 has it
	method     string
	idempotent bool
	route      route
	chunked    bool
	expects    bool // the body waits for the target's word: "Expect: 100-continue" was recorded
	headTo     int  // where the head ends in bytes
	bodyFrom   int  // where the body stands in bytes
	bodyTo     int
	block      []byte // the header block and the trailers' one as HTTP/2 has them; empty: none, or never over HTTP/2
	trailers   []byte

	conn    *conn // on which Begin has written, and when and how much
	began   time.Time
	written int
	stream  *stream // that Begin has opened instead

	kinds     []fieldKind // scratch of Prepare
	hop       [][]byte
	set       []bool
	host      []byte
	teAt      int  // where "te: trailers" stood; 0: nowhere
	hadLength bool // a Content-Length was recorded
}

// Bytes returns the request as HTTP/1.1 writes it.
func (shot *Shot) Bytes() []byte { return shot.bytes }

// Size returns the bytes of memory it takes.
func (shot *Shot) Size() int { return cap(shot.bytes) + cap(shot.block) + cap(shot.trailers) }

func (shot *Shot) body() []byte { return shot.bytes[shot.bodyFrom:shot.bodyTo] }

// Prepare builds the bytes of a request: its line with the target in origin form, Host, the recorded fields in their
// order, case and number without those of single hops, gateways, tracing and earlier replays, the changes that were
// asked for, the marks, and the body: behind a Content-Length, or in one chunk where chunks or trailers were recorded. For
// HTTP/2 the same is made a header block. shot is nil and reason set when that would not be the one request that was
// recorded, or a write that no rule allows. The shot does not alias x.
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
	shot.method, shot.route, shot.host = methodName(r.Method), s.route(r), host
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
	shot.headTo = len(shot.bytes)
	if !s.cfg.Guard.mayWrite(shot, x) {
		s.shots.put(shot)
		return nil, WriteNotAllowed
	}
	if shot.route != viaHTTP1 {
		shot.appendBlock(s.cfg.Target.Scheme)
	}
	s.appendBody(shot, r)
	shot.host = nil
	return shot, ""
}

// host returns the value of Host.
func (s *Sender) host(r *traffic.Request) (host []byte, reason string) {
	if s.cfg.Host == "" {
		return s.hostValue, ""
	}
	if s.cfg.Host != hostRecorded {
		if !s.mayName() {
			return nil, HostNotAllowed
		}
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
	case !ok || !s.cfg.Guard.hostAllowed(e):
		return nil, HostNotAllowed
	}
	return host, ""
}

// mayName reports whether --host NAME may be sent: unless it has become a name of production.
func (s *Sender) mayName() bool {
	now := s.cfg.Guard.generation()
	if j := s.named.Load(); j != nil && j.generation == now {
		return j.may
	}
	e, _ := parseEndpoint(s.cfg.Host)
	j := &judgedName{now, s.cfg.Guard.nameAllowed(e)}
	s.named.Store(j)
	return j.may
}

// judgedName is what was said of --host NAME while production was what it was then.
type judgedName struct {
	generation uint64
	may        bool
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
	hasHost, perConnection, coded := false, false, false
	shot.hadLength, shot.teAt, shot.expects = false, 0, false
	for i := range r.Headers {
		f := &r.Headers[i]
		kind := kindOf(f.Name)
		shot.kinds = append(shot.kinds, kind)
		switch kind {
		case hostField:
			hasHost = true
		case stripped:
			perConnection = true
		case lengthMark:
			length := is(f.Name, "content-length")
			shot.hadLength, coded = shot.hadLength || length, coded || !length && is(f.Value, "chunked")
		}
	}
	if perConnection {
		shot.hop = perHop(shot.hop, r.Headers)
	}
	trailing, safe := s.trailing(shot, r)
	if !safe {
		return false
	}
	shot.chunked = trailing || coded && !shot.hadLength
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
			b, lengthDone = shot.appendFraming(b, f.Name, len(r.Body)), true
		case kind == teMark && shot.teAt == 0 && is(f.Value, "trailers"):
			shot.teAt = len(b)
		case kind == expectMark && !shot.expects && len(r.Body) > 0 && is(f.Value, continues):
			b, shot.expects = appendField(b, f.Name, f.Value), true
		case kind == trace && !traceDone:
			b, traceDone = appendTrace(b), true
		case (kind == kept || kind == trailerMark && trailing) && (len(shot.hop) == 0 || !named(shot.hop, f.Name)):
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
	if !lengthDone && (len(r.Body) > 0 || shot.chunked) {
		b = shot.appendFraming(b, nil, len(r.Body))
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
