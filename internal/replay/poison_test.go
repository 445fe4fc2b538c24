package replay_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// keys returns a key for each partition of the topic that exchanges go to.
func (s *stand) keys(partitions int) [][]byte {
	s.t.Helper()
	s.ensure(topic.Spec{Name: "probe", Partitions: int32(partitions)})
	keys := make([][]byte, partitions)
	for found, i := 0, 0; found < partitions; i++ {
		r := &topic.Record{Key: fmt.Appendf(nil, "key-%d", i), Time: time.Now()}
		_, err := topic.Produce(s.t.Context(), s.cfg, "probe", r)
		require.NoError(s.t, err)
		if keys[r.Partition] == nil {
			keys[r.Partition] = r.Key
			found++
		}
	}
	return keys
}

// poisons are records that nobody should have written, with what becomes of each.
func (s *stand) poisons() map[string]*topic.Record {
	noise := make([]byte, 20<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	whole := s.exchange(time.Now().Add(-time.Minute))
	meta := traffic.MetaOf(whole, whole.Request.Target)
	huge := s.exchange(time.Now().Add(-time.Minute))
	huge.Response.Body, huge.Response.BodySize = noise, int64(len(noise))
	encoded := traffic.AppendExchange(nil, whole)
	return map[string]*topic.Record{
		"noise":             {Value: []byte("\xff\xff no exchange")},
		"nothing":           {},
		"cut off":           {Value: encoded[:len(encoded)-7]},
		"20 MB":             {Value: noise, Headers: traffic.AppendMeta([]topic.Header(nil), &meta)},
		"headers that lie":  {Value: []byte(`{"id":"x"}`), Headers: traffic.AppendMeta([]topic.Header(nil), &meta)},
		"another schema":    {Value: traffic.AppendOutcome(nil, &traffic.Outcome{Run: "monday", ExchangeID: whole.ID, CaptureTime: time.Now(), Status: 200})},
		"a registry's mark": {Value: append([]byte{0, 0, 0, 0, 7, 0}, encoded...)},
		"20 MB exchange":    {Value: traffic.AppendExchange(nil, huge)},
	}
}

func TestPoisonInEveryPartitionIsAnOutcomeEach(t *testing.T) {
	t.Parallel()
	const partitions = 2
	s, g := newStand(t, 1)
	large := topic.ExchangesSpec(s.names, partitions)
	large.Config["max.message.bytes"] = "33554432"
	require.NoError(t, s.cluster.DeleteTopic(s.names.Exchanges))
	s.ensure(large)
	client, err := kgo.NewClient(kgo.SeedBrokers(s.cfg.Brokers...), kgo.ProducerBatchMaxBytes(32<<20), kgo.BrokerMaxWriteBytes(64<<20),
		kgo.ProducerBatchCompression(kgo.NoCompression())) // of noise there is nothing to gain
	require.NoError(t, err)
	defer client.Close()
	want := make(map[string]bool)
	fired := 0
	poisons := s.poisons()
	for p, key := range s.keys(partitions) {
		for range 20 {
			x := s.exchange(time.Now().Add(-time.Minute))
			x.Session = key
			s.write(x)
			fired++
		}
		for name, r := range poisons {
			r := &kgo.Record{Topic: s.names.Exchanges, Key: key, Value: r.Value, Headers: r.Headers}
			require.NoError(t, client.ProduceSync(t.Context(), r).FirstErr(), name)
			require.EqualValues(t, p, r.Partition)
			if name == "20 MB exchange" {
				fired++ // large, and nothing is wrong with it
				continue
			}
			want[fmt.Sprintf("%d/%d", r.Partition, r.Offset)] = true
		}
		for range 20 {
			x := s.exchange(time.Now().Add(-time.Minute))
			x.Session = key
			s.write(x)
			fired++
		}
	}
	r := s.run(s.options(g))
	require.EqualValues(t, fired, r.Fired)
	require.EqualValues(t, len(want), r.BadTotal)
	for _, b := range r.BadRecords {
		at := fmt.Sprintf("%d/%d", b.Partition, b.Offset)
		require.True(t, want[at], at)
		delete(want, at)
		require.NotEmpty(t, b.Reason)
	}
	require.Empty(t, want)
	bad := 0
	for _, all := range s.outcomes() {
		for _, o := range all {
			if o.Result == traffic.BadRecord {
				bad++
				require.NotEmpty(t, o.Reason)
				require.NotEmpty(t, o.Detail)
			}
		}
	}
	require.EqualValues(t, r.BadTotal, bad)
}

// One partition is 10 s ahead of the others' clocks, one has nothing for an hour. Neither holds the others up, with a
// look-ahead that has room for a part of it only.
func TestSkewAndGapsNeitherStallNorScramble(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 4)
	keys := s.keys(4)
	start := time.Now().Add(-3 * time.Hour)
	var all []*traffic.Exchange
	for i := range 2000 {
		at := start.Add(time.Duration(i) * 20 * time.Millisecond) // 40 s
		for p, key := range keys {
			x := s.exchange(at.Add(time.Duration(p) * time.Millisecond))
			switch p {
			case 1:
				x.CaptureTime = x.CaptureTime.Add(10 * time.Second)
			case 2:
				if i >= 1000 {
					x.CaptureTime = x.CaptureTime.Add(time.Hour)
				}
			}
			x.Session = key
			all = append(all, x)
		}
	}
	s.write(all...)
	o := s.options(g)
	o.Profile, o.GapMax, o.Order, o.LookAhead = schedule.ConstantSpeed(10), time.Second, schedule.OrderNone, 4<<20
	r := s.run(o)
	require.EqualValues(t, len(all), r.Fired)
	require.Zero(t, r.Reordered, "none left before its turn")
	slices.SortFunc(all, func(a, b *traffic.Exchange) int { return a.CaptureTime.Compare(b.CaptureTime) })
	outcomes := s.outcomes()
	var last time.Time
	for i, x := range all {
		due := outcomes[x.ID][0].DueTime
		require.False(t, due.Before(last), "%d is due before what was captured before it", i)
		last = due
	}
	first := outcomes[all[0].ID][0].DueTime
	require.Less(t, last.Sub(first), 9*time.Second, "72 s of which a gap took 1 s, at ten times the speed")
}

