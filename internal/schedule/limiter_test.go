package schedule

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLimiterBoundsEverySecond(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, rate := range []float64{0.5, 7, 100} {
		var l Limiter
		l.SetRate(rate)
		at, asked := make([]time.Time, 4000), nine
		for i := range at {
			if random.IntN(50) == 0 { // bursts and pauses
				asked = asked.Add(time.Duration(random.IntN(3000)) * time.Millisecond)
			}
			at[i] = l.Take(asked)
			require.False(t, at[i].Before(asked))
		}
		most := int(rate*1.1) + 1 // a second's worth and the burst
		for i := range at {
			if i >= most {
				require.GreaterOrEqual(t, at[i].Sub(at[i-most]), time.Second-time.Millisecond, "rate %v", rate)
			}
			if i > 0 {
				require.False(t, at[i].Before(at[i-1]))
			}
		}
		require.Positive(t, l.Delayed())
	}
}

func TestLimiterDoesNotDelayWhatIsWithinIt(t *testing.T) {
	var l Limiter
	require.Equal(t, nine, l.Take(nine), "no limit")
	l.SetRate(1000)
	for i := range 5000 {
		at := after(time.Duration(i) * time.Millisecond)
		require.Equal(t, at, l.Take(at))
	}
	require.Zero(t, l.Delayed())
}

func TestLimiterTellsItsRoom(t *testing.T) {
	var l Limiter
	require.Equal(t, math.MaxInt, l.Room(nine))
	l.SetRate(100)
	require.Equal(t, 1, l.Room(nine))
	for range 300 {
		l.Take(nine)
	}
	require.Zero(t, l.Room(nine))
	room := l.Room(after(4 * time.Second))
	for range room {
		require.False(t, l.Take(nine).After(after(4*time.Second)))
	}
	require.True(t, l.Take(nine).After(after(4*time.Second)))
}
