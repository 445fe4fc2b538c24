package threshold_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/threshold"
)

func TestThresholdsAreReadInTheirParts(t *testing.T) {
	for s, want := range map[string]threshold.Text{
		"5%":                    {Value: "5%"},
		" 5 % / 1m ":            {Value: "5 %", Window: time.Minute, Windowed: true},
		"error_rate > 50%/10s":  {Name: "error_rate", Value: "50%", Window: 10 * time.Second, Windowed: true},
		"p99>200ms":             {Name: "p99", Value: "200ms"},
		"Anything at all >  x ": {Name: "Anything at all", Value: "x"},
	} {
		got, err := threshold.Split(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got, s)
	}
	for s, says := range map[string]string{
		"error_rate 5%":      "want > behind error_rate",
		"error_rate >= 5%":   "want >:",
		"error_rate < 5%":    "want >:",
		"error_rate == 5%":   "want >:",
		"> 5%":               "a name in front",
		"error_rate > 5%/x":  "the window is no time",
		"error_rate > 5%/0s": "the window is no time",
	} {
		_, err := threshold.Split(s)
		require.ErrorContains(t, err, says, s)
	}
	for _, s := range []string{"5", "%", "NaN%", "Inf%", "5%%", "five%"} {
		_, err := threshold.Percent(s)
		require.Error(t, err, s)
	}
}

func FuzzSplit(f *testing.F) {
	for _, s := range []string{"5%", "error_rate > 50%/10s", "p99 > 200ms", "a = b", ">>", "x > 1/2/3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := threshold.Split(s)
		if err != nil {
			return
		}
		require.NotContains(t, got.Name, ">")
		require.Equal(t, got.Windowed, got.Window > 0)
		require.Equal(t, strings.TrimSpace(got.Value), got.Value)
		_, _ = threshold.Percent(got.Value)
	})
}
