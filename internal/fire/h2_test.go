package fire_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/traffic"
)

func TestOverHTTP2TheRequestArrivesAsRecorded(t *testing.T) {
	arrived := make(chan h2Request, 1)
	target := h2Listen(t, func(p *h2Peer, _ int) {
		for {
			r, err := p.request()
			if err != nil {
				return
			}
			arrived <- r
			p.answer(r.id)
		}
	}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
	s := sender(t, target, overH2)
	x := exchange("POST /a?b\nX-B: 1\ncookie: a=1\nx-a: 2\ncookie: b=2\nX-b: 3\nte: trailers\nConnection: close, x-hop\nx-hop: 1\nTransfer-Encoding: chunked\nx-v:  spaced ", "hello")
	x.Request.Authority = []byte("shop.example")
	x.Request.Trailers = []traffic.Field{{Name: []byte("X-Sum"), Value: []byte("1")}}
	for range 2 {
		a := fireOne(t, s, x)
		require.Empty(t, a.Reason, "%v", a.Err)
		require.Equal(t, 200, a.Response.Status)
		require.Equal(t, "HTTP/2.0", string(a.Response.Protocol))
		require.Equal(t, "x-n=1", fields(a.Response.Headers))
		require.Equal(t, "ok", string(a.Response.Body))
		require.Positive(t, a.Response.TTFB)
		require.GreaterOrEqual(t, a.Response.Duration, a.Response.TTFB)
		got := <-arrived
		require.Equal(t, []string{
			":method=POST", ":scheme=http", ":authority=" + target.Host, ":path=/a?b", "x-b=1", "cookie=a=1", "x-a=2", "cookie=b=2",
			"x-b=3", "te=trailers", "x-v=spaced", "reprise-replay=test;loop=0;clone=0",
			"reprise-exchange-id=ab0000000000000000000000000000000000000000000007",
			"reprise-capture-time=2026-11-22T13:42:10.118000000Z", "reprise-original-host=shop.example",
		}, got.fields)
		require.Equal(t, "hello", got.body)
		require.Equal(t, []string{"x-sum=1"}, got.trailers)
	}
	require.EqualValues(t, 1, s.Stats().Dialed)
	require.Equal(t, 1, s.Stats().Idle)
}

func TestOnlyWhatWasRecordedOverHTTP2GoesSo(t *testing.T) {
	seen := func(target *url.URL, change func(*fire.SenderConfig)) string {
		s := sender(t, target, change)
		var got []string
		for _, x := range []*traffic.Exchange{
			get(), recordedOverH2(get()), recordedOverH2(exchange("POST /s/M\ncontent-type: application/grpc+proto\nte: trailers", "")),
		} {
			x.Request.Method = []byte("GET")
			a := fireOne(t, s, x)
			if a.Response == nil {
				got = append(got, a.Reason)
			} else {
				got = append(got, string(a.Response.Body))
			}
		}
		return strings.Join(got, " ")
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) })
	protocol := func(p fire.Protocol) func(*fire.SenderConfig) {
		return func(cfg *fire.SenderConfig) { cfg.Protocol = p }
	}
	both := new(http.Protocols)
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	plain := httptest.NewUnstartedServer(handler)
	plain.Config.Protocols = both
	plain.Start()
	defer plain.Close()
	target := parseURL(t, plain.URL)
	require.Equal(t, "HTTP/1.1 HTTP/1.1 HTTP/2.0", seen(target, nil))
	require.Equal(t, "HTTP/1.1 HTTP/1.1 HTTP/1.1", seen(target, protocol(fire.OnlyHTTP1)))
	require.Equal(t, "HTTP/2.0 HTTP/2.0 HTTP/2.0", seen(target, protocol(fire.OnlyHTTP2)))

	for _, offers := range []bool{true, false} {
		srv := httptest.NewUnstartedServer(handler)
		srv.EnableHTTP2 = offers
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		srv.StartTLS()
		defer srv.Close()
		roots := x509.NewCertPool()
		roots.AddCert(srv.Certificate())
		with := func(p fire.Protocol) func(*fire.SenderConfig) {
			return func(cfg *fire.SenderConfig) { cfg.Protocol, cfg.TLS = p, &tls.Config{RootCAs: roots} }
		}
		target := parseURL(t, srv.URL)
		if offers {
			require.Equal(t, "HTTP/1.1 HTTP/2.0 HTTP/2.0", seen(target, with("")))
			require.Equal(t, "HTTP/2.0 HTTP/2.0 HTTP/2.0", seen(target, with(fire.OnlyHTTP2)))
		} else {
			require.Equal(t, "HTTP/1.1 HTTP/1.1 tls_failed", seen(target, with("")), "gRPC over HTTP/1.1 is none")
		}
		require.Equal(t, "HTTP/1.1 HTTP/1.1 HTTP/1.1", seen(target, with(fire.OnlyHTTP1)))
	}
	_, err := fire.ParseProtocol("h3")
	require.ErrorContains(t, err, "h3")
}

func TestGRPCServersAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv := grpc.NewServer()
	healthpb.RegisterHealthServer(srv, health.NewServer())
	srv.RegisterService(&grpc.ServiceDesc{
		ServiceName: "test.Echo", HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{StreamName: "Echo", ClientStreams: true, ServerStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
			for {
				var m wrapperspb.BytesValue
				if err := stream.RecvMsg(&m); errors.Is(err, io.EOF) {
					return status.Error(codes.ResourceExhausted, "no more")
				} else if err != nil {
					return err
				}
				if err := stream.SendMsg(&m); err != nil {
					return err
				}
			}
		}}},
	}, struct{}{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	defer func() {
		srv.Stop()
		<-done
	}()
	s := sender(t, &url.URL{Scheme: "http", Host: l.Addr().String()}, func(cfg *fire.SenderConfig) { cfg.BodyMax = 4 << 20 })
	call := func(method, body string) *traffic.Response {
		a := fireOne(t, s, recordedOverH2(exchange("POST "+method+"\ncontent-type: application/grpc\nuser-agent: test\nte: trailers", body)))
		require.Empty(t, a.Reason, "%v", a.Err)
		return a.Response
	}
	serving, err := proto.Marshal(&healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING})
	require.NoError(t, err)

	r := call("/grpc.health.v1.Health/Check", grpcMessage(nil))
	require.Equal(t, grpcMessage(serving), string(r.Body))
	code, known := r.GRPCStatus()
	require.True(t, known)
	require.Zero(t, code)

	r = call("/no.Such/Method", grpcMessage(nil))
	code, _ = r.GRPCStatus()
	require.EqualValues(t, codes.Unimplemented, code)

	var stream strings.Builder // more than both windows at once
	for range 40 {
		m, err := proto.Marshal(wrapperspb.Bytes(make([]byte, 50_000)))
		require.NoError(t, err)
		stream.WriteString(grpcMessage(m))
	}
	r = call("/test.Echo/Echo", stream.String())
	require.Equal(t, stream.String(), string(r.Body))
	code, _ = r.GRPCStatus()
	require.EqualValues(t, codes.ResourceExhausted, code)
	require.EqualValues(t, 1, s.Stats().Dialed)
}

