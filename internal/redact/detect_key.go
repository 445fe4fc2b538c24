package redact

// keyShape is a credential that its maker marked with a prefix.
type keyShape struct {
	prefix      string
	least, most int // length of what follows
	alphabet    func(byte) bool
}

// prefixed returns the key of one of the shapes whose prefix ends behind v[at].
func prefixed(v []byte, floor, at int, shapes ...keyShape) (span, bool) {
	for i := range shapes {
		s := &shapes[i]
		from := at + 1 - len(s.prefix)
		if from < floor || string(v[from:at+1]) != s.prefix || continues(v, from) || v[at] == '-' && from > 0 && v[from-1] == '-' {
			continue
		}
		end := at + 1
		for end < len(v) && end-at <= s.most+1 && s.alphabet(v[end]) {
			end++
		}
		if n := end - at - 1; n >= s.least && n <= s.most && (end == len(v) || !isBase64URL(v[end]) || v[end] == '-') {
			return span{APIKey, from, end}, true
		}
	}
	return span{}, false
}

// longest bounds keys whose length is not fixed.
const longest = 512

// capitalKeyAt knows keys that begin with capitals: of AWS, Google, Alibaba and Tencent by their I, SendGrid by G, Twilio by K.
func capitalKeyAt(v []byte, floor, j int) (span, bool) {
	if j <= floor || j+1 >= len(v) {
		return span{}, false
	}
	switch before, behind := v[j-1], v[j+1]; {
	case v[j] == 'G':
		if before == 'S' && behind == '.' {
			return sendGridAt(v, j-1)
		}
	case v[j] == 'K':
		if before == 'S' && isHex(behind) {
			return prefixed(v, floor, j, keyShape{"SK", 32, 32, isHex})
		}
	case behind == 'A' && (before == 'K' || before == 'S'):
		return prefixed(v, floor, j+1, keyShape{"AKIA", 16, 16, isCapitalOrDigit}, keyShape{"ASIA", 16, 16, isCapitalOrDigit})
	case behind == 'D' && before == 'K':
		return prefixed(v, floor, j+1, keyShape{"AKID", 32, 32, isAlphanumeric})
	case behind == 'z' && before == 'A' && j+2 < len(v):
		return prefixed(v, floor, j+2, keyShape{"AIza", 35, 35, isBase64URL})
	case before == 'A' && j-3 >= floor:
		return prefixed(v, floor, j, keyShape{"LTAI", 12, 26, isAlphanumeric})
	}
	return span{}, false
}

// sendGridAt knows SG.x.y.
func sendGridAt(v []byte, from int) (span, bool) {
	end := from + len("SG.")
	for i, n := range [2]int{22, 43} {
		start := end
		for end < len(v) && isBase64URL(v[end]) {
			end++
		}
		if end-start != n || i == 0 && (end == len(v) || v[end] != '.') {
			return span{}, false
		}
		end++
	}
	return span{APIKey, from, end - 1}, !continues(v, from)
}

// isRandom reports whether v is drawn rather than written: it has a run of 20 letters and digits, with digits in it, or is long and has
// digits and both cases.
func isRandom(v []byte) bool {
	run, digit := 0, false
	for _, c := range v {
		if !isAlphanumeric(c) {
			run, digit = 0, false
			continue
		}
		run++
		if digit = digit || isDigit(c); digit && run >= 20 {
			return true
		}
	}
	l := looks(v)
	return len(v) >= 40 && l.digits > 2 && l.upper > 2 && l.lower > 2
}

func isAlphanumeric(c byte) bool   { return isLetter(c) || isDigit(c) }
func isWordByte(c byte) bool       { return isAlphanumeric(c) || c == '_' }
func isBase64(c byte) bool         { return isAlphanumeric(c) || c == '+' || c == '/' || c == '=' }
func isCapitalOrDigit(c byte) bool { return isUpper(c) || isDigit(c) }
