package schedule

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
)

func TestDueKeepsDistancesDividedBySpeed(t *testing.T) {
	capture := time.Date(2026, 11, 22, 13, 42, 10, 0, time.UTC)
	wall := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		name  string
		speed float64
		after time.Duration // capture
		want  time.Duration // wall
	}{
		{"the base itself", 2, 0, 0},
		{"as captured, to the nanosecond", 1, 72*time.Hour + 1, 72*time.Hour + 1},
		{"twice as fast", 2, 10 * time.Second, 5 * time.Second},
		{"half as fast", 0.5, 10 * time.Second, 20 * time.Second},
		{"captured before the base", 2, -10 * time.Second, -5 * time.Second},
		{"as fast as it can", 0, time.Hour, 0},
		{"slower than time can hold", 1e-9, 1000 * time.Hour, math.MaxInt64},
	} {
		t.Run(row.name, func(t *testing.T) {
			base := Base{Capture: capture, Wall: wall, Speed: row.speed}
			require.Equal(t, row.want, base.Due(capture.Add(row.after)).Sub(wall))
		})
	}
}

func TestDueDoesNotDriftOverADay(t *testing.T) {
	base := Base{Capture: time.Unix(0, 0), Wall: time.Unix(1_000_000, 0), Speed: 3}
	at := base.Due(time.Unix(86_400*3, 0))
	require.Equal(t, time.Unix(1_000_000+86_400, 0), at)
}

func TestAnchorTiesTheBaseToTheMonotonicClock(t *testing.T) {
	now := time.Now()
	wall := now.Round(0).Add(2 * time.Second) // as read from the control topic: no monotonic reading
	base := Base{Capture: time.Unix(100, 0), Wall: wall, Speed: 1}.Anchor(now)
	require.True(t, base.Wall.Equal(wall))
	require.Contains(t, base.Due(time.Unix(101, 0)).String(), "m=")
	require.Equal(t, 3*time.Second, base.Due(time.Unix(101, 0)).Sub(now))
}

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
