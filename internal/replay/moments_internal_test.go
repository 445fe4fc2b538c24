package replay

import (
	"context"
	"log/slog"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/topic"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// What changes between two looks at it must not be taken for something that it never was.

func partitionOf(t *testing.T, id int32, at int64) *partition {
	t.Helper()
	p, err := newPartition(id, topic.Range{Start: 0, End: 9}, topic.Position{Offset: at}, 1)
	require.NoError(t, err)
	return p
}

func TestNobodyIsDoneBetweenLosingAndGettingPartitions(t *testing.T) {
	in := &intake{windows: map[int32]topic.Range{0: {End: 9}}, assigned: make(map[int32]*partition)}
	r := &run{opts: new(Options), intake: in}
	p := partitionOf(t, 0, 0)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			in.mu.Lock()
			in.assigned[0] = p
			in.mu.Unlock()
			in.mu.Lock()
			delete(in.assigned, 0)
			in.mu.Unlock()
		}
	})
	for range 100_000 {
		if done, others := r.mineDone(); done && !others {
			t.Error("nothing was ever done")
			break
		}
	}
	close(stop)
	wg.Wait()
}

func TestWhatWasTakenAwayCommitsNothingOverItsNextSelf(t *testing.T) {
	was, is := partitionOf(t, 0, 0), partitionOf(t, 0, 5)
	in := &intake{assigned: map[int32]*partition{0: is}, backlog: newBacklog(1<<20, 1, 1)} // without a reader: nothing can be committed
	was.take(records(0, 3, 1))
	was.done(0, 1, 0) // answered since
	_, news := was.position()
	require.True(t, news)
	require.NoError(t, in.commit(t.Context(), []*partition{was}))
	require.Zero(t, was.committed.Offset)
}

// A commit that is on its way when a partition is lost is stored before the partition can be somebody else's, or this one's again.
func TestWhatIsLostIsForgottenAfterTheCommitOnItsWay(t *testing.T) {
	in := &intake{assigned: map[int32]*partition{0: partitionOf(t, 0, 0)}, volley: rushing(1)}
	in.volley.stopping.Store(true)
	in.commits.Lock()
	forgotten := make(chan struct{})
	go func() {
		defer close(forgotten)
		in.forget([]int32{0})
	}()
	select {
	case <-forgotten:
		t.Error("the client joins its group again now")
	case <-time.After(20 * time.Millisecond):
	}
	in.commits.Unlock()
	<-forgotten
	require.Nil(t, in.partition(0))
}

func TestTheEndOfWhatWasTakenAwayIsNotThatOfItsNextSelf(t *testing.T) {
	was, is := partitionOf(t, 0, 7), partitionOf(t, 0, 5)
	b := newBacklog(1<<20, 1, 1)
	b.open(is)
	b.finish(was)
	b.end(was)
	require.Zero(t, b.size())
	require.False(t, b.parts[0].ended)
	b.add(&topic.Batch{Partitions: []topic.PartitionBatch{{Partition: 0, Records: records(5, 9, 1)}}})
	l, some := b.take()
	todo, _, ended := l.part.take(some)
	require.Len(t, todo, 4)
	require.True(t, ended)
}

// slowGates stop what they are told to after something else has happened, where that can.
type slowGates struct {
	recordedGates
	meanwhile func()
}

func (g *slowGates) Pause(parts ...int32) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.meanwhile()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Millisecond): // it waits for us
	}
	g.recordedGates.Pause(parts...)
}

// What the client remembers as stopped is undone when a partition comes back, which is not to be stopped again by who looked before.
func TestWhatComesBackIsNotStoppedByAnEarlierLook(t *testing.T) {
	b := newBacklog(1<<20, 1, 1)
	back := make(chan struct{})
	g := &slowGates{recordedGates: recordedGates{stopped: map[int32]bool{}}}
	g.meanwhile = func() {
		defer close(back)
		b.remove(0)
		g.Resume(0) // as GroupReader does when it is assigned
		b.open(partitionOf(t, 0, 0))
	}
	b.reader = g
	p := partitionOf(t, 0, 0)
	b.open(p)
	b.finish(p)
	b.gate(false)
	<-back
	g.mu.Lock()
	defer g.mu.Unlock()
	require.False(t, g.stopped[0], "nobody would ever continue it")
}

