package fire

import (
	"bytes"
	"strings"

	"github.com/reprise-io/reprise/internal/traffic"
)

// AsFired returns x with the request that the shot of it writes: the method, the target and the fields that stand in the shot's bytes. Where it
// was recorded stays, as the authority: where it goes is the guard's to say, and no request's.
func (shot *Shot) AsFired(x *traffic.Exchange) traffic.Exchange {
	fired := *x
	line, fields, _ := bytes.Cut(shot.bytes[:shot.headTo], []byte("\r\n"))
	method, rest, _ := bytes.Cut(line, []byte(" "))
	r := &fired.Request
	r.Method, r.Target = method, rest[:bytes.LastIndexByte(rest, ' ')]
	r.Headers = make([]traffic.Field, 0, len(x.Request.Headers)+8)
	for line := range bytes.SplitSeq(fields, []byte("\r\n")) {
		if name, value, ok := bytes.Cut(line, []byte(":")); ok {
			r.Headers = append(r.Headers, traffic.Field{Name: name, Value: bytes.TrimLeft(value, " ")})
		}
	}
	return fired
}

// mayWrite reports whether a shot is a read, or a write that a rule allows. It looks at what is written to the target and at nothing else: whatever
// has changed the request on its way here, what is judged is what is sent.
func (g *Guard) mayWrite(shot *Shot, x *traffic.Exchange) bool {
	if reads(shot.bytes[:shot.headTo]) {
		return true
	}
	fired := shot.AsFired(x)
	_, ok := g.AllowedBy(&fired)
	return ok
}

// reads reports whether a request with that head can be told at a glance to be a read. It runs for every request.
func reads(head []byte) bool {
	line := head[:bytes.IndexByte(head, '\r')]
	if !safeMethod(line[:bytes.IndexByte(line, ' ')]) || mayName(line, methodParameter) {
		return false
	}
	for at := len(line) + 2; at < len(head); {
		end := at + bytes.IndexByte(head[at:], '\n')
		if head[at]|0x20 == 'x' {
			if colon := bytes.IndexByte(head[at:end], ':'); colon > 0 && overridesMethod(head[at:at+colon]) {
				return false
			}
		}
		at = end + 1
	}
	return true
}

// mayName reports whether a request line has a parameter of that name, or one whose name is escaped.
func mayName(line []byte, name string) bool {
	at := bytes.IndexByte(line, '?')
	if at < 0 {
		return false
	}
	inName := true
	for _, c := range line[at+1:] {
		switch c {
		case '&', ';':
			inName = true
		case '=':
			inName = false
		case '%':
			if inName {
				return true
			}
		}
	}
	return bytes.Contains(line[at:], []byte(name))
}

// AllowedBy returns which of AllowWrites allows a request as it is sent; -1: it is a read, and needs none. ok is false when none does. A request
// that servers may take for several is allowed when each of them is.
func (g *Guard) AllowedBy(x *traffic.Exchange) (rule int, ok bool) {
	rule, ok = -1, true
	EachReading(x, func(one *traffic.Exchange) bool {
		if safeMethod(one.Request.Method) {
			return true
		}
		by := g.ruleFor(one)
		if rule < 0 {
			rule = by
		}
		ok = by >= 0
		return ok
	})
	return rule, ok
}

// ruleFor returns the first rule that allows a write, -1 when none does; one that fails allows nothing.
func (g *Guard) ruleFor(x *traffic.Exchange) int {
	for i, m := range g.cfg.AllowWrites {
		if ok, err := m.Match(x); ok && err == nil {
			return i
		}
	}
	return -1
}

// EachReading gives do every request that a server, or a gateway before it, may take x for, until do returns false: the request itself first. Other
// methods may stand in fields and parameters that frameworks obey, another path in fields that they prefer, and a path is another one
// for who decodes it, resolves its dot segments, joins its slashes or leaves its parameters out.
func EachReading(x *traffic.Exchange, do func(*traffic.Exchange) bool) {
	one := *x
	_, query, asked := bytes.Cut(x.Request.Target, []byte("?"))
	for _, method := range methods(&x.Request) {
		one.Request.Method = method
		for i, path := range paths(&x.Request) {
			one.Request.Target = x.Request.Target
			if i > 0 {
				one.Request.Target = path
				if asked {
					one.Request.Target = append(append(path, '?'), query...)
				}
			}
			if !do(&one) {
				return
			}
		}
	}
}

// methods are those that a request may be taken to have; that of its line is the first.
func methods(r *traffic.Request) [][]byte {
	all := [][]byte{r.Method}
	for i := range r.Headers {
		if f := &r.Headers[i]; overridesMethod(f.Name) {
			all = append(all, bytes.ToUpper(bytes.TrimSpace(f.Value)))
		}
	}
	_, query, _ := bytes.Cut(r.Target, []byte("?"))
	all = appendMethods(all, query)
	switch kind, _ := traffic.Get(r.Headers, "Content-Type"); {
	case bytes.Contains(bytes.ToLower(kind), []byte("urlencoded")):
		all = appendMethods(all, r.Body)
	case bytes.Contains(bytes.ToLower(kind), []byte("multipart")):
		all = appendPart(all, r.Body)
	}
	return all
}

