package mirror

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/reprise-io/reprise/internal/traffic"
)

// h2client is Go's client, with prior knowledge.
func h2client(t *testing.T) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

func TestHTTP2WithPriorKnowledge(t *testing.T) {
	r := start(t, Config{BodyMax: 100})
	client := h2client(t)
	body := strings.Repeat("0123456789", 30000)
	req, err := http.NewRequestWithContext(t.Context(), "PUT", "http://"+r.Addr().String()+"/a/../b?x=%2F", io.NopCloser(strings.NewReader(body)))
	require.NoError(t, err)
	req.Host = "shop.example-shadow:8443"
	req.Header.Set("X-Forwarded-Proto", "https")
	req.Header["X-Dup"] = []string{"1", "2"}
	req.Trailer = http.Header{"X-Sum": {"7"}}
	res, err := client.Do(req)
	require.NoError(t, err)
	require.Equal(t, http.StatusNoContent, res.StatusCode)
	require.NoError(t, res.Body.Close())
	x := r.shelf.exchanges(t, 1)[0]
	q := x.Request
	require.Equal(t, "PUT /a/../b?x=%2F HTTP/2.0", string(q.Method)+" "+string(q.Target)+" "+string(q.Protocol))
	require.Equal(t, "https shop.example:8443", string(q.Scheme)+" "+string(q.Authority))
	require.Contains(t, lined(q.Headers), "x-dup: 1\nx-dup: 2\n")
	require.Equal(t, body[:100], string(q.Body))
	require.EqualValues(t, len(body), q.BodySize)
	require.Equal(t, "x-sum: 7\n", lined(q.Trailers))
	require.Equal(t, traffic.RequestOnly|traffic.TruncatedRequest, x.Flags)
}

func TestGRPCGetsAWellFormedAnswer(t *testing.T) {
	r := start(t, Config{})
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+r.Addr().String()+"/shop.Cart/Add", bytes.NewReader([]byte("\x00\x00\x00\x00\x02hi")))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/grpc+proto")
	req.Header.Set("Te", "trailers")
	res, err := h2client(t).Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, 200, res.StatusCode)
	require.Equal(t, "application/grpc", res.Header.Get("Content-Type"))
	require.Equal(t, "0", res.Header.Get("Grpc-Status"))
	require.Equal(t, "\x00\x00\x00\x00\x02hi", string(r.shelf.exchanges(t, 1)[0].Request.Body))
}

func TestManyStreamsAtOnceAndLongBodies(t *testing.T) {
	r := start(t, Config{})
	client := h2client(t)
	const n, size = 40, 3 << 20
	body := make([]byte, size)
	done := make(chan error, n)
	for range n {
		go func() {
			res, err := client.Post("http://"+r.Addr().String()+"/up", "application/octet-stream", bytes.NewReader(body))
			if err == nil {
				err = res.Body.Close()
			}
			done <- err
		}()
	}
	for range n {
		require.NoError(t, <-done)
	}
	for _, x := range r.shelf.exchanges(t, n) {
		require.EqualValues(t, size, x.Request.BodySize)
		require.Len(t, x.Request.Body, 256<<10)
	}
	require.EqualValues(t, 1, r.Stats().Connections)
}

// h2peer writes frames as it likes.
type h2peer struct {
	t  *testing.T
	nc net.Conn
	*http2.Framer
	block bytes.Buffer
	enc   *hpack.Encoder
}

func (r *rig) h2peer() *h2peer {
	p := &h2peer{t: r.t, nc: r.dial()}
	send(r.t, p.nc, http2.ClientPreface)
	p.Framer = http2.NewFramer(p.nc, p.nc)
	p.AllowIllegalWrites = true
	p.enc = hpack.NewEncoder(&p.block)
	require.NoError(r.t, p.WriteSettings())
	return p
}

// head opens a stream with fields given as name, value, name, value.
func (p *h2peer) head(id uint32, end bool, fields ...string) {
	p.t.Helper()
	p.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		require.NoError(p.t, p.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}))
	}
	const frame = 16 << 10
	first := p.block.Next(frame)
	require.NoError(p.t, p.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: first, EndHeaders: p.block.Len() == 0, EndStream: end,
	}))
	for p.block.Len() > 0 {
		more := p.block.Next(frame)
		require.NoError(p.t, p.WriteContinuation(id, p.block.Len() == 0, more))
	}
}

func get(path string) []string {
	return []string{":method", "GET", ":scheme", "http", ":authority", "shop", ":path", path}
}

// next reads frames until one answers a stream or ends the connection.
func (p *h2peer) next() http2.Frame {
	p.t.Helper()
	for {
		f, err := p.ReadFrame()
		if errors.Is(err, io.EOF) {
			return nil
		}
		require.NoError(p.t, err)
		switch f.(type) {
		case *http2.HeadersFrame, *http2.RSTStreamFrame, *http2.GoAwayFrame, *http2.PingFrame:
			return f
		}
	}
}

func TestHTTP2KeepsOrderAndJoinsCookies(t *testing.T) {
	r := start(t, Config{})
	p := r.h2peer()
	p.head(1, true, append(get("/bad%zz|{}"), "x-b", "1", "cookie", "a=1", "x-a", "2", "cookie", "b=2", "x-b", "3", "cookie", "c=3", "x-tap-conn", "77-4")...)
	require.IsType(t, &http2.HeadersFrame{}, p.next())
	x := r.shelf.exchanges(t, 1)[0]
	require.Equal(t, "/bad%zz|{}", string(x.Request.Target))
	require.Equal(t, "x-b: 1\ncookie: a=1; b=2; c=3\nx-a: 2\nx-b: 3\n", lined(x.Request.Headers))
	require.Equal(t, "127.0.0.1/77", string(x.Connection.ID))
	require.EqualValues(t, 4, x.Connection.Sequence)
}

