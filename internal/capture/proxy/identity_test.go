package proxy

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/packet"
)

// payload is what a client and a server say.
type payload struct {
	name     string
	up, down []byte
}

func random(size int, seed byte) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// madePayloads are of every way that the tap treats bytes, each with a few bytes that are easy to lose.
func madePayloads() []payload {
	chunked := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n" + strings.Repeat("5;a=b\r\nhello\r\n", 300) + "0\r\nX: y\r\n\r\n"
	h2 := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	return []payload{
		{"pipelined", []byte(strings.Repeat(get, 200)), []byte(strings.Repeat(answer, 200))},
		{"chunked, with trailers", []byte(get), []byte("HTTP/1.1 100 Continue\r\n\r\n" + chunked)},
		{"a body", []byte("POST / HTTP/1.1\r\nContent-Length: 300000\r\n\r\n" + string(random(300000, 1))), []byte("HTTP/1.1 204 No\r\n\r\n")},
		{"an upgrade", []byte("GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n" + string(random(20000, 2))), []byte("HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n" + string(random(20000, 3)))},
		{"HTTP/2 that turns into nonsense", append([]byte(h2), random(20000, 4)...), append([]byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00"), random(20000, 5)...)},
		{"TLS", append([]byte("\x16\x03\x01\x02\x00"), random(200000, 6)...), append([]byte("\x16\x03\x03"), random(900000, 7)...)},
		{"no protocol", random(100000, 8), random(100000, 9)},
		{"bare line feeds and folds", []byte("\n\nGET / HTTP/1.1\nA: b\n c\n\n\x00\xff\r\r\n"), []byte("HTTP/1.1 200\nA:\t\n\n\x00")},
		{"ambiguous framing", []byte("POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGPOST / HTTP/1.1\r\n\r\n"), []byte(answer + answer)},
		{"an answer before the question", nil, []byte(answer + "220 smtp ready\r\n")},
		{"nothing", nil, nil},
		{"marked", []byte("GET / HTTP/1.1\r\nReprise-Replay: x\r\n\r\n"), []byte(answer)},
	}
}

// talks collects what the sides of captured connections said.
type talks struct {
	all  []payload
	name string
}

func (l *talks) of(c *packet.Conn) *payload {
	if c.User == nil {
		c.User = &payload{name: l.name}
	}
	return c.User.(*payload)
}

func (l *talks) Data(c *packet.Conn, from packet.Side, p []byte, _ time.Time) {
	said := &l.of(c).down
	if from == c.Client {
		said = &l.of(c).up
	}
	*said = append(*said, p...)
}

func (l *talks) Gap(*packet.Conn, packet.Side, int64, time.Time) {}
func (l *talks) Ended(*packet.Conn, packet.Side, time.Time)      {}
func (l *talks) Closed(c *packet.Conn, _ packet.Closing, _ time.Time) {
	l.all = append(l.all, *l.of(c))
}

// capturedPayloads are what connections of real captures carried, where those are.
func capturedPayloads(t *testing.T) []payload {
	t.Helper()
	dir, err := filepath.Abs("../../../../shared/cases/pcap")
	require.NoError(t, err)
	files, _ := filepath.Glob(filepath.Join(dir, "*", "*"))
	const largest, most = 1 << 20, 400
	var l talks
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil || len(text) > largest || len(l.all) > most {
			continue
		}
		r, err := packet.NewReader(bytes.NewReader(text))
		if err != nil {
			continue
		}
		l.name = filepath.Base(path)
		var frame packet.Frame
		var segment packet.Segment
		var decoder packet.Decoder
		assembler := packet.NewAssembler(&l, packet.Limits{})
		for r.Next(&frame) == nil {
			if decoder.Decode(frame.Link, frame.Data, frame.Time, &segment) {
				assembler.Segment(&segment, frame.Time)
			}
		}
		assembler.Finish()
	}
	if len(l.all) == 0 {
		t.Log("the shared captures are not here: made payloads only")
	}
	return l.all
}

// slicer cuts what is written into pieces.
type slicer func() int

func inPieces(size int) slicer { return func() int { return size } }

func atRandom(seed uint64) slicer {
	r := rand.New(rand.NewPCG(seed, seed))
	return func() int { return 1 + r.IntN(1<<r.IntN(17)) }
}

// say writes all in pieces and ends that direction.
func say(c *net.TCPConn, text []byte, next slicer) {
	for len(text) > 0 {
		n := min(next(), len(text))
		if _, err := c.Write(text[:n]); err != nil {
			return
		}
		text = text[n:]
	}
	_ = c.CloseWrite()
}

// hear reads to the end, however it comes.
func hear(c *net.TCPConn) []byte {
	got, _ := io.ReadAll(c)
	return got
}

// exchangeBytes lets both sides say their part at once, and returns what each has heard.
func exchangeBytes(client, server *net.TCPConn, p payload, up, down slicer) (heardByServer, heardByClient []byte) {
	var both sync.WaitGroup
	both.Go(func() { say(client, p.up, up) })
	both.Go(func() { say(server, p.down, down) })
	both.Go(func() { heardByServer = hear(server) })
	heardByClient = hear(client)
	both.Wait()
	return heardByServer, heardByClient
}

func TestEveryByteArrivesInEverySlicing(t *testing.T) {
	address, accept := listen(t)
	r := newRig(t, address)
	payloads := append(madePayloads(), capturedPayloads(t)...)
	for _, slices := range []struct {
		name     string
		up, down slicer
		longest  int // of a payload
	}{
		{"1 byte", inPieces(1), inPieces(1), 6000},
		{"at random", atRandom(1), atRandom(2), 1 << 30},
		{"64 KiB", inPieces(64 << 10), inPieces(64 << 10), 1 << 30},
	} {
		for _, p := range payloads {
			p.up, p.down = p.up[:min(len(p.up), slices.longest)], p.down[:min(len(p.down), slices.longest)]
			client := r.dial()
			server := accept()
			up, down := exchangeBytes(client, server, p, slices.up, slices.down)
			require.True(t, bytes.Equal(p.up, up), "%s, %s: the server got %d of %d bytes", p.name, slices.name, len(up), len(p.up))
			require.True(t, bytes.Equal(p.down, down), "%s, %s: the client got %d of %d bytes", p.name, slices.name, len(down), len(p.down))
			_, _ = client.Close(), server.Close()
		}
		t.Logf("%s: %d payloads, both ways", slices.name, len(payloads))
	}
	require.Zero(t, r.Stats().Panics)
}

// trouble is what a link does to one direction: it returns the pieces to pass on, or an error that ends the link.
type trouble func(b []byte) (pieces [][]byte, err error)

var errBroken = errors.New("the link breaks")

func delayed(b []byte) ([][]byte, error) {
	time.Sleep(2 * time.Millisecond) // that is the trouble
	return [][]byte{b}, nil
}

func sliced(b []byte) (pieces [][]byte, err error) {
	for size := 1; len(b) > 0; size = size%97 + 1 {
		n := min(size, len(b))
		pieces, b = append(pieces, b[:n]), b[n:]
	}
	return pieces, nil
}

// breaksAfter lets that many bytes through.
func breaksAfter(limit int) trouble {
	return func(b []byte) ([][]byte, error) {
		n := min(limit, len(b))
		if limit -= n; n < len(b) {
			return [][]byte{b[:n]}, errBroken
		}
		return [][]byte{b}, nil
	}
}

// link stands before an address and troubles what passes. reset: it breaks with a reset, and else with an end.
func link(t *testing.T, to string, up, down func() trouble, reset bool) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var running sync.WaitGroup
	t.Cleanup(func() { _ = ln.Close(); running.Wait() })
	running.Go(func() {
		for {
			a, err := ln.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", to)
			if err != nil {
				_ = a.Close()
				continue
			}
			front, back := a.(*net.TCPConn), b.(*net.TCPConn)
			way := func(from, to *net.TCPConn, does trouble) {
				buf := make([]byte, 32<<10)
				for {
					n, err := from.Read(buf)
					pieces, broken := does(buf[:n])
					for _, piece := range pieces {
						_, _ = to.Write(piece)
					}
					switch {
					case broken != nil:
						if reset {
							_, _ = front.SetLinger(0), back.SetLinger(0)
						}
						_, _ = front.Close(), back.Close()
						return
					case err != nil:
						_ = to.CloseWrite()
						return
					}
				}
			}
			running.Go(func() {
				defer front.Close()
				defer back.Close()
				var both sync.WaitGroup
				both.Go(func() { way(front, back, up()) })
				both.Go(func() { way(back, front, down()) })
				both.Wait()
			})
		}
	})
	return ln.Addr().String()
}

