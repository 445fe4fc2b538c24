package control_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/control"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

func order(selector, verb, argument string) control.Record {
	return by("shop-1/ann").Command(&reprisev1.Command{Id: "x", Tap: selector, Verb: verb, Argument: argument})
}

// inForce are the commands for a tap as "verb argument".
func inForce(s *control.State, id, name string) []string {
	var all []string
	for _, c := range s.Commands().For(id, name) {
		all = append(all, c.GetVerb()+" "+c.GetArgument())
	}
	return all
}

func TestNewestCommandThatNamesTheTapWins(t *testing.T) {
	records := []control.Record{
		order("*", "sample", "1%"),
		order("gateway", "sample", "2%"),
		order("abcd", "sample", "3%"),
		order("*", "capture", "off"),
		order("edge", "sample", "4%"),
		order("gateway", "reset", ""),
		order("*", "include", `["GET"]`),
		order("gateway", "sample", "5%"),
		order("*", "sample", "6%"),
		order("edge", "capture", "on"),
	}
	for range 50 {
		var s control.State
		for _, offset := range rand.Perm(len(records)) {
			apply(&s, int64(offset), records[offset])
			apply(&s, int64(offset), records[offset]) // reading twice changes nothing
		}
		require.Equal(t, []string{`include ["GET"]`, "sample 6%"}, inForce(&s, "abcd", "gateway"), "the reset undoes what was before")
		require.Equal(t, []string{"capture on", `include ["GET"]`, "sample 6%"}, inForce(&s, "ef", "edge"), "all taps, unless it is named later")
		require.Equal(t, []string{"capture off", `include ["GET"]`, "sample 6%"}, inForce(&s, "0123", ""), "a tap without a name")
	}
}

func TestNamedBeatsAllOnlyWhenItIsNewer(t *testing.T) {
	var s control.State
	apply(&s, 1, order("gateway", "sample", "10%"))
	apply(&s, 2, order("*", "sample", "20%"))
	require.Equal(t, []string{"sample 20%"}, inForce(&s, "ab", "gateway"))
	apply(&s, 3, order("ab", "sample", "30%"))
	require.Equal(t, []string{"sample 30%"}, inForce(&s, "ab", "gateway"))
	require.Equal(t, []string{"sample 20%"}, inForce(&s, "cd", "gateway"))
	apply(&s, 4, order("*", "reset", ""))
	require.Empty(t, inForce(&s, "ab", "gateway"))
	c := s.Commands().For("ab", "gateway")
	require.Empty(t, c)
}

func TestCommandTellsWhoGaveIt(t *testing.T) {
	var s control.State
	apply(&s, 7, order("*", "sample", "10%"))
	c := s.Commands().For("ab", "")
	require.Len(t, c, 1)
	require.Equal(t, int64(7), c[0].Offset)
	require.Equal(t, noon, c[0].Time)
	require.Equal(t, "shop-1/ann", c[0].Writer)
}

// Compaction keeps the last record of a key, so the keys alone must lead to the same state.
func TestCompactedCommandsDecideTheSame(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	for range 300 {
		var whole, compacted control.State
		last := map[control.Key]int{}
		var records []control.Record
		for i := range 1 + random.IntN(30) {
			r := order(pick("*", "gateway", "edge", "ab", "cd"), pick("sample", "capture", "include", "reset"), fmt.Sprint(i))
			records = append(records, r)
			apply(&whole, int64(i), r)
			last[r.Key] = i
		}
		for _, i := range last {
			apply(&compacted, int64(i), records[i])
		}
		for _, tap := range [][2]string{{"ab", "gateway"}, {"cd", "edge"}, {"ef", ""}} {
			require.Equal(t, inForce(&whole, tap[0], tap[1]), inForce(&compacted, tap[0], tap[1]))
		}
	}
}

func TestCommandsAreBounded(t *testing.T) {
	var s control.State
	for i := range 3000 {
		apply(&s, int64(i), order(fmt.Sprintf("tap-%d", i), "sample", "10%"))
	}
	require.Empty(t, inForce(&s, "", "tap-0"), "the oldest are forgotten")
	require.Len(t, inForce(&s, "", "tap-2999"), 1)
	require.Len(t, inForce(&s, "", "tap-1976"), 1)
	require.Empty(t, inForce(&s, "", "tap-1975"))

	for _, bad := range []control.Record{
		order(strings.Repeat("x", 1000), "sample", "1%"), order("x", strings.Repeat("x", 1000), "1%"),
		order("x", "sample", strings.Repeat("x", 1<<20)), order("x", "", ""),
		by("a").Command(&reprisev1.Command{Id: "1", Run: "r", Verb: "pause"}),
	} {
		var s control.State
		apply(&s, 1, bad)
		require.Empty(t, s.Commands().For("x", "x"))
		require.Empty(t, s.Commands().For("", ""))
	}
}

func TestCommandKeys(t *testing.T) {
	require.Equal(t, control.Key("command/tap/sample/gate/way"), order("gate/way", "sample", "1%").Key)
	require.Equal(t, control.Key("command/17"), by("a").Command(&reprisev1.Command{Id: "17", Run: "r", Verb: "pause"}).Key)
	require.True(t, control.IsCommand([]byte("command/tap/sample/*")))
	require.False(t, control.IsCommand([]byte("tap/00")))
	require.False(t, control.IsCommand(nil))
}

func TestTapNames(t *testing.T) {
	for name, good := range map[string]bool{
		"": true, "gateway-2": true, "Tür": true, "*": false, "\xff": false, strings.Repeat("x", 257): false,
	} {
		require.Equal(t, good, control.CheckTapName(name), "%q", name)
	}
}

func FuzzCommands(f *testing.F) {
	f.Add(order("*", "sample", "10%").Value, int64(1))
	f.Add(order("gateway", "reset", "").Value, int64(-1))
	f.Fuzz(func(t *testing.T, value []byte, offset int64) {
		var s control.State
		s.Apply(offset, noon, []byte("command/x"), value)
		apply(&s, 5, order("*", "sample", "10%"))
		require.LessOrEqual(t, len(s.Commands().For("ab", "gateway")), 2)
	})
}
