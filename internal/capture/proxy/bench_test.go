package proxy

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

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

// BenchmarkKeepAlive sends small GETs on 32 connections, with and without the proxy between. Clients and server share
// the cores with it: the difference is what one exchange costs.
func BenchmarkKeepAlive(b *testing.B) {
	const connections = 32
	request := []byte("GET /items/17?full=1 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: bench/1\r\nAccept: */*\r\n\r\n")
	response := []byte("HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n" + string(make([]byte, 100)))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for got := make([]byte, len(request)); ; {
					if _, err := readFull(c, got); err != nil {
						return
					}
					if _, err := c.Write(response); err != nil {
						return
					}
				}
			}()
		}
	}()
	drive := func(b *testing.B, address string) {
		b.SetParallelism(connections)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			c, err := net.Dial("tcp", address)
			if err != nil {
				b.Error(err)
				return
			}
			defer c.Close()
			for got := make([]byte, len(response)); pb.Next(); {
				if _, err := c.Write(request); err != nil {
					b.Error(err)
					return
				}
				if _, err := readFull(c, got); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	b.Run("direct", func(b *testing.B) { drive(b, ln.Addr().String()) })
	b.Run("captured", func(b *testing.B) {
		sink := new(nowhere)
		p, err := Listen(Config{Listen: "127.0.0.1:0", Upstreams: []string{ln.Addr().String()}, BodyMax: 256 << 10, Sink: sink, Budget: sink})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx) }()
		drive(b, p.Addr().String())
		cancel()
		if err := <-ended; err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(sink.offered.Load())/float64(b.N), "captured/op")
	})
}

// BenchmarkReadOut frames and pairs one small exchange: what capture adds to passing it on.
func BenchmarkReadOut(b *testing.B) {
	request := []byte("GET /items/17?full=1 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: bench/1\r\nAccept: */*\r\n\r\n")
	response := []byte("HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n" + string(make([]byte, 100)))
	sink := new(nowhere)
	p, err := Listen(Config{Listen: "127.0.0.1:0", Upstreams: []string{"127.0.0.1:9"}, BodyMax: 256 << 10, Sink: sink, Budget: sink})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	l := p.loops[0]
	c := new(conn)
	c.dialog.Start([]byte("id"), []byte("127.0.0.1:1"), []byte("127.0.0.1:2"))
	b.ReportAllocs()
	for b.Loop() {
		now := time.Now()
		l.note(c, clientData, request, now)
		l.note(c, serverData, response, now)
		l.readOut()
		l.hand(now)
	}
}
