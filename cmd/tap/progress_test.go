package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestProgressLineTellsHowFarHowFastAndHowLong(t *testing.T) {
	require.Equal(t, "a.gor  50 % ▕██████████          ▏ 60.5 of 121.0 MB, 40000 exchanges, 20000/s, 2s left",
		progressLine("a.gor", 0.5, 121e6, 40_000, 2*time.Second))
	require.Equal(t, "a.gor   0 % ▕                    ▏ 0.0 of 121.0 MB, 0 exchanges", progressLine("a.gor", -1, 121e6, 0, 0))
	require.Equal(t, "a.gor 100 % ▕████████████████████▏ 1.0 of 1.0 MB, 3 exchanges, 1/s", progressLine("a.gor", 2, 1e6, 3, 3*time.Second))
}

func TestImportFlagsAreChecked(t *testing.T) {
	for name, o := range map[string]*importOptions{
		"scale 0":            {timeScale: 0},
		"scale below 0":      {timeScale: -1},
		"no time":            {timeScale: 1, shiftTo: "soon"},
		"resume of a moving": {timeScale: 1, shiftTo: "now-1h", resume: true},
	} {
		require.Error(t, o.check(), name)
	}
	o := &importOptions{timeScale: 2, shiftTo: "2026-11-22T00:00:00Z", resume: true}
	require.NoError(t, o.check())
	require.Equal(t, time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), o.shift.To)
}
