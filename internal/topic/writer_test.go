package topic

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// book is what a test knows of every record it put: how it ended, and that it ended once.
type book struct {
	mu     sync.Mutex
	ended  map[uint64]Result
	twice  []uint64
	counts map[Result]int
}

func newBook() *book { return &book{ended: make(map[uint64]Result), counts: make(map[Result]int)} }

func (b *book) done(r *Record, result Result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := binary.BigEndian.Uint64(r.Value)
	if _, again := b.ended[id]; again {
		b.twice = append(b.twice, id)
	}
	b.ended[id] = result
	b.counts[result]++
}

func (b *book) count(s State) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for r, c := range b.counts {
		if r.State == s {
			n += c
		}
	}
	return n
}

func (b *book) of(s State, reason Reason) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.counts[Result{s, reason}]
}

func (b *book) result(id uint64) Result {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ended[id]
}

func (b *book) all() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.ended)
}

// audit compares the book with what is in the topic: nothing put is without an end, acknowledged is in, dropped is not.
func (b *book) audit(t *testing.T, put uint64, in map[uint64]int) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	require.Empty(t, b.twice, "records that ended twice")
	require.Len(t, b.ended, int(put), "records that ended")
	for id := range put {
		switch b.ended[id].State {
		case Acknowledged:
			require.NotZero(t, in[id], "record %d was acknowledged and is not there", id)
		case Dropped:
			require.Zero(t, in[id], "record %d was dropped (%s) and is there", id, b.ended[id].Reason)
		case Unknown:
		default:
			t.Fatalf("record %d ended in %v", id, b.ended[id])
		}
	}
}

func numbered(id uint64, size int) *Record {
	value := make([]byte, max(8, size))
	binary.BigEndian.PutUint64(value, id)
	return &Record{Value: value, Time: time.Now()}
}

// contents reads a whole topic: how often each number is there.
func contents(t *testing.T, cfg Config, topic string) map[uint64]int {
	t.Helper()
	adm, err := NewAdmin(cfg)
	require.NoError(t, err)
	defer adm.Close()
	spans, err := adm.Window(t.Context(), topic, time.Time{})
	require.NoError(t, err)
	from, to := map[int32]int64{}, map[int32]int64{}
	for p, r := range spans {
		from[p], to[p] = r.Start, r.End
	}
	reader, err := NewAssignReader(AssignConfig{Config: cfg, Topic: topic, From: from, To: to})
	require.NoError(t, err)
	defer reader.Close()
	in := make(map[uint64]int)
	for {
		batch, err := reader.Poll(t.Context())
		if err != nil {
			require.ErrorIs(t, err, io.EOF)
			return in
		}
		batch.Each(func(r *Record) { in[binary.BigEndian.Uint64(r.Value)]++ })
	}
}

// runWriter starts a Writer and returns what stops it and waits.
func runWriter(t *testing.T, cfg WriterConfig) (*Writer, func()) {
	t.Helper()
	w, err := NewWriter(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stopped := false
	stop := func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(t, <-done)
		}
	}
	t.Cleanup(stop)
	return w, stop
}

func TestWriterDropsOldestWhenFull(t *testing.T) {
	b := newBook()
	w, err := NewWriter(WriterConfig{
		Config: Config{Brokers: []string{"127.0.0.1:1"}}, Topic: "x", OnDone: b.done,
		RingBytes: 10 * (slotOverhead + 8),
	})
	require.NoError(t, err)
	for id := range uint64(25) {
		w.Put(numbered(id, 8))
	}
	require.Equal(t, 15, b.of(Dropped, RingFull))
	for id := range uint64(15) {
		require.Equal(t, Result{Dropped, RingFull}, b.result(id), "the oldest go first")
	}
	more := make([]*Record, 4)
	for i := range more {
		more[i] = numbered(25+uint64(i), 8)
	}
	w.PutAll(more)
	require.Equal(t, 19, b.of(Dropped, RingFull))
	records, size := w.Pending()
	require.Equal(t, 10, records)
	require.EqualValues(t, 10*(slotOverhead+8), size)

	w.Put(numbered(100, 11*(slotOverhead+8))) // larger than the whole ring: only itself goes
	require.Equal(t, Result{Dropped, RingFull}, b.result(100))
	w.Put(numbered(101, 2_000_000)) // larger than any batch
	require.Equal(t, Result{Dropped, TooLarge}, b.result(101))
	records, _ = w.Pending()
	require.Equal(t, 10, records)
}

