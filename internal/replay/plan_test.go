package replay_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/replay"
	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/topic"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

func TestPlanTellsWhatARunWouldDoAndDoesNothing(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 2)
	s.some(101, 100*time.Millisecond)
	start := time.Now().Add(-time.Minute)
	post := s.exchange(start)
	post.Request.Method = []byte("POST")
	s.write(post)
	_, err := topic.Produce(t.Context(), s.cfg, s.names.Exchanges, &topic.Record{Value: []byte("\xff"), Time: time.Now()})
	require.NoError(t, err)

	o := s.options(g)
	o.Run, o.Profile = "", schedule.ConstantSpeed(2)
	plan, err := replay.MakePlan(t.Context(), o)
	require.NoError(t, err)
	require.True(t, plan.Allowed)
	require.EqualValues(t, 103, plan.Read)
	require.EqualValues(t, 101, plan.Fire)
	require.Equal(t, map[string]int64{"write_not_allowed": 1}, plan.Refused)
	require.EqualValues(t, 1, plan.BadTotal)
	require.InDelta(t, 5, plan.Seconds, 0.01)
	require.InDelta(t, 20.2, plan.PerSec, 0.1)
	require.InDelta(t, 20, plan.Peak, 2.1)
	require.Len(t, plan.Examples, 5)
	require.Equal(t, "/items/1?ref=home", plan.Examples[0].Target)
	var text bytes.Buffer
	require.NoError(t, plan.Text(&text))
	require.Contains(t, text.String(), "POST /items/{id}")
	require.NotContains(t, string(plan.JSON()), "null")

	require.Empty(t, g.all())
	require.Empty(t, s.state().Runs())
}

func TestPlanTellsWhatClonesAndLoopsMakeOfIt(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 2)
	s.some(101, 100*time.Millisecond)
	o := s.options(g)
	o.Profile, o.Clones, o.CloneJitter, o.Loops = schedule.ConstantSpeed(2), 3, time.Second, 4
	plan, err := replay.MakePlan(t.Context(), o)
	require.NoError(t, err)
	require.EqualValues(t, 303, plan.Fire)
	require.InDelta(t, 5.5, plan.Seconds, 0.01)
	require.InDelta(t, 4*5.5+3*2, plan.Total, 0.1)
	require.InDelta(t, 60, plan.Peak, 6.1)
	var text bytes.Buffer
	require.NoError(t, plan.Text(&text))
	require.Contains(t, text.String(), "3 users for each one recorded, up to 1s later")
	require.Contains(t, text.String(), "4 of that, 2s between two: 28s")
	o.Loops = replay.Forever
	plan, err = replay.MakePlan(t.Context(), o)
	require.NoError(t, err)
	require.Zero(t, plan.Total)
}

func TestPlanSaysThatTheTargetWouldBeRefused(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 1)
	s.some(3, time.Millisecond)
	s.report(&reprisev1.TapReport{TapId: []byte{1}, Name: "gateway-2", HostId: "here", Upstream: []string{g.server.Listener.Addr().String()}})
	plan, err := replay.MakePlan(t.Context(), s.options(g))
	require.NoError(t, err)
	require.False(t, plan.Allowed)
	require.Contains(t, plan.Refusal, "gateway-2")
	require.EqualValues(t, 3, plan.Fire, "if it were not")
	var text bytes.Buffer
	require.NoError(t, plan.Text(&text))
	require.Contains(t, text.String(), "REFUSED")

	o := s.options(g)
	o.AllowTarget = nil
	plan, err = replay.MakePlan(t.Context(), o)
	require.NoError(t, err)
	require.False(t, plan.Allowed)
}
