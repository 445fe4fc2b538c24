package tap

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/wire"
)

func TestTheOldestAreShedBeforeTheBudgetIsUsedUp(t *testing.T) {
	budget, k := NewBudget(10_000), &keeper{result: acknowledge}
	p := NewPipeline(PipelineConfig{Budget: budget, Writer: k, Logger: slog.New(slog.DiscardHandler)})
	p.apply(compiled(t, everything()))
	k.pipeline = p
	offer := func(i int) {
		c := exchange("GET", fmt.Sprintf("/%d", i), "s")
		require.True(t, budget.TryAcquire(c.Bytes))
		p.Offer([]wire.Captured{c})
	}
	for i := range 8 {
		offer(i)
	}
	require.EqualValues(t, 8000, budget.Used(), "at 80 % nothing is shed")
	offer(8)
	require.EqualValues(t, 7000, budget.Used(), "above it, down to 70 %")
	require.EqualValues(t, 2, p.counters.Report().GetDropped()["memory"])
	offer(9)
	require.EqualValues(t, 8000, budget.Used(), "and then there is room again")

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, p.Run(ended))
	require.Len(t, k.records, 8)
	require.Equal(t, "/2", string(decoded(t, k.records[0]).Request.Target), "the oldest are gone")
	require.Equal(t, "/9", string(decoded(t, k.records[7]).Request.Target))
	require.Zero(t, p.counters.Report().GetPending())
}

func TestTheNewestIsKeptWhateverElseIsHeld(t *testing.T) {
	budget, k := NewBudget(10_000), &keeper{result: acknowledge}
	p := NewPipeline(PipelineConfig{Budget: budget, Writer: k, Logger: slog.New(slog.DiscardHandler)})
	p.apply(compiled(t, everything()))
	k.pipeline = p
	require.True(t, budget.TryAcquire(9000)) // of exchanges that have not ended
	c := exchange("GET", "/", "s")
	require.True(t, budget.TryAcquire(c.Bytes))
	p.Offer([]wire.Captured{c})
	require.Empty(t, p.counters.Report().GetDropped())
}
