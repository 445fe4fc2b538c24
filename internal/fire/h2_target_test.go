package fire_test

import (
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/traffic"
)

// h2Peer is one connection of an HTTP/2 target whose every frame a test decides.
type h2Peer struct {
	net.Conn
	*http2.Framer
	decoder *hpack.Decoder
}

// h2Request is a request as it came, its fields as "name=value".
type h2Request struct {
	id       uint32
	fields   []string
	body     string
	trailers []string
}

func newH2Peer(c net.Conn, settings ...http2.Setting) (*h2Peer, error) {
	if _, err := io.CopyN(io.Discard, c, int64(len(http2.ClientPreface))); err != nil {
		return nil, err
	}
	p := &h2Peer{Conn: c, Framer: http2.NewFramer(c, c), decoder: hpack.NewDecoder(0, nil)}
	p.ReadMetaHeaders = p.decoder
	return p, p.WriteSettings(settings...)
}

// h2Listen serves HTTP/2 by frames. serve is called for each connection, after the greeting.
func h2Listen(t testing.TB, serve func(p *h2Peer, n int), settings ...http2.Setting) *url.URL {
	return listen(t, func(c net.Conn, n int) {
		if p, err := newH2Peer(c, settings...); err == nil {
			serve(p, n)
		}
	})
}

// request reads one whole request, and gives room for its body back.
func (p *h2Peer) request() (h2Request, error) {
	var r h2Request
	for {
		f, err := p.ReadFrame()
		if err != nil {
			return r, err
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			var fields []string
			for _, field := range f.Fields {
				fields = append(fields, field.Name+"="+field.Value)
			}
			if r.id == 0 {
				r.id, r.fields = f.StreamID, fields
			} else {
				r.trailers = fields
			}
			if f.StreamEnded() {
				return r, nil
			}
		case *http2.DataFrame:
			r.body += string(f.Data())
			if n := uint32(len(f.Data())); n > 0 {
				_ = p.WriteWindowUpdate(0, n)
				_ = p.WriteWindowUpdate(f.StreamID, n)
			}
			if f.StreamEnded() {
				return r, nil
			}
		}
	}
}

// head writes a header block of these names and values.
func (p *h2Peer) head(id uint32, last bool, fields ...string) {
	var block strings.Builder
	e := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	_ = p.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: []byte(block.String()), EndHeaders: true, EndStream: last,
	})
}

// answer answers well.
func (p *h2Peer) answer(id uint32) {
	p.head(id, false, ":status", "200", "x-n", "1")
	_ = p.WriteData(id, true, []byte("ok"))
}

// answerAll answers every request well.
func (p *h2Peer) answerAll() {
	for {
		r, err := p.request()
		if err != nil {
			return
		}
		p.answer(r.id)
	}
}

func overH2(cfg *fire.SenderConfig) { cfg.Protocol = fire.OnlyHTTP2 }

// h2Server is net/http, in clear text.
func h2Server(t testing.TB, handler http.HandlerFunc) *url.URL {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: handler, Protocols: new(http.Protocols)}
	srv.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	t.Cleanup(func() {
		srv.Close()
		<-done
	})
	return &url.URL{Scheme: "http", Host: l.Addr().String()}
}

// recordedOverH2 turns an exchange into one that came over HTTP/2.
func recordedOverH2(x *traffic.Exchange) *traffic.Exchange {
	x.Request.Protocol = []byte("HTTP/2.0")
	return x
}

// grpcMessage puts gRPC's prefix before a message.
func grpcMessage(m []byte) string {
	return string(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(m)))) + string(m)
}
