package tap

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/reprise-io/reprise/internal/redact"
	"github.com/reprise-io/reprise/internal/sample"
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

// BenchmarkExchange is what a small exchange costs from its first byte until Kafka's client has it, on all threads together.
func BenchmarkExchange(b *testing.B) {
	redactor, err := redact.New(redact.Options{Key: []byte("key")})
	if err != nil {
		b.Fatal(err)
	}
	budget := NewBudget(1 << 40)
	p := NewPipeline(PipelineConfig{Redactor: redactor, Budget: budget, Writer: lost{}, Logger: slog.New(slog.DiscardHandler)})
	on := new(inForce)
	on.Capture, on.Sample, on.limit = true, sample.All, new(limiter)
	p.apply(on)
	recorder := wire.NewRecorder(wire.RecorderConfig{BodyMax: 256 << 10, ResponseWait: time.Second, MarkHeader: reasonMarked, Budget: budget})
	dialogs := make([]wire.Dialog, 32)
	for i := range dialogs {
		dialogs[i].Start(fmt.Appendf(nil, "0123456789ab-0-%d", i), []byte("127.0.0.1:30000"), []byte("127.0.0.1:8080"))
	}
	request := []byte("GET /items/1 HTTP/1.1\r\nHost: 127.0.0.1:17110\r\n\r\n")
	response := []byte("HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Thu, 26 Nov 2026 07:45:14 GMT\r\nContent-Type: text/plain\r\n" +
		"Content-Length: 97\r\nConnection: keep-alive\r\n\r\n" +
		"a small answer of about a hundred bytes, as many services give when they are asked for one thing\n")
	w := worker{p: p}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		now := time.Now()
		d := &dialogs[i%len(dialogs)]
		recorder.Requests(d, request, now)
		recorder.Responses(d, response, now)
		if recorder.Ready() == 64 {
			p.Offer(recorder.Take())
			batch, _ := p.take()
			w.handle(batch)
		}
	}
}
