package control_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/control"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

func TestTheNewestTallyOfEachProcessCounts(t *testing.T) {
	tell := func(s *control.State, offset int64, writer string, sent uint64) {
		r := control.Author{Writer: writer, Time: time.Unix(1, 0)}.Tally(&reprisev1.RunTally{Run: "monday", Generation: 2, Sent: sent})
		require.Equal(t, control.TallyKey("monday", 2, writer), r.Key)
		s.Apply(offset, time.Unix(1, 0), []byte(r.Key), r.Value)
	}
	var s control.State
	tell(&s, 7, "a", 70)
	tell(&s, 5, "a", 50) // read again later
	tell(&s, 6, "b", 60)
	all := s.Run("monday").Generation(2).Tallies()
	require.Len(t, all, 2)
	require.EqualValues(t, 70, all["a"].GetSent())
	require.EqualValues(t, 60, all["b"].GetSent())
	require.Empty(t, s.Run("monday").Generation(1).Tallies())
	require.Empty(t, s.Run("tuesday").Generation(1).Tallies())
}

func TestTheFirstVerdictWins(t *testing.T) {
	var s control.State
	for offset, unheard := range map[int64]uint32{8: 8, 4: 4, 6: 6} { // in any order
		r := control.Author{Writer: "a", Time: time.Unix(1, 0)}.Verdict(&reprisev1.RunVerdict{Run: "monday", Generation: 2, Unheard: unheard})
		require.Equal(t, control.VerdictKey("monday", 2, "a"), r.Key)
		s.Apply(offset, time.Unix(1, 0), []byte(r.Key), r.Value)
	}
	require.EqualValues(t, 4, s.Run("monday").Generation(2).Verdict.GetUnheard())
	require.Nil(t, s.Run("monday").Generation(1))
}
