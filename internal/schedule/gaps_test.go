package schedule

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestGapsAreShortenedAndNothingElse(t *testing.T) {
	var moments []time.Duration
	for _, s := range []float64{0, 1, 2, 100, 101, 3601, 3602} {
		moments = append(moments, time.Duration(s*float64(time.Second)))
	}
	f := NewGapFinder(10 * time.Second)
	for _, i := range rand.Perm(len(moments)) {
		f.Add(noon.Add(moments[i]))
	}
	g := f.Gaps()
	require.Len(t, g.List(), 2)
	for i, want := range []float64{0, 1, 2, 12, 13, 23, 24} {
		require.Equal(t, noon.Add(time.Duration(want*float64(time.Second))), g.Squeeze(noon.Add(moments[i])))
	}
	require.Equal(t, noon.Add(7*time.Second), g.Squeeze(noon.Add(7*time.Second)), "what comes late from within a gap")
	require.Equal(t, noon.Add(12*time.Second), g.Squeeze(noon.Add(50*time.Second)))
	require.Equal(t, noon.Add(-time.Hour), g.Squeeze(noon.Add(-time.Hour)))
	require.Equal(t, noon, Gaps{}.Squeeze(noon))
}

func TestSqueezedTimeKeepsItsOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		f := NewGapFinder(time.Duration(1+random.IntN(5000)) * time.Millisecond)
		all := make([]time.Time, 200)
		at := noon
		for i := range all {
			at = at.Add(time.Duration(random.ExpFloat64() * float64(3*time.Second)))
			all[i] = at
			f.Add(at)
		}
		g := f.Gaps()
		for i := 1; i < len(all); i++ {
			is, want := g.Squeeze(all[i]).Sub(g.Squeeze(all[i-1])), all[i].Sub(all[i-1])
			require.Equal(t, min(want, f.longest), is, "gap %d of %s", i, want)
		}
	}
}

func TestGapFinderIsBounded(t *testing.T) {
	f := NewGapFinder(4 * time.Millisecond)
	f.most = 1000
	at := noon
	for range 30_000 {
		at = at.Add(3 * time.Millisecond)
		f.Add(at)
	}
	hole := at
	f.Add(at.Add(time.Hour))
	require.LessOrEqual(t, len(f.buckets), f.most)
	require.True(t, slices.ContainsFunc(f.Gaps().List(), func(g Gap) bool { return g.From.Equal(hole) }))
}