// A pause that begins while a share is waited for holds what has got it.
func TestWhatWasGrantedInAPauseWaitsForItsEnd(t *testing.T) {
	for name, row := range map[string]struct {
		gone, over bool
		want       verdict
		used       int64
	}{
		"goes on":           {want: granted, used: 1},
		"taken away in it":  {gone: true, want: waiting},
		"stopped before it": {over: true, want: waiting},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := rushing(1)
				done := make(chan struct{})
				v.done, v.quotas = done, &quotas{total: &quota{limit: 10, granted: 10, spent: true}}
				it := &item{part: partitionOf(t, 0, 0)}
				got := make(chan verdict, 1)
				go func() { got <- v.grant(it) }()
				synctest.Wait()
				require.Empty(t, got, "it would have been sent")
				if row.gone {
					it.part.leave()
				}
				if row.over {
					close(done)
				} else {
					now := time.Now()
					v.clock.set(begun{base: schedule.Base{Capture: now, Wall: now}, profile: schedule.ConstantSpeed(1)}, nil)
				}
				require.Equal(t, row.want, <-got)
				require.Equal(t, row.used, v.quotas.total.used)
			})
		})
	}
}

func order(offset int64, verb, argument string, at time.Time) control.Order {
	return control.Order{Command: control.Command{Offset: offset, Command: &reprisev1.Command{Verb: verb, Argument: argument}}, At: at}
}

func TestWhoLookedUpCommandsEarlierTakesNoneBack(t *testing.T) {
	c := newClock()
	now := time.Now()
	b := begun{base: schedule.Base{Capture: now, Wall: now}, profile: schedule.ConstantSpeed(1)}
	c.set(b, []control.Order{order(7, control.VerbPause, "", now)})
	c.set(b, nil)
	require.True(t, c.paused(now.Add(time.Second)))
}

func TestAnOrderIsConfirmedOnceItIsObeyed(t *testing.T) {
	var confirmed int64
	c := &conductor{
		registry: &registry{writer: "w"}, run: "monday", number: 1, clock: newClock(), log: slog.New(slog.DiscardHandler),
		news: make(chan struct{}, 1), heard: make(chan struct{}, 1),
	}
	c.begun = func() (begun, bool) {
		confirmed = c.obeyed
		return begun{}, false
	}
	record := control.Author{Writer: "ann", Time: time.Now()}.Command(&reprisev1.Command{Run: "monday", Generation: 1, Verb: control.VerbPause})
	c.registry.apply(&topic.Record{Key: []byte(record.Key), Value: record.Value, Offset: 7, Time: time.Now()})
	c.read(8)
	require.Zero(t, confirmed, "while it is taken in")
	require.EqualValues(t, 8, c.obeyed)
}

func TestAGateThatIsHeldIsNotOpenedByAnEarlierLook(t *testing.T) {
	c := newClock()
	now := time.Now()
	timeline := schedule.NewTimeline(schedule.Base{Capture: now, Wall: now}, schedule.ConstantSpeed(1))
	c.now.Store(&timeline)
	for range 5000 {
		c.held.Store(false)
		var both sync.WaitGroup
		both.Go(func() { c.turn(now) })
		both.Go(c.hold)
		both.Wait()
		require.True(t, c.shut.Load())
	}
}

// A pause that comes into force while the gate is looked at is not missed.
func TestAPauseThatBeginsMeanwhileIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		c := &conductor{clock: newClock(), retimed: make(chan struct{}, 1), news: make(chan struct{}, 1)}
		c.wake = func() { time.Sleep(10 * time.Millisecond) } // as long as it may take on a busy machine
		timeline := schedule.NewTimeline(schedule.Base{Capture: start, Wall: start}, schedule.ConstantSpeed(1)).Pause(start.Add(5 * time.Millisecond))
		c.clock.now.Store(&timeline)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { c.keepTime(ctx) })
		time.Sleep(time.Second)
		synctest.Wait()
		require.True(t, c.clock.shut.Load())
		cancel()
		wg.Wait()
	})
}

// The guard hears from the conductor that somebody has lifted what it did, which is later than the registry has read it.
func TestWhatWasLiftedIsNotHeldAgainBeforeTheGuardHearsOfIt(t *testing.T) {
	target, err := url.Parse("http://127.0.0.1:8080")
	require.NoError(t, err)
	guard, err := fire.NewGuard(t.Context(), fire.GuardConfig{Target: target, Allow: []string{target.Host}})
	require.NoError(t, err)
	r := &run{
		opts: &Options{Run: "monday", Target: target, Logger: slog.New(slog.DiscardHandler)}, guard: guard, clock: newClock(),
		registry: &registry{writer: "w"}, generation: &control.Generation{Number: 1},
	}
	for offset, c := range []*reprisev1.Command{
		{Run: "monday", Generation: 1, Verb: control.VerbPause, Argument: fire.AuthorityIsTarget},
		{Run: "monday", Generation: 1, Verb: control.VerbResume, Argument: target.Host},
	} {
		record := control.Author{Writer: "ann", Time: time.Now()}.Command(c)
		r.registry.apply(&topic.Record{Key: []byte(record.Key), Value: record.Value, Offset: int64(offset), Time: time.Now()})
	}
	require.False(t, guard.Exempt())
	r.suspend(t.Context())
	require.False(t, r.clock.held.Load())
}
