//go:build e2e

package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/feed"
	"github.com/reprise-io/reprise/e2e/proc"
	"github.com/reprise-io/reprise/e2e/sink"
	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// crash is a kill of a replayer, and what the broker knew of its work afterwards.
type crash struct {
	at, looked time.Time
	committed  map[int32]topic.Position
	beyond     map[int32]topic.Ranges
}

// done reports whether an offset was committed as done.
func (c *crash) done(partition int32, offset int64) bool {
	return offset < c.committed[partition].Offset || c.beyond[partition].Contains(offset)
}

// TestKilledReplayerResumesWithNothingMissing kills a replayer with SIGKILL at random moments of its start and its work,
// REPRISE_CRASHES times, all in one run; each next one has the same name in the group and goes on at once. REPRISE_SEED
// repeats the moments.
func TestKilledReplayerResumesWithNothingMissing(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	kills := number(t, "REPRISE_CRASHES", 10)
	seed := number(t, "REPRISE_SEED", int(time.Now().UnixNano()&0x7fffffff))
	t.Logf("%d kills, REPRISE_SEED=%d", kills, seed)
	random := rand.New(rand.NewPCG(uint64(seed), 0))

	const rate = 500
	made := feed.Made{Count: rate * (kills*5/4 + 4), Rate: rate, Seed: 9, Start: time.Now().Add(-24 * time.Hour)}
	all, err := made.Write(within(t, time.Minute), shared.broker.Addr(), names)
	require.NoError(t, err)
	admin, err := topic.NewAdmin(topic.Config{Brokers: []string{shared.broker.Addr()}})
	require.NoError(t, err)
	defer admin.Close()
	target, stop := startSink(t, sink.Options{})
	args := replayArgs("run", prefix, target.Addr(), "--run", "crash", "--speed", "1", "--instance", "only", "-o", "json")

	var crashes []*crash
	for len(crashes) < kills {
		p := start(t, "replayer", args...)
		sleep(t, time.Duration(random.Int64N(int64(2500*time.Millisecond))))
		select {
		case <-p.Exited():
			require.FailNow(t, "it ended by itself", p.Stderr())
		default:
		}
		p.Kill()
		c := &crash{at: time.Now(), beyond: map[int32]topic.Ranges{}}
		waitFor(t, time.Minute, func() (err error) { // a broker's first group has no coordinator for a while
			c.committed, err = admin.Committed(t.Context(), prefix+".crash", names.Exchanges)
			return err
		})
		for id, at := range c.committed {
			c.beyond[id], err = topic.ParseRanges(at.Metadata)
			require.NoError(t, err)
		}
		c.looked = time.Now()
		crashes = append(crashes, c)
	}
	r := replay(t, time.Duration(2*kills+60)*time.Second, args[:len(args)-2]...)
	stop()
	require.Equal(t, "finished", r.State)

	type place struct {
		partition int32
		offset    int64
	}
	places := make(map[traffic.ID]place, len(all))
	require.NoError(t, feed.Exchanges(within(t, time.Minute), shared.broker.Addr(), names.Exchanges,
		func(r *topic.Record, x *traffic.Exchange) error {
			places[x.ID] = place{r.Partition, r.Offset}
			return nil
		}))
	outcomes := make(map[traffic.ID]int, len(all))
	require.NoError(t, feed.Records(within(t, time.Minute), shared.broker.Addr(), names.Results, func(r *topic.Record) error {
		o := new(traffic.Outcome)
		defer func() { outcomes[o.ExchangeID]++ }()
		return traffic.DecodeOutcome(r.Value, o)
	}))

	got := arrivals(t, target)
	repeats, oldest := make([]int, kills), make([]time.Duration, kills)
	for _, x := range all {
		arrived, at := got[x.ID], places[x.ID]
		require.NotEmpty(t, arrived, "exchange %d is missing", x.ID.Seq())
		require.NotZero(t, outcomes[x.ID], "exchange %d has no outcome", x.ID.Seq())
		for i, a := range arrived[1:] {
			// Each repeat is of a kill before it.
			k := -1
			for n, c := range crashes {
				if c.at.Before(a.At) {
					k = n
				}
				require.False(t, c.looked.Before(a.At) && c.done(at.partition, at.offset), "exchange %d was fired again though kill %d found it committed", x.ID.Seq(), n)
			}
			require.GreaterOrEqual(t, k, 0, "a repeat without a kill")
			repeats[k]++
			oldest[k] = max(oldest[k], crashes[k].at.Sub(arrived[i].At))
		}
	}
	require.Len(t, got, made.Count, "no id that was not recorded")
	t.Logf("repeats after each kill: %d, the oldest of them sent before it: %v", repeats, oldest)
	// What was sent in the last 200 ms, twice that for a busy machine; one that stands still for a while does so at some of
	// the kills, not at most of them. (What is overdue after a kill is sent at once, so those 200 ms can be many requests.)
	oldest = slices.DeleteFunc(oldest, func(d time.Duration) bool { return d == 0 })
	if slices.Sort(oldest); len(oldest) > 0 {
		require.Less(t, oldest[(len(oldest)-1)/2], 400*time.Millisecond)
	}

	// The run is over: its name is taken.
	again := run(t, 2*time.Minute, "replayer", args...)
	require.Equal(t, 2, again.Code, again.Stderr)
	require.Contains(t, again.Stderr, "--restart")
}

