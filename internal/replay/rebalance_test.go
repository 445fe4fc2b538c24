package replay_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/reprise-io/reprise/internal/replay"
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
			s, g := newStand(t, 6), newTarget(t)
			s.cluster.SetGroupConfigs("test.monday", map[string]string{"consumer.heartbeat.interval.ms": "500"})
			g.answers(func(http.ResponseWriter, *http.Request) bool {
				time.Sleep(30 * time.Millisecond)
				return false
			})
			all := s.some(1000, 10*time.Millisecond)
			o := s.options(g)
			o.Profile, o.ServerSide = schedule.ConstantSpeed(1), serverSide
			limit, over := context.WithTimeout(t.Context(), 3*time.Minute)
			defer over()
			var wg sync.WaitGroup
			join := func() (leave func()) {
				ctx, cancel := context.WithCancelCause(limit)
				wg.Go(func() {
					if _, err := replay.Run(ctx, o); err != nil && !errors.Is(err, errSignal) {
						t.Errorf("a replica: %v", err)
					}
				})
				return func() { cancel(errSignal) }
			}
			join() // stays
			s.await(g, 50)
			for range 3 {
				n := len(g.all())
				leave := join()
				s.await(g, min(n+200, 900))
				leave()
			}
			wg.Wait()
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
	s, g := newStand(t, 3), newTarget(t)
	all := s.some(800, 10*time.Millisecond)
	o := s.options(g)
	o.Profile = schedule.ConstantSpeed(1)
	end := s.replicas(1, o)
	s.await(g, 200)
	lost := s.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID, Count: 1, TopLevel: true})
	require.NoError(t, lost.Wait(t.Context(), 1))
	for _, err := range end() {
		require.NoError(t, err)
	}
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
