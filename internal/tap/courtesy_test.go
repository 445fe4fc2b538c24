package tap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/meter"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/wire"
)

// cores are a machine whose use a test decides: what an event loop gets of each second, for how long it waits and a core is idle
// meanwhile, and how much of a core the tap's small and large exchanges need.
type cores struct {
	*courtesy
	ran, waits, idling float64
	small, large       float64
	at                 time.Time // up to when all is counted
	loop               meter.Run
	all, idled         time.Duration
	left               time.Duration // that large ones need and have not got
	gone               bool
}

func newCores(c *courtesy, ran, waits float64) *cores {
	m := &cores{courtesy: c, ran: ran, waits: waits, large: 1, at: time.Now()}
	c.cpu = func() (time.Duration, error) { m.count(); return m.all, nil }
	c.idle = func() (time.Duration, error) { m.count(); return m.idled, nil }
	c.add(passer{id: 7, nice: -10, read: func() (meter.Run, error) {
		if m.gone {
			return meter.Run{}, errors.New("over")
		}
		return m.loop, nil
	}})
	return m
}

func (m *cores) count() {
	now := time.Now()
	for used, share := range map[*time.Duration]float64{
		&m.loop.Ran: m.ran, &m.loop.Waited: m.waits, &m.idled: m.idling, &m.all: m.ran + m.small,
	} {
		*used += time.Duration(share * float64(now.Sub(m.at)))
	}
	m.at = now
}

// pass lets time go by in which large exchanges are worked on whenever they may. It returns the share of a core that they got.
func (m *cores) pass(d time.Duration) float64 {
	const step = 4 * time.Millisecond
	var used time.Duration
	for range d / step {
		time.Sleep(step)
		m.bytes.Add(int64(m.small * float64(step)))
		if m.left += time.Duration(m.large * float64(step)); m.pauses() {
			continue
		}
		got := min(m.left, step)
		used, m.left, m.all = used+got, m.left-got, m.all+got
		m.courtesy.bytes.Add(int64(got))
		m.courtesy.large.Add(int64(got))
	}
	return float64(used) / float64(d)
}

func TestLargeExchangesTakeWhatTrafficLeaves(t *testing.T) {
	for _, row := range []struct {
		name         string
		ran, waits   float64
		idling       float64
		small, large float64
		least, most  float64
	}{
		{"traffic has a core of its own", 0.99, 0.01, 0, 0, 1, 1, 1},
		{"little traffic, on a machine that is full of others", 0.05, 0.3, 0, 0, 1, 1, 1},
		{"a core is idle now and then", 0.31, 0.27, 0.3, 0.14, 1, 1, 1},
		{"traffic waits", 0.4, 0.4, 0, 0, 1, 0.15, 0.25},
		{"traffic waits most of the time", 0.1, 0.8, 0, 0, 1, 0.02, 0.08},
		{"small ones take more than half of what traffic gets", 0.4, 0.4, 0, 0.4, 1, 0.15, 0.25},
		// As measured, on two cores.
		{"5,000/s, some of 8 KiB, beside Kafka and the load", 0.27, 0.3, 0, 0.15, 0.035, 0.034, 0.036},
		{"answers of 64 KiB at full speed", 0.5, 0.35, 0.05, 0, 1, 0.2, 0.3},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newCores(new(courtesy), row.ran, row.waits)
				m.idling, m.small, m.large = row.idling, row.small, row.large
				m.pass(2 * time.Second)
				used := m.pass(10 * time.Second)
				require.GreaterOrEqual(t, used, row.least)
				require.LessOrEqual(t, used, row.most)
			})
		})
	}
}

func TestLargeExchangesGoOnWhenTrafficNoLongerWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newCores(new(courtesy), 0.4, 0.4)
		m.pass(2 * time.Second)
		require.True(t, m.behind.Load())
		m.ran, m.waits, m.idling = 0.37, 0.09, fewIdle+0.01
		m.pass(5 * time.Second)
		require.True(t, m.behind.Load(), "it takes less to stay behind than to get there")
		for _, better := range []func(){
			func() { m.waits = 0.01 },
			func() { m.ran, m.waits = 0.1, 0.2 },
			func() { m.idling = 0.3 },
		} {
			m.ran, m.waits, m.idling = 0.4, 0.4, 0
			m.pass(2 * time.Second)
			require.True(t, m.behind.Load())
			better()
			m.pass(2 * time.Second)
			require.False(t, m.behind.Load())
			m.left = 0
			require.InDelta(t, 1, m.pass(time.Second), 0)
		}

		m.ran, m.waits, m.idling = 0.4, 0.4, 0
		m.pass(2 * time.Second)
		require.True(t, m.behind.Load())
		time.Sleep(time.Minute)
		require.False(t, m.pauses(), "what was a minute ago says nothing")
		m.pass(2 * time.Second)
		require.True(t, m.behind.Load())
		m.gone = true
		m.pass(time.Second)
		require.False(t, m.behind.Load(), "its thread is over")
	})
}

