package replay_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/replay"
	"github.com/reprise-io/reprise/internal/schedule"
)

// Kafka's client says no more than that its context ended; whoever ended it wants to know that it was they.
func TestWhoIsInterruptedAtTheStartSaysSo(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 1)
	s.some(1, time.Millisecond)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errSignal)
	_, err := replay.Run(ctx, s.options(g))
	require.ErrorIs(t, err, errSignal)
	require.Empty(t, g.all())
}

func TestStoppedRunIsResumedWithoutARepeat(t *testing.T) {
	t.Parallel()
	inBubble(t, 3, func(t *testing.T, s *stand, g *target) {
		all := s.some(400, 10*time.Millisecond)
		o := s.options(g)
		o.Profile = schedule.ConstantSpeed(2)
		r := s.runUntil(g, 100, o)
		require.Less(t, r.Fired, int64(400))
		require.Equal(t, "stopped", s.state().Run("monday").Current().End.GetState())

		again := s.run(o)
		require.EqualValues(t, 400, r.Fired+again.Fired)
		got := g.byID()
		for _, x := range all {
			require.Equal(t, 1, got[x.ID], "a clean drain forgets nothing and repeats nothing")
		}
		// The old schedule goes on: what became overdue in between was sent late.
		require.Positive(t, again.Lateness.Max)
		require.Equal(t, uint32(1), s.state().Run("monday").Current().Number)
	})
}

func TestKilledRunMissesNothingAndRepeatsLittle(t *testing.T) {
	if os.Getenv(crashBrokers) != "" {
		crash(t)
		return
	}
	// 250 a second: 200 ms and what was in flight, and as much again. Who stands still between an answer and its commit adds to
	// that, and a try in which somebody did tells nothing; what is not committed as it should be shows in those in which nobody did.
	const few = 110
	repeats, tries, stood := 0, 0, false
	for n := 0; n < 10 && tries < 3; n++ {
		if repeats, stood = killAndResume(t); repeats <= few {
			return
		}
		if !stood {
			tries++
		}
	}
	if tries == 0 {
		t.Skipf("this machine stood still in every try: nothing is missing, and how little is repeated cannot be told (%d were)", repeats)
	}
	t.Fatalf("%d exchanges were fired again", repeats)
}

// killAndResume kills a run, resumes it, and returns how many exchanges were fired twice, and whether somebody stood still before
// the kill. None may be missing.
func killAndResume(t *testing.T) (repeats int, stood bool) {
	t.Helper()
	s, g := newStand(t, 4)
	const many, every = 600, 4 * time.Millisecond
	all := s.some(many, every)
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledRunMissesNothingAndRepeatsLittle$", "-test.timeout=10m")
	child.Env = append(os.Environ(), crashBrokers+"="+strings.Join(s.cfg.Brokers, ","), crashTarget+"="+g.server.URL)
	require.NoError(t, child.Start())
	<-g.came(200)
	require.NoError(t, child.Process.Kill())
	ended := child.Wait()
	g.goneQuiet(t)
	came := g.all()
	killed := len(came)
	require.GreaterOrEqual(t, killed, 200)
	for i := range came { // instead of one at a time nothing came for a while, or all at once that was overdue
		lull, overdue := came[i].at.Sub(came[max(i-1, 0)].at), i >= 50 && came[i].at.Sub(came[i-50].at) < 25*every
		stood = stood || lull > 100*time.Millisecond || overdue
	}
	if killed == many {
		t.Log("the run was over before it was killed")
		return many, true
	}
	require.Error(t, ended)
	o := s.options(g)
	o.Profile, o.Instance = schedule.ConstantSpeed(1), crashInstance
	r := s.run(o)
	got := g.byID()
	for _, x := range all {
		require.Positive(t, got[x.ID], "exchange %d is missing", x.ID.Seq())
		repeats += got[x.ID] - 1
	}
	require.EqualValues(t, many+repeats, int64(killed)+r.Fired)
	t.Logf("killed after %d, %d repeats, %d known from the commit's metadata; somebody stood still: %v", killed, repeats, r.Resumed, stood)
	return repeats, stood
}

const (
	crashBrokers = "REPRISE_TEST_CRASH_BROKERS"
	crashTarget  = "REPRISE_TEST_CRASH_TARGET"

	crashDelivery = "REPRISE_TEST_CRASH_DELIVERY"

	// Under its name the next one has its partitions at once.
	crashInstance = "killed"
)

// crash is the process that is killed.
func crash(t *testing.T) {
	t.Helper()
	s := crashStand(t)
	o := s.optionsFor(os.Getenv(crashTarget))
	o.Profile, o.Delivery, o.Instance = schedule.ConstantSpeed(1), replay.Delivery(os.Getenv(crashDelivery)), crashInstance
	_, err := replay.Run(t.Context(), o)
	require.NoError(t, err)
}

func TestLatePolicyDropLeavesOutWhatIsOverdue(t *testing.T) {
	t.Parallel()
	inBubble(t, 2, func(t *testing.T, s *stand, g *target) {
		s.some(300, 10*time.Millisecond)
		o := s.options(g)
		o.Profile, o.Late, o.LateAfter = schedule.ConstantSpeed(1), replay.DropLate, 200*time.Millisecond
		first := s.runUntil(g, 20, o)
		time.Sleep(time.Second) // the schedule goes on without us
		r := s.run(o)
		require.Positive(t, r.Late)
		require.Equal(t, r.Late, r.LateWhy["late"])
		require.EqualValues(t, 300, first.Fired+r.Fired+r.Late)
	})
}
