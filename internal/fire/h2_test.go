package fire_test

import (
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
	require.Eventually(t, func() bool { return s.Begin(shot) }, time.Minute, time.Millisecond)
	require.False(t, s.Begin(shot), "it is on its way already")
	require.Equal(t, "hello", (<-arrived).body)
	began := time.Now()
	go func() { goOn <- struct{}{} }()
	a := s.Fire(t.Context(), shot)
	require.Empty(t, a.Reason, "%v", a.Err)
	require.False(t, a.FireTime.After(began))
	require.Equal(t, 1, s.Stats().Idle)

	require.Eventually(t, func() bool { return s.Begin(shot) }, time.Minute, time.Millisecond)
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
