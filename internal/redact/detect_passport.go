package redact

import "bytes"

// passport knows a Chinese passport: E, G, D, S, P or H and eight digits, or E and a letter and seven. As many product codes look
// like that, Passport wants a word for it in the 32 bytes before; PassportShape does not.
func (d detector) passport(v []byte, from, to int) (span, bool) {
	if !d.kinds.has(Passport) && !d.kinds.has(PassportShape) {
		return span{}, false
	}
	start := from - (9 - (to - from))
	if start < 0 || start > 0 && (isLetter(v[start-1]) || isDigit(v[start-1])) || to < len(v) && isLetter(v[to]) {
		return span{}, false
	}
	switch first := v[start]; {
	case from-start == 1 && bytes.IndexByte([]byte("EGDSPHegdsph"), first) < 0:
		return span{}, false
	case from-start == 2 && (first|0x20 != 'e' || !isLetter(v[start+1])):
		return span{}, false
	}
	if d.kinds.has(PassportShape) {
		return span{PassportShape, start, to}, true
	}
	before := bytes.ToLower(v[max(0, start-32):start])
	return span{Passport, start, to}, bytes.Contains(before, []byte("passport")) || bytes.Contains(before, []byte("护照"))
}
