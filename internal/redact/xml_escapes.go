package redact

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// xmlUnit decodes one step of text in a document. What is no entity of XML's own or of a character stands for itself.
func xmlUnit(raw []byte) (r rune, u unit) {
	if raw[0] != '&' {
		return rune(raw[0]), unit{1, 1}
	}
	end := bytes.IndexByte(raw[:min(len(raw), 12)], ';')
	if end < 2 {
		return '&', unit{1, 1}
	}
	name := string(raw[1:end])
	switch name {
	case "amp":
		r = '&'
	case "lt":
		r = '<'
	case "gt":
		r = '>'
	case "quot":
		r = '"'
	case "apos":
		r = '\''
	default:
		if name[0] != '#' {
			return '&', unit{1, 1}
		}
		digits, radix := name[1:], 10
		if len(digits) > 1 && digits[0]|0x20 == 'x' {
			digits, radix = digits[1:], 16
		}
		n, err := strconv.ParseUint(digits, radix, 21)
		if err != nil || !utf8.ValidRune(rune(n)) || n == 0 {
			return '&', unit{1, 1}
		}
		r = rune(n)
	}
	return r, unit{end + 1, utf8.RuneLen(r)}
}

// unescapeXML appends raw with its entities decoded.
func unescapeXML(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		r, u := xmlUnit(raw[i:])
		if u.raw == 1 {
			dst = append(dst, raw[i])
		} else {
			dst = utf8.AppendRune(dst, r)
		}
		i += u.raw
	}
	return dst
}

// appendXML appends v with what is markup escaped.
func appendXML(dst, v []byte) []byte {
	for _, c := range v {
		switch c {
		case '&':
			dst = append(dst, "&amp;"...)
		case '<':
			dst = append(dst, "&lt;"...)
		case '>':
			dst = append(dst, "&gt;"...)
		case '"':
			dst = append(dst, "&quot;"...)
		case '\'':
			dst = append(dst, "&apos;"...)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// encodeXML is encodePercent for text and attributes of a document. A pseudonym loses entities that it does not need.
func (p *pass) encodeXML(raw []byte, base, mark int) {
	at := unit{}
	for k := mark; k < len(p.edits); k++ {
		e := &p.edits[k]
		for at.decoded < e.from {
			_, u := xmlUnit(raw[at.raw:])
			at.raw, at.decoded = at.raw+u.raw, at.decoded+u.decoded
		}
		from, first := at.raw, at.decoded
		out := p.take(6 * max(len(e.with), e.to-e.from))[:0]
		for at.decoded < e.to {
			_, u := xmlUnit(raw[at.raw:])
			if e.kind != 0 {
				i := at.decoded - first
				now := e.with[i:min(i+u.decoded, len(e.with))]
				if u.raw == 1 && now[0] == raw[at.raw] {
					out = append(out, now[0]) // a quote of the other kind, or a & that begins no entity
				} else {
					out = appendXML(out, now)
				}
			}
			at.raw, at.decoded = at.raw+u.raw, at.decoded+u.decoded
		}
		if e.kind == 0 {
			out = appendXML(out, e.with)
		}
		if e.from, e.to, e.with = base+from, base+at.raw, out; e.grows() != 0 {
			e.kind, p.bent = 0, true
		}
	}
}
