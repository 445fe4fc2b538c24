package wire

import (
	"encoding/binary"
	"testing"
	"time"
)

// BenchmarkDialog reads and pairs one small exchange.
func BenchmarkDialog(b *testing.B) {
	now := time.Now()
	r := NewRecorder(RecorderConfig{BodyMax: 256 << 10, ResponseWait: 2 * time.Second, MarkHeader: "Reprise-Replay"})
	b.Run("http1", func(b *testing.B) {
		request := []byte("GET /items/17?full=1 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: bench/1\r\nAccept: */*\r\n\r\n")
		response := []byte("HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n" + string(make([]byte, 100)))
		var d Dialog
		d.Start(nil, nil, nil)
		b.ReportAllocs()
		for b.Loop() {
			r.Requests(&d, request, now)
			r.Responses(&d, response, now)
			if len(r.Take()) != 1 {
				b.Fatal("not one exchange")
			}
		}
	})
	b.Run("http2", func(b *testing.B) {
		c, s := speakers()
		var d Dialog
		d.Start(nil, nil, nil)
		r.Requests(&d, []byte(c.hello()[2:]), now)
		r.Responses(&d, []byte(s.hello()[2:]), now)
		say := func() (request, head, data []byte) { // the second time, everything is in the tables
			request = []byte(c.get(1, "/items/17?full=1", "user-agent: bench/1", "accept: */*")[2:])
			head = []byte(s.headers(1, false, ":status: 200", "server: bench", "content-type: text/plain", "content-length: 100")[2:])
			return request, head, []byte(s.data(1, true, string(make([]byte, 100)))[2:])
		}
		request, head, data := say()
		r.Requests(&d, request, now)
		r.Responses(&d, append(head, data...), now)
		r.Take()
		request, head, data = say()
		response := append(head, data...)
		stream := uint32(3)
		b.ReportAllocs()
		for b.Loop() {
			for _, frame := range [][]byte{request, response, response[len(head):]} {
				binary.BigEndian.PutUint32(frame[5:], stream)
			}
			r.Requests(&d, request, now)
			r.Responses(&d, response, now)
			if len(r.Take()) != 1 {
				b.Fatal("not one exchange")
			}
			if stream += 2; stream == 1<<31+1 {
				b.Fatal("no streams left")
			}
		}
	})
}

// BenchmarkLargeBodies reads bodies of 64 KiB that come in two parts, as with its head one is longer than a read.
func BenchmarkLargeBodies(b *testing.B) {
	body := "Content-Length: 65536\r\n\r\n" + string(make([]byte, 64<<10))
	for name, said := range map[string][2]string{
		"answer": {"GET /items HTTP/1.1\r\nHost: shop.example\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" + body},
		"upload": {"POST /items HTTP/1.1\r\nHost: shop.example\r\n" + body, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
	} {
		b.Run(name, func(b *testing.B) {
			r := NewRecorder(RecorderConfig{BodyMax: 256 << 10, ResponseWait: 2 * time.Second})
			request, response, now := []byte(said[0]), []byte(said[1]), time.Now()
			split := func(p []byte) int { return min(len(p), 64<<10) }
			var d Dialog
			d.Start(nil, nil, nil)
			b.ReportAllocs()
			for b.Loop() {
				r.Requests(&d, request[:split(request)], now)
				r.Requests(&d, request[split(request):], now)
				r.Responses(&d, response[:split(response)], now)
				r.Responses(&d, response[split(response):], now)
				if len(r.Take()) != 1 {
					b.Fatal("not one exchange")
				}
			}
		})
	}
}
