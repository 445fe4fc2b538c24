package redact

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
