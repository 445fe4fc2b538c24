// Package admin serves what operators look at: /metrics, /healthz, /readyz, and /debug/pprof/ when asked for. Health and
// readiness never depend on Kafka: a tap without it still forwards.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/reprise-io/reprise/internal/fault"
)

// shutdownTimeout bounds how long open requests may hold up the end.
const shutdownTimeout = time.Second

// Options say what to serve.
type Options struct {
	Listen   string
	Bind     func(address string) (*net.TCPListener, error) // of Listen; nil: a new socket
	Pprof    bool
	Gatherer prometheus.Gatherer
	Ready    func() bool // nil: ready as soon as it serves
	Logger   *slog.Logger
}

// Server is bound but serves only in Run.
type Server struct {
	listener net.Listener
	server   *http.Server
}

// Listen binds the address. The error is a *fault.Error that names it.
func Listen(o Options) (*Server, error) {
	var ln net.Listener
	var err error
	if o.Bind != nil {
		ln, err = o.Bind(o.Listen)
	} else {
		ln, err = net.Listen("tcp", o.Listen)
	}
	if err != nil {
		f := &fault.Error{
			What: fmt.Sprintf("cannot listen on --admin %s", o.Listen), Cause: err.Error(),
			Try: "another address, or --admin 127.0.0.1:0 for a free port", Code: fault.Usage, Err: err,
		}
		if errors.Is(err, syscall.EADDRINUSE) {
			f.Code, f.Cause = fault.Failure, "the port is in use"
		}
		return nil, f
	}
	return &Server{listener: ln, server: &http.Server{
		Handler:           handler(o),
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}}, nil
}

func handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Gatherer, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if o.Ready != nil && !o.Ready() {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	if o.Pprof {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// Addr is the bound address.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- s.server.Serve(s.listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("admin server: %w", err)
	case <-ctx.Done():
	}
	shut, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err := s.server.Shutdown(shut)
	if err != nil {
		err = s.server.Close()
	}
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