func TestHTTP2FlagsAnotherHost(t *testing.T) {
	r := start(t, Config{})
	p := r.h2peer()
	p.head(1, true, append(get("/"), "host", "SHOP")...)
	p.head(3, true, append(get("/"), "host", "other")...)
	for i, x := range r.shelf.exchanges(t, 2) {
		require.Equal(t, i == 1, x.Flags.Has(traffic.AmbiguousFraming))
	}
}

func TestHTTP2StreamsThatAreNoRequests(t *testing.T) {
	r := start(t, Config{})
	p := r.h2peer()
	p.head(1, false, append(get("/short"), "content-length", "5")...)
	require.NoError(t, p.WriteData(1, true, []byte("abc")))
	require.Equal(t, http2.ErrCodeProtocol, p.next().(*http2.RSTStreamFrame).ErrCode)
	p.head(3, false, get("/reset")...)
	require.NoError(t, p.WriteData(3, false, []byte("abc")))
	require.NoError(t, p.WriteRSTStream(3, http2.ErrCodeCancel))
	p.head(5, true, "upper-CASE", "1")
	require.IsType(t, &http2.RSTStreamFrame{}, p.next())
	p.head(7, true, append(get("/marked"), "reprise-replay", "run")...)
	require.EqualValues(t, 7, p.next().Header().StreamID)
	p.head(9, true, append(get("/"), "x-large", strings.Repeat("x", 65000), "x-more", strings.Repeat("y", 2000))...)
	require.EqualValues(t, 9, p.next().Header().StreamID, "too large a head is answered too")
	require.NoError(t, p.WritePing(false, [8]byte{1}))
	require.True(t, p.next().(*http2.PingFrame).IsAck())
	p.head(11, true, get("/good")...)
	require.IsType(t, &http2.HeadersFrame{}, p.next())
	p.head(13, false, get("/left")...)
	require.NoError(t, p.nc.Close())
	require.Eventually(t, func() bool { return r.Stats().Connections == 0 }, patience, time.Millisecond)
	kept, shed := r.shelf.look()
	require.Len(t, kept, 1)
	require.Equal(t, map[string]int{"incomplete": 3, "malformed": 1, "marked": 1, "header_too_large": 1}, shed)
	got := r.Stats().Incomplete
	require.EqualValues(t, 1, got.Length)
	require.EqualValues(t, 2, got.Reset+got.Closed)
}

func TestHTTP2RefusesWhatItDidNotOffer(t *testing.T) {
	r := start(t, Config{})
	p := r.h2peer()
	id := uint32(1)
	for range maxStreams {
		p.head(id, false, get("/open")...)
		id += 2
	}
	p.head(id, false, get("/over")...)
	require.Equal(t, http2.ErrCodeRefusedStream, p.next().(*http2.RSTStreamFrame).ErrCode)
	require.NoError(t, p.WriteData(id, false, []byte("on its way")))
	require.NoError(t, p.WriteData(1, true, nil))
	require.EqualValues(t, 1, p.next().Header().StreamID)
	require.NoError(t, p.WriteData(id+2, true, nil)) // never opened
	require.IsType(t, &http2.GoAwayFrame{}, p.next())
	require.Nil(t, p.next())
	require.EqualValues(t, 1, r.Stats().Incomplete.Refused)
	require.EqualValues(t, 1, r.Stats().Unreadable)
}

func TestHTTP2DrainsWithGoAway(t *testing.T) {
	r := start(t, Config{DrainTimeout: patience})
	p, idle := r.h2peer(), r.h2peer()
	p.head(1, false, get("/upload")...)
	require.NoError(t, p.WritePing(false, [8]byte{}))
	require.IsType(t, &http2.PingFrame{}, p.next())
	idle.head(1, true, get("/")...)
	require.IsType(t, &http2.HeadersFrame{}, idle.next())
	r.stop()
	require.IsType(t, &http2.GoAwayFrame{}, idle.next())
	require.Nil(t, idle.next())
	require.NoError(t, p.WriteData(1, true, []byte("end")))
	var got []http2.Frame
	for f := p.next(); f != nil; f = p.next() {
		got = append(got, f)
	}
	require.Len(t, got, 2, "an answer and a GOAWAY")
	r.shelf.exchanges(t, 2)
}

func TestHTTP2BehindAnHTTP1LikeBeginning(t *testing.T) {
	r := start(t, Config{})
	nc := r.dial()
	for _, part := range []string{"P", "RI * HT", "TP/2.0\r\n\r\nSM\r\n\r\n"} {
		send(t, nc, part)
	}
	f, err := http2.NewFramer(nc, nc).ReadFrame()
	require.NoError(t, err)
	require.IsType(t, &http2.SettingsFrame{}, f)
	require.Equal(t, noContent, r.say("PRI * HTTP/1.1\r\n\r\n"))
}

func TestHTTP2ClientThatGoesAway(t *testing.T) {
	r := start(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	body, w := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, "POST", "http://"+r.Addr().String()+"/", body)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		res, err := h2client(t).Do(req)
		if err == nil {
			_ = res.Body.Close()
		}
		done <- err
	}()
	_, err = w.Write([]byte("part"))
	require.NoError(t, err)
	cancel()
	require.Error(t, <-done)
	require.NoError(t, w.Close())
	require.Eventually(t, func() bool { _, shed := r.shelf.look(); return shed["incomplete"] == 1 }, patience, time.Millisecond)
}
