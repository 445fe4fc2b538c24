package tap

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/redact"
	"github.com/reprise-io/reprise/internal/spool"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/wire"
)

// kafka is an outlet that is there or away. Away, it gives back what it gets, as a ring does that is full.
type kafka struct {
	giving sync.Mutex // what it gives back comes in order, whoever makes it do so
	mu     sync.Mutex
	spill  *spill
	away   bool
	sly    bool         // away, and nobody has noticed
	answer topic.Result // of what is given back; zero: the ring is full
	free   int64
	got    []string

	since time.Time // when it went away; zero: just now
	ring  []*topic.Record
	holds bool // away, it keeps up to ringSize in the ring
}

const ringSize = 1 << 20

func (k *kafka) PutAll(rs []*topic.Record) {
	k.giving.Lock()
	defer k.giving.Unlock()
	for _, r := range rs {
		if r = k.hold(r); r == nil {
			continue
		}
		k.mu.Lock()
		result := topic.Result{State: topic.Acknowledged}
		if k.away {
			if result = k.answer; result.State == 0 {
				result = topic.Result{State: topic.Dropped, Reason: topic.RingFull}
			}
		} else {
			k.got = append(k.got, string(r.Value))
		}
		k.mu.Unlock()
		if !k.spill.done(r, result) {
			switch result.State {
			case topic.Acknowledged:
				k.spill.counters.produced.Add(1)
			case topic.Unknown:
				k.spill.counters.unknown.add(string(result.Reason), 1)
			default:
				k.spill.counters.dropped.add(string(result.Reason), 1)
			}
		}
	}
}

// hold puts a record into the ring, if there is one, and returns the one that had to go for it.
func (k *kafka) hold(r *topic.Record) *topic.Record {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.holds || !k.away {
		return r
	}
	k.ring = append(k.ring, r)
	if k.free -= weight(r); k.free >= 0 {
		return nil
	}
	return k.shed()
}

// shed takes the oldest record out of the ring. Called locked.
func (k *kafka) shed() *topic.Record {
	r := k.ring[0]
	k.ring = k.ring[1:]
	k.free += weight(r)
	return r
}

func (k *kafka) Relieve(bytes int64) {
	k.giving.Lock()
	defer k.giving.Unlock()
	var old []*topic.Record
	k.mu.Lock()
	for len(k.ring) > 0 && weight(k.ring[0]) <= bytes {
		bytes -= weight(k.ring[0])
		old = append(old, k.shed())
	}
	k.mu.Unlock()
	for _, r := range old {
		k.spill.done(r, topic.Result{State: topic.Dropped, Reason: topic.RingFull})
	}
}

func (k *kafka) Room() (free, all int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.free, ringSize
}

func (k *kafka) Shut() (since time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.away && !k.sly {
		since = k.since
		if since.IsZero() {
			since = time.Now()
		}
		return since
	}
	return time.Time{}
}

func (k *kafka) set(away bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.away = away
}

// values are what has arrived.
func (k *kafka) values() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]string{}, k.got...)
}

func spilling(dir string, limit int64) (*spill, *kafka) {
	k := &kafka{free: ringSize}
	k.spill = newSpill(Options{SpoolDir: dir, SpoolMax: spool.LeastBytes, MemoryMax: 4 << 20, Logger: slog.New(slog.DiscardHandler)},
		k, new(Counters), limit)
	return k.spill, k
}

// see is records that the tap has just seen.
func (k *kafka) see(from, to int) {
	rs := []*topic.Record{}
	for i := from; i < to; i++ {
		rs = append(rs, &topic.Record{Value: fmt.Appendf(nil, "%06d", i)})
	}
	k.spill.counters.seen.Add(uint64(len(rs)))
	k.PutAll(rs)
}

func numbers(from, to int) (all []string) {
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprintf("%06d", i))
	}
	return all
}

