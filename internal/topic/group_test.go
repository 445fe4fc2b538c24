package topic

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/reprise-io/reprise/internal/fault"
)

// member is a group member as the replayer is one: it keeps a Ledger for each partition and works on records in its own time.
type member struct {
	t      *testing.T
	reader *GroupReader
	cancel context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	ledgers  map[int32]*Ledger
	skip     map[int32]Ranges
	assigned map[int32]Position // as first told
	work     []*Record          // begun and not done
	seen     []uint64
	skipped  int
	revoked  []int32
	lost     []int32
	err      error
}

func join(t *testing.T, cfg GroupConfig) *member {
	t.Helper()
	m := &member{
		t: t, done: make(chan struct{}),
		ledgers: map[int32]*Ledger{}, skip: map[int32]Ranges{}, assigned: map[int32]Position{},
	}
	cfg.OnAssigned = func(_ context.Context, parts map[int32]Position) {
		m.mu.Lock()
		defer m.mu.Unlock()
		for p, at := range parts {
			m.assigned[p] = at
			m.ledgers[p] = NewLedger(at.Offset)
			ranges, err := ParseRanges(at.Metadata)
			require.NoError(t, err)
			m.skip[p] = ranges
		}
	}
	cfg.OnRevoked = func(ctx context.Context, parts []int32) {
		m.finishAll(parts) // drains
		require.NoError(t, m.commit(ctx, parts...))
		m.mu.Lock()
		defer m.mu.Unlock()
		m.revoked = append(m.revoked, parts...)
		for _, p := range parts {
			delete(m.ledgers, p)
		}
	}
	cfg.OnLost = func(parts []int32) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.lost = append(m.lost, parts...)
		for _, p := range parts {
			delete(m.ledgers, p)
		}
	}
	var err error
	m.reader, err = NewGroupReader(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	go func() {
		defer close(m.done)
		for {
			batch, err := m.reader.Poll(ctx)
			if err != nil {
				m.mu.Lock()
				m.err = err
				m.mu.Unlock()
				return
			}
			m.mu.Lock()
			batch.Each(func(r *Record) {
				l := m.ledgers[r.Partition]
				require.NotNil(t, l, "a record of partition %d, which is not assigned", r.Partition)
				l.Begin(r.Offset)
				if m.skip[r.Partition].Contains(r.Offset) {
					m.skipped++
					l.Done(r.Offset)
					return
				}
				m.work = append(m.work, r)
				m.seen = append(m.seen, number(r))
			})
			m.mu.Unlock()
			m.reader.AllowRebalance()
		}
	}()
	return m
}

// finishAll ends the work on partitions; all of them when none is named.
func (m *member) finishAll(parts []int32) {
	m.finish(func(r *Record) bool {
		for _, p := range parts {
			if p == r.Partition {
				return true
			}
		}
		return parts == nil
	})
}

func (m *member) finish(which func(*Record) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var left []*Record
	for _, r := range m.work {
		if l := m.ledgers[r.Partition]; l != nil && which(r) {
			l.Done(r.Offset)
		} else {
			left = append(left, r)
		}
	}
	m.work = left
}

func (m *member) commit(ctx context.Context, parts ...int32) error {
	at := make(map[int32]Position)
	m.mu.Lock()
	for p, l := range m.ledgers {
		for _, want := range parts {
			if p == want {
				at[p] = Position{Offset: l.Watermark(), Metadata: l.Ranges(nil)}
			}
		}
	}
	m.mu.Unlock()
	return m.reader.Commit(ctx, at)
}

func (m *member) leave() {
	m.cancel()
	<-m.done
	m.reader.Close()
}

// vanish ends the member as a kill does: nothing is revoked, committed or left.
func (m *member) vanish(n *testNet) {
	m.cancel()
	<-m.done
	n.down()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = m.reader.client.LeaveGroupContext(ctx)
	m.mu.Lock()
	m.ledgers = map[int32]*Ledger{}
	m.mu.Unlock()
	m.reader.client.CloseAllowingRebalance()
	n.up()
}

func (m *member) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.seen)
}

func TestGroupStartsAtGivenOffsets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		n.cluster(t, kfake.SeedTopics(3, "x"))
		fill(t, n.config(), "x", 0, 300)
		adm, err := NewAdmin(n.config())
		require.NoError(t, err)
		defer adm.Close()
		spans, err := adm.Window(t.Context(), "x", time.Time{})
		require.NoError(t, err)
		m := join(t, GroupConfig{
			Config: n.config(), Group: "g", Topic: "x",
			Start: map[int32]int64{0: 10, 1: spans[1].End - 5}, // 2: its log start
		})
		defer m.leave()
		time.Sleep(5 * time.Second)
		m.mu.Lock()
		defer m.mu.Unlock()
		require.Equal(t, map[int32]Position{
			0: {Offset: 10, LeaderEpoch: -1}, 1: {Offset: spans[1].End - 5, LeaderEpoch: -1}, 2: {Offset: 0, LeaderEpoch: -1},
		}, m.assigned)
		require.Len(t, m.seen, int(spans[0].End-10+5+spans[2].End))
	})
}

