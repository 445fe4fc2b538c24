package control_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/control"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

func TestClaimsAreServedInTheOrderOfTheTopic(t *testing.T) {
	apply := func(s *control.State, offset int64, writer, argument string) {
		record := control.Author{Writer: writer, Time: time.Unix(1, 0)}.Command(&reprisev1.Command{
			Id: "x", Run: "monday", Generation: 1, Verb: control.VerbClaim, Argument: argument,
		})
		s.Apply(offset, time.Unix(1, 0), []byte(record.Key), record.Value)
	}
	for _, order := range [][]int{{0, 1, 2, 3, 4}, {4, 2, 0, 1, 3, 3, 0}} { // whenever they are read, and however often
		s := new(control.State)
		for _, i := range order {
			switch i {
			case 0:
				apply(s, 10, "a", control.ClaimOf("total", 60))
			case 1:
				apply(s, 11, "b", control.ClaimOf("total", 30))
			case 2:
				apply(s, 12, "a", control.ClaimOf("total", 30))
			case 3:
				apply(s, 13, "b", control.ClaimOf("total", 30))
			case 4:
				apply(s, 14, "a", control.ClaimOf("cap-0", 5))
			}
		}
		g := s.Run("monday").Generation(1)
		mine, all := g.Granted("total", 100, "a")
		require.Equal(t, []int64{70, 100}, []int64{mine, all})
		mine, all = g.Granted("total", 100, "b")
		require.Equal(t, []int64{30, 100}, []int64{mine, all}, "the last claim is too late")
		mine, all = g.Granted("cap-0", 100, "b")
		require.Equal(t, []int64{0, 5}, []int64{mine, all})
		require.Empty(t, g.Orders(), "a claim is no order")
	}
	var none *control.Generation
	mine, all := none.Granted("total", 1, "a")
	require.Zero(t, mine+all)
	s := new(control.State)
	for i, bad := range []string{"", "total", "total x", "total 0", "total -5", "a-key-that-is-longer-than-any-that-we-write 1"} {
		apply(s, int64(i), "a", bad)
	}
	_, all = s.Run("monday").Generation(1).Granted("total", 10, "a")
	require.Zero(t, all)
}