// crowded is a pipeline whose traffic is behind, and that owes it for large exchanges.
func crowded(t *testing.T) (*Pipeline, *keeper) {
	k := &keeper{result: acknowledge}
	p := NewPipeline(PipelineConfig{Budget: NewBudget(1 << 20), Writer: k, Logger: slog.New(slog.DiscardHandler)})
	p.apply(compiled(t, everything()))
	k.pipeline = p
	m := newCores(&p.courtesy, 0.1, 0.8)
	m.pass(2 * time.Second)
	for !m.pauses() {
		m.pass(4 * time.Millisecond)
	}
	return p, k
}

// offer gives a pipeline a batch of exchanges of these sizes.
func offer(t *testing.T, p *Pipeline, sizes ...int64) {
	var batch []wire.Captured
	for _, size := range sizes {
		x := exchange("GET", fmt.Sprintf("/%d", size), "s")
		x.Bytes = size
		require.True(t, p.cfg.Budget.TryAcquire(size))
		batch = append(batch, x)
	}
	p.Offer(batch)
}

// Of small exchanges nothing is gained by waiting: passing them on takes more than their capture.
func TestSmallExchangesPassLargeOnesThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, k := crowded(t)
		offer(t, p, wire.Large+1, wire.Large, wire.Large+2)
		offer(t, p, wire.Large+3)
		offer(t, p, 100)
		w := worker{p: p}
		for _, size := range []int64{wire.Large, 100} {
			batch, waits := p.take()
			require.False(t, waits)
			require.Len(t, batch, 1)
			require.Equal(t, size, batch[0].Bytes)
			w.handle(batch)
		}
		batch, waits := p.take()
		require.Nil(t, batch)
		require.True(t, waits)
		for _, size := range []int64{wire.Large + 1, wire.Large + 2, wire.Large + 3} { // one by one, in their order
			for batch, waits = p.take(); waits; batch, waits = p.take() {
				time.Sleep(courtesyEvery)
			}
			require.Len(t, batch, 1)
			require.Equal(t, size, batch[0].Bytes)
			w.handle(batch)
		}
		batch, waits = p.take()
		require.Nil(t, batch)
		require.False(t, waits)
		require.Len(t, k.records, 5)
		require.Zero(t, p.queued)
		require.Zero(t, p.cfg.Budget.Used())
	})
}

func TestWaitingForTrafficEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := crowded(t)
		produced := func() int { return int(p.counters.produced.Load()) }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		offer(t, p, wire.Large+1)
		synctest.Wait()
		require.Zero(t, produced())
		offer(t, p, 100)
		synctest.Wait()
		require.Equal(t, 1, produced())
		time.Sleep(5 * time.Second) // nothing is used meanwhile
		synctest.Wait()
		require.Equal(t, 2, produced(), "nobody wakes the worker but itself")
		cancel()
		require.NoError(t, <-done)

		p, _ = crowded(t)
		offer(t, p, wire.Large+1)
		_, waits := p.take()
		require.True(t, waits)
		require.NoError(t, p.Run(ctx))
		require.Equal(t, 1, produced(), "the end of a tap waits for nobody")
		require.Zero(t, p.cfg.Budget.Used())
	})
}

func TestWhatWaitsForTrafficIsShedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, k := crowded(t)
		offer(t, p, 300<<10, 300<<10)
		_, waits := p.take()
		require.True(t, waits)
		offer(t, p, 4<<10)
		offer(t, p, 260<<10) // above 80 %
		offer(t, p, 100)
		require.Equal(t, map[string]uint64{"memory": 1}, p.counters.dropped.snapshot())
		require.NoError(t, p.Run(canceled(t)))
		require.Len(t, k.records, 4)
		require.Zero(t, p.cfg.Budget.Used())
	})
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// What workers cannot do in time is not begun, rather than kept and dropped.
func TestNothingMoreBecomesLargeWhileTheWorkersAreBehind(t *testing.T) {
	budget, k := NewBudget(16_000), &keeper{result: acknowledge}
	p := NewPipeline(PipelineConfig{Budget: budget, Writer: k, Logger: slog.New(slog.DiscardHandler)})
	p.apply(compiled(t, everything()))
	k.pipeline = p
	add := func(n int) {
		for range n {
			offer(t, p, 1000)
		}
	}
	w := worker{p: p}
	work := func() {
		batch, _ := p.take()
		w.handle(batch)
	}
	add(9)
	require.False(t, budget.Late(), "traffic is not behind")
	p.courtesy.behind.Store(true)
	add(1)
	require.True(t, budget.Late())
	for range 6 {
		work()
		require.True(t, budget.Late())
	}
	work()
	require.False(t, budget.Late(), "there is little left")
	add(6)
	require.True(t, budget.Late())
	p.courtesy.behind.Store(false)
	work()
	require.False(t, budget.Late(), "traffic has what it wants")

	require.NoError(t, p.Run(canceled(t)))
	require.Len(t, k.records, 16)
	require.Zero(t, p.queued)
	require.Zero(t, budget.Used())
}

// More large exchanges come than traffic leaves time for: as many are kept as with a long queue, and none waits in it until its
// turn at a replayer is over.
func TestLargeExchangesDoNotWaitForLong(t *testing.T) {
	const (
		length = 64 << 10
		step   = 4 * time.Millisecond // between two of them: 16 MiB/s
		second = 20 << 20             // what a core works on in a second
	)
	synctest.Test(t, func(t *testing.T) {
		budget := NewBudget(64 << 20)
		p := NewPipeline(PipelineConfig{Budget: budget, Writer: &keeper{result: acknowledge}, Logger: slog.New(slog.DiscardHandler)})
		p.cfg.Writer.(*keeper).pipeline = p
		p.apply(compiled(t, everything()))
		m := newCores(&p.courtesy, 0.4, 0.4) // a fifth of a core is left for them
		w := worker{p: p}
		var kept int64
		var longest time.Duration
		run := func(d time.Duration) {
			kept, longest = 0, 0
			for range d / step {
				time.Sleep(step)
				if !budget.Late() {
					x := exchange("GET", "/", "s")
					x.Bytes, x.Exchange.CaptureTime = length, time.Now()
					require.True(t, budget.TryAcquire(x.Bytes))
					p.Offer([]wire.Captured{x})
				}
				if batch, _ := p.take(); batch != nil {
					kept += length
					m.all += time.Second * length / second
					longest = max(longest, time.Since(batch[0].Exchange.CaptureTime))
					w.handle(batch)
				}
			}
		}
		run(10 * time.Second)
		run(30 * time.Second)
		require.Less(t, longest, inTime+time.Second/2)
		require.Greater(t, longest, inTime/4, "they are kept as long as they are in time")
		require.Greater(t, kept, int64(30*second/5*9/10), "what there is time for")
		require.NoError(t, p.Run(canceled(t)))
		require.Zero(t, budget.Used())
		require.Zero(t, p.aside)
	})
}

// parts is a writer that notes how many records come together.
type parts struct {
	*keeper
	sizes []int
}

func (p *parts) PutAll(rs []*topic.Record) {
	p.sizes = append(p.sizes, len(rs))
	p.keeper.PutAll(rs)
}

// Records of a batch share their memory, so that the last one acknowledged holds it all: large ones must not.
func TestLargeExchangesOfABatchShareNoMemory(t *testing.T) {
	w := &parts{keeper: &keeper{result: acknowledge}}
	budget := NewBudget(64 << 20)
	p := NewPipeline(PipelineConfig{Budget: budget, Writer: w, Logger: slog.New(slog.DiscardHandler)})
	p.apply(compiled(t, everything()))
	w.pipeline = p
	var batch []wire.Captured
	for _, size := range []int{100, 100, 200 << 10, 40 << 10, 100, 256 << 10, 100 << 10, 200 << 10} {
		c := exchange("GET", "/", "s")
		c.Bytes = int64(size)
		require.True(t, budget.TryAcquire(c.Bytes))
		batch = append(batch, c)
	}
	worker := worker{p: p}
	worker.handle(batch)
	require.Equal(t, []int{5, 1, 1, 1}, w.sizes)
	require.Zero(t, budget.Used())
}
