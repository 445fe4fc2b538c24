package replay_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/replay"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/schedule"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

func failOn(t *testing.T, o *replay.Options, texts ...string) {
	t.Helper()
	o.FailOn = nil
	for _, s := range texts {
		one, err := report.ParseThreshold(s)
		require.NoError(t, err)
		o.FailOn = append(o.FailOn, one)
	}
}

// everyFifthFails answers 500 to every fifth exchange, whoever sends it.
func (g *target) everyFifthFails() {
	g.answers(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path[len(r.URL.Path)-1]%5 != 0 { // of the digits, 2 and 7 in ASCII
			return false
		}
		w.WriteHeader(http.StatusInternalServerError)
		return true
	})
}

func TestARunThatCrossesAThresholdSaysSo(t *testing.T) {
	t.Parallel()
	inBubble(t, 3, func(t *testing.T, s *stand, g *target) {
		s.some(100, time.Millisecond)
		g.everyFifthFails()
		o := s.options(g)
		failOn(t, &o, "error_rate > 20%", "diff_rate > 20%", "missing > 0", "p99 > 1h")
		r := s.run(o)
		require.Len(t, r.Thresholds, 4)
		require.Empty(t, report.Crossed(r.Thresholds), "20 % are not above 20 %")
		require.Equal(t, 1, r.Processes)
		require.Zero(t, r.Unheard)

		o.Run = "tuesday"
		failOn(t, &o, "error_rate > 19.9%", "p99 > 1h")
		r, err := s.start(o).ends()
		require.ErrorContains(t, err, "error_rate 20 % > 19.9%")
		require.NotContains(t, err.Error(), "p99")
		require.Equal(t, fault.Finding, fault.Code(err))
		require.Equal(t, "finished", r.State)
		require.True(t, r.Thresholds[0].Crossed)
		require.InDelta(t, 20, *r.Thresholds[0].Measured, 1e-9)
		require.EqualValues(t, 100, r.Thresholds[0].Of)
		stored, err := report.Parse(s.state().Run("tuesday").Current().End.GetReport())
		require.NoError(t, err)
		require.Equal(t, r.Thresholds, stored.Thresholds, "in the run's record too")

		// Nothing was sent: nothing is known to hold.
		o.Run, o.Filter = "wednesday", []string{"DELETE /**"}
		r, err = s.start(o).ends()
		require.ErrorContains(t, err, "nothing to measure")
		require.Equal(t, fault.Finding, fault.Code(err))
		require.Nil(t, r.Thresholds[0].Measured)

		// Neither at a speed that has a schedule.
		o.Run, o.Profile = "paced", schedule.ConstantSpeed(1)
		begin := time.Now()
		_, err = s.start(o).ends()
		require.ErrorContains(t, err, "nothing to measure")
		require.Less(t, time.Since(begin), time.Minute, "of the bubble's time")

		// Interrupted: that has a code of its own.
		o.Run, o.Filter, o.Profile = "thursday", nil, schedule.ConstantSpeed(0.01)
		failOn(t, &o, "error_rate > 0%")
		r = s.runUntil(g, len(g.all())+5, o)
		require.Empty(t, r.Thresholds, "it was interrupted: not judged")
	})
}

// A run is judged over all that was sent in it: every replica says the same, and so does who resumes.
func TestAllReplicasAndStartsOfARunAreJudgedAsOne(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 6)
	all := s.some(300, 10*time.Millisecond)
	g.everyFifthFails()
	o := s.options(g)
	o.Profile = schedule.ConstantSpeed(5)
	failOn(t, &o, "error_rate > 19%", "error_rate > 21%", "missing > 0")
	s.runUntil(g, 100, o)

	// All are there before one can come to the end.
	s.tell(control.Author{Writer: "ann", Time: time.Now()}.Command(&reprisev1.Command{Run: "monday", Generation: 1, Verb: control.VerbPause}))
	require.Eventually(t, func() bool { // before it is in force, who resumes may have sent all
		orders := s.state().Run("monday").Current().Orders()
		return len(orders) > 0 && time.Now().After(orders[len(orders)-1].At)
	}, hangs, 20*time.Millisecond)
	both := s.startAll(2, o)
	for _, p := range both {
		p.begins()
	}
	require.Eventually(t, func() bool { return s.joined("monday") == 3 }, hangs, 20*time.Millisecond)
	s.give(control.VerbResume, "")
	reports := make([]*report.Report, 2)
	for i, p := range both {
		r, err := p.ends()
		require.Equal(t, fault.Finding, fault.Code(err), "%v", err)
		require.ErrorContains(t, err, "> 19%")
		reports[i] = r
	}
	for _, r := range reports {
		require.Equal(t, reports[0].Thresholds, r.Thresholds, "all say the same")
		require.Equal(t, 3, r.Processes)
		require.Zero(t, r.Unheard)
		require.GreaterOrEqual(t, r.Thresholds[0].Of, int64(len(all)), "also what was sent before")
	}
}