const methodParameter = "_method"

// appendMethods appends the methods that the parameter _method of a query or a form names.
func appendMethods(all [][]byte, form []byte) [][]byte {
	for one := range bytes.FieldsFuncSeq(form, func(r rune) bool { return r == '&' || r == ';' }) {
		name, value, _ := bytes.Cut(one, []byte("="))
		if string(unescape(name)) == methodParameter {
			all = append(all, bytes.ToUpper(unescape(value)))
		}
	}
	return all
}

// appendPart does the same for a part of a multipart form.
func appendPart(all [][]byte, body []byte) [][]byte {
	for {
		at := bytes.Index(body, []byte(`"`+methodParameter+`"`))
		if at < 0 {
			return all
		}
		body = body[at+len(methodParameter)+2:]
		_, value, ok := bytes.Cut(body, []byte("\r\n\r\n"))
		if value, _, found := bytes.Cut(value, []byte("\r\n")); ok && found {
			all = append(all, bytes.ToUpper(value))
		}
	}
}

// overridesMethod knows the fields by which frameworks let a client name another method than the request line's.
func overridesMethod(name []byte) bool {
	return len(name) >= len("x-http-method") && (name[0]|0x20) == 'x' &&
		(traffic.EqualName(name, "x-http-method-override") || traffic.EqualName(name, "x-http-method") ||
			traffic.EqualName(name, "x-method-override"))
}

// paths are those that a request may be taken to have; the first is as it is sent.
func paths(r *traffic.Request) [][]byte {
	path, _, _ := bytes.Cut(r.Target, []byte("?"))
	all := readings(string(path))
	for i := range r.Headers {
		f := &r.Headers[i]
		if is(f.Name, "x-original-url") || is(f.Name, "x-rewrite-url") {
			path, _, _ := bytes.Cut(f.Value, []byte("?"))
			all = append(all, readings(string(path))...)
		}
	}
	out := make([][]byte, len(all))
	for i, path := range all {
		out[i] = []byte(strings.NewReplacer("?", "%3F", "#", "%23").Replace(path))
	}
	return out
}

// readings are the paths that one may be taken for: every choice of what servers do to a path, in the order in which they do it. There are 128 at most,
// and one for nearly all.
func readings(path string) []string {
	all := []string{path}
	if !strings.ContainsAny(path, `%\;#`) && !strings.Contains(path, "//") && !strings.Contains(path, "/.") {
		return all
	}
	known := map[string]bool{path: true}
	for _, step := range []func(string) string{decodePath, decodePath, withoutRest, forwardSlashes, withoutParameters, joinSlashes, resolveDots} {
		for _, was := range all {
			if is := step(was); !known[is] {
				known[is] = true
				all = append(all, is)
			}
		}
	}
	return all
}

// decodePath decodes what stands for characters that make a path another one when they are decoded, or the same: those of its structure, letters and
// digits. What else is escaped stands so in rules too.
func decodePath(path string) string {
	b := []byte(path)
	out := b[:0]
	for i := 0; i < len(b); i++ {
		if c, ok := escaped(b[i:]); ok && (unreserved(c) || strings.IndexByte(`/\;%?#`, c) >= 0) {
			out = append(out, c)
			i += 2
			continue
		}
		out = append(out, b[i])
	}
	return string(out)
}

// unreserved reports whether a character means the same escaped and not (RFC 3986 2.3).
func unreserved(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// escaped returns what "%41" at the beginning stands for.
func escaped(b []byte) (c byte, ok bool) {
	if len(b) < 3 || b[0] != '%' {
		return 0, false
	}
	high, ok1 := hexDigit(b[1])
	low, ok2 := hexDigit(b[2])
	return high<<4 | low, ok1 && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}

// unescape decodes a parameter.
func unescape(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if c, ok := escaped(b[i:]); ok {
			out = append(out, c)
			i += 2
			continue
		}
		out = append(out, b[i])
	}
	return out
}

// withoutRest leaves out what begins a query or a fragment once it is decoded.
func withoutRest(path string) string {
	if at := strings.IndexAny(path, "?#"); at >= 0 {
		return path[:at]
	}
	return path
}

func forwardSlashes(path string) string { return strings.ReplaceAll(path, `\`, "/") }

// withoutParameters leaves ";x" out of each segment.
func withoutParameters(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		segments[i], _, _ = strings.Cut(s, ";")
	}
	return strings.Join(segments, "/")
}

func joinSlashes(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return path
}

func resolveDots(path string) string {
	if !strings.HasPrefix(path, "/") {
		return path
	}
	var out []string
	segments := strings.Split(path[1:], "/")
	for i, s := range segments {
		switch {
		case s != "." && s != "..":
			out = append(out, s)
			continue
		case s == ".." && len(out) > 0:
			out = out[:len(out)-1]
		}
		if i == len(segments)-1 {
			out = append(out, "")
		}
	}
	return "/" + strings.Join(out, "/")
}
