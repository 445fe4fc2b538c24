package rewrite

import (
	"bytes"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/reprise-io/reprise/internal/traffic"
)

// Place is where a value stands in a message. The zero value is nowhere.
type Place struct {
	kind placeKind
	name string // of header, cookie, query parameter or form field
	n    int    // of a path segment, from 1
	path Path
	expr *regexp.Regexp
}

type placeKind uint8

const (
	inHeader placeKind = iota + 1
	inCookie
	inQuery
	inSegment
	inForm
	inJSON
	inBody
)

func (k placeKind) String() string {
	return [...]string{"", "header", "cookie", "query", "segment", "form", "json", "body"}[k]
}

const placesWanted = "want header NAME, cookie NAME, query NAME, segment N, form NAME, json $.PATH or body REGEXP"

// ParsePlace reads "header X-Token", "cookie sid", "query id", "segment 2" (of the path, from 1), "form name", "json $.user.id" or
// "body REGEXP", where the first group is the value, or all that matches.
func ParsePlace(s string) (p Place, err error) {
	kind, name, _ := strings.Cut(strings.TrimSpace(s), " ")
	p.name = strings.TrimSpace(name)
	for k := inHeader; k <= inBody; k++ {
		if kind == k.String() {
			p.kind = k
		}
	}
	if p.kind == 0 || p.name == "" {
		return Place{}, fmt.Errorf("place %q: %s", s, placesWanted)
	}
	switch p.kind {
	case inHeader:
		err = checkHeader(p.name)
	case inSegment:
		if p.n, err = strconv.Atoi(p.name); err == nil && p.n < 1 {
			err = fmt.Errorf("segments are counted from 1")
		}
	case inJSON:
		p.path, err = ParsePath(p.name)
	case inBody:
		p.expr, err = regexp.Compile(p.name)
	}
	if err != nil {
		return Place{}, fmt.Errorf("place %q: %w", s, err)
	}
	return p, nil
}

// checkHeader refuses what is no header, or not ours to change.
func checkHeader(name string) error {
	for _, c := range []byte(name) {
		if c <= ' ' || c >= 0x7f || bytes.IndexByte([]byte(`()<>@,;:\"/[]?={}`), c) >= 0 {
			return fmt.Errorf("%q is no header name", name)
		}
	}
	lower := strings.ToLower(name)
	switch {
	case strings.HasPrefix(lower, "reprise-"):
		return fmt.Errorf("every request is marked as a replay: %s cannot be changed", name)
	case lower == "host":
		return fmt.Errorf("host is set by rewrite.host")
	case lower == "content-length", lower == "transfer-encoding", lower == "connection", lower == "upgrade", lower == "trailer",
		lower == "te", lower == "expect", lower == "keep-alive", lower == "content-encoding":
		return fmt.Errorf("%s belongs to the connection or the body, not to the rules", name)
	}
	return nil
}

// Given reports whether it is a place at all.
func (p Place) Given() bool { return p.kind != 0 }

// String returns the place as ParsePlace reads it.
func (p Place) String() string { return p.kind.String() + " " + p.name }

// credential reports whether who a client is usually stands there.
func (p Place) credential() bool { return p.kind == inHeader || p.kind == inCookie }

// InAnswer checks that an answer has such a place.
func (p Place) InAnswer() error {
	if p.kind == inQuery || p.kind == inSegment || p.kind == inForm {
		return fmt.Errorf("place %q: an answer has no %s: want header, cookie, json or body", p, p.kind)
	}
	return nil
}

// InRequest checks that a value can be put there.
func (p Place) InRequest() error {
	if p.kind == inBody {
		return fmt.Errorf("place %q: want header, cookie, query, segment, form or json; rewrite.body replaces by regular expressions", p)
	}
	return nil
}

// OfRequest returns the value that stands there in a request.
func (p Place) OfRequest(r *traffic.Request) ([]byte, bool) { return p.of(&draft{Request: r}) }

