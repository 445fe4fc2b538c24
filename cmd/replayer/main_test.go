package main

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// The runtime's own number follows the affinity and the quota of a container; the machine's cores would not.
func TestThePacingLoopHasOneProcessorMoreThanTheRuntimeWouldTake(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	t.Setenv("GOMAXPROCS", "")
	runtime.GOMAXPROCS(3) // as a runtime does that has found a quota
	tune()
	require.Equal(t, 4, runtime.GOMAXPROCS(0))
	runtime.SetDefaultGOMAXPROCS()
	usual := runtime.GOMAXPROCS(0)
	tune()
	untune()
	require.Equal(t, usual, runtime.GOMAXPROCS(0))

	t.Setenv("GOMAXPROCS", "2")
	runtime.GOMAXPROCS(2)
	tune()
	require.Equal(t, 2, runtime.GOMAXPROCS(0), "who says how many gets them")
	untune()
	require.Equal(t, 2, runtime.GOMAXPROCS(0))
}
