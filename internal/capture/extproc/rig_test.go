package extproc

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/wire"
)

// shelf is a Sink and a Budget that a test can look into.
type shelf struct {
	mu    sync.Mutex
	kept  []*traffic.Exchange
	shed  map[string]int
	limit int64 // 0: none
	used  int64
	fails bool // TryAcquire panics
}

func (s *shelf) Offer(batch []wire.Captured) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range batch {
		s.used -= c.Bytes
		s.kept = append(s.kept, c.Exchange)
	}
}

func (s *shelf) Shed(reason string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shed == nil {
		s.shed = map[string]int{}
	}
	s.shed[reason] += n
}

func (s *shelf) TryAcquire(n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails {
		panic("a fault")
	}
	if s.limit > 0 && s.used+n > s.limit {
		return false
	}
	s.used += n
	return true
}

func (s *shelf) Release(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= n
}

// settled tells how many exchanges were handed over or shed.
func (s *shelf) settled() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.kept)
	for _, shed := range s.shed {
		n += shed
	}
	return n
}

// rig is a server and the client that an Envoy is of it.
type rig struct {
	*Server
	*shelf
	client extprocv3.ExternalProcessorClient
}

func start(t *testing.T, cfg Config) *rig {
	t.Helper()
	r := &rig{shelf: &shelf{}}
	cfg.Sink, cfg.Budget = r.shelf, r.shelf
	cfg.ResponseWait = time.Hour // what a machine that stands still is late with is not missing
	ln := bufconn.Listen(1 << 20)
	r.Server = newServer(cfg)
	r.ln = ln
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	conn, err := grpc.NewClient("passthrough:///tap", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return ln.Dial() }))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		stop()
		require.NoError(t, <-ended)
		require.Zero(t, r.used, "the budget has everything back")
		require.Zero(t, r.Stats().Streams)
	})
	r.client = extprocv3.NewExternalProcessorClient(conn)
	return r
}

type copies = grpc.BidiStreamingClient[extprocv3.ProcessingRequest, extprocv3.ProcessingResponse]

func (r *rig) open(t *testing.T) copies {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	st, err := r.client.Process(ctx)
	require.NoError(t, err)
	return st
}

// send passes messages on one stream. The server may have ended it meanwhile.
func send(st copies, messages ...*extprocv3.ProcessingRequest) {
	for _, m := range messages {
		m.ObservabilityMode = true
		if st.Send(m) != nil {
			return
		}
	}
}

// exchange sends messages on a stream of their own, and returns what the server made of them: it ends the stream, or the
// client does.
func (r *rig) exchange(t *testing.T, messages ...*extprocv3.ProcessingRequest) *traffic.Exchange {
	t.Helper()
	before := r.settled()
	st := r.open(t)
	send(st, messages...)
	require.NoError(t, st.CloseSend())
	_, err := st.Recv()
	require.Error(t, err, "in observability mode nothing is ever sent")
	require.Equal(t, before+1, r.settled(), "once")
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.kept) == 0 {
		return nil
	}
	return r.kept[len(r.kept)-1]
}

func headerMap(fields []string) *corev3.HeaderMap {
	m := &corev3.HeaderMap{}
	for i := 0; i < len(fields); i += 2 {
		m.Headers = append(m.Headers, &corev3.HeaderValue{Key: fields[i], RawValue: []byte(fields[i+1])})
	}
	return m
}

func requestHead(eos bool, fields ...string) *extprocv3.ProcessingRequest {
	fields = append([]string{":method", "POST", ":scheme", "http", ":authority", "shop.example:8080", ":path", "/cart?x=1"}, fields...)
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestHeaders{
		RequestHeaders: &extprocv3.HttpHeaders{Headers: headerMap(fields), EndOfStream: eos},
	}}
}

func responseHead(status string, eos bool, fields ...string) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseHeaders{
		ResponseHeaders: &extprocv3.HttpHeaders{Headers: headerMap(append([]string{":status", status}, fields...)), EndOfStream: eos},
	}}
}

func requestBody(eos bool, data string) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestBody{
		RequestBody: &extprocv3.HttpBody{Body: []byte(data), EndOfStream: eos},
	}}
}

func responseBody(eos bool, data string) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseBody{
		ResponseBody: &extprocv3.HttpBody{Body: []byte(data), EndOfStream: eos},
	}}
}

func requestTrailers(fields ...string) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestTrailers{
		RequestTrailers: &extprocv3.HttpTrailers{Trailers: headerMap(fields)},
	}}
}

func responseTrailers(fields ...string) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseTrailers{
		ResponseTrailers: &extprocv3.HttpTrailers{Trailers: headerMap(fields)},
	}}
}

// with gives a message attributes.
func with(m *extprocv3.ProcessingRequest, attributes map[string]any) *extprocv3.ProcessingRequest {
	s, err := structpb.NewStruct(attributes)
	if err != nil {
		panic(err)
	}
	m.Attributes = map[string]*structpb.Struct{"envoy.filters.http.ext_proc": s}
	return m
}

func fields(pairs ...string) []traffic.Field {
	var all []traffic.Field
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, traffic.Field{Name: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	return all
}
