package replay

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/schedule"
)

// rushing is a volley without a schedule whose senders do not run.
func rushing(concurrency int) *volley {
	o := &Options{Profile: schedule.Profile{{}}, LookAhead: 1 << 30, Concurrency: concurrency}
	return newVolley(o, nil, nil, new(outcomes), nil, nil, newClock(), nil)
}

// waits lets so many out that wait for a sender.
func (v *volley) waits(n int) {
	for range n {
		it := new(item)
		v.reserve(it)
		v.queue <- it
	}
}

// answered takes so many off the queue and reports whether the releaser was woken.
func (v *volley) answered(n int) (woken bool) {
	for range n {
		v.release(<-v.queue)
	}
	select {
	case <-v.relief:
		return true
	default:
		return false
	}
}

func TestFewWaitForASenderAndTheNextComeTogether(t *testing.T) {
	v := rushing(64)
	require.False(t, v.full(v.most-1))
	v.waits(v.most)
	require.True(t, v.full(0))
	require.False(t, v.answered(v.most/4), "for a few the releaser is not woken")
	require.True(t, v.answered(v.most/2), "while some are left, so that no sender waits for it")
	require.False(t, v.answered(1), "once")
	require.NotEmpty(t, v.queue)
}

func TestWhoWaitsForTheirSessionDoNotStopOthers(t *testing.T) {
	v := rushing(64)
	for range maxOutMax - 10 {
		v.reserve(new(item)) // held back by the order
	}
	require.False(t, v.full(0))
	v.waits(10)
	require.True(t, v.full(0))
	require.True(t, v.answered(1), "there is one place, and all of it counts")
}

func TestManySendersHaveManyToSend(t *testing.T) {
	v := rushing(4096)
	v.waits(2 * 4096)
	require.False(t, v.full(0))
}
