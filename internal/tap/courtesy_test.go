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

// cores are a machine whose use a test decides: what an event loop gets of each second, for how long it waits, and what workers
// use that never have enough.
type cores struct {
	courtesy
	ran, waits float64
	loop       meter.Run
	all        time.Duration
	gone       bool
}

func newCores(ran, waits float64) *cores {
	c := &cores{ran: ran, waits: waits}
	c.cpu = func() (time.Duration, error) { return c.all, nil }
	c.add(func() (meter.Run, error) {
		if c.gone {
			return meter.Run{}, errors.New("over")
		}
		return c.loop, nil
	})
	return c
}

// pass lets time go by in which the workers use a core whenever they may. It returns the share of it that they used.
func (c *cores) pass(d time.Duration) float64 {
	const step = 4 * time.Millisecond
	var used time.Duration
	for range d / step {
		time.Sleep(step)
		ran := time.Duration(c.ran * float64(step))
		c.loop.Ran += ran
		c.loop.Waited += time.Duration(c.waits * float64(step))
		c.all += ran
		if !c.pauses(time.Now()) {
			c.all, used = c.all+step, used+step
		}
	}
	return float64(used) / float64(d)
}

func TestCaptureTakesWhatTrafficLeaves(t *testing.T) {
	for _, row := range []struct {
		name       string
		ran, waits float64
		least      float64
		most       float64
	}{
		{"traffic has a core of its own", 0.99, 0.01, 1, 1},
		{"little traffic, on a machine that is full of others", 0.05, 0.3, 1, 1},
		{"traffic waits", 0.4, 0.4, 0.15, 0.25},
		{"traffic waits most of the time", 0.1, 0.8, 0.02, 0.08},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCores(row.ran, row.waits)
				c.pass(2 * time.Second)
				used := c.pass(10 * time.Second)
				require.GreaterOrEqual(t, used, row.least)
				require.LessOrEqual(t, used, row.most)
			})
		})
	}
}

func TestCaptureGoesOnWhenTrafficNoLongerWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCores(0.4, 0.4)
		c.pass(2 * time.Second)
		require.True(t, c.behind.Load())
		c.ran, c.waits = 0.37, 0.13
		c.pass(5 * time.Second)
		require.True(t, c.behind.Load(), "it takes less to stay behind than to get there")
		c.ran, c.waits = 0.1, 0
		c.pass(2 * time.Second)
		require.False(t, c.behind.Load())
		require.InDelta(t, 1, c.pass(time.Second), 0)

		c.ran, c.waits = 0.4, 0.4
		c.pass(2 * time.Second)
		require.True(t, c.behind.Load())
		time.Sleep(time.Minute)
		require.False(t, c.pauses(time.Now()), "what was a minute ago says nothing")
		c.pass(2 * time.Second)
		require.True(t, c.behind.Load())
		c.gone = true
		c.pass(time.Second)
		require.False(t, c.behind.Load(), "its thread is over")
		c.wait(t.Context())
	})
}

func TestPausingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCores(0.1, 0.8)
		c.pass(2 * time.Second)
		for !c.pauses(time.Now()) {
			c.pass(4 * time.Millisecond)
		}
		began := time.Now()
		c.wait(t.Context()) // nothing is used meanwhile, and nothing waits
		require.Less(t, time.Since(began), 5*time.Second)

		c.pass(2 * time.Second)
		for !c.pauses(time.Now()) {
			c.pass(4 * time.Millisecond)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		began = time.Now()
		c.wait(ended)
		require.Zero(t, time.Since(began))
	})
}

// Of small exchanges nothing is gained by waiting: passing them on takes more than their capture.
func TestOnlyLargeExchangesWaitForTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCores(0.1, 0.8)
		c.pass(2 * time.Second)
		for !c.pauses(time.Now()) {
			c.pass(4 * time.Millisecond)
		}
		budget, k := NewBudget(1<<20), &keeper{result: acknowledge}
		p := NewPipeline(PipelineConfig{Budget: budget, Writer: k, Logger: slog.New(slog.DiscardHandler)})
		p.apply(compiled(t, everything()))
		k.pipeline = p
		p.courtesy.cpu = c.cpu
		p.courtesy.threads, p.courtesy.last, p.courtesy.credit = c.threads, c.last, c.credit
		p.courtesy.any.Store(true)
		p.courtesy.behind.Store(true)
		w := worker{p: p}
		took := func(bytes int64) time.Duration {
			x := exchange("GET", "/", "s")
			x.Bytes = bytes
			require.True(t, budget.TryAcquire(bytes))
			began := time.Now()
			w.handle(t.Context(), []wire.Captured{x})
			return time.Since(began)
		}
		require.Zero(t, took(cheapMost))
		require.Positive(t, took(cheapMost+1))
		require.Len(t, k.records, 2)
	})
}

// What workers cannot do in time is not begun, rather than kept and dropped.
func TestNothingMoreIsBegunWhileTheWorkersAreBehind(t *testing.T) {
	budget, k := NewBudget(16_000), &keeper{result: acknowledge}
	p := NewPipeline(PipelineConfig{Budget: budget, Writer: k, Logger: slog.New(slog.DiscardHandler)})
	p.apply(compiled(t, everything()))
	k.pipeline = p
	offer := func(n int) {
		for i := range n {
			c := exchange("GET", fmt.Sprintf("/%d", i), "s")
			require.True(t, budget.TryAcquire(c.Bytes))
			p.Offer([]wire.Captured{c})
		}
	}
	offer(6)
	require.False(t, budget.Late(), "traffic is not behind")
	p.courtesy.behind.Store(true)
	offer(1)
	require.True(t, budget.Late())
	w := worker{p: p}
	for range 5 {
		require.True(t, budget.Late())
		w.handle(t.Context(), p.take())
	}
	w.handle(t.Context(), p.take())
	require.False(t, budget.Late(), "there is little left")
	offer(6)
	require.True(t, budget.Late())
	p.courtesy.behind.Store(false)
	w.handle(t.Context(), p.take())
	require.False(t, budget.Late(), "traffic has what it wants")

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, p.Run(ended))
	require.Len(t, k.records, 13)
	require.Zero(t, p.queued)
	require.Zero(t, budget.Used())
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
	worker.handle(t.Context(), batch)
	require.Equal(t, []int{5, 1, 1, 1}, w.sizes)
	require.Zero(t, budget.Used())
}
