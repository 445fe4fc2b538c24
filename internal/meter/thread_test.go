package meter

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestAThreadIsSeenWorkingUntilItIsOver(t *testing.T) {
	ids := make(chan int)
	var over atomic.Bool
	for range 2 { // the process's first thread, which one of them may be on, does not end
		go func() {
			runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
			ids <- unix.Gettid()
			for !over.Load() { // it works
				runtime.Gosched()
			}
		}()
	}
	id := <-ids
	if other := <-ids; id == unix.Getpid() {
		id = other
	}
	thread, err := OpenThread(id)
	if err != nil {
		over.Store(true)
		t.Skip("this kernel does not tell how threads fare: ", err)
	}
	first, err := thread.Read()
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		now, err := thread.Read()
		return err == nil && now.Ran > first.Ran
	}, time.Minute, time.Millisecond)
	over.Store(true)
	require.Eventually(t, func() bool { _, err := thread.Read(); return err != nil }, time.Minute, time.Millisecond)
	all, err := CPU()
	require.NoError(t, err)
	require.Greater(t, all, first.Ran)

	_, err = OpenThread(1 << 30)
	require.Error(t, err)
}

func TestParseRun(t *testing.T) {
	got, err := parseRun([]byte("1500 20 7\n"))
	require.NoError(t, err)
	require.Equal(t, Run{1500, 20}, got)
	for _, bad := range []string{"", "1\n", "a 2 3", "1 b 3"} {
		_, err := parseRun([]byte(bad))
		require.Error(t, err, bad)
	}
}
