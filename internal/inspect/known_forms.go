package inspect

import (
	"unicode/utf16"
	"unicode/utf8"
)

// unpercent appends v with %XX decoded, and + as the space that it is in forms.
func unpercent(dst, v []byte) []byte {
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c == '+':
			dst = append(dst, ' ')
		case c == '%' && i+2 < len(v) && digit(v[i+1]) >= 0 && digit(v[i+2]) >= 0:
			dst = append(dst, byte(digit(v[i+1])<<4|digit(v[i+2])))
			i += 2
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// unescape appends v with the escapes of JSON strings decoded.
func unescape(dst, v []byte) []byte {
	for i := 0; i < len(v); i++ {
		if v[i] != '\\' || i+1 == len(v) {
			dst = append(dst, v[i])
			continue
		}
		i++
		switch c := v[i]; c {
		case 'n':
			dst = append(dst, '\n')
		case 't':
			dst = append(dst, '\t')
		case 'r':
			dst = append(dst, '\r')
		case 'u':
			r := hex4(v[i+1:])
			if r < 0 {
				dst = append(dst, '\\', c)
				continue
			}
			i += 4
			if utf16.IsSurrogate(r) && i+2 < len(v) && v[i+1] == '\\' && v[i+2] == 'u' {
				if both := utf16.DecodeRune(r, hex4(v[i+3:])); both != utf8.RuneError {
					r, i = both, i+6
				}
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

func hex4(v []byte) rune {
	if len(v) < 4 {
		return -1
	}
	r := rune(0)
	for _, c := range v[:4] {
		d := digit(c)
		if d < 0 {
			return -1
		}
		r = r<<4 | rune(d)
	}
	return r
}

func digit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}
