package redact

// mobileAt knows 13812345678, 8613812345678, 008613812345678 and, with one separator between the groups, 3-4-4, 3-8 and
// 7-4 digits. The country code is no part of the value. 92 and 98 are numbers that validators accept as mobile.
func mobileAt(v []byte, from, to int) (span, bool) {
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
	case 7: // 0086138 1234 5678, 1381234-5678
		if string(v[from:from+4]) == "0086" {
			start := from + 4
			if !strictMobile(v[start:]) {
				return span{}, false
			}
			return threeGroups(v, start)
		}
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
