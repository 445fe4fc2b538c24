package replay_test

import (
	"net/http"
	"sync/atomic"
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
			var hurry atomic.Bool
			g.answers(func(http.ResponseWriter, *http.Request) bool {
				if !hurry.Load() {
					time.Sleep(120 * time.Millisecond) // so that some are always in flight
				}
				return false
			})
			all := s.some(4000, 40*time.Millisecond) // longer than all guests stay, on any machine
			o := s.options(g)
			o.Profile, o.ServerSide = schedule.ConstantSpeed(1), serverSide
			stays := s.start(o)
			s.await(g, 50, stays)
			for range 3 {
				n := len(g.all())
				guest := s.start(o)
				s.await(g, n+50, stays)
				guest.begins()
				guest.interrupt()
			}
			hurry.Store(true)
			s.give(control.VerbSpeed, "200") // the rest need not take its time
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
	const inFlight = 100 // at most, when the partitions went
	s, g := newStand(t, 3)
	all := s.some(800, 10*time.Millisecond)
	o := s.options(g)
	o.Profile = schedule.ConstantSpeed(1)
	one := s.replicas(1, o)
	s.await(g, 100, one[0])
	before := make(chan int, 1)
	s.cluster.ControlKey(int16(kmsg.OffsetFetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		if r.(*kmsg.OffsetFetchRequest).RequireStable { // the member's, which has lost them and is given them again
			s.cluster.DropControl()
			before <- len(g.all())
		}
		return nil, nil, false
	})
	lost := s.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID, Count: 1, TopLevel: true})
	require.NoError(t, lost.Wait(t.Context(), 1))
	finish(one)
	n, first, repeats := <-before, make(map[traffic.ID]int), 0
	for i, a := range g.all() {
		at, again := first[a.id]
		if !again {
			first[a.id] = i
			continue
		}
		repeats++
		require.Less(t, at, n+inFlight, "what had been waiting was fired by its next owner alone")
	}
	require.Len(t, first, len(all))
	require.LessOrEqual(t, repeats, n+inFlight)
	t.Logf("%d of %d repeats", repeats, n)
}

// Who has no partition for a moment asks whether the others are done with theirs, and has them all again when the answer comes.
func TestPartitionsThatComeBackAreNotTakenForDone(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 3)
	all := s.some(400, 50*time.Millisecond) // a heartbeat comes long before its end, on any machine
	o := s.options(g)
	o.Profile = schedule.ConstantSpeed(1)
	one := s.replicas(1, o)
	s.await(g, 10, one[0])
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
	s.give(control.VerbSpeed, "50") // the rest need not take its time
	finish(one)
	require.Len(t, g.byID(), len(all))
}
