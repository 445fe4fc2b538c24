package replay_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

func TestEverythingIsFiredOnce(t *testing.T) {
	s, g := newStand(t, 4), newTarget(t)
	all := s.some(500, time.Millisecond)
	r := s.run(s.options(g))
	require.EqualValues(t, 500, r.Fired)
	require.EqualValues(t, 500, r.Read)
	require.EqualValues(t, 500, r.Answers.Same)
	got := g.byID()
	for _, x := range all {
		require.Equal(t, 1, got[x.ID])
	}
	outcomes := s.outcomes()
	require.Len(t, outcomes, 500)
	for _, o := range outcomes {
		require.Len(t, o, 1)
		require.Equal(t, traffic.Fired, o[0].Result)
		require.Equal(t, traffic.Same, o[0].Verdict)
		require.Equal(t, "/items/{id}", string(o[0].Route))
		require.Nil(t, o[0].Answer)
	}
	generation := s.state().Run("monday").Current()
	require.Equal(t, "finished", generation.End.GetState())
	require.EqualValues(t, r.JSON(), generation.End.GetReport())
}
