// Package ingest takes exchanges from filters in other people's code: POST /v1/exchanges, as protobuf or JSON. It answers
// as soon as a request is read and before anything else is done with what was in it, so that a filter never waits for
// Kafka. What does not fit is shed and counted, and the answer says so. It trusts nobody: ids, redactions, digests and the
// flags that only a tap may set are cleared, and what could not have been a request is rejected.
package ingest

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/wire"
)

// Sink takes what came. Its methods must never block.
type Sink interface {
	// Offer passes on exchanges with their Budget. The slice is valid during the call only.
	Offer(batch []wire.Captured)
	// Shed counts n exchanges that came and are not kept: marked, memory or malformed.
	Shed(reason string, n int)
}

// Config of a Server. Listen, Budget and Sink are required.
type Config struct {
	Listen       string
	Bind         func(address string) (*net.TCPListener, error) // of Listen; nil: a new socket
	Admit        func(net.Listener) net.Listener                // bounds the connections; nil: as many as the kernel gives
	Name         string                                         // of the source, for Exchange.Source
	Token        string                                         // that requests must carry as Authorization: Bearer; "": none
	BodyMax      int                                            // bytes kept of each body
	RequestMax   int64                                          // bytes of one POST after its content coding is removed; 0: 64 MiB
	ExchangesMax int                                            // in one POST; 0: 10,000
	Concurrency  int                                            // POSTs read at the same time; 0: 64
	DrainTimeout time.Duration
	Budget       wire.Budget
	Sink         Sink
	Logger       *slog.Logger // nil: discard
}

// Stats are totals.
type Stats struct {
	Posts    int64 // that were answered, in any way
	Refused  int64 // of these, without looking at an exchange: no token, wrong type, too large, too many at a time
	Accepted int64 // exchanges
	Rejected int64 // exchanges that could not have been
	Shed     int64 // exchanges for which there was no memory
	Marked   int64 // exchanges that a replayer had caused
}

// Server is bound but serves only in Run.
type Server struct {
	cfg      Config
	listener net.Listener
	server   *http.Server
	slots    chan struct{}
	posts    atomic.Int64
	refused  atomic.Int64
	accepted atomic.Int64
	rejected atomic.Int64
	shed     atomic.Int64
	marked   atomic.Int64
}

// Listen binds the address. The error is a *fault.Error that names it.
func Listen(cfg Config) (*Server, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.RequestMax <= 0 {
		cfg.RequestMax = 64 << 20
	}
	if cfg.ExchangesMax <= 0 {
		cfg.ExchangesMax = 10_000
	}
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = 64
	}
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
	if cfg.Admit != nil {
		ln = cfg.Admit(ln)
	}
	s := &Server{cfg: cfg, listener: ln, slots: make(chan struct{}, cfg.Concurrency)}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s.server = &http.Server{
		Handler: s.Handler(), Protocols: &protocols,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 40 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10,
		ErrorLog:       slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// Addr is the bound address.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Stats returns the totals so far.
func (s *Server) Stats() Stats {
	return Stats{
		Posts: s.posts.Load(), Refused: s.refused.Load(), Accepted: s.accepted.Load(), Rejected: s.rejected.Load(),
		Shed: s.shed.Load(), Marked: s.marked.Load(),
	}
}

// Run serves until ctx ends, then accepts no more and gives open requests DrainTimeout. Everything has been offered when
// it returns.
func (s *Server) Run(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- s.server.Serve(s.listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("ingest: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.DrainTimeout)
	defer cancel()
	if err := s.server.Shutdown(drain); err != nil {
		_ = s.server.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("ingest: %w", err)
	}
	for range cap(s.slots) { // who still reads has lost its connection and ends at once
		s.slots <- struct{}{}
	}
	return nil
}

// Handler answers POST /v1/exchanges and GET /healthz.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/exchanges", s.post)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	return mux
}

func (s *Server) post(w http.ResponseWriter, r *http.Request) {
	s.posts.Add(1)
	refuse := func(status int, why string) {
		s.refused.Add(1)
		if status == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "1")
		}
		answer(w, status, &result{Errors: []flaw{{Index: -1, Error: why}}})
	}
	if !s.authorised(r) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		refuse(http.StatusUnauthorized, "want Authorization: Bearer with the token of this tap")
		return
	}
	form, ok := formOf(r.Header.Get("Content-Type"))
	if !ok {
		refuse(http.StatusUnsupportedMediaType, "want Content-Type application/json, application/x-ndjson, or application/x-protobuf "+
			"(reprise.v1.Exchange; with ; proto=reprise.v1.ExchangeBatch several)")
		return
	}
	if r.ContentLength > s.cfg.RequestMax {
		refuse(http.StatusRequestEntityTooLarge, fmt.Sprintf("want at most %d bytes in one request", s.cfg.RequestMax))
		return
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		refuse(http.StatusTooManyRequests, "too many requests at a time")
		return
	}
	content, closeContent, err := uncoded(r)
	if err != nil {
		refuse(http.StatusUnsupportedMediaType, err.Error())
		return
	}
	defer closeContent()
	b := s.newIntake(form, content)
	defer b.close()
	b.run()
	s.count(&b.result)
	answer(w, b.result.status(), &b.result)
}

func (s *Server) authorised(r *http.Request) bool {
	if s.cfg.Token == "" {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare([]byte(token), []byte(s.cfg.Token)) == 1
}

func (s *Server) count(r *result) {
	s.accepted.Add(int64(r.Accepted))
	s.rejected.Add(int64(r.Rejected))
	s.shed.Add(int64(r.Shed))
	s.marked.Add(int64(r.Marked))
	for reason, n := range map[string]int{"malformed": r.Rejected, "memory": r.Shed, "marked": r.Marked} {
		if n > 0 {
			s.cfg.Sink.Shed(reason, n)
		}
	}
}

// result is the answer.
type result struct {
	Accepted int    `json:"accepted"`
	Rejected int    `json:"rejected"`
	Shed     int    `json:"shed"`   // no memory for them
	Marked   int    `json:"marked"` // a replayer caused them: never captured
	Errors   []flaw `json:"errors,omitempty"`

	tooLarge bool
	broken   bool // the rest could not be read
}

// flaw is about one exchange, counted from 0; -1: about the request as a whole.
type flaw struct {
	Index int    `json:"index"`
	Error string `json:"error"`
}

// maxFlaws bounds the errors in one answer.
const maxFlaws = 5

func (r *result) flaw(index int, err error) {
	if len(r.Errors) < maxFlaws {
		r.Errors = append(r.Errors, flaw{index, err.Error()})
	}
}

// status is 202 as soon as something was understood: it is kept, or shed, and is not to be sent again.
func (r *result) status() int {
	switch {
	case r.Accepted+r.Shed+r.Marked > 0:
		return http.StatusAccepted
	case r.tooLarge:
		return http.StatusRequestEntityTooLarge
	case r.Rejected > 0 || r.broken:
		return http.StatusBadRequest
	}
	return http.StatusAccepted
}

func answer(w http.ResponseWriter, status int, r *result) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(r) // who sent it may be gone
}
