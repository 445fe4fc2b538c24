package wire

import (
	"bytes"
	"slices"
)

// maxLength is the largest body that is believed: beyond it, sums of sizes could overflow.
const maxLength = 1 << 62

// lengthField is what the Content-Length lines say together.
type lengthField struct {
	seen, bad bool
	value     int64
}

func (l *lengthField) add(value []byte) {
	n, ok := digits(value)
	if !ok || l.seen && n != l.value {
		l.bad = true
	}
	l.seen, l.value = true, n
}

// digits reads a plain decimal number.
func digits(b []byte) (n int64, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' || n > maxLength/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, len(b) > 0 && n <= maxLength
}

// codingField is what the Transfer-Encoding lines say together.
type codingField struct {
	seen, bad bool
	chunked   bool // and nothing behind it
}

func (t *codingField) add(value []byte) {
	t.seen = true
	for more := true; more; {
		var member []byte
		member, value, more = bytes.Cut(value, []byte{','})
		from, to := trim(member, 0, len(member))
		member = member[from:to]
		switch {
		case t.chunked: // chunked must be the last, and once
			t.bad = true
		case equalFold(member, "chunked"):
			t.chunked = true
		case equalFold(member, "identity"), equalFold(member, "gzip"), equalFold(member, "deflate"),
			equalFold(member, "compress"), equalFold(member, "x-gzip"), equalFold(member, "x-compress"):
		default:
			t.bad = true
		}
	}
}

// connectionTokens are the members of Connection that matter here.
type connectionTokens struct {
	closes, keeps, upgrades bool
	upgradeField            bool
}

// framing takes note of a field that has a say in where messages end.
func (h *Head) framing(name, value []byte) {
	switch len(name) {
	case len("host"):
		if equalFold(name, "host") {
			h.hosts++
		}
	case len("upgrade"):
		if equalFold(name, "upgrade") {
			h.tokens.upgradeField = true
		}
	case len("connection"):
		if equalFold(name, "connection") {
			h.tokens.closes = h.tokens.closes || hasMember(value, "close")
			h.tokens.keeps = h.tokens.keeps || hasMember(value, "keep-alive")
			h.tokens.upgrades = h.tokens.upgrades || hasMember(value, "upgrade")
		}
	case len("content-length"):
		if equalFold(name, "content-length") {
			h.length.add(value)
		}
	case len("transfer-encoding"):
		if equalFold(name, "transfer-encoding") {
			h.coding.add(value)
		}
	}
}

func isFraming(name []byte) bool {
	return setsLength(name) || equalFold(name, "connection") || equalFold(name, "upgrade")
}

func setsLength(name []byte) bool {
	return equalFold(name, "content-length") || equalFold(name, "transfer-encoding")
}

// hidesFraming reports whether a value holds a field line that sets a length, behind whatever somebody may take for a
// line end.
func hidesFraming(value []byte) bool {
	for at := 0; ; {
		i := bytes.IndexByte(value[at:], ':')
		if i < 0 {
			return false
		}
		_, end := trim(value, 0, at+i)
		for _, name := range [...]string{"content-length", "transfer-encoding"} {
			if from := end - len(name); from >= 0 && equalFold(value[from:end], name) {
				return true
			}
		}
		at += i + 1
	}
}

// ForbidsAsTrailer reports whether a request's field decides where the message ends or goes, who sent it or how its body is
// coded (RFC 9110 6.5.1): whoever joins trailers with the header reads another request then. Content-Type is none of
// them: it changes neither, and clients do send it there.
func ForbidsAsTrailer(name []byte) bool {
	if isFraming(name) {
		return true
	}
	for _, f := range [...]string{
		"host", "authorization", "proxy-authorization", "cookie", "content-encoding", "content-range", "expect", "te", "trailer",
	} {
		if equalFold(name, f) {
			return true
		}
	}
	return false
}

// hasForbiddenTrailer looks through a request's trailers.
func (h *Head) hasForbiddenTrailer() bool {
	return slices.ContainsFunc(h.Fields, func(f FieldSpan) bool { return ForbidsAsTrailer(f.Name.Of(h.Block)) })
}

// settleRequest decides how a request's body is framed.
func (h *Head) settleRequest() {
	method := h.Method.Of(h.Block)
	h.Close = h.tokens.closes || h.http10 && !h.tokens.keeps
	h.Switch = equalMethod(method, "CONNECT") || !h.http10 && h.tokens.upgrades && h.tokens.upgradeField
	switch {
	case h.coding.seen:
		if h.coding.bad || !h.coding.chunked || h.http10 || h.lf > 0 {
			h.Ambiguous = true
		}
		h.Doubtful = h.Doubtful || h.length.seen // RFC 9112 6.3: the coding counts
		h.Chunked, h.Length = true, -1
	case h.length.bad:
		h.Ambiguous = true
	default:
		h.Length = h.length.value
	}
	h.Doubtful = h.Doubtful || h.hosts > 1 || h.simple
	if h.lf > 0 && h.crlf > 0 {
		h.Ambiguous = true
	}
	if h.Ambiguous {
		h.Chunked, h.Length = false, -1
	}
}

// settleResponse decides how the body of an answer to a request with that method is framed.
func (h *Head) settleResponse(to Method) {
	h.Close = h.tokens.closes || h.http10 && !h.tokens.keeps
	switch {
	case h.Status == 101, to == MethodConnect && h.Status/100 == 2:
		h.Switch = true
	case to == MethodHead, h.Status/100 == 1, h.Status == 204, h.Status == 304:
	case h.coding.seen:
		h.Length = -1
		h.Chunked = h.coding.chunked && !h.coding.bad
		h.Close = h.Close || !h.Chunked
	case h.length.bad:
		h.Ambiguous, h.Length = true, -1
	case h.length.seen:
		h.Length = h.length.value
	default:
		h.Length, h.Close = -1, true
	}
}

func equalMethod(method []byte, want string) bool { return string(method) == want }
