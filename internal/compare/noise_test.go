package compare_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/compare"
	"github.com/reprise-io/reprise/internal/traffic"
)

func at(paths ...string) (all []traffic.Difference) {
	for _, p := range paths {
		all = append(all, traffic.Difference{Path: p, Kind: traffic.ValueDiffers})
	}
	return all
}

func TestWhereTheOldBuildDiffersFromItselfIsNoise(t *testing.T) {
	var n compare.Noise
	left, noise := n.Pair("GET /a", at("/at", "/price"), at("/at"), true)
	require.Equal(t, at("/price"), left)
	require.Equal(t, at("/at"), noise)

	left, noise = n.Pair("GET /a", at("/meta/id", "/metadata"), at("/meta"), true)
	require.Equal(t, at("/metadata"), left, "another name that begins so")
	require.Equal(t, at("/meta/id"), noise, "part of what differs as a whole")

	left, noise = n.Pair("GET /b", at("/x"), at("/"), true)
	require.Empty(t, left)
	require.Equal(t, at("/x"), noise)
}

func TestNoiseIsLearnedByRouteAndPlace(t *testing.T) {
	var n compare.Noise
	for range 30 { // half of the answers have another order
		n.Pair("GET /a", at("/order"), nil, true)
		n.Pair("GET /a", nil, at("/order"), true)
	}
	left, noise := n.Pair("GET /a", at("/order"), nil, true)
	require.Empty(t, left)
	require.Equal(t, at("/order"), noise, "the old build's two answers were alike this time")
	left, _ = n.Pair("GET /a", at("/order"), nil, false)
	require.Empty(t, left, "or there was but one")
	left, _ = n.Pair("GET /b", at("/order"), nil, true)
	require.NotEmpty(t, left, "another route")
	left, _ = n.Pair("GET /a", at("/price"), nil, true)
	require.NotEmpty(t, left, "another place")
}

func TestMoreThanNoiseIsADifference(t *testing.T) {
	var n compare.Noise
	differences := 0
	for i := range 400 {
		var own []traffic.Difference
		if i%50 == 0 {
			own = at("/order")
		}
		left, _ := n.Pair("GET /a", at("/order"), own, true) // always, where the old build differs now and then
		differences += len(left)
	}
	require.Greater(t, differences, 300)
}

func TestWhatIsLearnedIsBounded(t *testing.T) {
	var n compare.Noise
	for i := range 1000 {
		for range 2 {
			left, noise := n.Pair(fmt.Sprintf("GET /%d", i), at("/x"), at("/x"), true)
			require.Empty(t, left)
			require.Len(t, noise, 1, "what one pair shows needs no memory")
		}
	}
}
