package cli

import "github.com/reprise-io/reprise/internal/size"

// Bytes is a flag value: a number of bytes, written with KiB, MiB, GiB (or KB, MB, GB) or without a unit.
type Bytes int64

// String writes the number with the largest binary unit that divides it.
func (b *Bytes) String() string { return size.String(int64(*b)) }

// Set implements pflag.Value.
func (b *Bytes) Set(s string) error {
	n, err := size.Parse(s)
	if err == nil {
		*b = Bytes(n)
	}
	return err
}

// Type implements pflag.Value.
func (b *Bytes) Type() string { return "size" }
