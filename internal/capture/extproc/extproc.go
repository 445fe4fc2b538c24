// Package extproc is the tap beside Envoy: a gRPC server of its external processing filter in observability mode, in
// which Envoy sends copies of requests and responses and waits for nothing. One gRPC stream carries one HTTP exchange.
//
// The server never answers a message in that mode, and whatever it does otherwise is chosen so that Envoy goes on:
//   - It never stops reading, for Envoy holds the client's upload when nobody reads the copy. What is over a cap is read,
//     counted and thrown away.
//   - It ends a stream as soon as nothing more is wanted of it: at the end of the response, or at once when the request is
//     not to be captured. Envoy itself would keep each stream for seconds (deferred_close_timeout), until its circuit
//     breaker leaves out most of the traffic.
//   - An Envoy whose filter is not in observability mode does wait. It gets the answer that changes nothing, at once and to
//     each message: a stream that is ended before would cost it what it had sent and not got back.
//
// # Clocks
//
// The capture time is Envoy's (attribute request.time), unless it is more than maxSkew off. TTFB and Duration are the
// tap's: they count from the arrival of the request's headers here to the arrival of the response's headers and end, and
// so leave out what Envoy itself took before.
package extproc

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net"
	"sync"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/wire"
)

// Sink takes what was captured. Its methods are called from the streams' goroutines and must never block.
type Sink interface {
	// Offer passes on finished exchanges with their Budget (Captured.Bytes each). The slice is the server's and valid
	// during the call only; the exchanges are the Sink's from then on.
	Offer(batch []wire.Captured)
	// Shed counts n exchanges that were seen and not kept: "marked", "memory", or one of the reasons of this package.
	// Nothing of Budget passes.
	Shed(reason string, n int)
}

// Reasons for which an exchange is not kept, beside those of package wire.
const (
	LostStreams   = "streams"    // more streams than Config.MaxStreams
	LostNoRequest = "no_request" // Envoy told of a response only: its own, to what it took for no request
)

// Config of a Server. Listen and Sink are required.
type Config struct {
	Listen       string                                         // "host:port", ":9002", "[::1]:0"
	Bind         func(address string) (*net.TCPListener, error) // of Listen; nil: a new socket
	Admit        func(net.Listener) net.Listener                // bounds the connections; nil: as many as the kernel gives
	Name         string                                         // of the source, for Exchange.Source
	BodyMax      int                                            // bytes kept of each body; 0: none
	ResponseWait time.Duration                                  // from the last request byte to the response's end; 0: 2 s
	DrainTimeout time.Duration                                  // for open streams after Run's context ended; 0: none
	MarkHeader   string                                         // requests with this field are not captured; "": "Reprise-Replay"
	MaxStreams   int                                            // exchanges at a time, over all connections; those above are shed. 0: 16384
	Budget       wire.Budget                                    // nil: no bound
	Sink         Sink
	Logger       *slog.Logger // nil: discard
}

const (
	defaultResponseWait = 2 * time.Second
	defaultMark         = "Reprise-Replay"
	defaultMaxStreams   = 16384

	// Envoy cuts bodies at its buffer limit, 1 MiB unless somebody raised it.
	maxMessage = 64 << 20
	// Of each stream and connection; they bound what gRPC holds of copies that are not read yet, which no budget sees.
	streamWindow, connWindow = 1 << 20, 16 << 20

	pingAfter, pingTimeout = 30 * time.Second, 10 * time.Second
	// Envoy may ping as often as it likes: by default gRPC closes the connection of who pings more often than in 5 min.
	leastPing = time.Second
)

// Server receives copies. Listen makes it, Run serves.
type Server struct {
	cfg   Config
	ln    net.Listener
	grpc  *grpc.Server
	stats counters
	shout sync.Once // that an Envoy waits for us
}

// Listen binds the address; a *fault.Error says why it cannot.
func Listen(cfg Config) (*Server, error) {
	s := newServer(cfg)
	var ln net.Listener
	var err error
	if cfg.Bind != nil {
		ln, err = cfg.Bind(cfg.Listen)
	} else {
		ln, err = net.Listen("tcp", cfg.Listen)
	}
	if err != nil {
		return nil, fault.Listening(cfg.Listen, err)
	}
	if s.ln = ln; cfg.Admit != nil {
		s.ln = cfg.Admit(ln)
	}
	return s, nil
}

func newServer(cfg Config) *Server {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.ResponseWait == 0 {
		cfg.ResponseWait = defaultResponseWait
	}
	if cfg.MarkHeader == "" {
		cfg.MarkHeader = defaultMark
	}
	if cfg.MaxStreams <= 0 {
		cfg.MaxStreams = defaultMaxStreams
	}
	if cfg.Budget == nil {
		cfg.Budget = unbounded{}
	}
	cfg.BodyMax = max(cfg.BodyMax, 0)
	s := &Server{cfg: cfg, grpc: grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessage),
		// Envoy is not told of a limit: it would wait for a free stream, with a queue and a breaker of its own.
		grpc.MaxConcurrentStreams(math.MaxUint32),
		grpc.InitialWindowSize(streamWindow), grpc.InitialConnWindowSize(connWindow),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: leastPing, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
	)}
	extprocv3.RegisterExternalProcessorServer(s.grpc, processor{s: s})
	return s
}

type unbounded struct{}

func (unbounded) TryAcquire(int64) bool { return true }
func (unbounded) Release(int64)         {}

// Addr is the bound address.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

// Run serves until ctx ends, then takes no more streams and gives open ones DrainTimeout. Everything captured has been
// offered when it returns. It can be called once.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.grpc.Serve(s.ln) }()
	select {
	case err := <-served: // only Run stops it
		s.grpc.Stop()
		return fmt.Errorf("serve ext_proc on %s: %w", s.ln.Addr(), err)
	case <-ctx.Done():
	}
	drained := make(chan struct{})
	go func() { s.grpc.GracefulStop(); close(drained) }()
	timeout := time.NewTimer(s.cfg.DrainTimeout)
	defer timeout.Stop()
	select {
	case <-drained:
	case <-timeout.C:
		s.grpc.Stop() // ends the streams; GracefulStop returns then
		<-drained
	}
	return <-served
}

// Close gives the address of a Server back that does not Run.
func (s *Server) Close() { _ = s.ln.Close() }

func (s *Server) source() traffic.Source {
	return traffic.Source{Kind: traffic.ExtProc, Name: []byte(s.cfg.Name)}
}
