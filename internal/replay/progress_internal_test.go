package replay

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMeanSpeedIsWhatWasAskedForUnlessItChanged(t *testing.T) {
	// A window of a minute and some nanoseconds at 5×: due times are whole nanoseconds.
	captured := time.Minute + 3*time.Nanosecond
	require.Equal(t, 5.0, meanSpeed(captured, captured/5, 5))
	require.Equal(t, 5.0, meanSpeed(captured, captured/5+2*time.Nanosecond, 5))
	require.InDelta(t, 2.5, meanSpeed(time.Minute, 24*time.Second, 5), 1e-9, "half of it was sent slower")
	require.Equal(t, 2.0, meanSpeed(time.Second, 0, 2), "one request")
	require.InDelta(t, 3.0, meanSpeed(3*time.Second, time.Second, 0), 1e-9, "max for a part of it")
}
