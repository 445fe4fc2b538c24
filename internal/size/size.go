// Package size reads and writes numbers of bytes as people do: 64KiB, 1.5 GB, 4096.
package size

import (
	"fmt"
	"strconv"
	"strings"
)

// units are tried in order: the longer endings first.
func units() []struct {
	name string
	size int64
} {
	return []struct {
		name string
		size int64
	}{
		{"KiB", 1 << 10},
		{"MiB", 1 << 20},
		{"GiB", 1 << 30},
		{"KB", 1e3},
		{"MB", 1e6},
		{"GB", 1e9},
		{"K", 1 << 10},
		{"M", 1 << 20},
		{"G", 1 << 30},
		{"B", 1},
		{"", 1},
	}
}

// Parse reads a number with KiB, MiB, GiB (or KB, MB, GB) or without a unit.
func Parse(s string) (int64, error) {
	for _, u := range units() {
		number, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(f >= 0) || f*float64(u.size) > 1<<62 {
			break
		}
		return int64(f * float64(u.size)), nil
	}
	return 0, fmt.Errorf("%q is not a size; want a number with KiB, MiB or GiB, such as 64MiB", s)
}

// String writes n with the largest binary unit that divides it; Parse reads it.
func String(n int64) string {
	for _, u := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n != 0 && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}