func TestWhatTheTargetDoesOverHTTP2HasAReason(t *testing.T) {
	big := strings.Repeat("x", 20<<10)
	for _, row := range []struct {
		name   string
		serve  func(p *h2Peer, id uint32)
		reason string // empty: answered
		check  func(t *testing.T, a fire.Answer)
	}{
		{"reset", func(p *h2Peer, id uint32) { _ = p.WriteRSTStream(id, http2.ErrCodeInternal) }, fire.Reset, nil},
		{"reset inside the body", func(p *h2Peer, id uint32) {
			p.head(id, false, ":status", "200")
			_ = p.WriteData(id, false, []byte("abc"))
			_ = p.WriteRSTStream(id, http2.ErrCodeCancel)
		}, fire.Reset, nil},
		{"closed", func(p *h2Peer, _ uint32) { p.Close() }, fire.Closed, nil},
		{"closed inside the body", func(p *h2Peer, id uint32) {
			p.head(id, false, ":status", "200")
			p.Close()
		}, fire.Closed, nil},
		{"closed inside a frame", func(p *h2Peer, id uint32) {
			_ = p.WriteRawFrame(http2.FrameHeaders, 0, id, nil)
			_, _ = p.Conn.Write([]byte{0, 0})
			p.Close()
		}, fire.Closed, nil},
		{"GOAWAY that names the stream, then closed", func(p *h2Peer, id uint32) {
			_ = p.WriteGoAway(id, http2.ErrCodeEnhanceYourCalm, nil)
			p.Close()
		}, fire.Closed, func(t *testing.T, a fire.Answer) { require.ErrorContains(t, a.Err, "ENHANCE_YOUR_CALM") }},
		{"GOAWAY, and the answer all the same", func(p *h2Peer, id uint32) {
			_ = p.WriteGoAway(id, http2.ErrCodeNo, nil)
			p.answer(id)
		}, "", nil},
		{"reset without fault behind the answer", func(p *h2Peer, id uint32) {
			p.answer(id)
			_ = p.WriteRSTStream(id, http2.ErrCodeNo)
		}, "", nil},
		{"1xx before it", func(p *h2Peer, id uint32) {
			p.head(id, false, ":status", "103", "link", "x")
			p.answer(id)
		}, "", nil},
		{"trailers", func(p *h2Peer, id uint32) {
			p.head(id, false, ":status", "200")
			p.head(id, true, "grpc-status", "7")
		}, "", func(t *testing.T, a fire.Answer) { require.Equal(t, "grpc-status=7", fields(a.Response.Trailers)) }},
		{"a body over what is kept", func(p *h2Peer, id uint32) {
			p.head(id, false, ":status", "200")
			for range 3 {
				_ = p.WriteData(id, false, []byte(big[:16<<10]))
			}
			_ = p.WriteData(id, true, nil)
		}, "", func(t *testing.T, a fire.Answer) {
			require.True(t, a.Truncated)
			require.Len(t, a.Response.Body, 1000)
			require.EqualValues(t, 48<<10, a.Response.BodySize)
		}},
		{"no status", func(p *h2Peer, id uint32) { p.head(id, true, "a", "b") }, fire.BadAnswer, nil},
		{"a status of letters", func(p *h2Peer, id uint32) { p.head(id, true, ":status", "ok") }, fire.BadAnswer, nil},
		{"101", func(p *h2Peer, id uint32) { p.head(id, false, ":status", "101") }, fire.BadAnswer, nil},
		{"an end after 1xx", func(p *h2Peer, id uint32) { p.head(id, true, ":status", "103") }, fire.BadAnswer, nil},
		{"two heads", func(p *h2Peer, id uint32) {
			p.head(id, false, ":status", "200")
			p.head(id, false, ":status", "200")
		}, fire.BadAnswer, nil},
		{"an upper-case name", func(p *h2Peer, id uint32) { p.head(id, true, ":status", "200", "X-A", "1") }, fire.BadAnswer, nil},
		{"a head too large", func(p *h2Peer, id uint32) {
			var all []string
			for range 100 {
				all = append(all, "x", "0123456789012345678901234567890123456789012345678901234567890123456789"+big[:700])
			}
			p.head(id, true, append([]string{":status", "200"}, all[:20]...)...) // still allowed
		}, "", nil},
		{"a head far too large", func(p *h2Peer, id uint32) {
			p.head(id, false, ":status", "200")
			for range 5 {
				_ = p.WriteRawFrame(http2.FrameHeaders, 0, id, nil)
				for range 20 {
					_ = p.WriteContinuation(id, false, []byte("\x00\x01a\x7f\x81\x7e"+big[:16<<10-10]))
				}
			}
		}, fire.BadAnswer, nil},
		{"DATA before the head", func(p *h2Peer, id uint32) { _ = p.WriteData(id, true, []byte("x")) }, fire.BadAnswer, nil},
		{"a stream nobody opened", func(p *h2Peer, id uint32) { _ = p.WriteData(id+2, true, []byte("x")) }, fire.BadAnswer, nil},
		{"a push", func(p *h2Peer, id uint32) {
			_ = p.WritePushPromise(http2.PushPromiseParam{StreamID: id, PromiseID: 2, BlockFragment: []byte{0x82}, EndHeaders: true})
		}, fire.BadAnswer, nil},
		{"a frame too large", func(p *h2Peer, id uint32) { _ = p.WriteRawFrame(http2.FrameData, 0, id, []byte(big)) }, fire.BadAnswer, nil},
		{"no HPACK", func(p *h2Peer, id uint32) {
			_ = p.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, id, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
		}, fire.BadAnswer, nil},
		{"a window over its end", func(p *h2Peer, _ uint32) { _ = p.WriteWindowUpdate(0, 1<<31-1) }, fire.BadAnswer, nil},
		{"a stream's window over its end", func(p *h2Peer, id uint32) { _ = p.WriteWindowUpdate(id, 1<<31-1) }, fire.BadAnswer, nil},
		{"bad settings", func(p *h2Peer, _ uint32) {
			_ = p.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1})
		}, fire.BadAnswer, nil},
		{"frames of kinds to come", func(p *h2Peer, id uint32) {
			_ = p.WriteRawFrame(0xbe, 0, id, []byte("x"))
			_ = p.WritePing(false, [8]byte{1})
			p.answer(id)
		}, "", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			target := h2Listen(t, func(p *h2Peer, _ int) {
				p.AllowIllegalWrites = true
				r, err := p.request()
				if err != nil {
					return
				}
				row.serve(p, r.id)
				_, _ = io.Copy(io.Discard, p.Conn)
			})
			s := sender(t, target, func(cfg *fire.SenderConfig) {
				overH2(cfg)
				cfg.BodyMax = 1000
			})
			a := fireOne(t, s, post())
			require.Equal(t, row.reason, a.Reason, "%v", a.Err)
			require.Equal(t, row.reason == "", a.Response != nil)
			require.Equal(t, 1, a.Attempts)
			if row.check != nil {
				row.check(t, a)
			}
			require.NoError(t, s.Close())
			require.Zero(t, s.Stats().Open)
		})
	}
}

