package redact

// maxIBAN is the length of the longest account number without separators.
const maxIBAN = 34

// ibanAt knows account numbers in one piece or in groups of four with a space or dash between. Their check digits begin at from, behind the
// two letters of a country whose length, form and check (mod 97) must all be right.
func ibanAt(v []byte, floor, from int) (span, bool) {
	start := from - 2
	if start < floor || from+1 >= len(v) || !isDigit(v[from+1]) || continues(v, start) {
		return span{}, false
	}
	var b [maxIBAN]byte
	b[0], b[1] = v[start]&^0x20, v[start+1]&^0x20
	form, size := ibanForm([2]byte(b[:2]))
	if size == 0 || len(v)-start < size {
		return span{}, false
	}
	n, i, separator := 2, from, byte(0)
	for n < size && i < len(v) {
		c := v[i]
		if n%4 == 0 && n > 2 && (c == ' ' || c == '-') && v[i-1] != c && (n == 4 || c == separator) {
			separator = c
			i++
			continue
		}
		if !isAlphanumeric(c) {
			return span{}, false
		}
		b[n] = c &^ lowerBit(c)
		n++
		i++
	}
	if n < size || i < len(v) && (isAlphanumeric(v[i]) || v[i] == '@' || v[i] == '_') {
		return span{}, false
	}
	return span{IBAN, start, i}, hasForm(b[4:size], form) && mod97(b[:size]) == 1
}

// lowerBit is the bit that makes a small letter of a capital, 0 for anything else than a small letter.
func lowerBit(c byte) byte {
	if c >= 'a' && c <= 'z' {
		return 0x20
	}
	return 0
}

// mod97 is the remainder of an account number with its first four characters at the end (ISO 7064).
func mod97(iban []byte) int {
	r := 0
	for i := range iban {
		c := iban[(i+4)%len(iban)]
		if isDigit(c) {
			r = (r*10 + int(c-'0')) % 97
		} else {
			r = (r*100 + int(c-'A') + 10) % 97
		}
	}
	return r
}

// hasForm checks an account number without country and check digits against a form such as 4a6n8c: so many letters, digits, and either.
func hasForm(b []byte, form string) bool {
	n := 0
	for i := range len(form) {
		kind := form[i]
		if isDigit(kind) {
			n = n*10 + int(kind-'0')
			continue
		}
		for _, c := range b[:n] {
			if kind == 'a' && isDigit(c) || kind == 'n' && !isDigit(c) {
				return false
			}
		}
		b, n = b[n:], 0
	}
	return true
}

// formSize is the length of an account number of that form, with country and check digits.
func formSize(form string) int {
	size, n := 4, 0
	for i := range len(form) {
		if isDigit(form[i]) {
			n = n*10 + int(form[i]-'0')
			continue
		}
		size, n = size+n, 0
	}
	return size
}
