package redact

// span is a value that a detector found.
type span struct {
	kind     Kind
	from, to int
}

// shortest is the length of the shortest value that a detector knows.
const shortest = 11

// detector finds values by their digits. It looks at every fourth byte: every value it knows holds four digits in a row.
type detector struct{ mobile, id, card bool }

func newDetector(kinds []Kind) detector {
	var d detector
	for _, k := range kinds {
		switch k {
		case Mobile:
			d.mobile = true
		case IDNumber:
			d.id = true
		case Card:
			d.card = true
		}
	}
	return d
}

// next returns the first value in v that begins at or after i. ok is false when there is none.
func (d detector) next(v []byte, i int) (s span, ok bool) {
	for j := i + 3; j < len(v); j += 4 {
		if !isDigit(v[j]) {
			continue
		}
		from := j
		for from > i && isDigit(v[from-1]) {
			from--
		}
		to := digits(v, j+1)
		if to-from >= 3 {
			if s, ok = d.group(v, i, from, to); ok {
				return s, true
			}
			if skip := escapeEnd(v, from); skip > from && skip < to {
				if s, ok = d.group(v, i, skip, to); ok {
					return s, true
				}
			}
		}
		j = to - 1 // the loop adds four: the third byte behind the group
	}
	return span{}, false
}

// group tries what a run of digits v[from:to] may be or begin; floor is where an earlier value ended.
func (d detector) group(v []byte, floor, from, to int) (span, bool) {
	n := to - from
	if d.mobile {
		if s, ok := mobileAt(v, floor, from, to); ok && bounded(v, s) {
			return s, true
		}
	}
	if d.id && n >= 6 {
		if s, ok := idAt(v, from, to); ok && bounded(v, s) {
			return s, true
		}
	}
	if d.card && (n == 4 || n == 6 || n >= 13) {
		if s, ok := cardAt(v, from, to); ok && bounded(v, s) {
			return s, true
		}
	}
	if d.id && n == 15 && oldID(v[from:to]) {
		if s := (span{IDNumber, from, to}); bounded(v, s) {
			return s, true
		}
	}
	return span{}, false
}

// mobileAt knows 13812345678, 8613812345678, 008613812345678 and, with one separator between the groups, 3-4-4, 3-8 and
// 7-4 digits. The country code is no part of the value. 92 and 98 are numbers that validators accept as mobile.
func mobileAt(v []byte, floor, from, to int) (span, bool) {
	switch n := to - from; n {
	case 11:
		return span{Mobile, from, to}, mobilePrefix(v[from:])
	case 13:
		return span{Mobile, from + 2, to}, v[from] == '8' && v[from+1] == '6' && mobilePrefix(v[from+2:])
	case 15:
		return span{Mobile, from + 4, to}, string(v[from:from+4]) == "0086" && mobilePrefix(v[from+4:])
	case 3, 5: // 138 1234 5678, 86138 1234 5678
		start := to - 3
		if n == 5 && string(v[from:start]) != "86" || !strictMobile(v[start:]) {
			return span{}, false
		}
		return threeGroups(v, start)
	case 4, 8: // the three digits before have been passed over
		start := from - 4
		if start < floor || !strictMobile(v[start:]) || digits(v, start) != start+3 || start > 0 && isDigit(v[start-1]) {
			return span{}, false
		}
		return threeGroups(v, start)
	case 7:
		end := digits(v, min(to+1, len(v)))
		return span{Mobile, from, end}, strictMobile(v[from:]) && end == to+5 && (v[to] == ' ' || v[to] == '-')
	}
	return span{}, false
}

func threeGroups(v []byte, start int) (span, bool) {
	if start+4 > len(v) || !isSeparator(v[start+3]) {
		return span{}, false
	}
	second := digits(v, start+4)
	switch second - (start + 4) {
	case 8: // with a dot it would be a longitude
		return span{Mobile, start, second}, v[start+3] != '.'
	case 4:
		if second >= len(v) || !isSeparator(v[second]) {
			return span{}, false
		}
		third := digits(v, second+1)
		return span{Mobile, start, third}, third == second+5
	}
	return span{}, false
}

func mobilePrefix(v []byte) bool {
	return strictMobile(v) || v[0] == '9' && (v[1] == '2' || v[1] == '8')
}

func strictMobile(v []byte) bool { return len(v) > 2 && v[0] == '1' && v[1] >= '3' && v[1] <= '9' }

func isSeparator(c byte) bool { return c == ' ' || c == '-' || c == '.' }

// idAt knows 18 characters in a row or as 6-8-4.
func idAt(v []byte, from, to int) (span, bool) {
	var id [18]byte
	end := to
	switch to - from {
	case 18:
		copy(id[:], v[from:to])
	case 17:
		if to >= len(v) || v[to]|0x20 != 'x' {
			return span{}, false
		}
		end = to + 1
		copy(id[:], v[from:end])
	case 6:
		if from+20 > len(v) || !(v[to] == ' ' || v[to] == '-') || v[to+9] != v[to] || digits(v, to+1) != to+9 {
			return span{}, false
		}
		end = from + 20
		if tail := digits(v, to+10); tail != end && !(tail == end-1 && v[tail]|0x20 == 'x') {
			return span{}, false
		}
		copy(id[:], v[from:to])
		copy(id[6:], v[to+1:to+9])
		copy(id[14:], v[to+10:end])
	default:
		return span{}, false
	}
	return span{IDNumber, from, end}, validID(id[:])
}

// validID checks province, birth date and check character of an 18 character number (GB 11643).
func validID(id []byte) bool {
	if !province(id) || !date(number(id[6:10]), number(id[10:12]), number(id[12:14])) {
		return false
	}
	return id[17]&^0x20 == checkID(id)&^0x20 // x or X
}

// oldID checks province and birth date of a 15 digit number, which has no check digit.
func oldID(id []byte) bool {
	return province(id) && date(1900+number(id[6:8]), number(id[8:10]), number(id[10:12]))
}

func checkID(id []byte) byte {
	sum, weight := 0, 1 // weights are powers of 2 mod 11, from the right
	for i := 16; i >= 0; i-- {
		weight = weight * 2 % 11
		sum += int(id[i]-'0') * weight
	}
	return "10X98765432"[sum%11]
}

func province(id []byte) bool {
	switch id[0] {
	case '1':
		return id[1] >= '1' && id[1] <= '5'
	case '2':
		return id[1] >= '1' && id[1] <= '3'
	case '3':
		return id[1] >= '1' && id[1] <= '7'
	case '4':
		return id[1] >= '1' && id[1] <= '6'
	case '5':
		return id[1] <= '4'
	case '6':
		return id[1] >= '1' && id[1] <= '5'
	case '7':
		return id[1] == '1'
	case '8':
		return id[1] >= '1' && id[1] <= '3'
	case '9':
		return id[1] == '1'
	}
	return false
}

func date(year, month, day int) bool {
	if year < 1880 || year > 2099 || month < 1 || month > 12 || day < 1 {
		return false
	}
	last := 31
	switch month {
	case 4, 6, 9, 11:
		last = 30
	case 2:
		last = 28
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			last = 29
		}
	}
	return day <= last
}

func number(b []byte) int {
	n := 0
	for _, c := range b {
		n = n*10 + int(c-'0')
	}
	return n
}

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