func TestATargetWithoutHTTP2IsSaidToBe(t *testing.T) {
	for name, answer := range map[string]string{"an answer": "HTTP/1.1 400 Bad Request\r\n\r\n", "nothing": ""} {
		target := listen(t, func(c net.Conn, _ int) {
			_, _ = io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
			_, _ = io.WriteString(c, answer)
		})
		a := fireOne(t, sender(t, target, overH2), get())
		require.Equal(t, fire.BadAnswer, a.Reason, name)
		require.ErrorContains(t, a.Err, "does not speak HTTP/2")
	}
	silent := fireOne(t, sender(t, listen(t, mute), func(cfg *fire.SenderConfig) {
		overH2(cfg)
		cfg.Timeout = 100 * time.Millisecond
	}), get())
	require.Equal(t, fire.ConnectTimeout, silent.Reason)
}

func TestWhatTheTargetHasNotLookedAtIsSentAgain(t *testing.T) {
	for name, refuse := range map[string]func(p *h2Peer, id uint32){
		"REFUSED_STREAM": func(p *h2Peer, id uint32) { _ = p.WriteRSTStream(id, http2.ErrCodeRefusedStream) },
		"GOAWAY before it": func(p *h2Peer, _ uint32) {
			_ = p.WriteGoAway(0, http2.ErrCodeNo, nil)
			p.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int64
			target := h2Listen(t, func(p *h2Peer, _ int) {
				for {
					r, err := p.request()
					if err != nil {
						return
					}
					if asked.Add(1) == 1 {
						refuse(p, r.id)
					} else {
						p.answer(r.id)
					}
				}
			})
			s := sender(t, target, overH2)
			a := fireOne(t, s, post()) // a write
			require.Empty(t, a.Reason, "%v", a.Err)
			require.Equal(t, 1, a.Attempts, "that is no retry of the policy")
			require.Equal(t, 1, a.Resent)
		})
	}
}

