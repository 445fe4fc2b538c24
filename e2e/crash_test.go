//go:build e2e

package e2e_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/feed"
	"github.com/reprise-io/reprise/e2e/proc"
	"github.com/reprise-io/reprise/e2e/sink"
)

func TestKilledReplayerResumesWithNothingMissing(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	const rate = 1000
	made := feed.Made{Count: 8000, Rate: rate, Seed: 9, Start: time.Now().Add(-time.Minute)}
	all, err := made.Write(within(t, time.Minute), shared.broker.Addr(), names)
	require.NoError(t, err)
	target, stop := startSink(t, sink.Options{})
	args := replayArgs("run", prefix, target.Addr(), "--run", "crash", "--speed", "1", "-o", "json")

	var killed []time.Time
	for _, at := range []int{1500, 4000} { // when so many have arrived
		p := start(t, "replayer", args...)
		waitFor(t, 30*time.Second, func() error {
			select {
			case <-p.Exited():
				return proc.Final(fmt.Errorf("it ended by itself: %s", p.Stderr()))
			default:
			}
			if n := target.Requests(); n < at {
				return fmt.Errorf("%d of %d arrived", n, at)
			}
			return nil
		})
		p.Kill()
		killed = append(killed, time.Now())
	}
	r := replay(t, time.Minute, args[:len(args)-2]...)
	stop()
	require.Equal(t, "finished", r.State)

	got := arrivals(t, target)
	repeats := make([]int, len(killed))
	for _, x := range all {
		all := got[x.ID]
		require.NotEmpty(t, all, "exchange %d is missing", x.ID.Seq())
		for i := range all[1:] {
			// What is sent again was in flight, or fired in the last 200 ms before a kill; twice that for a busy machine. (After a
			// pause what is overdue is sent at once, so that 200 ms can be many requests.)
			kill := slices.IndexFunc(killed, func(k time.Time) bool { return all[i].At.Before(k.Add(50 * time.Millisecond)) })
			require.GreaterOrEqual(t, kill, 0, "a repeat without a kill")
			require.Less(t, killed[kill].Sub(all[i].At), 400*time.Millisecond)
			repeats[kill]++
		}
	}
	require.Len(t, got, made.Count, "no id that was not recorded")
	t.Logf("repeats after each kill: %d", repeats)
	require.LessOrEqual(t, repeats[0], 2*rate/5, "at the recorded speed")

	// The run is over: its name is taken.
	again := run(t, 30*time.Second, "replayer", args...)
	require.Equal(t, 2, again.Code, again.Stderr)
	require.Contains(t, again.Stderr, "--restart")
}
