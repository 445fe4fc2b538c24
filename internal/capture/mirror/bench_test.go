package mirror

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/reprise-io/reprise/internal/wire"
)

// nowhere is a Sink and a Budget that cost next to nothing.
type nowhere struct{ offered, booked atomic.Int64 }

func (n *nowhere) Offer(batch []wire.Captured) {
	n.offered.Add(int64(len(batch)))
	for i := range batch {
		n.booked.Add(-batch[i].Bytes)
	}
}
func (n *nowhere) Shed(string, int)            {}
func (n *nowhere) TryAcquire(bytes int64) bool { n.booked.Add(bytes); return true }
func (n *nowhere) Release(bytes int64)         { n.booked.Add(-bytes) }

// copied1 is what nginx sends with deploy/nginx.
const copied1 = "GET /items/17?full=1 HTTP/1.1\r\nHost: shop.example\r\nX-Tap-Host: shop.example\r\nX-Original-URI: /items/17?full=1\r\n" +
	"X-Original-Method: GET\r\nX-Forwarded-Proto: http\r\nX-Tap-Time: 1795398827.346\r\nX-Tap-Client: 10.1.2.3:45678\r\n" +
	"X-Tap-Conn: 1234-5\r\nX-Tap-Proto: HTTP/1.1\r\nUser-Agent: bench/1\r\nAccept: */*\r\n\r\n"

// drive sends copies over loopback on 32 kept connections, each waiting for its answer before the next, as gateways do.
// Clients share the cores with the sink.
func drive(b *testing.B, address string) {
	b.SetParallelism(16)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		nc, err := net.Dial("tcp", address)
		if err != nil {
			b.Error(err)
			return
		}
		defer nc.Close()
		for got := make([]byte, len(noContent)); pb.Next(); {
			if _, err := io.WriteString(nc, copied1); err != nil {
				b.Error(err)
				return
			}
			if _, err := io.ReadFull(nc, got); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

// BenchmarkAnswer only reads and answers: what the rest is measured against.
func BenchmarkAnswer(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer nc.Close()
				for buf := make([]byte, readSize); ; {
					if _, err := nc.Read(buf); err != nil {
						return
					}
					if _, err := io.WriteString(nc, noContent); err != nil {
						return
					}
				}
			})
		}
	})
	drive(b, ln.Addr().String())
	_ = ln.Close()
	serving.Wait()
}

// BenchmarkSink answers and captures.
func BenchmarkSink(b *testing.B) {
	sink := new(nowhere)
	m, err := Listen(Config{Listen: "127.0.0.1:0", BodyMax: 256 << 10, Sink: sink, Budget: sink})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	drive(b, m.Addr().String())
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	if sink.offered.Load() != int64(b.N) || sink.booked.Load() != 0 {
		b.Fatalf("%d of %d captured, %d bytes owed", sink.offered.Load(), b.N, sink.booked.Load())
	}
}

// deaf takes answers and forgets them.
type deaf struct{ sliced }

func (*deaf) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkFeed is what one copy costs without its system calls.
func BenchmarkFeed(b *testing.B) {
	sink := new(nowhere)
	m := on(newPipes(), Config{BodyMax: 256 << 10, Sink: sink, Budget: sink})
	c := newConn(m, &deaf{})
	h := newHTTP1(c)
	b.ReportAllocs()
	for b.Loop() {
		h.feed([]byte(copied1))
		_ = c.flush()
	}
}