// TestReplicasTakeOverAndKeepTheSchedule: three replicas, of which one is killed and one comes in the middle of the run.
func TestReplicasTakeOverAndKeepTheSchedule(t *testing.T) { takeOver(t, 0) }

// TestReplicasToWhichTheBrokersAssignTakeOverToo: KIP-848, where the broker's session timeout counts, and a member is told of new
// partitions when it sends its next heartbeat, within 5 s.
func TestReplicasToWhichTheBrokersAssignTakeOverToo(t *testing.T) {
	takeOver(t, 5*time.Second, "--group-protocol", "consumer")
}

func takeOver(t *testing.T, told time.Duration, more ...string) {
	t.Helper()
	startKafka(t)
	prefix, names := newPrefix()
	made := feed.Made{Count: 28000, Rate: 1000, Seed: 11, Start: time.Now().Add(-24 * time.Hour)}
	all, err := made.Write(within(t, time.Minute), shared.broker.Addr(), names)
	require.NoError(t, err)
	target, stop := startSink(t, sink.Options{})
	args := replayArgs("run", prefix, target.Addr(), append([]string{"--run", "three", "--speed", "1", "--wait-replicas", "3", "-o", "json"}, more...)...)
	var replicas []*proc.Process
	for range 3 {
		replicas = append(replicas, start(t, "replayer", args...))
	}
	arrive := func(n int) {
		t.Helper()
		waitFor(t, time.Minute, func() error {
			if got := target.Requests(); got < n {
				return fmt.Errorf("%d of %d arrived\n%s", got, n, replicas[0].Stderr())
			}
			return nil
		})
	}
	arrive(5000)
	machine := noise(t)
	replicas[0].Kill()
	killed := time.Now()
	arrive(7000)
	replicas[0] = start(t, "replayer", args...)
	fired := make([]int64, 3)
	for i, p := range replicas {
		code, err := p.Wait(within(t, 2*time.Minute))
		require.NoError(t, err)
		require.Zero(t, code, p.Stderr())
		fired[i] = parseReport(t, p.Stdout()).Fired
		require.Positive(t, fired[i], "replica %d took part", i)
	}
	own := machine().p99
	stop()

	base := timeBase(t, names, "three")
	got := arrivals(t, target)
	require.Len(t, got, made.Count, "nothing is missing")
	type sent struct {
		due  time.Time
		late time.Duration
	}
	var sents []sent
	repeats, takenOver := 0, killed
	for _, x := range all {
		require.NotEmpty(t, got[x.ID], "exchange %d is missing", x.ID.Seq())
		due, _ := base.Due(x.Capture)
		for i, a := range got[x.ID] {
			if i > 0 {
				repeats++
				require.True(t, got[x.ID][i-1].At.Before(killed.Add(5*time.Second)), "only a kill repeats, partitions that move do not")
				continue
			}
			late := a.At.Sub(due)
			sents = append(sents, sent{due, late})
			if late > 500*time.Millisecond && a.At.After(takenOver) && due.Before(killed.Add(13*time.Second)) {
				takenOver = a.At
			}
		}
	}
	var before, during, after []time.Duration
	for _, s := range sents {
		switch {
		case s.due.Before(killed.Add(-time.Second)):
			before = append(before, s.late)
		case s.due.After(takenOver.Add(time.Second)):
			after = append(after, s.late)
		default:
			during = append(during, s.late)
		}
	}
	outside := slices.Concat(before, after)
	slices.Sort(outside)
	at := func(p int) time.Duration { return outside[len(outside)*p/100] }
	t.Logf("sent by each: %d, repeats %d, taken over after %v; lateness of the %d outside of that: p50 %v, p90 %v, p99 %v (asked: 5ms; the machine: p99 %v)",
		fired, repeats, takenOver.Sub(killed), len(outside), at(50), at(90), at(99), own)
	for _, part := range []struct {
		name string
		late []time.Duration
	}{{"before the kill", before}, {"in the takeover", during}, {"after it", after}} {
		if slices.Sort(part.late); len(part.late) > 0 {
			n := len(part.late)
			t.Logf("%s: %d requests, p50 %v, p99 %v, max %v", part.name, n, part.late[n/2], part.late[n*99/100], part.late[n-1])
		}
	}
	// 10 s of session and 3 s; and a machine that stands still for a while.
	require.Less(t, takenOver.Sub(killed), 13*time.Second+told+3*time.Second)
	require.Greater(t, len(outside), made.Count/4)
	require.Less(t, at(50), 20*time.Millisecond+own)
}

// timeBase is the schedule of a run's one generation at one speed.
func timeBase(t *testing.T, names topic.Names, name string) schedule.Timeline {
	t.Helper()
	state := new(control.State)
	require.NoError(t, feed.Records(within(t, time.Minute), shared.broker.Addr(), names.Control, func(r *topic.Record) error {
		state.Apply(r.Offset, r.Time, r.Key, r.Value)
		return nil
	}))
	base := state.Run(name).Current().Base
	return schedule.NewTimeline(schedule.Base{
		Capture: time.Unix(0, int64(base.GetCaptureUnixNano())), Wall: time.Unix(0, int64(base.GetWallUnixNano())),
	}, schedule.ConstantSpeed(base.GetSpeed()))
}