func TestWhatKafkaDoesNotTakeWaitsOnDiskAndIsSentInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := spilling(t.TempDir(), 1<<20)
		running := start(t.Context(), s.run)
		k.set(true)
		k.see(0, 3000)
		time.Sleep(time.Minute)
		c := s.counters.Report()
		require.EqualValues(t, 3000, c.GetSpooled())
		require.Zero(t, c.GetPending())
		require.Empty(t, k.values(), "nothing is fed to a Kafka that is away")
		require.Positive(t, s.disk.Load())
		require.Zero(t, s.held())

		k.set(false)
		k.see(3000, 3010) // live records do not wait for the others
		require.Equal(t, numbers(3000, 3010), k.values())
		time.Sleep(time.Minute)
		require.Equal(t, append(numbers(3000, 3010), numbers(0, 3000)...), k.values())
		c = s.counters.Report()
		require.EqualValues(t, 3010, c.GetProduced())
		require.Zero(t, c.GetSpooled()+c.GetPending())
		require.Zero(t, s.disk.Load())
		require.NoError(t, running.stop())
	})
}

func TestTheSpoolWaitsForRoomThatLiveRecordsLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := spilling(t.TempDir(), 1<<20)
		running := start(t.Context(), s.run)
		k.set(true)
		k.see(0, 2000)
		time.Sleep(time.Second)
		k.mu.Lock()
		k.away, k.free = false, 100
		k.mu.Unlock()
		time.Sleep(10 * time.Second)
		n := len(k.values())
		require.Positive(t, n, "a little goes even so")
		require.Less(t, n, 200)
		k.mu.Lock()
		k.free = ringSize
		k.mu.Unlock()
		time.Sleep(time.Second)
		require.Equal(t, numbers(0, 2000), k.values())
		require.NoError(t, running.stop())
	})
}

func TestAnEarlierRunsSpoolIsRecovered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, k := spilling(dir, 1<<20)
		k.set(true)
		running := start(t.Context(), s.run)
		k.see(0, 500)
		require.NoError(t, running.stop())
		require.EqualValues(t, 500, s.counters.Report().GetSpooled())

		s, k = spilling(dir, 1<<20)
		running = start(t.Context(), s.run)
		k.see(500, 510)
		time.Sleep(10 * time.Second)
		require.ElementsMatch(t, numbers(0, 510), k.values())
		c := s.counters.Report()
		require.EqualValues(t, 500, c.GetRecovered())
		require.EqualValues(t, 10, c.GetSeen())
		require.EqualValues(t, 510, c.GetProduced())
		require.Zero(t, c.GetSpooled()+c.GetPending())
		require.NoError(t, running.stop())

		s, k = spilling(dir, 1<<20)
		running = start(t.Context(), s.run)
		time.Sleep(10 * time.Second)
		require.Empty(t, k.values(), "and never again")
		require.NoError(t, running.stop())
	})
}

func TestATapThatEndsSoonAfterItsPredecessorHasTheSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		before, _ := spilling(dir, 1<<20)
		draining := start(t.Context(), before.run)
		s, k := spilling(dir, 1<<20)
		synctest.Wait()
		running := start(t.Context(), s.run)
		synctest.Wait() // it has found the directory in use
		require.NoError(t, draining.stop())
		k.set(true)
		k.see(0, 10)
		s.expect(1 << 20)
		k.Relieve(1 << 20) // as a writer gives back what it has at its end
		require.NoError(t, running.stop())
		c := s.counters.Report()
		require.EqualValues(t, 10, c.GetSpooled(), "%v", c)
	})
}

func TestWhatComesBackFromKafkaIsKeptBeforeItsPortionIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, k := spilling(dir, 1<<20)
		running := start(t.Context(), s.run)
		k.set(true)
		k.see(0, 100)
		time.Sleep(time.Second)
		// Kafka seems well, and takes nothing: the portion comes back and goes behind the others.
		k.mu.Lock()
		k.sly = true
		k.mu.Unlock()
		time.Sleep(5 * time.Second)
		require.NoError(t, running.stop())
		require.EqualValues(t, 100, s.counters.Report().GetSpooled())
		require.Zero(t, s.counters.Report().GetPending())

		s, k = spilling(dir, 1<<20)
		running = start(t.Context(), s.run)
		time.Sleep(10 * time.Second)
		require.ElementsMatch(t, numbers(0, 100), k.values(), "each is there once")
		require.NoError(t, running.stop())
	})
}

