package redact

// landlineAt knows 010-12345678, 0755 1234567, (021)12345678 and +86-10-12345678 by area code and length; without a separator it would be any
// number of eleven digits. The country code is no part of the value.
func landlineAt(v []byte, from, to int) (span, bool) {
	area := v[from:to]
	switch {
	case area[0] == '0':
		area = area[1:]
		if from > 0 && joinsDigits(v[from-1]) && !hasCountryCode(v, from-1) {
			return span{}, false
		}
	case from == 0 || !hasCountryCode(v, from-1):
		return span{}, false
	}
	i, ok := behindArea(v, from, to)
	if !ok {
		return span{}, false
	}
	end := digits(v, i)
	if end < len(v) && isLetter(v[end]) || !areaCode(area, end-i) || v[i] == '0' {
		return span{}, false
	}
	return span{Landline, from, end}, true
}

// behindArea returns where the subscriber's number begins: behind a space or dash, or behind the bracket that began before the area code.
func behindArea(v []byte, from, to int) (int, bool) {
	if to+1 >= len(v) {
		return 0, false
	}
	i := to + 1
	switch v[to] {
	case '-', ' ':
	case ')':
		if from == 0 || v[from-1] != '(' {
			return 0, false
		}
		if v[i] == '-' || v[i] == ' ' {
			i++
		}
	default:
		return 0, false
	}
	return i, i < len(v) && isDigit(v[i])
}

// hasCountryCode reports whether +86 or 0086 and the separator at i stand there.
func hasCountryCode(v []byte, i int) bool {
	if v[i] == '(' {
		i--
	}
	if i >= 0 && (v[i] == ' ' || v[i] == '-') {
		i--
	}
	return i >= 2 && v[i] == '6' && v[i-1] == '8' && (v[i-2] == '+' || i >= 3 && v[i-2] == '0' && v[i-3] == '0')
}

// areaCode checks an area code without its 0 and the length of the number behind it.
func areaCode(area []byte, size int) bool {
	switch len(area) {
	case 2: // Beijing, and the large cities
		return size == 8 && (area[0] == '1' && area[1] == '0' || area[0] == '2' && area[1] != '6')
	case 3:
		return (size == 7 || size == 8) && area[0] >= '3' && area[1] >= '1'
	}
	return false
}

// joinsDigits reports whether digits behind c belong to what is in front of it.
func joinsDigits(c byte) bool { return isLetter(c) || c == '-' || c == '.' || c == '/' || c == ':' }
