package meter

import (
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// onAThread runs f on a thread that ends with it: not on the main one, which would stay as f leaves it.
func onAThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good
		if unix.Gettid() == os.Getpid() {
			onAThread(f) // the main one is taken meanwhile
			runtime.UnlockOSThread()
			return
		}
		f()
	}()
	<-done
}

func niceOf(t *testing.T, thread int) int {
	t.Helper()
	attr, err := unix.SchedGetAttr(thread, 0)
	if err != nil {
		t.Skip("LEFT OUT: a sandbox forbids to ask: ", err)
	}
	return int(attr.Nice)
}

func TestAPreferredThreadGoesBeforeTheOthersOfItsProcess(t *testing.T) {
	if niceOf(t, os.Getpid()) != 0 {
		t.Skip("LEFT OUT: somebody has chosen how tests run")
	}
	onAThread(func() {
		preferred, err := Prefer(-5)
		require.Equal(t, err == nil, preferred)
		if err != nil {
			require.ErrorIs(t, err, os.ErrPermission)
			require.Zero(t, niceOf(t, 0))
			t.Log("LEFT OUT, that it is preferred: no right to")
			return
		}
		require.Equal(t, -5, niceOf(t, 0))
		require.Zero(t, niceOf(t, os.Getpid()), "the main thread")
		var other int
		onAThread(func() { other = niceOf(t, 0) })
		require.Zero(t, other, "a thread that was started from it")
		id := unix.Gettid()
		onAThread(func() { require.NoError(t, PreferThread(id, -7)) }) // from another
		require.Equal(t, -7, niceOf(t, 0))
	})
}

func TestANiceValueThatSomebodyHasChosenStays(t *testing.T) {
	niceOf(t, 0)
	onAThread(func() {
		require.NoError(t, unix.Setpriority(unix.PRIO_PROCESS, 0, 7))
		preferred, err := Prefer(-5)
		require.NoError(t, err)
		require.False(t, preferred)
		require.Equal(t, 7, niceOf(t, 0))
	})
	onAThread(func() {
		before := niceOf(t, 0)
		preferred, err := Prefer(0)
		require.NoError(t, err)
		require.False(t, preferred)
		require.Equal(t, before, niceOf(t, 0))
	})
}
