package redact

// cardAt knows 13 to 19 digits in a row, or in groups with a space or dash between that begin with four or six digits.
// Of several lengths in groups the longest that passes counts.
func cardAt(v []byte, from, to int) (span, bool) {
	var d [19]byte
	n := copy(d[:], v[from:to])
	if to-from >= 13 {
		return span{Card, from, to}, to-from <= 19 && validCard(d[:n])
	}
	best := -1
	if to+1 < len(v) && (v[to] == ' ' || v[to] == '-') {
		separator := v[to]
		for to < len(v) && v[to] == separator {
			end := digits(v, to+1)
			size := end - to - 1
			if size == 0 || n+size > len(d) {
				break
			}
			n += copy(d[n:], v[to+1:end])
			if to = end; n >= 13 && validCard(d[:n]) {
				best = to
			}
			if size < 3 { // only the last group is that short
				break
			}
		}
	}
	return span{Card, from, best}, best > 0
}

// validCard checks the issuer's range for that length and the Luhn digit. Ranges matter: one in ten numbers has a right
// Luhn digit, and times in ms (13 digits), µs (16) and ns (19) begin with 1.
func validCard(d []byte) bool { return issuer(d) && luhn(d) == 0 }

func issuer(d []byte) bool {
	two, four := number(d[:2]), number(d[:4])
	maestro := two == 50 || two >= 56 && two <= 69
	switch len(d) {
	case 13:
		return d[0] == '4' || maestro
	case 14: // Diners Club
		return two == 36 || two == 38 || two == 39 || two == 30 || maestro
	case 15: // American Express, UATP, old JCB
		return two == 34 || two == 37 || d[0] == '1' || four == 2131 || maestro
	case 16:
		return d[0] >= '3' && d[0] <= '6' || four >= 2200 && four <= 2204 || four >= 2221 && four <= 2720 ||
			two == 81 || two == 82 || four == 9792 || four == 9558
	case 17, 18, 19: // UnionPay, Visa, Maestro, JCB, Diners Club and older Chinese bank cards
		return d[0] >= '4' && d[0] <= '6' || two == 81 || two == 36 || four >= 3528 && four <= 3589 || two == 95 ||
			four == 1030 || four == 9003
	}
	return false
}

// luhn returns the Luhn sum modulo 10.
func luhn(d []byte) int {
	sum := 0
	for i, c := range d {
		n := int(c - '0')
		if (len(d)-i)%2 == 0 {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
	}
	return sum % 10
}
