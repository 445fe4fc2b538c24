//go:build !linux

package meter

// Prompt does nothing: only Linux has slices that can be asked for.
func Prompt() error { return nil }

// Prefer does nothing: only Linux has nice values of threads.
func Prefer(int) (bool, error) { return false, nil }

// PreferThread does nothing either.
func PreferThread(int, int) error { return nil }