// Each link has each trouble: what arrives is what was sent, or the beginning of it when the link breaks.
func TestTroublesOnEachLink(t *testing.T) {
	always := func(f trouble) func() trouble { return func() trouble { return f } }
	none := always(func(b []byte) ([][]byte, error) { return [][]byte{b}, nil })
	for _, row := range []struct {
		name     string
		up, down func() trouble
		reset    bool
		breaks   bool
	}{
		{"latency", always(delayed), always(delayed), false, false},
		{"slices", always(sliced), always(sliced), false, false},
		{"a limit on the way up", func() trouble { return breaksAfter(1000) }, none, false, true},
		{"a limit on the way down", none, func() trouble { return breaksAfter(1000) }, false, true},
		{"a reset on the way up", func() trouble { return breaksAfter(1000) }, none, true, true},
		{"a reset on the way down", none, func() trouble { return breaksAfter(1000) }, true, true},
	} {
		for _, before := range []bool{true, false} {
			where := map[bool]string{true: "client to tap", false: "tap to origin"}[before]
			t.Run(row.name+", "+where, func(t *testing.T) {
				address, accept := listen(t)
				var r *rig
				var entry string
				if before {
					r = newRig(t, address)
					entry = link(t, r.Addr().String(), row.up, row.down, row.reset)
				} else {
					r = newRig(t, link(t, address, row.up, row.down, row.reset))
					entry = r.Addr().String()
				}
				for _, p := range madePayloads() {
					p.up, p.down = p.up[:min(len(p.up), 20000)], p.down[:min(len(p.down), 20000)]
					client := dial(t, entry)
					server := accept()
					up, down := exchangeBytes(client, server, p, inPieces(5000), inPieces(5000))
					_, _ = client.Close(), server.Close()
					if !row.breaks {
						require.True(t, bytes.Equal(p.up, up) && bytes.Equal(p.down, down), p.name)
					}
					require.True(t, bytes.HasPrefix(p.up, up) && bytes.HasPrefix(p.down, down), p.name)
				}
				eventually(t, func() bool { return r.Stats().Connections == 0 })
				require.Zero(t, r.Stats().Panics)
			})
		}
	}
}
