package redact

import (
	"bytes"
	"errors"
	"strings"

	"github.com/reprise-io/reprise/internal/traffic"
)

// Reasons for removing a body.
var (
	errCoding    = errors.New("content coding cannot be decoded")
	errCharset   = errors.New("character set cannot be read")
	errMultipart = errors.New("malformed multipart")
	errHidden    = errors.New("content is encoded inside")
)

// body redacts a body and returns what to store. ok is false when that cannot be done: then nothing of it may be kept.
// Nothing is recorded for a body that is given up.
func (p *pass) body(b []byte, headers []traffic.Field) (stored []byte, ok bool) {
	if len(b) == 0 {
		return b, true
	}
	if p.err != nil {
		return nil, false
	}
	found, foundBytes := len(p.found), p.foundBytes
	stored = p.coded(b, headers)
	if p.err == nil {
		return stored, true
	}
	p.err = nil
	p.found, p.foundBytes = p.found[:found], foundBytes
	p.unwind()
	return nil, false
}

// coded takes a content coding off, redacts, and puts it on again if something was replaced.
func (p *pass) coded(b []byte, headers []traffic.Field) []byte {
	contentType, _ := traffic.Get(headers, "Content-Type")
	p.messages = identity
	if v, ok := traffic.Get(headers, "Grpc-Encoding"); ok {
		p.messages, _ = codingOf(v)
	}
	decoded, codings, err := p.codecs.undo(b, headers)
	if err != nil {
		p.err = errCoding
		return nil
	}
	out := p.plain(decoded, contentType)
	if len(out) > len(decoded)+maxGrowth {
		p.err = errTooLarge
	}
	if p.err != nil || bytes.Equal(out, decoded) {
		return b
	}
	for _, c := range codings {
		if out, err = p.codecs.encode(c, out); err != nil {
			p.err = errCoding
			return nil
		}
	}
	return out
}

// plain redacts a body without codings, first by its structure, then by the patterns of selectors.
func (p *pass) plain(b []byte, contentType []byte) []byte {
	if len(p.chosen.body) == 0 {
		p.content(b, 0, contentType)
		if p.err != nil {
			return b
		}
		return p.apply(b)
	}
	return p.patterns(b, contentType)
}

// content redacts plain bytes of a media type. What is no form, JSON, multipart or event stream is searched by the
// detectors alone, binary types too: they find nothing there but text, and what they replace keeps its length.
func (p *pass) content(b []byte, base int, contentType []byte) {
	media, params := cutMediaType(contentType)
	charset := mediaParam(params, "charset")
	if w := wide(b, charset); w != narrow {
		p.wide(b, base, contentType, w)
		return
	}
	if trail := lowestTrail(charset); trail > 0 {
		b = p.maskTrails(b, trail)
	}
	switch {
	case strings.HasPrefix(media, "multipart/"):
		p.multipart(b, base, mediaParam(params, "boundary"))
	case media == "text/event-stream":
		p.eventStream(b, base)
	case strings.HasPrefix(media, "application/grpc-web-text"):
		p.err = errHidden
	case strings.HasPrefix(media, "application/grpc"):
		p.grpc(b, base)
	case strings.Contains(media, "protobuf"):
		p.protobuf(b, base)
	case isMarkup(media):
		p.markup(b, base, media)
	default:
		p.sniffed(b, base, media)
	}
}

// sniffed believes the first bytes more than the media type: clients send JSON as text/plain and as a form, and forms
// as JSON.
func (p *pass) sniffed(b []byte, base int, media string) {
	start := bytes.TrimLeft(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), " \t\r\n")
	isJSON := strings.Contains(media, "json")
	isForm := media == "application/x-www-form-urlencoded"
	switch {
	case strings.HasSuffix(media, "graphql"), !isJSON && looksLikeGraphQL(start):
		p.graphql(b, base)
	case len(start) > 0 && (start[0] == '{' || start[0] == '['), isJSON && !looksLikeForm(start):
		p.json(b, base, keyHit{})
	case isForm, looksLikeForm(start):
		p.params(b, base, inForm, '&')
	case len(start) > 0 && start[0] == '<' && looksLikeXML(start):
		p.xml(b, base)
	default:
		p.text(b, base)
	}
}