func TestGroupResumesFromCommittedAndSkipsRanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		n.cluster(t, kfake.SeedTopics(2, "x"))
		fill(t, n.config(), "x", 0, 400)
		cfg := GroupConfig{Config: n.config(), Group: "g", Topic: "x", Start: map[int32]int64{0: 5, 1: 5}}
		first := join(t, cfg)
		time.Sleep(5 * time.Second)
		require.Equal(t, 390, first.count())
		first.finish(func(r *Record) bool { return r.Offset < 20 || r.Offset%3 == 0 }) // out of order
		require.NoError(t, first.commit(t.Context(), 0, 1))
		first.finish(func(r *Record) bool { return r.Offset < 50 }) // done, and not committed any more
		first.vanish(&n)

		time.Sleep(20 * time.Second) // its session ends
		second := join(t, cfg)
		defer second.leave()
		time.Sleep(10 * time.Second)
		second.mu.Lock()
		defer second.mu.Unlock()
		for p := range int32(2) {
			require.EqualValues(t, 20, second.assigned[p].Offset)
		}
		// What was finished before the commit is skipped; the rest comes again, no more and no less.
		want := 0
		ends := map[int32]int64{}
		adm, err := NewAdmin(n.config())
		require.NoError(t, err)
		defer adm.Close()
		spans, err := adm.Window(t.Context(), "x", time.Time{})
		require.NoError(t, err)
		for p, r := range spans {
			ends[p] = r.End
			for o := int64(20); o < r.End; o++ {
				if o%3 != 0 {
					want++
				}
			}
		}
		require.Len(t, second.seen, want)
		require.NotZero(t, second.skipped)
		for _, r := range second.work {
			require.True(t, r.Offset >= 20 && r.Offset%3 != 0)
		}

		committed, err := adm.Committed(t.Context(), "g", "x")
		require.NoError(t, err)
		require.EqualValues(t, 20, committed[0].Offset)
		ranges, err := ParseRanges(committed[0].Metadata)
		require.NoError(t, err)
		require.True(t, ranges.Contains(21))
		require.False(t, ranges.Contains(20))
		none, err := adm.Committed(t.Context(), "nobody", "x")
		require.NoError(t, err)
		require.Empty(t, none)
	})
}

func TestGroupRevokeDrainsThenCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		n.cluster(t, kfake.SeedTopics(4, "x"))
		fill(t, n.config(), "x", 0, 400)
		cfg := GroupConfig{Config: n.config(), Group: "g", Topic: "x"}
		first := join(t, cfg)
		time.Sleep(5 * time.Second)
		require.Equal(t, 400, first.count())
		require.Len(t, first.reader.Assigned(), 4)

		second := join(t, cfg) // takes two partitions over, after the first has finished and committed them
		time.Sleep(20 * time.Second)
		require.Len(t, first.reader.Assigned(), 2)
		require.Len(t, second.reader.Assigned(), 2)
		require.Len(t, first.revoked, 2)
		require.Equal(t, 400, first.count(), "what stays is not read again")
		require.Zero(t, second.count(), "everything was committed before it was handed over")
		for p, at := range second.assigned {
			require.Contains(t, first.revoked, p)
			require.NotZero(t, at.Offset)
		}

		err := first.reader.Commit(t.Context(), map[int32]Position{first.revoked[0]: {Offset: 1}})
		require.ErrorContains(t, err, "does not have")

		fill(t, n.config(), "x", 400, 500)
		time.Sleep(5 * time.Second)
		require.Equal(t, 500, first.count()+second.count())
		first.leave() // drains, commits and hands over the rest
		time.Sleep(20 * time.Second)
		require.Len(t, second.reader.Assigned(), 4)
		require.Equal(t, 500, first.count()+second.count())
		second.leave()

		adm, err := NewAdmin(n.config())
		require.NoError(t, err)
		defer adm.Close()
		spans, err := adm.Window(t.Context(), "x", time.Time{})
		require.NoError(t, err)
		committed, err := adm.Committed(t.Context(), "g", "x")
		require.NoError(t, err)
		for p, r := range spans {
			require.Equal(t, r.End, committed[p].Offset, "partition %d", p)
		}
	})
}

