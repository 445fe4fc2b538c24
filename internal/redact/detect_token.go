package redact

// jwtAt knows a signed token (three parts), an encrypted one (five) and one without a signature (two and a dot), by the eyJ that their header,
// a JSON object, begins with.
func jwtAt(v []byte, floor, j int) (span, bool) {
	from := j - 2
	if from < floor || v[from] != 'e' || v[from+1] != 'y' || isLaterPart(v, from) {
		return span{}, false
	}
	inside := continues(v, from)
	if inside && from-2 >= floor && isBase64URL(v[from-2]) {
		return span{}, false
	}
	parts, size, end, to := 1, 0, from, from
	for ; end < len(v) && parts <= maxParts; end++ {
		c := v[end]
		if c == '.' {
			if parts == 1 && size < 8 {
				return span{}, false
			}
			if size > 0 {
				to = end
			}
			parts, size = parts+1, 0
			continue
		}
		if !isBase64URL(c) && c != '=' {
			break
		}
		size++
	}
	if size > 0 {
		to = end
	} else {
		parts--
	}
	unsigned := parts == 2 && size == 0 && end > to // header.payload.
	if unsigned {
		to++
	}
	if inside && int(v[from-1]) != to-from { // unless it is the length of a protobuf field
		return span{}, false
	}
	return span{JWT, from, to}, (unsigned || parts == 3 || parts == maxParts) && to-from >= 20
}

// maxParts is how many parts an encrypted token has.
const maxParts = 5

// isLaterPart reports whether the part of a token that begins with eyJ too stands before the dot in front of i.
func isLaterPart(v []byte, i int) bool {
	if i == 0 || v[i-1] != '.' {
		return false
	}
	j := i - 1
	for j > 0 && isBase64URL(v[j-1]) {
		j--
	}
	return string(v[j:min(j+3, i)]) == "eyJ"
}

// continues reports whether what stands at i goes on with letters or digits that stand before it, and which are no escape.
func continues(v []byte, i int) bool {
	return i > 0 && isBase64URL(v[i-1]) && v[i-1] != '-' && escapeEnd(v, i) != i
}

func isBase64URL(c byte) bool { return isLetter(c) || isDigit(c) || c == '-' || c == '_' }

// leastBearer is the length in bytes from which what follows the word may be a token, if it has a digit.
const leastBearer = 16

// bearerAt knows what follows "Bearer ". The word is no part of the value.
func bearerAt(v []byte, j int) (span, bool) {
	const word = "bearer "
	from := j + len(word)
	if from+leastBearer > len(v) || continues(v, j) {
		return span{}, false
	}
	for i := range len(word) {
		if v[j+i]|0x20 != word[i] {
			return span{}, false
		}
	}
	to, digit := from, false
	for to < len(v) && (isBase64URL(v[to]) || v[to] == '.' || v[to] == '~' || v[to] == '+' || v[to] == '/' || v[to] == '=') {
		digit = digit || isDigit(v[to])
		to++
	}
	for to > from && v[to-1] == '.' {
		to--
	}
	return span{Bearer, from, to}, digit && to-from >= leastBearer
}
