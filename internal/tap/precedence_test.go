package tap

import (
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/meter"
)

func TestTrafficGoesFurtherBeforeOthersWhileItHasTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newCores(new(courtesy), 0.3, 0.1)
		nice := map[int]int{7: -5} // as they have it when they are added
		m.goes.prefer = func(thread, to int) error { nice[thread] = to; return nil }
		m.add(passer{id: 8, read: func() (meter.Run, error) { return m.loop, nil }}) // which somebody has given a nice value of its own
		m.pass(courtesyEvery)
		require.Equal(t, -5, nice[7], "nothing is known yet")
		for _, step := range []struct {
			ran  float64
			nice int
			why  string
		}{
			{0.3, -10, "it has time"},
			{muchRunning - 0.01, -10, "it still has"},
			{0.6, -5, "full speed"},
			{untilBelow*muchRunning + 0.01, -5, "it takes less to have time again"},
			{0.3, -10, "again"},
		} {
			m.ran, m.waits = step.ran, 1-step.ran // who waits for a core has not run
			m.pass(3 * time.Second)
			require.Equal(t, map[int]int{7: step.nice}, nice, step.why)
		}
		m.ran = 0.6
		time.Sleep(time.Minute)
		m.pass(20 * time.Millisecond)
		require.Equal(t, -10, nice[7], "what was a minute ago says nothing")

		m.add(passer{id: 9, nice: -3, read: func() (meter.Run, error) { return m.loop, nil }})
		require.Equal(t, -5, nice[7], "of the new one nothing is known")
		m.ran = 0.3
		m.pass(3 * time.Second)
		require.Equal(t, map[int]int{7: -10, 9: -3}, nice)
	})
}

func TestTrafficThatMayNotGoFurtherStaysWhereItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newCores(new(courtesy), 0.3, 0.1)
		asked := 0
		m.goes.prefer = func(int, int) error { asked++; return os.ErrPermission }
		m.pass(3 * time.Second)
		require.Equal(t, 1, asked)
		m.ran = 0.6
		m.pass(3 * time.Second)
		m.ran = 0.3
		m.pass(3 * time.Second)
		require.Equal(t, 1, asked, "once is enough")
	})
}

func TestATrafficThreadThatHasEndedHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newCores(new(courtesy), 0.3, 0.1)
		m.add(passer{id: 9, nice: -10, read: func() (meter.Run, error) { return m.loop, nil }})
		nice := map[int]int{}
		m.goes.prefer = func(thread, to int) error {
			if thread == 7 {
				return syscall.ESRCH
			}
			nice[thread] = to
			return nil
		}
		for range 2 {
			m.ran, m.waits = 0.3, 0.7
			m.pass(3 * time.Second)
			require.Equal(t, map[int]int{9: -10}, nice)
			m.ran, m.waits = 0.6, 0.4
			m.pass(3 * time.Second)
			require.Equal(t, map[int]int{9: -5}, nice)
		}
	})
}

func TestHalfOfANiceValueIsNotNothing(t *testing.T) {
	for nice, half := range map[int]int{0: 0, -1: -1, -5: -3, -10: -5, -20: -10} {
		require.Equal(t, half, halfOf(nice))
	}
}