func TestGroupLosesPartitionsAfterALongOutageAndNeverCommitsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var near testNet
		near.cluster(t, kfake.SeedTopics(2, "x"))
		far := testNet{virtual: near.virtual} // another way to the same cluster
		fill(t, far.config(), "x", 0, 100)
		first := join(t, GroupConfig{Config: near.config(), Group: "g", Topic: "x"})
		time.Sleep(5 * time.Second)
		require.Equal(t, 100, first.count())

		near.down()
		time.Sleep(12 * time.Second) // the session is over
		second := join(t, GroupConfig{Config: far.config(), Group: "g", Topic: "x"})
		defer second.leave()
		time.Sleep(10 * time.Second)
		require.Equal(t, 100, second.count(), "nothing was committed, all comes again")
		near.up()
		time.Sleep(30 * time.Second)
		first.mu.Lock()
		lost := len(first.lost)
		first.mu.Unlock()
		require.Equal(t, 2, lost)
		require.Empty(t, first.revoked)
		first.leave()
	})
}

func TestGroupKeepsItsPartitionsOverAShortOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		n.cluster(t, kfake.SeedTopics(2, "x"))
		fill(t, n.config(), "x", 0, 100)
		m := join(t, GroupConfig{Config: n.config(), Group: "g", Topic: "x"})
		time.Sleep(5 * time.Second)
		n.down()
		time.Sleep(3 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		require.Error(t, m.commit(ctx, 0))
		cancel()
		n.up()
		time.Sleep(3 * time.Second)
		m.finishAll(nil)
		require.NoError(t, m.commit(t.Context(), 0, 1))
		fill(t, n.config(), "x", 100, 120)
		time.Sleep(3 * time.Second)
		require.Equal(t, 120, m.count())
		require.Empty(t, m.lost)
		m.leave()
	})
}

func TestGroupDoesNotHoldUpOthersWhileItIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		n.cluster(t, kfake.SeedTopics(2, "x"))
		fill(t, n.config(), "x", 0, 100)
		busy, err := NewGroupReader(GroupConfig{Config: n.config(), Group: "g", Topic: "x"})
		require.NoError(t, err)
		defer busy.Close()
		_, err = busy.Poll(t.Context())
		require.NoError(t, err)
		busy.AllowRebalance() // and does not poll for a long time
		other := join(t, GroupConfig{Config: n.config(), Group: "g", Topic: "x"})
		defer other.leave()
		time.Sleep(15 * time.Second)
		require.Len(t, other.reader.Assigned(), 1)
	})
}

func TestGroupClosesWithoutItsBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, fail := range []func(*testNet){(*testNet).down, (*testNet).mute} {
			var n testNet
			cluster := n.cluster(t, kfake.SeedTopics(2, "x"))
			fill(t, n.config(), "x", 0, 100)
			revoked := 0
			r, err := NewGroupReader(GroupConfig{
				Config: n.config(), Group: "g", Topic: "x",
				OnRevoked: func(context.Context, []int32) { revoked++ },
			})
			require.NoError(t, err)
			_, err = r.Poll(t.Context())
			require.NoError(t, err)
			fail(&n)
			start := time.Now()
			r.Close()
			require.Less(t, time.Since(start), 15*time.Second)
			require.Equal(t, 1, revoked)
			cluster.Close()
		}
	})
}

func TestReadersSayWhatIsWrong(t *testing.T) {
	t.Run("no broker", func(t *testing.T) {
		cfg := Config{Brokers: []string{"127.0.0.1:1"}}
		start := time.Now()
		r, err := NewGroupReader(GroupConfig{Config: cfg, Group: "g", Topic: "x"})
		require.NoError(t, err)
		defer r.Close()
		_, err = r.Poll(t.Context())
		requireFault(t, err, "cannot reach Kafka at 127.0.0.1:1", "dial tcp 127.0.0.1:1: connect: connection refused", tryBrokers)
		require.Less(t, time.Since(start), time.Minute, "it does not wait for ever")
	})
	t.Run("no topic", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var n testNet
			n.cluster(t, kfake.SeedTopics(1, "orders"))
			r, err := NewAssignReader(AssignConfig{Config: n.config(), Topic: "reprise.exchanges", From: starts(1, 0)})
			require.NoError(t, err)
			defer r.Close()
			_, err = r.Poll(t.Context())
			requireFault(t, err, `topic "reprise.exchanges" does not exist on 127.0.0.1:9092`,
				"no tap has written with this prefix yet (topics there: orders)", "")
		})
	})
	t.Run("no group", func(t *testing.T) {
		_, err := NewGroupReader(GroupConfig{Config: Config{Brokers: []string{"127.0.0.1:1"}}, Topic: "x"})
		require.Equal(t, fault.Usage, fault.Code(err))
	})
}

func requireFault(t *testing.T, err error, what, cause, try string) {
	t.Helper()
	var f *fault.Error
	require.ErrorAs(t, err, &f)
	require.Equal(t, what, f.What)
	if cause != "" {
		require.Equal(t, cause, f.Cause)
	}
	if try != "" {
		require.Equal(t, try, f.Try)
	}
	require.NotEmpty(t, f.Try)
}
