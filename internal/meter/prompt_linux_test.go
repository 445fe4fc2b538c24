package meter

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestAPromptThreadHasShortSlicesAndNoMoreOfTheCores(t *testing.T) {
	type outcome struct {
		before, after *unix.SchedAttr
		err           error
	}
	var o outcome
	onAThread(func() {
		if o.before, o.err = unix.SchedGetAttr(0, 0); o.err == nil {
			if o.err = Prompt(); o.err == nil {
				o.after, o.err = unix.SchedGetAttr(0, 0)
			}
		}
	})
	if errors.Is(o.err, unix.EPERM) || errors.Is(o.err, unix.ENOSYS) {
		t.Log("LEFT OUT, whether slices are short: a sandbox forbids to ask:", o.err)
		return
	}
	require.NoError(t, o.err)
	require.Equal(t, o.before.Policy, o.after.Policy)
	require.Equal(t, o.before.Nice, o.after.Nice)
	if o.before.Runtime == 0 || o.before.Policy != unix.SCHED_NORMAL {
		t.Log("LEFT OUT, whether slices are short: this kernel has none of a thread's own, or somebody has chosen how tests run")
		return
	}
	require.EqualValues(t, promptSlice, o.after.Runtime)
}
