// Command example is a small server whose traffic goes to a tap: it echoes what it is sent, or passes it on.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/reprise-io/reprise/middleware/nethttp"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	tap := flag.String("tap", "http://127.0.0.1:8090", "URL of tap ingest")
	upstream := flag.String("upstream", "", "URL of a server to pass requests on to; none: they are echoed")
	flag.Parse()
	if err := run(*listen, *tap, *upstream); err != nil {
		slog.New(slog.NewTextHandler(os.Stderr, nil)).Error("ended", "error", err)
		os.Exit(1)
	}
}

func run(listen, tapURL, upstream string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	tap, err := nethttp.New(nethttp.Options{URL: tapURL, OnError: func(err error) { log.Warn("tap", "error", err) }})
	if err != nil {
		return err
	}
	var handler http.Handler = http.HandlerFunc(echo)
	if upstream != "" {
		to, err := url.Parse(upstream)
		if err != nil {
			return err
		}
		handler = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	}
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: tap.Handler(handler), ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(ln) }()
	log.Info("listening", "listen", ln.Addr().String())
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = server.Shutdown(drain)
	if lost := tap.Close(drain); lost != nil {
		log.Warn("tap", "error", lost)
	}
	fmt.Printf("%+v\n", tap.Stats())
	return err
}

func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
	w.WriteHeader(http.StatusCreated)
	_, _ = io.Copy(w, r.Body)
}
