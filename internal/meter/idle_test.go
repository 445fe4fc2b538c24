package meter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestIdleTimeGrowsNoFasterThanTheClock(t *testing.T) {
	i, err := FindIdle()
	if err != nil {
		t.Skip("nothing can be known of idle cores here: ", err)
	}
	began := time.Now()
	first, err := i.Read()
	require.NoError(t, err)
	var last time.Duration
	require.Eventually(t, func() bool { // somebody else may have all cores for long
		last, err = i.Read()
		return err != nil || last > first || time.Since(began) > 5*time.Second
	}, time.Minute, time.Millisecond)
	require.NoError(t, err)
	require.LessOrEqual(t, last-first, time.Since(began)+100*time.Millisecond, "it is counted in hundredths of a second")
}

func TestIdleOf(t *testing.T) {
	got, err := idleOf([]byte("47102.61 88011.5\n"))
	require.NoError(t, err)
	require.Equal(t, 88011500*time.Millisecond, got)
	for _, bad := range []string{"", "1\n", "1 x\n", "1 -1\n", "1 NaN\n", "1 1e30\n"} {
		_, err := idleOf([]byte(bad))
		require.Error(t, err, bad)
	}
}

func TestCountOf(t *testing.T) {
	for list, want := range map[string]int{
		"0": 1, "0-1": 2, "0-3,8,10-11": 7, "0-65535": 65536,
		"": 0, "x": 0, "3-1": 0, "0-": 0, "-1": 0, "0,": 0, "0-99999": 0,
	} {
		require.Equal(t, want, countOf(list), list)
	}
}
