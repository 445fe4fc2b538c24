package tap

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// watched is a guard in a process whose use a test makes up, looked at every second.
type watched struct {
	guard
	now      time.Time
	used     time.Duration
	cpus     float64
	switches []string // "off cpu 6s", "on 20s": what, and when since the beginning
	began    time.Time
}

func newWatched(l guardLimits) *watched {
	at := time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)
	return &watched{guard: guard{limits: l}, now: at, began: at, cpus: 2}
}

// run lets the process use that share of its CPUs and hold those bytes for a time.
func (w *watched) run(d time.Duration, share float64, resident int64) {
	for range int(d / time.Second) {
		w.now = w.now.Add(time.Second)
		w.used += time.Duration(share * w.cpus * float64(time.Second))
		if v := w.look(usage{w.now, w.used, resident}, w.cpus, true); v.changed {
			what := "on"
			if w.off {
				what = "off " + w.cause
			}
			w.switches = append(w.switches, what+" "+w.now.Sub(w.began).String())
		}
	}
}

func TestTheGuardSwitchesCaptureOffAndOn(t *testing.T) {
	half := guardLimits{cpu: 0.5, memory: 1000}
	for name, row := range map[string]struct {
		limits guardLimits
		live   func(w *watched)
		want   []string
	}{
		"well":      {half, func(w *watched) { w.run(time.Hour, 0.49, 1000) }, nil},
		"no limits": {guardLimits{}, func(w *watched) { w.run(time.Hour, 1, 1<<40) }, nil},
		"CPU for long": {half, func(w *watched) {
			w.run(20*time.Second, 0.9, 0)
			w.run(40*time.Second, 0.1, 0)
		}, []string{"off cpu 6s", "on 34s"}},
		"a spike of CPU is averaged away": {half, func(w *watched) {
			w.run(time.Minute, 0.3, 0)
			w.run(2*time.Second, 0.7, 0)
			w.run(time.Minute, 0.3, 0)
		}, nil},
		"memory at once": {half, func(w *watched) {
			w.run(time.Second, 0, 1001)
			w.run(30*time.Second, 0, 800)
		}, []string{"off memory 1s", "on 12s"}},
		"between the bounds it stays as it is": {half, func(w *watched) {
			w.run(10*time.Second, 0, 900)
			w.run(time.Second, 0, 1001)
			w.run(time.Hour, 0.45, 900)
		}, []string{"off memory 11s"}},
		"what is quiet begins anew with each look that is not": {half, func(w *watched) {
			w.run(time.Second, 0, 1001)
			for range 20 {
				w.run(9*time.Second, 0, 700)
				w.run(time.Second, 0, 900)
			}
			w.run(11*time.Second, 0, 700)
		}, []string{"off memory 1s", "on 3m32s"}},
		"the other limit keeps it off": {half, func(w *watched) {
			w.run(20*time.Second, 0.9, 0)
			w.run(20*time.Second, 0.1, 900)
			w.run(20*time.Second, 0.1, 100)
		}, []string{"off cpu 6s", "on 51s"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatched(row.limits)
			row.live(w)
			require.Equal(t, row.want, w.switches)
		})
	}
}

// A load that capture alone makes too high: it falls whenever capture is off.
func TestTheGuardFlapsLessAndLess(t *testing.T) {
	w := newWatched(guardLimits{cpu: 0.5})
	for range 3600 {
		share := 0.9
		if w.off {
			share = 0.1
		}
		w.run(time.Second, share, 0)
	}
	require.Equal(t, []string{ // waits of 10, 20, 40, 80, 160, 320, and 600 s from then on
		"off cpu 6s", "on 20s", "off cpu 26s", "on 50s", "off cpu 56s", "on 1m40s", "off cpu 1m46s", "on 3m10s", "off cpu 3m16s", "on 6m0s",
		"off cpu 6m6s", "on 11m30s", "off cpu 11m36s", "on 21m40s", "off cpu 21m46s", "on 31m50s", "off cpu 31m56s", "on 42m0s",
		"off cpu 42m6s", "on 52m10s", "off cpu 52m16s",
	}, w.switches)

	w.run(time.Hour, 0.1, 0)
	w.run(time.Minute, 0.9, 0)
	require.Equal(t, quietFirst, w.wait, "what lasted is forgiven")
}

func TestTheGuardLeavesCaptureThatIsOffAlone(t *testing.T) {
	w := newWatched(guardLimits{memory: 1000})
	w.run(time.Second, 0, 2000)
	require.True(t, w.off)
	v := w.look(usage{at: w.now.Add(time.Second), resident: 2000}, 2, false)
	require.True(t, v.changed, "whoever has switched it off need not be told that it is off by itself too")
	require.False(t, w.off)
	require.False(t, w.look(usage{at: w.now.Add(time.Minute), resident: 2000}, 2, false).changed)
	v = w.look(usage{at: w.now.Add(2 * time.Minute), resident: 2000}, 2, true)
	require.True(t, v.changed, "and when it is on again, the guard is there")
	require.True(t, w.off)
}

func TestAProcessThatWasStoppedHasNotUsedMuch(t *testing.T) {
	w := newWatched(guardLimits{cpu: 0.5})
	w.run(4*time.Second, 0.9, 0)
	w.now = w.now.Add(time.Minute) // SIGSTOP
	w.run(time.Second, 0.9, 0)
	require.Empty(t, w.switches)
	w.run(10*time.Second, 0.9, 0)
	require.Len(t, w.switches, 1)
}
