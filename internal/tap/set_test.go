package tap

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fault"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// set gives commands as `tap set` does.
func (s *stand) set(selector string, stored bool, changes ...Change) ([]Answer, error) {
	s.t.Helper()
	var checked Changes
	for _, c := range changes {
		if c.Verb == control.VerbReset {
			checked.Reset()
			continue
		}
		require.NoError(s.t, checked.Add(c.Verb, c.Argument))
	}
	return Set(s.t.Context(), SetOptions{
		Topic: s.cfg, Names: s.names, Tap: selector, Changes: checked, Stored: stored, Wait: 3 * time.Second, Writer: "shop-1/ann",
	})
}

func TestSetWaitsForTheTapsItNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		defer s.open().Close()
		s.ensure()
		gateway, edge := s.start("gateway", everything()), s.start("edge", everything())
		defer gateway.stop()
		defer edge.stop()
		settle(2 * time.Second)

		states, err := s.set("*", false)
		require.NoError(t, err)
		require.Len(t, states, 2)
		require.Equal(t, "edge", states[0].Name)
		require.True(t, states[0].Obeys)
		require.Nil(t, states[0].AfterMilli)

		states, err = s.set("gateway", false, Change{"sample", "0.1"}, Change{"capture", "off"})
		require.NoError(t, err)
		require.Len(t, states, 1)
		require.Equal(t, "10%", states[0].Sample)
		require.False(t, states[0].Capture)
		require.Equal(t, []string{"capture", "sample"}, states[0].ByCommand)
		require.Less(t, *states[0].AfterMilli, int64(1000))
		require.Equal(t, "10%", gateway.sample())
		require.Equal(t, "100%", edge.sample())

		id := fmt.Sprintf("%x", edge.id)
		states, err = s.set(id[:6], false, Change{"sample", "5%"})
		require.NoError(t, err)
		require.Equal(t, id, states[0].ID)
		require.Equal(t, "5%", edge.sample())

		states, err = s.set("*", false, Change{"sample", "50%"}, Change{Verb: "reset"})
		require.NoError(t, err)
		require.Len(t, states, 2)
		for _, state := range states {
			require.Equal(t, []string{"sample"}, state.ByCommand, "the reset comes first")
			require.Equal(t, "50%", state.Sample)
			require.True(t, state.Capture)
		}
	})
}

func TestSetForNobodySetsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		defer s.open().Close()
		s.ensure()
		_, err := s.set("*", false, Change{"sample", "10%"})
		require.Equal(t, fault.Failure, fault.Code(err))
		require.ErrorContains(t, err, "no tap runs")

		gateway := s.start("gateway-2", everything())
		settle(2 * time.Second)
		_, err = s.set("gatewya-2", false, Change{"sample", "10%"})
		require.ErrorContains(t, err, "taps there: gateway-2")
		f, ok := errors.AsType[*fault.Error](err)
		require.True(t, ok)
		require.Contains(t, f.Try, "--tap gateway-2")
		require.Empty(t, s.state().Commands().For("", "gatewya-2"))

		states, err := s.set("later", true, Change{"sample", "10%"})
		require.NoError(t, err)
		require.Empty(t, states)
		later := s.start("later", everything())
		settle(2 * time.Second)
		require.Equal(t, "10%", later.sample())
		later.stop()
		gateway.stop()
		settle(time.Second)
		_, err = s.set("*", false, Change{"sample", "20%"})
		require.ErrorContains(t, err, "no tap runs", "both have said that they stopped")

		_, err = s.set("", false)
		require.Equal(t, fault.Usage, fault.Code(err))
	})
}

func TestSetTellsOfATapThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		defer s.open().Close()
		s.ensure()
		gateway := s.start("gateway", everything())
		defer gateway.stop()
		dead := report("gateway", 9, "10.0.0.1:80", time.Now())
		s.write(dead)
		settle(2 * time.Second)
		states, err := s.set("gateway", false, Change{"sample", "10%"})
		require.Equal(t, fault.Incomplete, fault.Code(err))
		require.ErrorContains(t, err, "1 of 2 taps")
		require.Len(t, states, 2)
		require.Equal(t, "10%", gateway.sample(), "the other one obeys")
		settle(time.Minute)
		_, err = s.set("gateway", false, Change{"sample", "10%"})
		require.NoError(t, err, "who has not reported for so long does not run")
	})
}

func report(name string, id byte, listen string, at time.Time) control.Record {
	return control.Author{Writer: "tap", Time: at}.Report(&reprisev1.TapReport{
		TapId: []byte{id, id, id}, Name: name, HostId: "machine", Listen: []string{listen}, StartedUnixNano: uint64(at.UnixNano()),
	})
}

func TestWhoRuns(t *testing.T) {
	now := time.Now()
	var state control.State
	for i, r := range []control.Record{
		report("old", 1, ":80", now.Add(-20*time.Second)), report("new", 2, ":80", now.Add(-10*time.Second)),
		report("elsewhere", 3, ":81", now.Add(-29*time.Second)), report("gone", 4, ":82", now.Add(-31*time.Second)),
	} {
		state.Apply(int64(i), time.Now(), []byte(r.Key), r.Value)
	}
	var names []string
	for _, t := range live(state.Taps(), now) {
		names = append(names, t.Report.GetName())
	}
	require.Equal(t, []string{"elsewhere", "new"}, names, "a successor has taken the address of one")
}

func TestSetIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		defer s.open().Close()
		s.ensure()
		s.write(report("gateway", 9, "10.0.0.1:80", time.Now()))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := Set(ctx, SetOptions{
			Topic: s.cfg, Names: s.names, Tap: "*", Changes: Changes{{"sample", "10%"}}, Wait: time.Hour, Writer: "x",
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestSetWithoutKafkaSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		_, err := s.set("*", false, Change{"sample", "10%"})
		require.ErrorContains(t, err, "Kafka at 127.0.0.1:9092")
		require.Equal(t, fault.Failure, fault.Code(err))
	})
}