func TestWriterNeverBlocks(t *testing.T) {
	for name, network := range map[string]func(*testNet){
		"refused": (*testNet).down, // no broker
		"hung":    (*testNet).mute, // a broker that takes requests and never answers
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n testNet
				n.cluster(t, kfake.SeedTopics(4, "x"))
				network(&n)
				b := newBook()
				w, stop := runWriter(t, WriterConfig{
					Config: n.config(), Topic: "x", RingBytes: 1 << 20, BufferBytes: 1 << 20, OnDone: b.done,
				})
				time.Sleep(time.Second)
				start := time.Now()
				for id := range uint64(20_000) {
					w.Put(numbered(id, 1000))
				}
				require.Zero(t, time.Since(start), "fake time passes only while everyone waits")
				_, size := w.Pending()
				require.LessOrEqual(t, size, int64(2<<20))
				stop()
				require.Less(t, time.Since(start), 7*time.Second)
				n.up()
				b.audit(t, 20_000, contents(t, n.config(), "x"))
			})
		})
	}
}

func TestWriterAcknowledgesEverythingWhenAllIsWell(t *testing.T) {
	for _, acks := range []Acks{AcksAll, AcksLeader} {
		t.Run(string(acks), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n testNet
				n.cluster(t)
				b := newBook()
				w, stop := runWriter(t, WriterConfig{
					Config: n.config(), Topic: "p.exchanges", Ensure: []Spec{ExchangesSpec(NamesOf("p"), 0)}, Acks: acks,
					OnDone: b.done,
				})
				for id := range uint64(5_000) {
					r := numbered(id, 700)
					r.Key = []byte{byte(id)}
					w.Put(r)
					if id%100 == 0 {
						time.Sleep(10 * time.Millisecond)
					}
				}
				stop()
				require.Equal(t, 5000, b.of(Acknowledged, ""))
				in := contents(t, n.config(), "p.exchanges")
				b.audit(t, 5000, in)
				for id, times := range in {
					require.Equal(t, 1, times, "record %d", id)
				}
				w.Put(numbered(5000, 8))
				require.Equal(t, Result{Dropped, Closed}, b.result(5000))
			})
		})
	}
}

func TestWriterLingersAndNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		n.cluster(t, kfake.SeedTopics(1, "x"))
		var acked atomic.Pointer[time.Time]
		w, _ := runWriter(t, WriterConfig{
			Config: n.config(), Topic: "x", Linger: 80 * time.Millisecond,
			OnDone: func(*Record, Result) { now := time.Now(); acked.Store(&now) },
		})
		for range 3 { // the first sets up connections
			start := time.Now()
			w.Put(numbered(1, 100))
			time.Sleep(time.Second)
			require.GreaterOrEqual(t, acked.Load().Sub(start), 80*time.Millisecond)
			require.LessOrEqual(t, acked.Load().Sub(start), 200*time.Millisecond)
		}
	})
}

func TestWriterWorksWhenBrokerAppearsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		n.down()
		b := newBook()
		w, _ := runWriter(t, WriterConfig{
			Config: n.config(), Topic: "p.exchanges", Ensure: []Spec{ExchangesSpec(NamesOf("p"), 4)}, OnDone: b.done,
		})
		for id := range uint64(1000) {
			w.Put(numbered(id, 1000))
		}
		time.Sleep(5 * time.Minute)
		since, cause := w.trouble.get()
		require.False(t, since.IsZero())
		require.ErrorContains(t, cause, "cannot reach Kafka at 127.0.0.1:9092")
		require.Zero(t, b.all(), "nothing is lost while it fits into the ring")

		n.cluster(t)
		n.up()
		time.Sleep(2500 * time.Millisecond)
		require.Equal(t, 1000, b.of(Acknowledged, ""))
		since, _ = w.trouble.get()
		require.True(t, since.IsZero())
	})
}

