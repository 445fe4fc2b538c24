package compare

import (
	"strconv"
	"strings"
)

// equalNumbers compares two JSON numbers by value, however they are spelled and however large they are: 1, 1.0 and
// 10e-1 are equal, as are 0 and -0.
func equalNumbers(a, b string) bool {
	if a == b {
		return true
	}
	x, okA := decimal(a)
	y, okB := decimal(b)
	return okA && okB && x == y
}

// number is ±0.digits × 10^exponent, with no zero at either end of digits. Zero has no digits and no sign.
type number struct {
	negative bool
	digits   string
	exponent int64
}

func decimal(s string) (n number, ok bool) {
	s, n.negative = strings.CutPrefix(s, "-")
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		e, err := strconv.ParseInt(strings.TrimPrefix(s[i+1:], "+"), 10, 32)
		if err != nil {
			return n, false // too large to mean anything: equal only as it is spelled
		}
		n.exponent, s = e, s[:i]
	}
	whole, fraction, _ := strings.Cut(s, ".")
	n.exponent += int64(len(whole))
	digits := whole + fraction
	trimmed := strings.TrimLeft(digits, "0")
	n.exponent -= int64(len(digits) - len(trimmed))
	n.digits = strings.TrimRight(trimmed, "0")
	if n.digits == "" {
		return number{}, true
	}
	return n, true
}
