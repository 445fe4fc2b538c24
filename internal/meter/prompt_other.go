//go:build !linux

package meter

// Prompt does nothing: only Linux has slices that can be asked for.
func Prompt() error { return nil }

// Prefer does nothing: only Linux has nice values of threads.
func Prefer(int) error { return nil }
