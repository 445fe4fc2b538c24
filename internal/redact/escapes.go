package redact

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// unit is one step through raw bytes: raw bytes of it, and how many bytes they decode to.
type unit struct{ raw, decoded int }

// unescapePercent appends raw with %XX, and in queries and forms +, decoded.
func unescapePercent(dst, raw []byte, plus bool) []byte {
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case percentAt(raw, i):
			dst = append(dst, hexValue(raw[i+1])<<4|hexValue(raw[i+2]))
			i += 2
		case c == '+' && plus:
			dst = append(dst, ' ')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// percent is the unit behind u's.
func (u unit) percent(raw []byte) unit {
	if percentAt(raw, u.raw) {
		u.raw += 2
	}
	return unit{u.raw + 1, u.decoded + 1}
}

// appendPercent escapes all but what RFC 3986 leaves unreserved, and the stars of a mask.
func appendPercent(dst, v []byte) []byte {
	for _, c := range v {
		if isLetter(c) || isDigit(c) || bytes.IndexByte([]byte("-._~*"), c) >= 0 {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', "0123456789ABCDEF"[c>>4], "0123456789ABCDEF"[c&15])
		}
	}
	return dst
}

func percentAt(raw []byte, i int) bool {
	return raw[i] == '%' && i+2 < len(raw) && isHex(raw[i+1]) && isHex(raw[i+2])
}

func hexValue(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// decoded returns raw with percent encoding taken off, raw itself when it has none.
func (p *pass) decoded(raw []byte, plus bool) (v []byte, changed bool) {
	if bytes.IndexByte(raw, '%') < 0 && !(plus && bytes.IndexByte(raw, '+') >= 0) {
		return raw, false
	}
	return unescapePercent(p.take(len(raw))[:0], raw, plus), true
}

// encodePercent turns edits from mark on, of the decoded form, into edits of raw, which begins at base. What was
// escaped stays escaped, so the length is kept where the edit keeps it.
func (p *pass) encodePercent(raw []byte, base, mark int, v []byte) {
	at := unit{}
	for k := mark; k < len(p.edits); k++ {
		e := &p.edits[k]
		for at.decoded < e.from {
			at = at.percent(raw)
		}
		from := at.raw
		if e.kind == 0 { // another text
			for at.decoded < e.to {
				at = at.percent(raw)
			}
			e.from, e.to, e.with = base+from, base+at.raw, appendPercent(p.take(3 * len(e.with))[:0], e.with)
			continue
		}
		out := p.take(3 * (e.to - e.from))[:0]
		for i, c := range e.with {
			size := 1
			if percentAt(raw, at.raw) {
				size = 3
			}
			switch {
			case c == v[e.from+i]:
				out = append(out, raw[at.raw:at.raw+size]...)
			case size == 3:
				out = append(out, '%', "0123456789ABCDEF"[c>>4], "0123456789ABCDEF"[c&15])
			default:
				out = append(out, c)
			}
			at.raw += size
			at.decoded++
		}
		e.from, e.to, e.with = base+from, base+at.raw, out
	}
}

// jsonUnit decodes one step of the inside of a JSON string. What is no valid escape stands for itself.
func jsonUnit(raw []byte) (r rune, u unit) {
	if raw[0] != '\\' || len(raw) < 2 {
		return rune(raw[0]), unit{1, 1}
	}
	switch raw[1] {
	case 'u':
		r = hex4(raw[2:])
		if r < 0 {
			return '\\', unit{1, 1}
		}
		if utf16.IsSurrogate(r) {
			if len(raw) >= 12 && raw[6] == '\\' && raw[7] == 'u' {
				if full := utf16.DecodeRune(r, hex4(raw[8:])); full != utf8.RuneError {
					return full, unit{12, 4}
				}
			}
			r = utf8.RuneError
		}
		return r, unit{6, utf8.RuneLen(r)}
	case 'n':
		return '\n', unit{2, 1}
	case 't':
		return '\t', unit{2, 1}
	case 'r':
		return '\r', unit{2, 1}
	case 'b':
		return '\b', unit{2, 1}
	case 'f':
		return '\f', unit{2, 1}
	default:
		return rune(raw[1]), unit{2, 1}
	}
}

func hex4(b []byte) rune {
	if len(b) < 4 {
		return -1
	}
	r := rune(0)
	for _, c := range b[:4] {
		if !isHex(c) {
			return -1
		}
		r = r<<4 | rune(hexValue(c))
	}
	return r
}

// unescapeJSON appends the inside of a JSON string decoded.
func unescapeJSON(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		r, u := jsonUnit(raw[i:])
		if u.raw < 6 {
			dst = append(dst, byte(r))
		} else {
			dst = utf8.AppendRune(dst, r)
		}
		i += u.raw
	}
	return dst
}

// encodeJSON is encodePercent for the inside of a JSON string.
func (p *pass) encodeJSON(raw []byte, base, mark int, v []byte) {
	at := unit{}
	for k := mark; k < len(p.edits); k++ {
		e := &p.edits[k]
		for at.decoded < e.from {
			_, u := jsonUnit(raw[at.raw:])
			at.raw, at.decoded = at.raw+u.raw, at.decoded+u.decoded
		}
		from := at.raw
		if e.kind == 0 { // another text
			for at.decoded < e.to {
				_, u := jsonUnit(raw[at.raw:])
				at.raw, at.decoded = at.raw+u.raw, at.decoded+u.decoded
			}
			e.from, e.to, e.with = base+from, base+at.raw, appendJSON(p.take(6 * len(e.with))[:0], e.with)
			continue
		}
		out := p.take(6 * (e.to - e.from))[:0]
		for i := 0; i < len(e.with); {
			_, u := jsonUnit(raw[at.raw:])
			end := min(i+u.decoded, len(e.with))
			now := e.with[i:end]
			switch {
			case bytes.Equal(now, v[e.from+i:e.from+end]):
				out = append(out, raw[at.raw:at.raw+u.raw]...)
			case u.raw >= 6:
				out = appendEscaped(out, now, u.raw)
			case u.raw == 2: // \" becomes two letters: nothing shorter is as long
				out = append(out, now[0], now[0])
			default:
				out = append(out, now[0])
			}
			i = end
			at.raw, at.decoded = at.raw+u.raw, at.decoded+u.decoded
		}
		e.from, e.to, e.with = base+from, base+at.raw, out
	}
}

// appendEscaped appends text as \uXXXX, or as a pair, in exactly size bytes.
func appendEscaped(dst, text []byte, size int) []byte {
	want := len(dst) + size
	for _, r := range string(text) {
		if hi, lo := utf16.EncodeRune(r); hi != utf8.RuneError {
			dst = appendHex4(appendHex4(dst, hi), lo)
		} else {
			dst = appendHex4(dst, r)
		}
	}
	for len(dst) < want {
		dst = append(dst, 'x')
	}
	return dst[:want]
}

// appendJSON appends v as the inside of a JSON string.
func appendJSON(dst, v []byte) []byte {
	for _, c := range v {
		switch {
		case c == '"', c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = appendHex4(dst, rune(c))
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

func appendHex4(dst []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	return append(dst, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
}