func TestAWriteOverHTTP2IsNotSentAgainOnceItMayHaveArrived(t *testing.T) {
	var asked atomic.Int64
	target := h2Listen(t, func(p *h2Peer, _ int) {
		for i := range 2 {
			r, err := p.request()
			if err != nil {
				return
			}
			asked.Add(1)
			if i == 0 {
				p.answer(r.id)
			}
		}
		p.Close()
	})
	s := sender(t, target, func(cfg *fire.SenderConfig) {
		overH2(cfg)
		cfg.Retries = 2
	})
	require.Empty(t, fireOne(t, s, post()).Reason)
	a := fireOne(t, s, post())
	require.Equal(t, fire.Closed, a.Reason)
	require.Equal(t, 1, a.Attempts)
	require.EqualValues(t, 2, asked.Load())
}

func TestStreamsShareConnectionsUpToThePeersLimit(t *testing.T) {
	const limit = 3
	arrived, goOn := make(chan struct{}, 20), make(chan struct{})
	target := h2Listen(t, func(p *h2Peer, _ int) {
		var ids []uint32
		for len(ids) < limit {
			r, err := p.request()
			if err != nil {
				return
			}
			ids = append(ids, r.id)
			arrived <- struct{}{}
		}
		<-goOn
		for _, id := range ids {
			p.answer(id)
		}
		p.answerAll()
	}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: limit})
	s := sender(t, target, overH2)
	var wg sync.WaitGroup
	for range 4 * limit {
		wg.Go(func() {
			if a := fireOne(t, s, get()); a.Reason != "" {
				t.Error(a.Reason, a.Err)
			}
		})
	}
	for range 4 * limit { // all are there while none is answered
		<-arrived
	}
	require.EqualValues(t, 4, s.Stats().Dialed)
	close(goOn)
	wg.Wait()
	require.Equal(t, 4, s.Stats().Idle)
}

func TestAStalledBodyDoesNotHoldOthersBack(t *testing.T) {
	stalled := make(chan struct{})
	target := h2Server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stall" {
			<-stalled // reads nothing of its body
			return
		}
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	})
	s := sender(t, target, overH2)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { fireOne(t, s, exchange("POST /stall\nHost: s", strings.Repeat("x", 3<<20))) })
	}
	for range 5 {
		a := fireOne(t, s, exchange("POST /\nHost: s", strings.Repeat("x", 2<<20)))
		require.Empty(t, a.Reason, "%v", a.Err)
		require.Equal(t, fmt.Sprint(2<<20), string(a.Response.Body))
	}
	close(stalled)
	wg.Wait()
}