func TestWhatCouldNeverBeSentIsNotSpooled(t *testing.T) {
	s, k := spilling(t.TempDir(), 10<<20)
	k.away = true
	for _, why := range []topic.Reason{topic.TooLarge, topic.Refused} {
		k.answer = topic.Result{State: topic.Dropped, Reason: why}
		k.see(0, 1)
		require.EqualValues(t, 1, s.counters.Report().GetDropped()[string(why)])
	}
	k.answer = topic.Result{State: topic.Unknown, Reason: topic.Timeout}
	k.see(0, 1)
	require.EqualValues(t, 1, s.counters.Report().GetUnknown(), "what may be stored is not sent again")
	k.answer = topic.Result{}
	s.counters.seen.Add(1)
	k.PutAll([]*topic.Record{{Value: make([]byte, ringSize)}})
	require.EqualValues(t, 1, s.counters.Report().GetDropped()["ring_full"], "no ring would ever hold it")
	require.Zero(t, s.held())
}

func TestADeadDiskCostsRecordsAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "spool")
		require.NoError(t, os.WriteFile(dir, nil, 0o600)) // no directory can be made there
		s, k := spilling(dir, 1<<20)
		running := start(t.Context(), s.run)
		k.set(true)
		k.see(0, 100)
		time.Sleep(time.Second)
		require.EqualValues(t, 100, s.counters.Report().GetDropped()["spool_error"])
		require.Zero(t, s.counters.Report().GetPending())
		require.NoError(t, os.Remove(dir))
		time.Sleep(reopenEvery)
		k.see(100, 200)
		time.Sleep(time.Second)
		require.EqualValues(t, 100, s.counters.Report().GetSpooled(), "it is tried again")
		require.NoError(t, running.stop())
	})
}

// TestSparseTrafficFindsItsWayBackToKafka: what is not sent for lingering must not be taken to the disk once Kafka is there.
func TestSparseTrafficFindsItsWayBackToKafka(t *testing.T) {
	for i := range 10 { // different moments at which Kafka is back
		idle := i == 9
		synctest.Test(t, func(t *testing.T) {
			stand := newStand(t)
			tap, err := New(Options{
				Topic: stand.cfg, Names: stand.names, MemoryMax: 8 << 20, SpoolDir: t.TempDir(), SpoolMax: spool.LeastBytes,
				Settings: everything(), Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
			})
			require.NoError(t, err)
			running := start(t.Context(), func(ctx context.Context) error {
				return tap.Run(ctx, Source{Kind: traffic.Proxy, Run: func(ctx context.Context) error { <-ctx.Done(); return nil }})
			})
			traffic := func(d time.Duration) {
				for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(300 * time.Millisecond) {
					c := exchange("GET", "/", "")
					tap.Budget().used.Add(c.Bytes)
					tap.Pipeline().Offer([]wire.Captured{c})
				}
			}
			counters := tap.Pipeline().Counters()
			traffic(20*time.Second + time.Duration(i)*30*time.Millisecond)
			if idle {
				settle(time.Second)
			}
			defer stand.open().Close()
			if !idle {
				traffic(20 * time.Second)
				require.Positive(t, counters.Report().GetProduced(), "while there is traffic")
			}
			settle(30 * time.Second)
			c := counters.Report()
			require.Equal(t, c.GetSeen(), c.GetProduced(), "%v", c)
			require.NoError(t, running.stop())
		})
	}
}

// stalling is a disk that stops for a while.
type stalling struct {
	spool.Files
	until atomic.Pointer[time.Time]
}

func (d *stalling) Create(name string) (spool.File, error) {
	f, err := d.Files.Create(name)
	return stalled{f, d}, err
}

type stalled struct {
	spool.File
	disk *stalling
}

func (f stalled) Sync() error {
	if until := f.disk.until.Load(); until != nil {
		time.Sleep(time.Until(*until))
	}
	return f.File.Sync()
}

