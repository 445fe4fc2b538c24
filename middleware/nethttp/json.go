package nethttp

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// head begins the line with the request's head. What net/http no longer knows is not there: the order of the headers and
// the case of their names.
func (s *scratch) head(r *http.Request, start time.Time) {
	b := append(s.line[:0], `{"time":`...)
	b = start.UTC().AppendFormat(b, `"2006-01-02T15:04:05.999999999Z07:00"`)
	b = s.text(append(b, `,"client":`...), r.RemoteAddr)
	b = s.text(append(b, `,"request":{"method":`...), r.Method)
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	b = s.text(append(b, `,"scheme":`...), scheme)
	b = s.text(append(b, `,"authority":`...), r.Host)
	target := r.RequestURI
	if target == "" {
		target = r.URL.RequestURI()
	}
	b = s.text(append(b, `,"target":`...), target)
	b = s.text(append(b, `,"protocol":`...), r.Proto)
	b = append(b, `,"headers":[`...)
	if r.Host != "" {
		b = s.text(append(b, `["Host",`...), r.Host)
		b = append(b, ']', ',')
	}
	s.line = append(s.fields(b, r.Header, nil), ']')
}

// answerHead writes the beginning of the response.
func (s *scratch) answerHead(status int, h http.Header) {
	b := strconv.AppendInt(append(s.answer[:0], `,"response":{"status":`...), int64(status), 10)
	b = append(b, `,"headers":[`...)
	b = s.fields(b, h, isName) // neither what is no name, which net/http leaves out, nor what begins with http.TrailerPrefix
	s.answer = append(b, ']')
}

// finish returns the whole line.
func (s *scratch) finish(c *exchange, r *http.Request, returned, gone bool) []byte {
	var flags [6]string
	set := flags[:0]
	size, whole := c.read, c.body == nil || c.readEnd
	if r.ContentLength >= 0 && c.body != nil {
		size, whole = max(size, r.ContentLength), c.read == r.ContentLength
	}
	if !whole || size > int64(len(s.req)) {
		set = append(set, "TRUNCATED_REQUEST")
	}
	b := append(s.out[:0], s.line...)
	b = s.body(b, s.req, size)
	b = append(b, `,"trailers":[`...)
	if c.readEnd { // before, net/http may still be filling them
		b = s.fields(b, r.Trailer, nil)
	}
	b = append(b, `]}`...)
	switch {
	case c.hijacked:
		set = append(set, "UPGRADED")
	case c.status == 0: // it panicked before it had answered
		set = append(set, "NO_RESPONSE")
	default:
		if !returned || c.sent > int64(len(s.res)) {
			set = append(set, "TRUNCATED_RESPONSE")
		}
		b = s.body(append(b, s.answer...), s.res, c.sent)
		b = append(s.trailers(append(b, `,"trailers":[`...), c.w.Header()), `],"ttfb_ns":`...)
		b = strconv.AppendInt(b, int64(c.ttfb), 10)
		b = strconv.AppendInt(append(b, `,"duration_ns":`...), int64(time.Since(c.start)), 10)
		b = append(b, '}')
	}
	if gone {
		set = append(set, "CLIENT_ABORTED")
	}
	if s.latin {
		set = append(set, "NON_UTF8")
	}
	b = append(b, `,"flags":[`...)
	for i, flag := range set {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), flag...), '"')
	}
	s.out = append(b, "]}\n"...)
	return s.out
}

// fields writes pairs with commas between, sorted by name; b may end in a comma when there are none.
func (s *scratch) fields(b []byte, h http.Header, only func(string) bool) []byte {
	s.keys = s.keys[:0]
	for key := range h {
		if only == nil || only(key) {
			s.keys = append(s.keys, key)
		}
	}
	slices.Sort(s.keys)
	for _, key := range s.keys {
		for _, value := range h[key] {
			b = s.pair(b, key, value)
		}
	}
	if b[len(b)-1] == ',' {
		b = b[:len(b)-1]
	}
	return b
}

// isName reports whether a field may have that name.
func isName(key string) bool {
	for i := range len(key) {
		switch c := key[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return key != ""
}

// pair writes a field, with the line breaks that net/http makes spaces of.
func (s *scratch) pair(b []byte, key, value string) []byte {
	if strings.ContainsAny(value, "\r\n") {
		value = strings.NewReplacer("\r", " ", "\n", " ").Replace(value)
	}
	b = s.text(append(b, '['), key)
	b = s.text(append(b, ','), value)
	return append(b, ']', ',')
}

// trailers writes those fields of a response that net/http sends behind its body.
func (s *scratch) trailers(b []byte, h http.Header) []byte {
	declared := h["Trailer"]
	for key, values := range h {
		name, prefixed := strings.CutPrefix(key, http.TrailerPrefix)
		if !prefixed && !isDeclared(declared, key) {
			continue
		}
		for _, value := range values {
			b = s.pair(b, name, value)
		}
	}
	if b[len(b)-1] == ',' {
		b = b[:len(b)-1]
	}
	return b
}

func isDeclared(lists []string, key string) bool {
	for _, list := range lists {
		for name := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(name), key) {
				return true
			}
		}
	}
	return false
}

func (s *scratch) body(b, body []byte, size int64) []byte {
	if utf8.Valid(body) {
		b = appendText(append(b, `,"body":`...), body, true)
	} else {
		b = append(b, `,"body_b64":"`...)
		b = base64.StdEncoding.AppendEncode(b, body)
		b = append(b, '"')
	}
	return strconv.AppendInt(append(b, `,"body_size":`...), size, 10)
}

// text writes a value. Where it is no UTF-8 its bytes become U+0080 to U+00FF, and the flag NON_UTF8 says so.
func (s *scratch) text(b []byte, v string) []byte {
	valid := utf8.ValidString(v)
	s.latin = s.latin || !valid
	return appendText(b, v, valid)
}

const hexDigits = "0123456789abcdef"

func appendText[T string | []byte](b []byte, v T, valid bool) []byte {
	b = append(b, '"')
	from := 0 // of what can be taken as it is
	for i := range len(v) {
		c := v[i]
		if c >= ' ' && c != '"' && c != '\\' && (c < 0x80 || valid) {
			continue
		}
		b = append(b, v[from:i]...)
		from = i + 1
		switch {
		case c >= 0x80:
			b = utf8.AppendRune(b, rune(c))
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(b, v[from:]...), '"')
}
