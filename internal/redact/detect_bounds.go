package redact

// digits returns the end of the run of digits that begins at i.
func digits(v []byte, i int) int {
	for i < len(v) && isDigit(v[i]) {
		i++
	}
	return i
}

// bounded reports whether s stands by itself: not the fraction of a decimal number, and not inside hexadecimal.
// Letters may touch it otherwise (tel13812345678, ID110101…).
func bounded(v []byte, s span) bool {
	if s.from >= 2 && v[s.from-1] == '.' && isDigit(v[s.from-2]) {
		return false
	}
	return !hexBefore(v, s.from) && !hexAfter(v, s.to)
}

// hexBefore reports whether letters a to f and then a digit stand before i, as in 3fa138…, unless they are an escape.
func hexBefore(v []byte, i int) bool {
	j := i
	for j > 0 && v[j-1]|0x20-'a' < 6 {
		j--
	}
	return j < i && j > 0 && isDigit(v[j-1]) && escapeEnd(v, i) != i
}

func hexAfter(v []byte, i int) bool {
	j := i
	for j < len(v) && v[j]|0x20-'a' < 6 {
		j++
	}
	return j > i && j < len(v) && isDigit(v[j])
}

// escapeEnd returns where the escape %XX or \uXXXX that reaches to or over i ends, else 0.
func escapeEnd(v []byte, i int) int {
	for back := 1; back <= 3 && back <= i; back++ {
		if at := i - back; v[at] == '%' && at+2 < len(v) && isHex(v[at+1]) && isHex(v[at+2]) {
			return at + 3
		}
	}
	for back := 2; back <= 6 && back <= i; back++ {
		if at := i - back; v[at] == '\\' && v[at+1] == 'u' && at+6 <= len(v) {
			return at + 6
		}
	}
	return 0
}