// TestADiskThatStopsCostsNothingWhileTheRingHasRoom: Kafka is away for long, so that without room made in time the ring would
// be full, and every record that comes during the stall would push one out.
func TestADiskThatStopsCostsNothingWhileTheRingHasRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSecond = 1000 // of some 260 bytes: the ring holds four seconds of it, the queue one
		s, k := spilling(t.TempDir(), ringSize/4)
		k.away, k.holds, k.since = true, true, time.Now()
		disk := new(stalling)
		s.open = func() (*spool.Spool, error) {
			files, err := spool.OpenDirectory(t.TempDir())
			if err != nil {
				return nil, err
			}
			disk.Files = files
			return spool.Open(disk, spool.Config{MaxBytes: spool.LeastBytes, OnLost: s.lost})
		}
		running := start(t.Context(), s.run)
		n := 0
		flow := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				k.see(n, n+perSecond/100)
				n += perSecond / 100
			}
		}
		flow(10 * time.Second)
		c := s.counters.Report()
		require.Less(t, c.GetPending(), uint64(perSecond/5), "memory holds what is newest and no more")
		over := time.Now().Add(4 * time.Second)
		disk.until.Store(&over)
		flow(6 * time.Second)
		c = s.counters.Report()
		require.Empty(t, c.GetDropped())
		require.Less(t, c.GetPending(), uint64(perSecond/5))

		later := time.Now().Add(10 * time.Second) // longer than there is room for
		disk.until.Store(&later)
		flow(12 * time.Second)
		c = s.counters.Report()
		require.Less(t, c.GetPending(), uint64(perSecond/5))
		dropped := c.GetDropped()["spool_slow"]
		require.InDelta(t, (10-5)*perSecond, dropped, perSecond)

		time.Sleep(time.Second) // all is on the disk
		k.set(false)
		time.Sleep(time.Minute)
		got := k.values()
		require.Equal(t, n-int(dropped), len(got)) //nolint:testifylint // nobody wants to read them
		require.True(t, slices.IsSorted(got), "in the order in which they came")
		require.NoError(t, running.stop())
	})
}

func TestASlowDiskCostsRecordsAndNoMemory(t *testing.T) {
	s, k := spilling(t.TempDir(), 10_000) // nobody writes
	k.away = true
	k.see(0, 100)
	c := s.counters.Report()
	require.LessOrEqual(t, s.held(), int64(10_000))
	require.EqualValues(t, 100-38, c.GetDropped()["spool_slow"])
	require.EqualValues(t, 38, c.GetPending())
}

// spooling is a tap whose Kafka is not there.
func spooling(t *testing.T, dir string) *Tap {
	t.Helper()
	redactor, err := redact.New(redact.Options{Key: bytes.Repeat([]byte{7}, 32)})
	require.NoError(t, err)
	tap, err := New(Options{
		Topic: topic.Config{Brokers: []string{"127.0.0.1:1"}}, Names: topic.NamesOf("reprise"), MemoryMax: 8 << 20, SpoolDir: dir,
		SpoolMax: spool.LeastBytes, Settings: everything(), Redactor: redactor, Registerer: prometheus.NewRegistry(),
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	return tap
}

func TestWhatIsLeftAtTheEndIsSpooledAndHoldsNoSecret(t *testing.T) {
	const secret = "s3cr3t-of-the-customer"
	dir := t.TempDir()
	tap := spooling(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	err := tap.Run(ctx, Source{Kind: traffic.Proxy, Run: func(context.Context) error {
		for range 200 {
			c := exchange("GET", "/items?token="+secret, secret)
			c.Exchange.Request.Headers = append(c.Exchange.Request.Headers,
				traffic.Field{Name: []byte("Authorization"), Value: []byte("Bearer " + secret)})
			tap.Pipeline().Offer([]wire.Captured{c})
			tap.Budget().used.Add(c.Bytes)
		}
		cancel()
		return nil
	}})
	require.NoError(t, err)
	c := tap.Pipeline().Counters().Report()
	require.EqualValues(t, 200, c.GetSpooled(), "%v", c)
	require.Zero(t, c.GetPending())

	var size int
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		require.NotContains(t, string(content), secret, e.Name())
		size += len(content)
		info, err := e.Info()
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	}
	require.Greater(t, size, 200*100, "they are there")
}
