package replay_test

import (
	"context"
	"errors"
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
)

// begun stops a run after n requests, and returns how many were fired.
func (s *stand) begun(g *target, o replay.Options, n int) int64 {
	s.t.Helper()
	o.Profile = schedule.ConstantSpeed(1)
	r, err := replay.Run(until(s.t, g, n), o)
	require.ErrorIs(s.t, err, errSignal)
	return r.Fired
}

// Retention deletes what a stopped run has still to fire.
func TestDataLossFailsOrIsSkippedAndCounted(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 1), newTarget(t)
	s.some(400, 10*time.Millisecond)
	o := s.options(g)
	fired := s.begun(g, o, 50)
	require.NoError(t, s.cluster.DeleteRecords(s.names.Exchanges, 0, 300))

	o.Profile = schedule.ConstantSpeed(1)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := replay.Run(ctx, o)
	require.Equal(t, fault.Incomplete, fault.Code(err))
	require.ErrorContains(t, err, "to 299 of test.exchanges, partition 0, are gone before they were read")
	before := len(g.all())

	o.OnDataLoss = replay.SkipDataLoss
	r := s.run(o)
	require.EqualValues(t, 100, r.Fired)
	require.Equal(t, 300-fired, r.Gone)
	require.Len(t, g.all(), before+100)
}

// A log that was cut off below the window's end, by a new leader that had not all of it.
func TestALogThatIsShorterThanTheWindowIsNotWaitedForForEver(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 2), newTarget(t)
	s.some(100, time.Millisecond)
	o := s.options(g)
	s.run(o)
	// The next generation's record is that of the first, with more in its window than there is.
	spec := s.state().Run("monday").Current().Spec
	spec.Generation++
	spec.Partitions[1].EndOffset += 20
	record := control.Author{Writer: "test", Time: time.Now()}.Spec(spec)
	_, err := topic.Produce(t.Context(), s.cfg, s.names.Control, &topic.Record{Key: []byte(record.Key), Value: record.Value, Time: time.Now()})
	require.NoError(t, err)

	o.OnDataLoss = replay.SkipDataLoss
	r := s.run(o)
	require.EqualValues(t, 2, r.Generation)
	require.EqualValues(t, 100, r.Fired)
	require.EqualValues(t, 20, r.Gone)
}

func TestATopicMadeAnewIsNotTheRunsTopic(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 2), newTarget(t)
	s.some(400, 10*time.Millisecond)
	o := s.options(g)
	s.begun(g, o, 50)
	require.NoError(t, s.cluster.DeleteTopic(s.names.Exchanges))
	s.ensure(topic.ExchangesSpec(s.names, 2))
	s.some(400, 10*time.Millisecond)
	o.Profile = schedule.ConstantSpeed(1)
	fails(t, g, o, fault.Incomplete, "made anew", "--restart")
	before := len(g.all())
	o.OnDataLoss = replay.SkipDataLoss
	r := s.run(o)
	require.Zero(t, r.Fired)
	require.Positive(t, r.Gone)
	require.Len(t, g.all(), before)
	o.Restart, o.Profile = true, schedule.ConstantSpeed(0)
	require.EqualValues(t, 400, s.run(o).Fired)
}

// At most once: while nothing can be committed nothing is fired.
func TestAtMostOnceCommitsBeforeItFires(t *testing.T) {
	t.Parallel()
	for name, profile := range map[string]schedule.Profile{"paced": schedule.ConstantSpeed(1), "max": schedule.ConstantSpeed(0)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, g := newStand(t, 3), newTarget(t)
			all := s.some(300, time.Millisecond)
			held := s.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Count: -1, Err: kerr.RequestTimedOut})
			o := s.options(g)
			o.Profile, o.Delivery = profile, replay.AtMostOnce
			o.Filter = []string{`!(target endsWith "7?ref=home")`} // leaves holes
			ready := make(chan struct{})
			o.Ready = func() { close(ready) }
			done := make(chan error, 1)
			go func() {
				r, err := replay.Run(t.Context(), o)
				if err == nil && (r.Fired != 270 || r.GivenUp != 0) {
					err = errors.New(string(r.JSON()))
				}
				done <- err
			}()
			<-ready
			time.Sleep(3500 * time.Millisecond) // everything is due
			require.Empty(t, g.all())
			held.Remove()
			require.NoError(t, <-done)
			got := g.byID()
			for _, x := range all {
				require.LessOrEqual(t, got[x.ID], 1)
			}
			require.Len(t, got, 270)
		})
	}
}

func TestAtMostOnceNeverFiresTwice(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 4), newTarget(t)
	all := s.some(1500, time.Millisecond)
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledRunMissesNothingAndRepeatsLittle$", "-test.timeout=60s")
	child.Env = append(child.Environ(), crashBrokers+"="+strings.Join(s.cfg.Brokers, ","), crashTarget+"="+g.server.URL, crashDelivery+"=at-most-once")
	require.NoError(t, child.Start())
	<-until(t, g, 500).Done()
	require.NoError(t, child.Process.Kill())
	require.Error(t, child.Wait())
	o := s.options(g)
	o.Profile, o.Delivery = schedule.ConstantSpeed(1), replay.AtMostOnce
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
