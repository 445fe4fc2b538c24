package replay_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/replay"
	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/topic"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// Retention deletes what a stopped run has still to fire.
func TestDataLossFailsOrIsSkippedAndCounted(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(t *testing.T, s *stand, g *target) {
		s.some(400, 10*time.Millisecond)
		o := s.options(g)
		o.Profile = schedule.ConstantSpeed(1)
		fired := s.runUntil(g, 50, o).Fired
		require.NoError(t, s.cluster.DeleteRecords(s.names.Exchanges, 0, 300))

		_, err := s.start(o).ends()
		require.Equal(t, fault.Incomplete, fault.Code(err))
		require.ErrorContains(t, err, "to 299 of test.exchanges, partition 0, are gone before they were read")
		before := len(g.all())

		o.OnDataLoss = replay.SkipDataLoss
		r := s.run(o)
		require.EqualValues(t, 100, r.Fired)
		require.Equal(t, 300-fired, r.Gone)
		require.Len(t, g.all(), before+100)
	})
}

// A log that was cut off below the window's end, by a new leader that had not all of it.
func TestALogThatIsShorterThanTheWindowIsNotWaitedForForEver(t *testing.T) {
	t.Parallel()
	inBubble(t, 2, func(t *testing.T, s *stand, g *target) {
		s.some(100, time.Millisecond)
		o := s.options(g)
		s.run(o)
		// The next generation's record is that of the first, with more in its window than there is.
		spec := s.state().Run("monday").Current().Spec
		spec.Generation++
		spec.Partitions[1].EndOffset += 20
		s.tell(control.Author{Writer: "test", Time: time.Now()}.Spec(spec))

		o.OnDataLoss = replay.SkipDataLoss
		r := s.run(o)
		require.EqualValues(t, 2, r.Generation)
		require.EqualValues(t, 100, r.Fired)
		require.EqualValues(t, 20, r.Gone)
	})
}

func TestATopicMadeAnewIsNotTheRunsTopic(t *testing.T) {
	t.Parallel()
	inBubble(t, 2, func(t *testing.T, s *stand, g *target) {
		s.some(400, 10*time.Millisecond)
		o := s.options(g)
		o.Profile = schedule.ConstantSpeed(1)
		s.runUntil(g, 50, o)
		require.NoError(t, s.cluster.DeleteTopic(s.names.Exchanges))
		s.ensure(topic.ExchangesSpec(s.names, 2))
		s.some(400, 10*time.Millisecond)
		fails(t, g, o, fault.Incomplete, "made anew", "--restart")
		before := len(g.all())
		o.OnDataLoss = replay.SkipDataLoss
		r := s.run(o)
		require.Zero(t, r.Fired)
		require.Positive(t, r.Gone)
		require.Len(t, g.all(), before)
		o.Restart, o.Profile = true, schedule.ConstantSpeed(0)
		require.EqualValues(t, 400, s.run(o).Fired)
	})
}

// At most once: while nothing can be committed nothing is fired.
func TestAtMostOnceCommitsBeforeItFires(t *testing.T) {
	t.Parallel()
	for name, profile := range map[string]schedule.Profile{"paced": schedule.ConstantSpeed(1), "max": schedule.ConstantSpeed(0)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, 3, func(t *testing.T, s *stand, g *target) {
				all := s.some(300, time.Millisecond)
				held := s.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Count: -1, Err: kerr.RequestTimedOut})
				o := s.options(g)
				o.Profile, o.Delivery = profile, replay.AtMostOnce
				o.Filter = []string{`!(target endsWith "7?ref=home")`} // leaves holes
				p := s.start(o)
				p.begins()
				time.Sleep(3500 * time.Millisecond) // everything is due
				require.Empty(t, g.all())
				held.Remove()
				r := p.finishes()
				require.EqualValues(t, 270, r.Fired)
				require.Zero(t, r.GivenUp)
				got := g.byID()
				for _, x := range all {
					require.LessOrEqual(t, got[x.ID], 1)
				}
				require.Len(t, got, 270)
			})
		})
	}
}

func TestAtMostOnceNeverFiresTwice(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 4)
	all := s.some(2000, 10*time.Millisecond) // more than are ever overdue, and committed, when it is killed
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledRunMissesNothingAndRepeatsLittle$", "-test.timeout=10m")
	child.Env = append(child.Environ(), crashBrokers+"="+strings.Join(s.cfg.Brokers, ","), crashTarget+"="+g.server.URL, crashDelivery+"=at-most-once")
	require.NoError(t, child.Start())
	<-g.came(100)
	require.NoError(t, child.Process.Kill())
	require.Error(t, child.Wait())
	s.tell(control.Author{Writer: "ann", Time: time.Now()}.Command(&reprisev1.Command{
		Run: "monday", Generation: 1, Verb: control.VerbSpeed, Argument: "50", // the rest need not take its time
	}))
	o := s.options(g)
	o.Profile, o.Delivery, o.Instance = schedule.ConstantSpeed(1), replay.AtMostOnce, crashInstance
	r := s.run(o)
	require.Positive(t, r.Fired)
	got := g.byID()
	missing := 0
	for _, x := range all {
		require.LessOrEqual(t, got[x.ID], 1, "fired twice")
		missing += 1 - got[x.ID]
	}
	t.Logf("%d were lost with the killed process", missing)
}
