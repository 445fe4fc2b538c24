package tap

import (
	"log/slog"
	"testing"

	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/wire"
)

// lost is a writer that keeps nothing.
type lost struct{}

func (lost) PutAll([]*topic.Record) {}

// BenchmarkOffer is what a batch of 16 costs the event loop that hands it over.
func BenchmarkOffer(b *testing.B) {
	p := NewPipeline(PipelineConfig{Budget: NewBudget(1 << 40), Writer: lost{}, Logger: slog.New(slog.DiscardHandler)})
	on := new(inForce)
	on.Capture = true
	p.apply(on)
	batch := make([]wire.Captured, 16)
	for i := range batch {
		batch[i] = exchange("GET", "/", "s")
	}
	b.ReportAllocs()
	for b.Loop() {
		p.Offer(batch)
		p.take()
	}
}