func TestWriterEveryPutIsAccountedFor(t *testing.T) {
	for seed := range uint64(25) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 2))
				var n testNet
				cluster := n.cluster(t, kfake.SeedTopics(1+int32(seed%5), "x"))
				if seed%4 == 3 {
					n.down()
				}
				b := newBook()
				w, stop := runWriter(t, WriterConfig{
					Config: n.config(), Topic: "x", OnDone: b.done,
					RingBytes: 64 << 10 << rng.IntN(8), BufferBytes: 64 << 10 << rng.IntN(8), DeliveryTimeout: 8 * time.Second,
					Acks: []Acks{AcksAll, AcksAll, AcksLeader}[seed%3],
				})
				id := uint64(0)
				var forbidden atomic.Bool
				for range 25 {
					switch rng.IntN(8) {
					case 0:
						n.down()
					case 1:
						n.mute() // requests arrive and are stored, answers do not come
					case 2:
						n.cutAll()
					case 3: // the broker refuses one request
						cluster.ControlKey(0, refuse([]*kerr.Error{
							kerr.NotLeaderForPartition, kerr.NotEnoughReplicasAfterAppend, kerr.UnknownServerError, kerr.RequestTimedOut,
						}[rng.IntN(4)], nil))
					case 4: // or every request, until access is granted again
						forbidden.Store(true)
						cluster.ControlKey(0, refuse(kerr.TopicAuthorizationFailed, func() bool {
							if forbidden.Load() {
								cluster.KeepControl()
							}
							return forbidden.Load()
						}))
					default:
						n.up()
						forbidden.Store(false)
					}
					for range rng.IntN(400) {
						w.Put(numbered(id, rng.IntN(3000)))
						id++
						if rng.IntN(10) == 0 {
							time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
						}
					}
					time.Sleep(time.Duration(rng.IntN(4000)) * time.Millisecond)
				}
				stop()
				records, size := w.Pending()
				require.Zero(t, records)
				require.Zero(t, size)
				n.up()
				n.cutAll()
				b.audit(t, id, contents(t, n.config(), "x"))
			})
		})
	}
}

// refuse answers a produce request with an error for every partition, unless still says no.
func refuse(code *kerr.Error, still func() bool) func(kmsg.Request) (kmsg.Response, error, bool) {
	return func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		if still != nil && !still() {
			return nil, nil, false
		}
		req := kreq.(*kmsg.ProduceRequest)
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, t := range req.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, code.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	}
}

func TestWriterHealsRecreatedTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		cluster := n.cluster(t)
		specs := []Spec{ExchangesSpec(NamesOf("p"), 4)}
		b := newBook()
		w, stop := runWriter(t, WriterConfig{Config: n.config(), Topic: "p.exchanges", Ensure: specs, OnDone: b.done})
		id := uint64(0)
		traffic := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); id++ {
				w.Put(numbered(id, 200))
				time.Sleep(10 * time.Millisecond)
			}
		}
		traffic(2 * time.Second)
		before := b.of(Acknowledged, "")
		require.NotZero(t, before)
		require.NoError(t, cluster.DeleteTopic("p.exchanges"))
		traffic(10 * time.Second)
		require.Greater(t, b.of(Acknowledged, ""), before+500, "healed: %v", b.counts)
		require.NoError(t, cluster.DeleteTopic("p.exchanges")) // and again, made anew by someone else
		require.NoError(t, cluster.CreateTopic("p.exchanges", 2, nil))
		traffic(10 * time.Second)
		stop()
		require.Equal(t, int(id), b.count(Acknowledged)+b.count(Unknown), "%v", b.counts)
		require.Less(t, b.count(Unknown), 60, "only what was on its way when the topic went: %v", b.counts)
		require.Equal(t, int(id), b.all())
		require.Empty(t, b.twice)
	})
}

func TestWriterWaitsForAMissingTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		cluster := n.cluster(t)
		b := newBook()
		w, _ := runWriter(t, WriterConfig{Config: n.config(), Topic: "later", OnDone: b.done})
		for id := range uint64(100) {
			w.Put(numbered(id, 200))
		}
		time.Sleep(time.Minute)
		_, cause := w.trouble.get()
		require.ErrorIs(t, cause, kerr.UnknownTopicOrPartition)
		require.NoError(t, cluster.CreateTopic("later", 2, nil))
		time.Sleep(3 * time.Second)
		require.Equal(t, 100, b.of(Acknowledged, ""))
	})
}

func TestWriterDropsWhatTheTopicRefusesAsTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		n.cluster(t)
		adm, err := NewAdmin(n.config())
		require.NoError(t, err)
		defer adm.Close()
		require.NoError(t, adm.Ensure(t.Context(), []Spec{{
			Name: "x", Partitions: 1, Config: map[string]string{"max.message.bytes": "2000"},
		}}))
		b := newBook()
		var log bytes.Buffer
		cfg := n.config()
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		w, stop := runWriter(t, WriterConfig{Config: cfg, Topic: "x", OnDone: b.done})
		noise := numbered(0, 8000)
		for i := 8; i < len(noise.Value); i++ {
			noise.Value[i] = byte(rand.Uint32())
		}
		w.Put(noise)
		time.Sleep(2 * time.Second)
		w.Put(numbered(1, 100))
		time.Sleep(2 * time.Second)
		require.Equal(t, Result{Dropped, TooLarge}, b.result(0))
		require.Equal(t, Result{State: Acknowledged}, b.result(1))
		for id := range uint64(3) {
			w.Put(numbered(2+id, 2_000_000)) // larger than any batch
		}
		time.Sleep(2 * time.Minute)
		w.Put(numbered(5, 2_000_000))
		time.Sleep(2 * time.Minute)
		stop()
		require.Equal(t, 3, strings.Count(log.String(), "records are too large for Kafka"), "once a minute:\n%s", log.String())
		require.Contains(t, log.String(), "records=3 most_bytes=2000")
		require.Contains(t, log.String(), "--body-max")
	})
}

func TestWriterFitsItsBatchesToTheTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		cluster := n.cluster(t)
		require.NoError(t, cluster.CreateTopic("x", 2, map[string]string{"max.message.bytes": "20000"}))
		b := newBook()
		w, stop := runWriter(t, WriterConfig{Config: n.config(), Topic: "x", OnDone: b.done})
		for id := range uint64(1000) {
			w.Put(numbered(id, 700)) // 700 kB: one batch of the usual size a partition
		}
		time.Sleep(5 * time.Second)
		stop()
		require.Equal(t, 1000, b.of(Acknowledged, ""), "%v", b.counts)
		b.audit(t, 1000, contents(t, n.config(), "x"))
	})
}

func TestWriterShutdownIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		n.cluster(t, kfake.SeedTopics(2, "x"))
		b := newBook()
		w, stop := runWriter(t, WriterConfig{Config: n.config(), Topic: "x", OnDone: b.done})
		w.Put(numbered(0, 100))
		time.Sleep(time.Second)
		n.mute()
		w.Put(numbered(1, 100)) // will be sent, and never answered
		time.Sleep(400 * time.Millisecond)
		start := time.Now()
		for id := uint64(2); id < 10; id++ {
			w.Put(numbered(id, 100))
		}
		stop()
		require.Less(t, time.Since(start), 8*time.Second)
		require.Equal(t, Result{State: Acknowledged}, b.result(0))
		require.Equal(t, Result{Unknown, Shutdown}, b.result(1))
		n.up()
		b.audit(t, 10, contents(t, n.config(), "x"))
	})
}

func TestWriterSettingsAreChecked(t *testing.T) {
	for name, cfg := range map[string]WriterConfig{
		"no broker":  {Topic: "x"},
		"bad broker": {Topic: "x", Config: Config{Brokers: []string{"http://127.0.0.1:9092"}}},
		"no topic":   {Config: Config{Brokers: []string{"127.0.0.1:9092"}}},
		"bad acks":   {Topic: "x", Acks: "some", Config: Config{Brokers: []string{"127.0.0.1:9092"}}},
	} {
		_, err := NewWriter(cfg)
		require.Error(t, err, name)
	}
}

// BenchmarkWriter is Put by four goroutines through the pump into an embedded broker that stores nothing, until all is
// acknowledged; ns/op is the cost of one record on all cores, client and broker included.
func BenchmarkWriter(b *testing.B) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(12, "x"), kfake.BlackholeProduce())
	require.NoError(b, err)
	defer cluster.Close()
	w, err := NewWriter(WriterConfig{
		Config: Config{Brokers: cluster.ListenAddrs()}, Topic: "x", RingBytes: 1 << 40,
	})
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = w.Run(ctx) }()
	value := bytes.Repeat([]byte("GET /items/42 HTTP/1.1\r\nHost: shop.example\r\n"), 25) // 1.1 kB
	headers := []Header{{Key: "reprise-id", Value: value[:24]}, {Key: "method", Value: value[:3]}, {Key: "path", Value: value[4:13]}}
	b.ResetTimer()
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			batch := make([]*Record, 0, 32)
			for i := g; i < b.N; i += 4 {
				batch = append(batch, &Record{Value: value, Headers: headers, Time: time.Unix(1, 0)})
				if len(batch) == cap(batch) || i+4 >= b.N {
					w.PutAll(batch)
					batch = batch[:0]
				}
			}
		})
	}
	wg.Wait()
	for records, _ := w.Pending(); records > 0; records, _ = w.Pending() {
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	cancel()
	<-done
}

func BenchmarkPut(b *testing.B) {
	w, err := NewWriter(WriterConfig{Config: Config{Brokers: []string{"127.0.0.1:1"}}, Topic: "x"})
	require.NoError(b, err)
	value := make([]byte, 1000)
	b.RunParallel(func(pb *testing.PB) {
		r := &Record{Value: value}
		for pb.Next() {
			w.Put(r)
		}
	})
}