// markup walks XML, and scripts that are JSON with a call around it.
func (p *pass) markup(b []byte, base int, media string) {
	switch {
	case strings.HasSuffix(media, "xml"):
		p.xml(b, base)
	case strings.HasSuffix(media, "script") && looksLikeJSONP(b):
		p.json(b, base, keyHit{})
	default:
		p.text(b, base)
	}
}

// looksLikeJSONP reports whether b is JSON behind the name of a function, or behind what keeps it from being run.
func looksLikeJSONP(b []byte) bool {
	i := bytes.IndexAny(b[:min(len(b), 256)], "{[")
	if i < 0 {
		return false
	}
	for _, c := range b[:i] {
		if !isLetter(c) && !isDigit(c) && bytes.IndexByte([]byte("_$.(/*)]}',; \t\r\n"), c) < 0 {
			return false
		}
	}
	return i == 0 || bytes.IndexByte(b[:i], '(') > 0 || bytes.HasPrefix(b, []byte(")]}'"))
}

func (p *pass) text(b []byte, base int) {
	p.push(scope{kind: inText, index: -1})
	p.prose(b, base)
	p.pop()
}

// looksLikeForm reports whether b begins as name=value and has no space or line end that a form would have escaped.
func looksLikeForm(b []byte) bool {
	name := bytes.IndexByte(b, '=')
	if name <= 0 || name > maxName {
		return false
	}
	for _, c := range b[:name] {
		if !isLetter(c) && !isDigit(c) && bytes.IndexByte([]byte("_-.[]%+$"), c) < 0 {
			return false
		}
	}
	for _, c := range b[name:min(len(b), 4096)] {
		if c <= ' ' || c == '<' || c == '>' || c == '"' {
			return false
		}
	}
	return true
}

func isMarkup(media string) bool {
	switch media {
	case "text/html", "text/css", "text/xml", "application/xml", "text/javascript", "application/javascript",
		"application/x-javascript", "application/ecmascript", "text/markdown", "text/csv":
		return true
	}
	return strings.HasSuffix(media, "+xml")
}

// cutMediaType returns the media type in lower case and its parameters.
func cutMediaType(contentType []byte) (media string, params []byte) {
	m, params, _ := bytes.Cut(contentType, []byte(";"))
	m = bytes.TrimSpace(m)
	switch string(m) { // no allocation for the usual ones
	case "application/json":
		return "application/json", params
	case "text/html":
		return "text/html", params
	case "application/x-www-form-urlencoded":
		return "application/x-www-form-urlencoded", params
	case "text/plain":
		return "text/plain", params
	}
	return string(bytes.ToLower(m)), params
}

// mediaParam returns the value of a parameter of a media type or disposition, without quotes.
func mediaParam(params []byte, name string) []byte {
	for len(params) > 0 {
		eq := bytes.IndexByte(params, '=')
		if eq < 0 {
			return nil
		}
		found := traffic.EqualName(bytes.Trim(params[:eq], " \t;"), name)
		params = bytes.TrimLeft(params[eq+1:], " \t")
		var value []byte
		if len(params) > 0 && params[0] == '"' {
			end, _ := stringEnd(params, 1, '"')
			value = params[1:end]
			params = params[min(end+1, len(params)):]
		} else {
			value, params, _ = bytes.Cut(params, []byte(";"))
			value = bytes.TrimSpace(value)
		}
		if found {
			return value
		}
	}
	return nil
}

// lowestTrail returns the lowest second byte of a character in a charset where that may be ASCII, else 0. A backslash
// there would hide the quote behind it.
func lowestTrail(charset []byte) byte {
	if traffic.EqualName(charset, "gb18030") {
		return '0'
	}
	for _, name := range [...]string{"gbk", "gb2312", "cp936", "big5", "big5-hkscs", "shift_jis", "sjis", "windows-31j"} {
		if traffic.EqualName(charset, name) {
			return '@'
		}
	}
	return 0
}

// maskTrails returns a copy in which the second byte of every two-byte character is no ASCII.
func (p *pass) maskTrails(b []byte, lowest byte) []byte {
	out := append(p.take(len(b))[:0], b...)
	for i := 0; i+1 < len(out); i++ {
		if out[i] > 0x80 && out[i] < 0xff && out[i+1] >= lowest {
			out[i+1] |= 0x80
			i++
		}
	}
	return out
}
