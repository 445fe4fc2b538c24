//go:build e2e

package e2e_test

import (
	"fmt"
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
	made := feed.Made{Count: 8000, Rate: 1000, Seed: 9, Start: time.Now().Add(-time.Minute)}
	all, err := made.Write(within(t, time.Minute), shared.broker.Addr(), names)
	require.NoError(t, err)
	target, stop := startSink(t, sink.Options{})
	args := replayArgs("run", prefix, target.Addr(), "--run", "crash", "--speed", "1", "-o", "json")

	kills := []int{1500, 4000} // when so many have arrived
	var killed []time.Time
	for _, at := range kills {
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
		killed = append(killed, time.Now())
		p.Kill()
	}
	r := replay(t, time.Minute, args[:len(args)-2]...)
	stop()
	require.EqualValues(t, "finished", r.State)

	got := arrivals(t, target)
	repeats := 0
	for _, x := range all {
		require.NotEmpty(t, got[x.ID], "exchange %d is missing", x.ID.Seq())
		repeats += len(got[x.ID]) - 1
	}
	require.Len(t, got, made.Count, "no id that was not recorded")
	// In flight, and what was fired in the last 200 ms before a kill, however fast that was: a resumed run catches up. Twice
	// that time for a busy machine.
	allowed := 0
	for _, arrivals := range got {
		for _, a := range arrivals {
			for _, at := range killed {
				if since := at.Sub(a.At); since > -50*time.Millisecond && since < 400*time.Millisecond {
					allowed++
				}
			}
		}
	}
	t.Logf("%d repeats after %d kills, %d allowed", repeats, len(kills), allowed)
	require.LessOrEqual(t, repeats, allowed)

	// The run is over: its name is taken.
	again := run(t, 30*time.Second, "replayer", args...)
	require.Equal(t, 2, again.Code, again.Stderr)
	require.Contains(t, again.Stderr, "--restart")
}
