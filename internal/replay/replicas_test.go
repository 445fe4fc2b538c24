package replay_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/replay"
	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/traffic"
)

func TestReplicasShareOneRunAndOneSchedule(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 6)
	all := s.some(400, 10*time.Millisecond)
	o := s.options(g)
	o.Profile = schedule.ConstantSpeed(1)
	o.WaitReplicas = 2
	reports := finish(s.startAll(2, o))
	got := g.byID()
	for _, x := range all {
		require.Equal(t, 1, got[x.ID], "what is being fired is drained before partitions move")
	}
	require.EqualValues(t, 400, reports[0].Fired+reports[1].Fired)
	// Both fire by the same time base: any two requests are as far apart as they were captured.
	outcomes := s.outcomes()
	first := outcomes[all[0].ID][0]
	for i, x := range all {
		due := outcomes[x.ID][0].DueTime.Sub(first.DueTime)
		require.InDelta(t, time.Duration(i)*10*time.Millisecond, due, float64(time.Millisecond)) // clocks are tied at different moments
	}
}

// give gives an order that every replica takes. Who stands still may learn of it only when it is in force already.
func (s *stand) give(verb, argument string) *replay.Obedience {
	s.t.Helper()
	o, err := replay.Give(s.t.Context(), replay.OrderOptions{
		Kafka: s.cfg, Prefix: "test", Run: "monday", Verb: verb, Argument: argument, Wait: time.Minute, Writer: "shop-1/ann",
	})
	require.NoError(s.t, err)
	for _, r := range o.Replicas {
		require.True(s.t, r.Obeys)
	}
	if known := time.Now(); known.After(o.InForce) {
		s.t.Logf("%s was known %s late", verb, known.Sub(o.InForce))
		s.unsure = append(s.unsure, [2]time.Time{o.InForce.Add(-time.Millisecond), known.Add(onItsWay)})
	}
	return o
}

// onItsWay is how long before its time an exchange is out of an order's reach, and some more.
const onItsWay = 300 * time.Millisecond

// sure reports whether it was fired by who knew all orders in force, also when it was given its time: a pause that was known late may have
// held it since.
func (s *stand) sure(o *traffic.Outcome) bool {
	return !slices.ContainsFunc(s.unsure, func(u [2]time.Time) bool {
		in := func(at time.Time) bool { return at.After(u[0]) && at.Before(u[1]) }
		return in(o.FireTime) || in(o.DueTime)
	})
}

func TestAllReplicasObeyAtTheSameMoment(t *testing.T) {
	s, g := newStand(t, 6)
	all := s.some(3000, 50*time.Millisecond) // longer than all orders may take, on any machine
	o := s.options(g)
	o.Profile = schedule.ConstantSpeed(1)
	both := s.replicas(2, o)
	s.await(g, 20, both[0])

	paused := s.give(control.VerbPause, "")
	require.Len(t, paused.Replicas, 2)
	require.Positive(t, paused.Replicas[0].Partitions)
	require.Positive(t, paused.Replicas[1].Partitions)
	s.awaitState("paused", 2)
	before := len(g.all())
	time.Sleep(500 * time.Millisecond) // ten would be due
	require.Len(t, g.all(), before, "nothing is sent in a pause")

	resumed := s.give(control.VerbResume, "")
	s.await(g, before+20, both[0])
	refuses := func(verb, argument, what string) *fault.Error {
		_, err := replay.Give(t.Context(), replay.OrderOptions{
			Kafka: s.cfg, Prefix: "test", Run: "monday", Verb: verb, Argument: argument, Wait: time.Minute, Writer: "shop-1/ann",
		})
		require.ErrorContains(t, err, what)
		f, _ := errors.AsType[*fault.Error](err)
		return f
	}
	require.Contains(t, refuses(control.VerbSeek, time.Now().Add(time.Hour).Format(time.RFC3339Nano), "has nothing from").Try, "replayer stop monday")
	fast := s.give(control.VerbSpeed, "4")
	seek := all[2900].CaptureTime
	sought := s.give(control.VerbSeek, seek.Format(time.RFC3339Nano))
	finish(both)

	// What was done is what the commands say, to the millisecond and for all partitions alike.
	base := s.state().Run("monday").Current().Base
	wall := time.Unix(0, int64(base.GetWallUnixNano()))
	line := schedule.NewTimeline(schedule.Base{Capture: all[0].CaptureTime, Wall: wall}, schedule.ConstantSpeed(1)).
		Pause(paused.InForce).Resume(resumed.InForce).SetSpeed(fast.InForce, 4).Seek(sought.InForce, seek)
	outcomes, came, passed := s.outcomes(), make(map[traffic.ID]time.Time), 0
	for _, a := range g.all() {
		came[a.id] = a.at
	}
	for i, x := range all {
		due, standing := line.Due(x.CaptureTime)
		if standing == schedule.Passed {
			require.False(t, slices.ContainsFunc(outcomes[x.ID], s.sure), "%d was sought past", i)
			passed++
			continue
		}
		require.Len(t, outcomes[x.ID], 1, "%d", i)
		if !s.sure(outcomes[x.ID][0]) {
			continue
		}
		require.WithinDuration(t, due, outcomes[x.ID][0].DueTime, time.Millisecond, "%d", i)
		require.False(t, came[x.ID].Before(due.Add(-time.Millisecond)), "%d came before its time", i)
	}
	require.Positive(t, passed)
	require.Contains(t, refuses(control.VerbPause, "", "it has finished").Try, "--restart")
}

