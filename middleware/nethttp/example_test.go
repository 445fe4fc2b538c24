package nethttp_test

import (
	"context"
	"log"
	"net/http"
	"strings"
	"time"

	"github.com/reprise-io/reprise/middleware/nethttp"
)

func Example() {
	tap, err := nethttp.New(nethttp.Options{
		URL:     "http://127.0.0.1:8090", // tap ingest --listen 127.0.0.1:8090
		Sample:  func(r *http.Request) bool { return !strings.HasPrefix(r.URL.Path, "/health") },
		OnError: func(err error) { log.Print(err) },
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello\n")) })
	server := &http.Server{Addr: ":8080", Handler: tap.Handler(mux)}

	// When the program ends: first the server, then the tap, which sends what is left.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = server.Shutdown(ctx)
	_ = tap.Close(ctx)
}
