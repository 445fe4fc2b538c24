package topic

import (
	"bytes"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
)

func TestWriterLosesNothingInAnOutage(t *testing.T) {
	for i, outage := range []time.Duration{500 * time.Millisecond, 5 * time.Second, 40 * time.Second, 10 * time.Minute, 10 * time.Minute} {
		hang := i == 4 // before
		t.Run(fmt.Sprint(i, outage), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n testNet
				n.cluster(t, kfake.SeedTopics(4, "x"))
				b := newBook()
				var log bytes.Buffer
				cfg := n.config()
				cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
				w, stop := runWriter(t, WriterConfig{Config: cfg, Topic: "x", RingBytes: 64 << 20, OnDone: b.done})
				id := uint64(0)
				traffic := func(d time.Duration) { // 20 records a second
					for end := time.Now().Add(d); time.Now().Before(end); id++ {
						w.Put(numbered(id, 200))
						time.Sleep(50 * time.Millisecond)
					}
				}
				traffic(3 * time.Second)
				if hang {
					n.mute()
					traffic(2 * time.Second)
				}
				n.down()
				traffic(outage)
				if !hang && outage > time.Second {
					require.Less(t, int(w.flying.Load()), 10, "half a second of records are with the client at most")
				}
				n.up()
				back := time.Now()
				for records, _ := w.Pending(); records > 0; records, _ = w.Pending() {
					time.Sleep(10 * time.Millisecond)
				}
				require.Less(t, time.Since(back), 2500*time.Millisecond, "recovers at once")
				traffic(time.Second)
				stop()
				b.audit(t, id, contents(t, n.config(), "x"))
				require.Zero(t, b.count(Dropped), "%v", b.counts)
				require.Zero(t, b.count(Unknown), "what was in a request when the line was cut is asked for again: %v", b.counts)
				require.LessOrEqual(t, bytes.Count(log.Bytes(), []byte("does not take records")), 1, "%s", &log)
				require.Equal(t, bytes.Count(log.Bytes(), []byte("does not take records")),
					bytes.Count(log.Bytes(), []byte("takes records again")), "%s", &log)
			})
		})
	}
}

// A Kafka that has just come back has the whole time of a flush, and not the second that one which is away is worth.
func TestWriterFlushesToAKafkaThatIsJustBack(t *testing.T) {
	for delay := time.Duration(0); delay < 2*time.Second; delay += 100 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			var n testNet
			var back atomic.Int64
			c := n.cluster(t, kfake.SeedTopics(1, "x"))
			c.ControlKey(0, refuse(kerr.NotLeaderForPartition, func() bool { // as while it reads what it has
				c.KeepControl()
				at := back.Load()
				return at != 0 && time.Since(time.Unix(0, at)) < 3*time.Second
			}))
			b := newBook()
			w, stop := runWriter(t, WriterConfig{Config: n.config(), Topic: "x", OnDone: b.done})
			w.Put(numbered(0, 200))
			time.Sleep(time.Second)
			n.down()
			w.Put(numbered(1, 200))
			time.Sleep(20 * time.Second)
			w.Put(numbered(2, 200))
			n.up()
			back.Store(time.Now().UnixNano())
			time.Sleep(delay)
			stop()
			require.Equal(t, 3, b.count(Acknowledged), "stopped %s after Kafka was back: %v", delay, b.counts)
		})
	}
}

// TestWriterGivesUpWhatOnePartitionNeverTakes: else a partition without a leader would fill the window, and with it stop all.
func TestWriterGivesUpWhatOnePartitionNeverTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		c := n.cluster(t, kfake.SeedTopics(1, "x"))
		c.ControlKey(0, refuse(kerr.NotLeaderForPartition, func() bool { c.KeepControl(); return true }))
		b := newBook()
		w, stop := runWriter(t, WriterConfig{Config: n.config(), Topic: "x", OnDone: b.done})
		w.Put(numbered(0, 200))
		time.Sleep(29 * time.Second)
		require.Zero(t, b.count(Unknown))
		time.Sleep(5 * time.Second)
		require.Equal(t, 1, b.count(Unknown))
		stop()
	})
}
