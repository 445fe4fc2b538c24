package replay

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/topic"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// hanging is a Kafka that answers nothing.
type hanging struct{ asked chan struct{} }

func (h hanging) Produce(ctx context.Context, _ ...*topic.Record) ([]int64, error) {
	select {
	case h.asked <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// The moment at which a run goes on was told before Kafka hung: it is kept.
func TestTheGateOpensInTimeThoughReportsHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		c := &conductor{
			registry: &registry{writer: "w"}, run: "monday", number: 1, clock: newClock(), log: slog.New(slog.DiscardHandler), started: start,
			wake: func() {}, figures: func(*reprisev1.ReplicaReport) {},
			news: make(chan struct{}, 1), retimed: make(chan struct{}, 1), late: make(chan late, 1),
		}
		ctx, cancel := context.WithCancel(t.Context())
		kafka := hanging{make(chan struct{}, 1)}
		var both sync.WaitGroup
		both.Go(func() { c.keepTime(ctx) })
		both.Go(func() { c.speak(ctx, kafka) })

		timeline := schedule.NewTimeline(schedule.Base{Capture: start, Wall: start}, schedule.ConstantSpeed(1))
		timeline = timeline.Pause(start.Add(time.Second)).Resume(start.Add(7 * time.Second))
		c.clock.now.Store(&timeline)
		c.retimed <- struct{}{}
		synctest.Wait()
		require.False(t, c.clock.shut.Load())
		<-kafka.asked // the report that it has begun: it never comes back

		time.Sleep(time.Second)
		synctest.Wait()
		require.True(t, c.clock.shut.Load(), "the pause")
		time.Sleep(6*time.Second - time.Nanosecond)
		synctest.Wait()
		require.True(t, c.clock.shut.Load())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.False(t, c.clock.shut.Load(), "it goes on at its moment")
		cancel()
		both.Wait()
	})
}