// What a process had told before it was killed counts, and that it ended without a last word is said.
func TestAProcessThatWasKilledIsJudgedByWhatItHadTold(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(t *testing.T, s *stand, g *target) {
		s.some(10, time.Millisecond)
		killed := control.Author{Writer: "killed", Time: time.Now()}
		s.tell(killed.Tally(&reprisev1.RunTally{Run: "monday", Generation: 1, Sent: 30, Judged: 30, Errors: 4}))
		s.tell(killed.Replica(&reprisev1.ReplicaReport{Run: "monday", Generation: 1, State: "running", Sent: 31}))
		o := s.options(g)
		failOn(t, &o, "error_rate > 9%", "error_rate > 10%")
		before := time.Now()
		r, err := s.start(o).ends()
		require.ErrorContains(t, err, "error_rate 10 % > 9%")
		require.NotContains(t, err.Error(), "> 10%")
		require.Equal(t, 2, r.Processes)
		require.Equal(t, 1, r.Unheard)
		require.GreaterOrEqual(t, time.Since(before), 3*control.ReplicaReportEvery, "it might have gone on")
	})
}

// Whoever comes to the end of a run says the same of it, whatever its own flags are.
func TestAReplicaIsJudgedByWhatTheOthersWantToo(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(t *testing.T, s *stand, g *target) {
		s.some(10, time.Millisecond)
		other := control.Author{Writer: "other", Time: time.Now()}
		s.tell(other.Tally(&reprisev1.RunTally{Run: "monday", Generation: 1, Sent: 10, Judged: 10, Errors: 4}))
		s.tell(other.Replica(&reprisev1.ReplicaReport{
			Run: "monday", Generation: 1, State: "finished", Final: true, Sent: 10, FailOn: []string{"error_rate > 19%", "nonsense > 1%"},
		}))
		s.tell(control.Author{Writer: "earlier", Time: time.Now()}.Replica(&reprisev1.ReplicaReport{
			Run: "monday", Generation: 1, State: "stopped", Final: true, FailOn: []string{"error_rate > 1%"},
		}))
		r, err := s.start(s.options(g)).ends()
		require.ErrorContains(t, err, "error_rate 20 % > 19%")
		require.Equal(t, fault.Finding, fault.Code(err))
		require.Len(t, r.Thresholds, 1, "not what an earlier start wanted, nor what nobody knows")
		stored, err := report.Parse(s.state().Run("monday").Current().End.GetReport())
		require.NoError(t, err)
		require.Equal(t, r.Thresholds, stored.Thresholds, "in the run's record too")
	})
}

// The first to come to the end decides, also for one that was taken for gone.
func TestTheFirstVerdictStands(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(t *testing.T, s *stand, g *target) {
		s.some(10, time.Millisecond)
		s.tell(control.Author{Writer: "first", Time: time.Now()}.Verdict(&reprisev1.RunVerdict{
			Run: "monday", Generation: 1, Sum: &reprisev1.RunTally{Run: "monday", Sent: 90, Judged: 90, Errors: 9}, Processes: 7, Unheard: 1,
			FailOn: []string{"error_rate > 9%"},
		}))
		o := s.options(g)
		failOn(t, &o, "error_rate > 10%")
		r, err := s.start(o).ends()
		require.ErrorContains(t, err, "error_rate 10 % > 9%")
		require.Equal(t, fault.Finding, fault.Code(err))
		require.Len(t, r.Thresholds, 2, "and its own, which the first did not know of")
		require.False(t, r.Thresholds[0].Crossed)
		require.Equal(t, 7, r.Processes)
		require.Equal(t, 1, r.Unheard)
	})
}

// Nobody can take what a process has sent for all there is while that one has told nothing of itself yet.
func TestAProcessIsKnownBeforeItHasPartitions(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(t *testing.T, s *stand, g *target) {
		s.some(10, time.Millisecond)
		known := make(chan int, 1)
		s.cluster.ControlKey(int16(kmsg.JoinGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
			s.cluster.SleepControl(func() { known <- len(s.state().Run("monday").Current().Replicas()) })
			return nil, nil, false
		})
		p := s.start(s.options(g))
		require.Equal(t, 1, <-known, "before it joins the group")
		p.finishes()
	})
}

func TestLiveIsJudgedByWhatItHasSent(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(t *testing.T, s *stand, g *target) {
		s.some(10, time.Millisecond)
		o := s.options(g)
		o.Run, o.Live, o.Duration = "live", true, 20*time.Second
		failOn(t, &o, "error_rate > 50%")
		g.everyFifthFails()
		p := s.start(o)
		p.begins()
		now := time.Now()
		for i := range 20 {
			s.write(s.exchange(now.Add(time.Duration(i) * time.Millisecond)))
		}
		r, err := p.ends()
		require.NoError(t, err)
		require.Equal(t, 1, r.Processes)
		require.False(t, r.Thresholds[0].Crossed)
		require.InDelta(t, 20, *r.Thresholds[0].Measured, 1e-9)
	})
}