func TestBeginOpensAStreamAtOnce(t *testing.T) {
	arrived, goOn := make(chan h2Request, 1), make(chan struct{})
	target := h2Listen(t, func(p *h2Peer, _ int) {
		for {
			r, err := p.request()
			if err != nil {
				return
			}
			arrived <- r
			<-goOn
			p.answer(r.id)
		}
	})
	s := sender(t, target, overH2)
	shot, _ := s.Prepare(post(), fire.Mark{})
	require.False(t, s.Begin(shot), "there is no connection yet")
	go func() { goOn <- struct{}{} }()
	require.Empty(t, s.Fire(t.Context(), shot).Reason)
	<-arrived

	// The lock that Begin only tries may be held by the reader, which has just brought the answer.
	require.Eventually(t, func() bool { return s.Begin(shot) }, 10*time.Second, time.Millisecond)
	require.False(t, s.Begin(shot), "it is on its way already")
	require.Equal(t, "hello", (<-arrived).body)
	began := time.Now()
	go func() { goOn <- struct{}{} }()
	a := s.Fire(t.Context(), shot)
	require.Empty(t, a.Reason, "%v", a.Err)
	require.False(t, a.FireTime.After(began))
	require.Equal(t, 1, s.Stats().Idle)

	require.Eventually(t, func() bool { return s.Begin(shot) }, 10*time.Second, time.Millisecond)
	s.Recycle(shot)
	close(goOn)
	require.Equal(t, 1, s.Stats().Idle, "a stream given up costs nothing more")
	require.EqualValues(t, 1, s.Stats().Dialed)
}

func TestNothingReachesProductionOverAKeptHTTP2Connection(t *testing.T) {
	var asked atomic.Int64
	production := h2Listen(t, func(p *h2Peer, _ int) {
		for {
			r, err := p.request()
			if err != nil {
				return
			}
			asked.Add(1)
			p.answer(r.id)
		}
	})
	g := guard(t, production, nil)
	s := sender(t, production, func(cfg *fire.SenderConfig) {
		overH2(cfg)
		cfg.Guard = g
	})
	require.Empty(t, fireOne(t, s, get()).Reason, "nobody has said yet that it is production")
	require.Error(t, g.SetProduction(t.Context(), []fire.Address{{HostPort: production.Host, HostID: "here"}}))
	shot, _ := s.Prepare(get(), fire.Mark{})
	require.False(t, s.Begin(shot), "not over the kept connection either")
	require.Equal(t, fire.TargetIsProduction, s.Fire(t.Context(), shot).Reason)
	require.EqualValues(t, 1, asked.Load())
	require.Zero(t, s.Stats().Open, "the connection to it is closed")
	require.NoError(t, g.SetProduction(t.Context(), nil))
	require.Empty(t, s.Fire(t.Context(), shot).Reason)
}

// A peer that asks for replies and reads none must not make us keep them, nor wait for it.
func TestAFloodOfPingsEndsTheConnection(t *testing.T) {
	target := h2Listen(t, func(p *h2Peer, _ int) {
		if _, err := p.request(); err != nil {
			return
		}
		for p.WritePing(false, [8]byte{}) == nil { // and never reads
		}
	})
	s := sender(t, target, func(cfg *fire.SenderConfig) {
		overH2(cfg)
		cfg.Timeout = time.Minute
	})
	a := fireOne(t, s, get())
	require.Equal(t, fire.BadAnswer, a.Reason, "%v", a.Err)
	require.ErrorContains(t, a.Err, "does not read")
	require.NoError(t, s.Close())
}

func TestTimeoutsAndCancelsEndStreamsOnly(t *testing.T) {
	var asked atomic.Int64
	target := h2Listen(t, func(p *h2Peer, _ int) {
		for {
			r, err := p.request()
			if err != nil {
				return
			}
			asked.Add(1)
			if r.fields[3] == ":path=/" {
				p.answer(r.id)
			}
			_ = p.WritePing(false, [8]byte{})
		}
	})
	s := sender(t, target, func(cfg *fire.SenderConfig) {
		overH2(cfg)
		cfg.Timeout = 300 * time.Millisecond
	})
	require.Equal(t, fire.Timeout, fireOne(t, s, exchange("GET /slow\nHost: s", "")).Reason)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	shot, _ := s.Prepare(exchange("GET /slow\nHost: s", ""), fire.Mark{})
	require.Equal(t, fire.Canceled, s.Fire(ctx, shot).Reason)
	before := asked.Load()
	require.Equal(t, fire.Canceled, s.Fire(ctx, shot).Reason)
	require.NoError(t, s.Close())
	require.Equal(t, before, asked.Load(), "nothing is sent under an ended context")
}

