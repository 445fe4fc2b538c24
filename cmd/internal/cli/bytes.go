package cli

import (
	"fmt"
	"strconv"
	"strings"
)

// Bytes is a flag value: a number of bytes, written with KiB, MiB, GiB (or KB, MB, GB) or without a unit.
type Bytes int64

// byteUnits are tried in order: the longer endings first.
func byteUnits() []struct {
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

// String writes the number with the largest binary unit that divides it.
func (b *Bytes) String() string {
	n := int64(*b)
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

// Set implements pflag.Value.
func (b *Bytes) Set(s string) error {
	for _, u := range byteUnits() {
		number, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || f < 0 || f*float64(u.size) > 1<<62 {
			break
		}
		*b = Bytes(f * float64(u.size))
		return nil
	}
	return fmt.Errorf("%q is not a size; want a number with KiB, MiB or GiB, such as 64MiB", s)
}

// Type implements pflag.Value.
func (b *Bytes) Type() string { return "size" }
