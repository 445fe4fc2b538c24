package replay_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/traffic"
)

// Partitions move with every replica that comes or goes, while requests are in flight: what moves is drained and committed
// first, and nothing of it is fired by who had it.
func TestReplicasThatComeAndGoRepeatNothing(t *testing.T) {
	t.Parallel()
	for name, serverSide := range map[string]bool{"classic": false, "consumer": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, g := newStand(t, 6)
			s.cluster.SetGroupConfigs("test.monday", map[string]string{"consumer.heartbeat.interval.ms": "500"})
			g.answers(func(http.ResponseWriter, *http.Request) bool {
				time.Sleep(30 * time.Millisecond) // so that some are always in flight
				return false
			})
			all := s.some(4000, 10*time.Millisecond) // longer than all guests stay
			o := s.options(g)
			o.Profile, o.ServerSide = schedule.ConstantSpeed(1), serverSide
			stays := s.start(o)
			s.await(g, 50, stays)
			for range 3 {
				n := len(g.all())
				guest := s.start(o)
				s.await(g, n+200, stays)
				guest.begins()
				guest.interrupt()
			}
			s.give(control.VerbSpeed, "50") // the rest need not take its time
			stays.finishes()
			got := g.byID()
			for _, x := range all {
				require.Equal(t, 1, got[x.ID])
			}
		})
	}
}

// A group that forgets its member takes all partitions away without asking: nothing is committed for them any more, and
// what waits for its time is fired only by who has them next.
func TestLostPartitionsAreFiredByTheirNextOwnerOnly(t *testing.T) {
	s, g := newStand(t, 3)
	all := s.some(800, 10*time.Millisecond)
	o := s.options(g)
	o.Profile = schedule.ConstantSpeed(1)
	one := s.replicas(1, o)
	s.await(g, 200, one[0])
	lost := s.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID, Count: 1, TopLevel: true})
	require.NoError(t, lost.Wait(t.Context(), 1))
	finish(one)
	repeated := make(map[traffic.ID]bool)
	for id, n := range g.byID() {
		require.LessOrEqual(t, n, 2)
		if n == 2 {
			repeated[id] = true
		}
	}
	require.Len(t, g.byID(), len(all))
	t.Logf("%d repeats", len(repeated))
	require.LessOrEqual(t, len(repeated), 200, "not what had been waiting, and was committed by its next owner")
}

// Who has no partition for a moment asks whether the others are done with theirs, and has them all again when the answer comes.
func TestPartitionsThatComeBackAreNotTakenForDone(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 3)
	all := s.some(400, 10*time.Millisecond)
	o := s.options(g)
	o.Profile = schedule.ConstantSpeed(1)
	one := s.replicas(1, o)
	s.await(g, 50, one[0])
	asked, assigned := make(chan struct{}), make(chan struct{})
	s.cluster.ControlKey(int16(kmsg.OffsetFetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		if r.(*kmsg.OffsetFetchRequest).RequireStable { // the member's, which is given its partitions then
			s.cluster.DropControl()
			s.cluster.SleepControl(func() { <-asked })
		}
		return nil, nil, false
	})
	s.cluster.ControlKey(int16(kmsg.OffsetFetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		if !r.(*kmsg.OffsetFetchRequest).RequireStable {
			s.cluster.DropControl()
			close(asked)
			s.cluster.SleepControl(func() { <-assigned })
		}
		return nil, nil, false
	})
	lost := s.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID, Count: 1, TopLevel: true})
	require.NoError(t, lost.Wait(t.Context(), 1))
	<-asked
	read := s.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: s.names.Exchanges, Observe: true, Count: -1})
	require.NoError(t, read.Wait(t.Context(), 1))
	close(assigned)
	finish(one)
	require.Len(t, g.byID(), len(all))
}
