package redact

// landline keeps the area code and the separators.
func (p *pseudonyms) landline(dst, value []byte, attempt byte) {
	var d [16]byte
	n := onlyDigits(d[:], value)
	p.start(Landline.String(), d[:n], attempt)
	size := 0 // of the subscriber's number, which stands last
	for size < len(value) && isDigit(value[len(value)-1-size]) {
		size++
	}
	for i := max(0, n-size); i < n; i++ {
		d[i] = p.digit()
		if i == n-size {
			d[i] = '2' + byte(p.below(7))
		}
	}
	putDigits(dst, value, d[:n])
}

// passport keeps the letters.
func (p *pseudonyms) passport(dst, value []byte, attempt byte) {
	p.start(Passport.String(), value, attempt)
	for i, c := range value {
		if dst[i] = c; isDigit(c) {
			dst[i] = p.digit()
		}
	}
}

// iban keeps the country, what is a letter or a digit, the separators, and right check digits.
func (p *pseudonyms) iban(dst, value []byte, attempt byte) {
	var b [maxIBAN]byte
	n := 0
	for _, c := range value {
		if isAlphanumeric(c) && n < len(b) {
			b[n] = c &^ lowerBit(c)
			n++
		}
	}
	p.start(IBAN.String(), b[:n], attempt)
	for i := 4; i < n; i++ {
		if isDigit(b[i]) {
			b[i] = p.digit()
		} else {
			b[i] = 'A' + byte(p.below(26))
		}
	}
	b[2], b[3] = '0', '0'
	check := 98 - mod97(b[:n])
	b[2], b[3] = '0'+byte(check/10), '0'+byte(check%10)
	k := 0
	for i, c := range value {
		if dst[i] = c; isAlphanumeric(c) && k < n {
			dst[i] = b[k] | lowerBit(c)
			k++
		}
	}
}
