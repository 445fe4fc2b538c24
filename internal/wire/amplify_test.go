package wire

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whatever 10 KiB of input say, one connection takes no more than a mebibyte for them: as long as they are not followed by
// more, as half-open connections are not.
func TestTenKibibytesTakeNoMoreThanAMebibyte(t *testing.T) {
	const input = 10 << 10
	fill := func(begin, more string) string {
		return begin + strings.Repeat(more, max(0, input-len(begin))/len(more))
	}
	hpack := func(say func(c *speaker, stream uint32) string) string {
		c, _ := speakers()
		text := c.hello()[2:]
		for stream := uint32(1); ; stream += 2 {
			more := say(c, stream)[2:]
			if len(text)+len(more) > input {
				return text
			}
			text += more
		}
	}
	large := "x-large: " + strings.Repeat("a", 3<<10)
	many := func(n int) []string {
		fields := request("GET", "/")
		for range n {
			fields = append(fields, large)
		}
		return fields
	}
	for name, said := range map[string]string{
		"an endless target":              fill("GET /", "a"),
		"many fields":                    fill("GET / HTTP/1.1\r\n", "a:\r\n"),
		"many folded lines":              fill("GET / HTTP/1.1\r\nA: b\r\n", " \r\n"),
		"many pipelined requests":        fill("", "G / HTTP/1.1\n\n"),
		"many pipelined small bodies":    fill("", "P / HTTP/1.1\nContent-Length:1\n\na"),
		"a huge body is announced":       fill("POST / HTTP/1.1\r\nContent-Length: 9999999999\r\n\r\n", "a"),
		"chunks of a byte":               fill("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n"),
		"an endless chunk extension":     fill("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", "a"),
		"many trailers":                  fill("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "a:\r\n"),
		"HPACK: a bomb in one block":     hpack(func(c *speaker, n uint32) string { return c.headers(n, true, many(2000)...) }),
		"HPACK: a bomb in every request": hpack(func(c *speaker, n uint32) string { return c.headers(n, false, many(18)...) }),
		"HPACK: a bomb in trailers": hpack(func(c *speaker, n uint32) string {
			return c.post(n, "/") + c.headers(n, true, many(18)[4:]...)[2:]
		}),
		"HPACK: many small requests": hpack(func(c *speaker, n uint32) string { return c.get(n, "/") }),
		"HPACK: many fields of nothing": hpack(func(c *speaker, n uint32) string {
			return c.headers(n, true, append(request("GET", "/"), strings.Split(strings.Repeat("a: ,", 1000), ",")[:1000]...)...)
		}),
		"many frames of nothing": hpack(func(c *speaker, n uint32) string { return c.data(n, false, "") }),
		"many SETTINGS":          hpack(func(c *speaker, _ uint32) string { return c.settings() }),
		"a header block without end": fill(hpack(func(c *speaker, n uint32) string {
			return c.get(n, "/"+strings.Repeat("a", 8<<10))
		})+"\x00\x40\x00\x01\x00\x00\x00\x03\xe7", "\x82"),
	} {
		t.Run(name, func(t *testing.T) {
			require.LessOrEqual(t, len(said), input+100)
			const connections = 4
			budget := new(ration)
			r := NewRecorder(RecorderConfig{BodyMax: 256 << 10, ResponseWait: time.Hour, Budget: budget})
			var dialogs [connections]Dialog
			before := live()
			for i := range dialogs {
				dialogs[i].Start(nil, nil, nil)
				r.Requests(&dialogs[i], []byte(said), time.Unix(1700000000, 0))
			}
			booked, held := budget.used/connections, (live()-before)/connections
			t.Logf("%d bytes: %d KiB booked, %d KiB held", len(said), booked>>10, held>>10)
			require.LessOrEqual(t, booked, int64(1<<20))
			require.LessOrEqual(t, held, int64(1<<20))
			runtime.KeepAlive(r)
			for i := range dialogs {
				r.Close(&dialogs[i], false, time.Unix(1700000001, 0))
			}
			for _, c := range r.Take() {
				budget.Release(c.Bytes)
			}
			require.Zero(t, budget.used)
		})
	}
}

// live is what is in use of the heap.
func live() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
