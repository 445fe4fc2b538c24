package topic

import (
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/reprise-io/reprise/internal/fault"
)

// until waits for a condition in fake time and returns how long that took.
func until(t *testing.T, limit time.Duration, ok func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
	for !ok() {
		require.Less(t, time.Since(begin), limit)
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(begin)
}

// A killed member that comes back under its name has its partitions at once, and the others keep theirs; without a name
// the session has to end first.
func TestGroupStaticMemberIsBackAtOnce(t *testing.T) {
	for _, c := range []struct {
		instance string
		least    time.Duration
		most     time.Duration
	}{{"shop-1", 0, 3 * time.Second}, {"", 7 * time.Second, 40 * time.Second}} {
		t.Run("instance "+c.instance, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var near testNet
				near.cluster(t, kfake.SeedTopics(4, "x"))
				far := testNet{virtual: near.virtual}
				fill(t, far.config(), "x", 0, 400)
				cfg := GroupConfig{Config: near.config(), Group: "g", Topic: "x", InstanceID: c.instance}
				other := join(t, GroupConfig{Config: far.config(), Group: "g", Topic: "x", InstanceID: "shop-2"})
				defer other.leave()
				first := join(t, cfg)
				until(t, 30*time.Second, func() bool { return len(first.reader.Assigned()) == 2 && len(other.reader.Assigned()) == 2 })
				mine, theirs := first.reader.Assigned(), other.reader.Assigned()
				time.Sleep(5 * time.Second)
				killed := time.Now()
				first.vanish(&near)

				began := time.Now() // to end it as a kill does may take a while here
				second := join(t, cfg)
				defer second.leave()
				until(t, 60*time.Second, func() bool { return len(second.reader.Assigned()) == 2 })
				t.Logf("%v after the kill, %v after it began again", time.Since(killed), time.Since(began))
				require.GreaterOrEqual(t, time.Since(killed), c.least)
				require.LessOrEqual(t, time.Since(began), c.most)
				if c.instance != "" {
					require.Equal(t, mine, second.reader.Assigned())
					require.Equal(t, theirs, other.reader.Assigned())
				}
			})
		})
	}
}

func TestGroupStaticMemberDrainsAndCommitsWhenItIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		n.cluster(t, kfake.SeedTopics(2, "x"))
		fill(t, n.config(), "x", 0, 100)
		cfg := GroupConfig{Config: n.config(), Group: "g", Topic: "x", InstanceID: "shop-1"}
		first := join(t, cfg)
		until(t, 10*time.Second, func() bool { return first.count() == 100 })
		first.leave()
		require.Len(t, first.revoked, 2)
		second := join(t, cfg)
		defer second.leave()
		until(t, 2*time.Second, func() bool { return len(second.reader.Assigned()) == 2 })
		time.Sleep(2 * time.Second)
		require.Zero(t, second.count(), "all was committed")
	})
}

func TestGroupSaysWhenTwoHaveTheSameName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		n.cluster(t, kfake.SeedTopics(2, "x"))
		fill(t, n.config(), "x", 0, 100)
		cfg := GroupConfig{Config: n.config(), Group: "g", Topic: "x", InstanceID: "shop-1"}
		first := join(t, cfg)
		until(t, 10*time.Second, func() bool { return first.count() == 100 })
		second := join(t, cfg)
		defer second.leave()
		<-first.done
		requireFault(t, first.err, "another replica has taken this one's place in group g", "it runs with the same --instance", "")
		first.reader.Close()
		require.Empty(t, first.revoked, "nothing of it may be committed any more")
	})
}

// The same promises with the protocol in which the broker assigns.
func TestGroupServerSideDrainsThenCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		n.cluster(t, kfake.SeedTopics(4, "x"))
		fill(t, n.config(), "x", 0, 400)
		cfg := GroupConfig{Config: n.config(), Group: "g", Topic: "x", ServerSide: true, Start: map[int32]int64{0: 5}}
		first := join(t, cfg)
		until(t, 30*time.Second, func() bool { return first.count() == 395 })
		second := join(t, cfg)
		until(t, 60*time.Second, func() bool { return len(second.reader.Assigned()) == 2 && len(first.reader.Assigned()) == 2 })
		require.Len(t, first.revoked, 2)
		require.Zero(t, second.count(), "everything was committed before it was handed over")
		fill(t, n.config(), "x", 400, 500)
		until(t, 10*time.Second, func() bool { return first.count()+second.count() == 495 })
		first.leave()
		until(t, 60*time.Second, func() bool { return len(second.reader.Assigned()) == 4 })
		require.Equal(t, 495, first.count()+second.count())
		second.leave()
	})
}

func deleteBefore(t *testing.T, cfg Config, topic string, partition int32, offset int64) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(cfg.Brokers...), kgo.Dialer(cfg.Dialer))
	require.NoError(t, err)
	defer client.Close()
	var at kadm.Offsets
	at.Add(kadm.Offset{Topic: topic, Partition: partition, At: offset})
	done, err := kadm.NewClient(client).DeleteRecords(t.Context(), at)
	require.NoError(t, err)
	require.NoError(t, done.Error())
}

// Records go before they were read: at the start, in the middle, and with the whole log.
func TestGroupTellsWhatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		n.cluster(t, kfake.SeedTopics(1, "x"))
		fill(t, n.config(), "x", 0, 100)
		deleteBefore(t, n.config(), "x", 0, 30)
		var mu sync.Mutex
		var gone []Gone
		told := func() []Gone {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(gone)
		}
		cfg := GroupConfig{
			Config: n.config(), Group: "g", Topic: "x", Start: starts(1, 10),
			OnGone: func(g Gone) error {
				mu.Lock()
				defer mu.Unlock()
				gone = append(gone, g)
				return nil
			},
		}
		m := join(t, cfg)
		until(t, 10*time.Second, func() bool { return m.count() == 70 })
		require.Equal(t, []Gone{{0, 10, 30}}, told())
		m.reader.Pause(0)
		time.Sleep(time.Second)
		fill(t, n.config(), "x", 100, 200)
		deleteBefore(t, n.config(), "x", 0, 150)
		m.reader.Resume(0)
		until(t, 10*time.Second, func() bool { return m.count() == 120 })
		require.Equal(t, []Gone{{0, 10, 30}, {0, 100, 150}}, told())
		m.leave()

		mu.Lock()
		gone = nil
		mu.Unlock()
		cfg.Group, cfg.Start = "h", starts(1, 1000)
		m = join(t, cfg)
		until(t, 10*time.Second, func() bool { return len(told()) > 0 })
		time.Sleep(3 * time.Second)
		require.Equal(t, []Gone{{0, 1000, math.MaxInt64}}, told())
		m.leave()

		cfg.Group, cfg.Start, cfg.OnGone = "i", starts(1, 10), nil
		m = join(t, cfg)
		<-m.done
		requireFault(t, m.err, "offsets 10 to 149 of x, partition 0, are gone before they were read", "deleted by retention or by hand", "")
		require.Equal(t, fault.Incomplete, fault.Code(m.err))
		m.cancel()
		m.reader.Close()
	})
}
