package fault

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNearestIsAtMostTwoChangesAway(t *testing.T) {
	names := []string{"sample", "sample-by", "include", "rate-limit"}
	for word, want := range map[string]string{
		"smaple": "sample", "Sample": "sample", "sampleby": "sample-by", "ratelimit": "rate-limit", "includes": "include",
		"brokers": "", "": "", "samp": "sample", "sam": "", strings.Repeat("x", 1<<20): "",
	} {
		near, ok := Nearest(word, names)
		require.Equal(t, want, near, word)
		require.Equal(t, want != "", ok)
	}
}
