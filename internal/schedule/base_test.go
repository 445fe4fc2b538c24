package schedule

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
)

func TestParseSpeed(t *testing.T) {
	for s, want := range map[string]float64{
		"1": 1, "0.5": 0.5, "2": 2, "2x": 2, "2.0×": 2, "1e2": 100, ".25": 0.25, "max": 0,
	} {
		got, err := ParseSpeed(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got, s)
	}
	for _, s := range []string{"", "0", "-1", "fast", "NaN", "Inf", "-Inf", "2 x", "x", "1e999", "MAX", "0x"} {
		_, err := ParseSpeed(s)
		require.Error(t, err, s)
		require.Equal(t, fault.Usage, fault.Code(err), s)
	}
	_, err := ParseSpeed("fast")
	require.EqualError(t, err, `bad --speed "fast": want a number above 0, such as 0.5 or 2, or max`)
}

func TestFormatSpeedIsReadBack(t *testing.T) {
	for speed, want := range map[float64]string{0: "max", 0.5: "0.5×", 2: "2.0×", 3.75: "3.75×", 100: "100.0×"} {
		require.Equal(t, want, FormatSpeed(speed))
		back, err := ParseSpeed(FormatSpeed(speed))
		require.NoError(t, err)
		require.Equal(t, speed, back)
	}
}

func FuzzParseSpeed(f *testing.F) {
	for _, s := range []string{"1", "0.5", "2x", "max", "-0", "1e-320", "0x1p-2", "1_0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		speed, err := ParseSpeed(s)
		if err != nil {
			return
		}
		require.False(t, math.IsNaN(speed) || math.IsInf(speed, 0) || speed < 0)
		require.Equal(t, speed == 0, s == "max")
		back, err := ParseSpeed(FormatSpeed(speed))
		require.NoError(t, err)
		require.Equal(t, speed, back)
	})
}