// A request that is never answered, or answered byte by byte for ever, is an outcome when its time is over, and holds up
// neither its partition nor its session for longer.
func TestARecordThatHangsIsAnOutcomeWithinItsDeadline(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(t *testing.T, s *stand, g *target) {
		all := s.some(60, 10*time.Millisecond)
		var tried atomic.Int64
		release := make(chan struct{})
		defer close(release)
		g.answers(func(w http.ResponseWriter, r *http.Request) bool {
			switch id, _ := traffic.ParseID(r.Header.Get("Reprise-Exchange-Id")); id {
			case all[10].ID:
				tried.Add(1)
				<-release
			case all[20].ID:
				tried.Add(1)
				w.Header().Set("Content-Length", "1000000")
				for range 200 {
					_, _ = w.Write(bytes.Repeat([]byte("x"), 10))
					if http.NewResponseController(w).Flush() != nil {
						break
					}
					select {
					case <-release:
						return true
					case <-time.After(20 * time.Millisecond):
					}
				}
			default:
				return false
			}
			return true
		})
		o := s.options(g)
		o.Timeout, o.Retries = time.Second, 2
		begin := time.Now()
		r := s.run(o)
		t.Logf("took %v, %d attempts", time.Since(begin), tried.Load())
		require.EqualValues(t, 58, r.Fired)
		require.Equal(t, map[string]int64{"timeout": 2}, r.Failed)
		outcomes := s.outcomes()
		for _, i := range []int{10, 20} {
			o := outcomes[all[i].ID][0]
			require.Equal(t, traffic.Failed, o.Result)
			require.Equal(t, "timeout", o.Reason)
			require.EqualValues(t, i, o.Offset)
			require.NotEmpty(t, o.Detail)
		}
	})
}