// of is OfRequest for a draft. "Bearer x" in a header is x.
func (p Place) of(d *draft) ([]byte, bool) {
	switch p.kind {
	case inHeader:
		v, ok := traffic.Get(d.Headers, p.name)
		return word(v), ok
	case inCookie:
		for i := range d.Headers {
			if traffic.EqualName(d.Headers[i].Name, "Cookie") {
				for name, value := range pairs(d.Headers[i].Value, ';') {
					if string(name) == p.name {
						return value, true
					}
				}
			}
		}
	case inQuery:
		_, query, _ := cutQuery(d.Target)
		return param(query, p.name)
	case inSegment:
		path, _, _ := cutQuery(d.Target)
		if from, to, ok := segment(path, p.n); ok {
			return unescapePath(path[from:to]), true
		}
	case inForm, inJSON, inBody:
		body, err := d.body()
		if err != nil {
			return nil, false
		}
		if p.kind == inForm {
			return param(body, p.name)
		}
		return p.inBody(body)
	}
	return nil, false
}

// OfAnswer returns the value that stands there in an answer.
func (p Place) OfAnswer(a *traffic.Response) ([]byte, bool) {
	switch p.kind {
	case inHeader:
		v, ok := traffic.Get(a.Headers, p.name)
		return word(v), ok
	case inCookie:
		for i := range a.Headers {
			if traffic.EqualName(a.Headers[i].Name, "Set-Cookie") {
				if c, ok := parseSetCookie(a.Headers[i].Value); ok && c.name == p.name {
					return []byte(c.value), true
				}
			}
		}
	case inJSON, inBody:
		if body, err := decode(coding(a.Headers), a.Body); err == nil {
			return p.inBody(body)
		}
	}
	return nil, false
}

func (p Place) inBody(body []byte) ([]byte, bool) {
	if p.kind == inJSON {
		return p.path.Value(body)
	}
	m := p.expr.FindSubmatch(body)
	if m == nil {
		return nil, false
	}
	return m[min(1, len(m)-1)], true
}

// put writes a value there, and reports whether it could. A header, cookie, query parameter or form field that is missing is added.
func (p Place) put(d *draft, value []byte) bool {
	switch p.kind {
	case inHeader:
		for i := range d.Headers {
			if traffic.EqualName(d.Headers[i].Name, p.name) {
				d.setField(i, value)
				return true
			}
		}
		d.Headers = append(d.fields(), traffic.Field{Name: []byte(p.name), Value: value})
		d.changed = true
	case inCookie:
		d.setCookie(p.name, value)
	case inQuery:
		path, query, _ := cutQuery(d.Target)
		d.setTarget(joinQuery(path, setParam(query, p.name, value)))
	case inSegment:
		path, _, _ := cutQuery(d.Target)
		from, to, ok := segment(path, p.n)
		ok = ok && !leadsElsewhere(value)
		if ok {
			d.setTarget(splice(d.Target, from, to, []byte(url.PathEscape(string(value)))))
		}
		return ok
	case inForm:
		body, err := d.body()
		if err != nil {
			return false
		}
		d.setBody(setParam(body, p.name, value))
	case inJSON:
		body, err := d.body()
		if err != nil {
			return false
		}
		body, ok := p.path.Put(body, value)
		if ok {
			d.setBody(body)
		}
		return ok
	default:
		return false
	}
	return true
}

// leadsElsewhere reports whether a value is empty or has a dot segment, so that a path with it would be another to a server that decodes it. Values come
// from the target's answers, and the guard has judged the path without them.
func leadsElsewhere(value []byte) bool {
	for part := range bytes.FieldsFuncSeq(unescapePath(value), func(r rune) bool { return r == '/' || r == '\\' }) {
		if string(part) == "." || string(part) == ".." {
			return true
		}
	}
	return len(value) == 0
}

// remove takes what stands there away.
func (p Place) remove(d *draft) {
	switch p.kind {
	case inHeader:
		kept := d.Headers[:0:0]
		for _, f := range d.Headers {
			if !traffic.EqualName(f.Name, p.name) {
				kept = append(kept, f)
			}
		}
		if len(kept) < len(d.Headers) {
			d.Headers, d.owned, d.changed = kept, true, true
		}
	case inCookie:
		d.setCookie(p.name, nil)
	case inQuery:
		path, query, _ := cutQuery(d.Target)
		if left := setParam(query, p.name, nil); len(left) != len(query) {
			d.setTarget(joinQuery(path, left))
		}
	}
}

