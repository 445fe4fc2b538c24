package main

import (
	"bytes"
	"log/slog"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/meter"
)

// keepRuntime restores what a backstop changes.
func keepRuntime(t *testing.T) {
	limit, procs := debug.SetMemoryLimit(-1), runtime.GOMAXPROCS(0)
	percent := debug.SetGCPercent(100)
	t.Cleanup(func() {
		debug.SetMemoryLimit(limit)
		debug.SetGCPercent(percent)
		runtime.GOMAXPROCS(procs)
	})
}

func TestTheBackstopIsAboveTheBudgetAndGrowsWithConnections(t *testing.T) {
	keepRuntime(t)
	t.Setenv("GOMEMLIMIT", "")
	t.Setenv("GOGC", "")
	var log bytes.Buffer
	b := newBackstop(64<<20, meter.Bounds{}, slog.New(slog.NewTextHandler(&log, nil)))
	require.EqualValues(t, 64<<20+30<<20+64*4<<10, debug.SetMemoryLimit(-1))
	b.allow(powerAbove(10_000))
	require.EqualValues(t, 94<<20+16384*4<<10, debug.SetMemoryLimit(-1))
	b.allow(2048)
	require.EqualValues(t, 94<<20+16384*4<<10, debug.SetMemoryLimit(-1), "it does not fall")
	b.hold(100 << 20)
	require.EqualValues(t, 94<<20+16384*4<<10, debug.SetMemoryLimit(-1), "it is far above what is in use")
	b.hold(205 << 20)
	require.EqualValues(t, 272<<20, debug.SetMemoryLimit(-1), "it keeps a fourth above that")
	b.allow(powerAbove(1 << 62))
	require.Positive(t, debug.SetMemoryLimit(-1))
	require.Empty(t, log.String())
}

func TestTheBackstopStaysWithinTheControlGroup(t *testing.T) {
	keepRuntime(t)
	t.Setenv("GOMEMLIMIT", "")
	var log bytes.Buffer
	b := newBackstop(64<<20, meter.Bounds{Memory: 110 << 20}, slog.New(slog.NewTextHandler(&log, nil)))
	require.Equal(t, int64(110<<20)*8/10, debug.SetMemoryLimit(-1))
	b.hold(1 << 30)
	require.Equal(t, int64(110<<20)*8/10, debug.SetMemoryLimit(-1))
	require.Contains(t, log.String(), "--memory-max 58MiB, or a limit of 117MiB")
}

func TestGOMEMLIMITIsStronger(t *testing.T) {
	keepRuntime(t)
	t.Setenv("GOMEMLIMIT", "90MiB") // the runtime has read it when the process began
	debug.SetMemoryLimit(90 << 20)
	var log bytes.Buffer
	b := newBackstop(64<<20, meter.Bounds{}, slog.New(slog.NewTextHandler(&log, nil)))
	b.allow(1 << 20)
	require.EqualValues(t, 90<<20, debug.SetMemoryLimit(-1))
	require.Contains(t, log.String(), "GOMEMLIMIT is set")
	require.Contains(t, log.String(), "GOMEMLIMIT is below --memory-max")
}