func TestAStoppedRunGoesOnWhereItWasStopped(t *testing.T) {
	s, g := newStand(t, 4)
	const many = 2000 // almost two minutes: it is stopped long before the end, on any machine
	all := s.some(many, 50*time.Millisecond)
	o := s.options(g)
	o.Profile = schedule.ConstantSpeed(1)
	both := s.replicas(2, o)
	s.await(g, 20, both[0])
	s.give(control.VerbStop, "")
	for _, p := range both {
		_, err := p.ends()
		require.ErrorContains(t, err, "run monday was stopped by shop-1/ann")
		require.Equal(t, fault.Interrupted, fault.Code(err))
	}
	stopped := len(g.all())
	require.Less(t, stopped, many)
	require.Equal(t, "stopped", s.state().Run("monday").Current().End.GetState())
	_, err := replay.Give(t.Context(), replay.OrderOptions{Kafka: s.cfg, Prefix: "test", Run: "monday", Verb: control.VerbPause, Wait: time.Second})
	require.ErrorContains(t, err, `run "monday" is not running: nothing was changed: it has been stopped`)

	time.Sleep(500 * time.Millisecond) // ten would be due: the schedule stands still meanwhile
	again := s.start(o)
	s.awaitState("running", 1)
	s.give(control.VerbSpeed, "200") // the rest need not take its time
	r := again.finishes()
	require.EqualValues(t, many-stopped, r.Fired)
	require.Equal(t, []string{"stop", "resume"}, []string{r.Commands[0].Verb, r.Commands[1].Verb})
	stood, resumed := r.Commands[0].At.Add(time.Millisecond), r.Commands[1].At.Add(-time.Millisecond)
	got, outcomes, after := g.byID(), s.outcomes(), 0
	for _, x := range all {
		require.Equal(t, 1, got[x.ID])
		due := outcomes[x.ID][0].DueTime
		if s.sure(outcomes[x.ID][0]) {
			require.False(t, due.After(stood) && due.Before(resumed), "nothing has become overdue")
		}
		if due.After(resumed) {
			after++
		}
	}
	require.Positive(t, after)
}

func TestOrdersThatCannotBeObeyedAreRefused(t *testing.T) {
	t.Parallel()
	inBubble(t, 2, func(t *testing.T, s *stand, g *target) {
		give := func(run, verb, argument string) error {
			_, err := replay.Give(t.Context(), replay.OrderOptions{
				Kafka: s.cfg, Prefix: "test", Run: run, Verb: verb, Argument: argument, Wait: time.Second, Writer: "shop-1/ann",
			})
			return err
		}
		require.ErrorContains(t, give("monday", control.VerbPause, ""), `there is no run "monday"`)

		s.some(2000, 10*time.Millisecond)
		o := s.options(g)
		o.Profile = schedule.ConstantSpeed(1)
		all := s.replicas(1, o)
		require.ErrorContains(t, give("munday", control.VerbPause, ""), `there is no run "munday"`)
		require.ErrorContains(t, give("monday", control.VerbSeek, "1999-01-01T00:00:00Z"), "a run goes forward only")
		require.NoError(t, give("monday", control.VerbSpeed, "max"))
		require.ErrorContains(t, give("monday", control.VerbSpeed, "2"), "goes as fast as it can")
		finish(all)
		require.Len(t, s.state().Run("monday").Current().Orders(), 1)
	})
}

func TestALateJoinerKeepsTheChangedSchedule(t *testing.T) {
	s, g := newStand(t, 4)
	all := s.some(3000, 100*time.Millisecond) // five minutes: enough to join in, on any machine
	o := s.options(g)
	o.Profile = schedule.ConstantSpeed(1)
	first := s.replicas(1, o)
	s.await(g, 10, first[0])
	fast := s.give(control.VerbSpeed, "3")
	joins := s.start(o)
	joins.begins()
	s.awaitState("running", 2)
	fastest := s.give(control.VerbSpeed, "300") // the rest need not take its time
	r := joins.finishes()
	finish(first)
	require.Positive(t, r.Fired)
	wall := time.Unix(0, int64(s.state().Run("monday").Current().Base.GetWallUnixNano()))
	line := schedule.NewTimeline(schedule.Base{Capture: all[0].CaptureTime, Wall: wall}, o.Profile).SetSpeed(fast.InForce, 3).SetSpeed(fastest.InForce, 300)
	outcomes := s.outcomes()
	for i, x := range all {
		if due, _ := line.Due(x.CaptureTime); s.sure(outcomes[x.ID][0]) {
			require.WithinDuration(t, due, outcomes[x.ID][0].DueTime, time.Millisecond, "%d", i)
		}
	}
}

func TestLiveIsPausedToo(t *testing.T) {
	t.Parallel()
	inBubble(t, 2, func(t *testing.T, s *stand, g *target) {
		o := s.options(g)
		o.Run, o.Lag, o.MaxStale = "monday", 300*time.Millisecond, time.Minute
		p := s.live(o)
		s.write(s.exchange(time.Now()))
		s.await(g, 1, p)
		paused := s.give(control.VerbPause, "")
		time.Sleep(time.Until(paused.InForce) + 100*time.Millisecond)
		s.write(s.exchange(time.Now()))
		time.Sleep(700 * time.Millisecond)
		require.Len(t, g.all(), 1)
		s.give(control.VerbResume, "")
		s.await(g, 2, p)
		p.interrupt()
	})
}