// word returns what stands behind the scheme in "Bearer x", else all.
func word(v []byte) []byte {
	if scheme, rest, ok := bytes.Cut(v, []byte(" ")); ok && (traffic.EqualName(scheme, "Bearer") || traffic.EqualName(scheme, "Token")) {
		return bytes.TrimSpace(rest)
	}
	return v
}

// cutQuery splits a target; the query is without its ?.
func cutQuery(target []byte) (path, query []byte, has bool) {
	if i := bytes.IndexByte(target, '#'); i >= 0 {
		target = target[:i]
	}
	return bytes.Cut(target, []byte("?"))
}

func joinQuery(path, query []byte) []byte {
	out := append(make([]byte, 0, len(path)+1+len(query)), path...)
	if len(query) == 0 {
		return out
	}
	return append(append(out, '?'), query...)
}

// pathStart returns where the path of a target begins: behind scheme and authority of one in absolute form.
func pathStart(target []byte) int {
	i := bytes.Index(target, []byte("://"))
	if i < 0 || bytes.IndexByte(target[:i], '/') >= 0 {
		return 0
	}
	if slash := bytes.IndexByte(target[i+3:], '/'); slash >= 0 {
		return i + 3 + slash
	}
	return len(target)
}

// segment returns where the n-th segment of a path stands.
func segment(path []byte, n int) (from, to int, ok bool) {
	from = pathStart(path)
	for ; n > 0; n-- {
		if from >= len(path) || path[from] != '/' {
			return 0, 0, false
		}
		from++
		if to = bytes.IndexByte(path[from:], '/'); to < 0 {
			to = len(path)
		} else {
			to += from
		}
		if n > 1 {
			from = to
		}
	}
	return from, to, true
}

func unescapePath(v []byte) []byte {
	if bytes.IndexByte(v, '%') < 0 {
		return v
	}
	if s, err := url.PathUnescape(string(v)); err == nil {
		return []byte(s)
	}
	return v
}

func unescapeParam(v []byte) []byte {
	if bytes.IndexByte(v, '%') < 0 && bytes.IndexByte(v, '+') < 0 {
		return v
	}
	if s, err := url.QueryUnescape(string(v)); err == nil {
		return []byte(s)
	}
	return v
}

// pairs goes through name=value, with a separator between and spaces around trimmed.
func pairs(list []byte, separator byte) func(yield func(name, value []byte) bool) {
	return func(yield func(name, value []byte) bool) {
		for one := range bytes.SplitSeq(list, []byte{separator}) {
			name, value, _ := bytes.Cut(bytes.TrimSpace(one), []byte("="))
			if !yield(name, value) {
				return
			}
		}
	}
}

// param returns the value of a parameter, decoded.
func param(query []byte, name string) ([]byte, bool) {
	for n, v := range pairs(query, '&') {
		if string(unescapeParam(n)) == name {
			return unescapeParam(v), true
		}
	}
	return nil, false
}

// setParam returns a query with a parameter set: in its place, else behind the others. value nil: taken away.
func setParam(query []byte, name string, value []byte) []byte {
	var out []byte
	done := value == nil
	add := func(b []byte) {
		if len(out) > 0 {
			out = append(out, '&')
		}
		out = append(out, b...)
	}
	if len(query) > 0 {
		for one := range bytes.SplitSeq(query, []byte("&")) {
			n, _, _ := bytes.Cut(one, []byte("="))
			switch {
			case string(unescapeParam(n)) != name:
				add(one)
			case !done:
				done = true
				add([]byte(url.QueryEscape(name) + "=" + url.QueryEscape(string(value))))
			}
		}
	}
	if !done {
		add([]byte(url.QueryEscape(name) + "=" + url.QueryEscape(string(value))))
	}
	return out
}