func TestManyWorkersMixEverythingOverHTTP2(t *testing.T) {
	target := h2Server(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprint(w, r.Header.Get("N"), " ", len(body))
	})
	s := sender(t, target, func(cfg *fire.SenderConfig) {
		overH2(cfg)
		cfg.Concurrency = 8
	})
	var wg sync.WaitGroup
	for w := range 12 {
		wg.Go(func() {
			for i := range 40 {
				size := (w*40 + i) * 37 % 100_000
				shot, _ := s.Prepare(exchange(fmt.Sprintf("PUT /\nHost: s\nN: %d-%d", w, i), strings.Repeat("b", size)), fire.Mark{})
				if i%2 == 0 {
					s.Begin(shot)
				}
				if i%10 == 4 {
					s.Recycle(shot)
					continue
				}
				a := s.Fire(t.Context(), shot)
				s.Recycle(shot)
				if a.Reason != "" || string(a.Response.Body) != fmt.Sprintf("%d-%d %d", w, i, size) {
					t.Error(a.Reason, a.Err)
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, s.Close())
	require.Zero(t, s.Stats().Open)
	require.Equal(t, fire.ConnectFailed, fireOne(t, s, get()).Reason, "it is closed")
}

// Whatever the target writes, a shot ends, and so does the sender.
func FuzzHTTP2Answer(f *testing.F) {
	frames := func(write func(p *h2Peer)) []byte {
		var out strings.Builder
		p := &h2Peer{Framer: http2.NewFramer(&out, nil)}
		write(p)
		return []byte(out.String())
	}
	f.Add(frames(func(p *h2Peer) { p.answer(1) }))
	f.Add(frames(func(p *h2Peer) { _ = p.WriteGoAway(1, http2.ErrCodeNo, nil) }))
	f.Add(frames(func(p *h2Peer) { _ = p.WriteRSTStream(1, http2.ErrCodeCancel) }))
	f.Add(frames(func(p *h2Peer) {
		_ = p.WriteWindowUpdate(0, 5)
		_ = p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
		p.head(1, false, ":status", "200")
		p.head(1, true, "grpc-status", "0")
	}))
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\n"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		target := h2Listen(t, func(p *h2Peer, _ int) {
			if _, err := p.request(); err == nil {
				_, _ = p.Conn.Write(answer)
				_ = p.Conn.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, p.Conn)
			}
		})
		s := sender(t, target, overH2)
		if a := fireOne(t, s, post()); a.Reason == "" {
			require.NotNil(t, a.Response)
			require.NotZero(t, a.Response.Status)
		}
		require.NoError(t, s.Close())
	})
}

// What a header block says is what HTTP/1.1 would have said.
func TestHeaderBlocksOfAnyLength(t *testing.T) {
	got := make(chan h2Request, 1)
	target := h2Listen(t, func(p *h2Peer, _ int) {
		p.MaxHeaderListSize = 1 << 20
		for {
			r, err := p.request()
			if err != nil {
				return
			}
			got <- r
			p.answer(r.id)
		}
	})
	s := sender(t, target, overH2)
	for _, n := range []int{0, 1, 126, 127, 128, 254, 255, 16_000, 16_384, 50_000} {
		value := strings.Repeat("v", n)
		a := fireOne(t, s, exchange("GET /\nHost: s\nX-Long: "+value, ""))
		require.Empty(t, a.Reason, "%v", a.Err)
		require.Contains(t, (<-got).fields, "x-long="+value, "%d", n)
	}
}
