// Package web is the page of inspect serve: rate and runs as they go, exchanges with their requests and answers, and where a replay's
// answers differ. It only reads, and what came from the wire is text to it.
package web

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
)

//go:embed page
var page embed.FS

// Bounds of what the page may ask for.
const (
	mostRows   = 1000
	mostAtOnce = 4 // requests that read Kafka
	answerTime = 30 * time.Second
)

// Query says which exchanges are wanted, in the words of inspect's flags.
type Query struct {
	From, To, Filter string
	Limit            int64
}

// Source reads what is shown. What it returns is written as JSON; an error with the code fault.Usage is about the query. With an error that
// is fault.Incomplete there may be a result too.
type Source interface {
	Stats(context.Context, Query) (any, error)
	Runs(context.Context) (any, error)
	Pace(context.Context) (any, error)
	Exchanges(context.Context, Query) (any, error)
	Exchange(ctx context.Context, id string) (any, error)
	Report(ctx context.Context, run string) (any, error)
	Diff(ctx context.Context, run string, limit int64) (any, error)
}

// Options say what to serve.
type Options struct {
	Source Source
	Host   string // that is listened on, beside addresses and localhost a name by which the page may be asked for; empty: none
	Logger *slog.Logger
}

// Handler serves the page and what it asks for. It answers by no other name than addresses, localhost and Options.Host, so that no page of
// somebody else's reads it by a name that changes its meaning.
func Handler(o Options) (http.Handler, error) {
	files, err := fs.Sub(page, "page")
	if err != nil {
		return nil, err
	}
	h := &handler{o, make(chan struct{}, mostAtOnce)}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.Handle("GET /api/stats", h.json(func(r *http.Request, q Query) (any, error) { return o.Source.Stats(r.Context(), q) }))
	mux.Handle("GET /api/runs", h.json(func(r *http.Request, _ Query) (any, error) { return o.Source.Runs(r.Context()) }))
	mux.Handle("GET /api/pace", h.json(func(r *http.Request, _ Query) (any, error) { return o.Source.Pace(r.Context()) }))
	mux.Handle("GET /api/exchanges", h.json(func(r *http.Request, q Query) (any, error) { return o.Source.Exchanges(r.Context(), q) }))
	mux.Handle("GET /api/exchanges/{id}", h.json(func(r *http.Request, _ Query) (any, error) {
		return o.Source.Exchange(r.Context(), r.PathValue("id"))
	}))
	mux.Handle("GET /api/runs/{run}/report", h.json(func(r *http.Request, _ Query) (any, error) {
		return o.Source.Report(r.Context(), r.PathValue("run"))
	}))
	mux.Handle("GET /api/runs/{run}/diff", h.json(func(r *http.Request, q Query) (any, error) {
		return o.Source.Diff(r.Context(), r.PathValue("run"), q.Limit)
	}))
	return h.guard(mux), nil
}

type handler struct {
	Options
	slots chan struct{}
}

// guard refuses other names, and tells browsers to run and load nothing but what is here.
func (h *handler) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !h.knows(r.Host) {
			http.Error(w, "not served by that name", http.StatusMisdirectedRequest)
			return
		}
		header := w.Header()
		header.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func (h *handler) knows(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "localhost" || host != "" && host == strings.ToLower(h.Host) {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

func (h *handler) json(answer func(*http.Request, Query) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case h.slots <- struct{}{}:
			defer func() { <-h.slots }()
		default:
			h.fail(w, http.StatusTooManyRequests, "too many requests at once", "", "try again")
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), answerTime)
		defer cancel()
		q, err := query(r)
		if err != nil {
			h.error(w, err)
			return
		}
		v, err := answer(r.WithContext(ctx), q)
		if err != nil && (v == nil || fault.Code(err) != fault.Incomplete) {
			h.error(w, err)
			return
		}
		h.write(w, http.StatusOK, v)
	})
}

func query(r *http.Request) (Query, error) {
	v := r.URL.Query()
	q := Query{From: v.Get("from"), To: v.Get("to"), Filter: v.Get("filter"), Limit: 100}
	if text := v.Get("limit"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 1 || n > mostRows {
			return q, fault.BadUsage("bad limit", "want a number from 1 to "+strconv.Itoa(mostRows), "limit=100")
		}
		q.Limit = n
	}
	return q, nil
}

func (h *handler) error(w http.ResponseWriter, err error) {
	status := http.StatusBadGateway
	what, cause, try := err.Error(), "", ""
	if f, ok := errors.AsType[*fault.Error](err); ok {
		what, cause, try = f.What, f.Cause, f.Try
	}
	switch {
	case fault.Code(err) == fault.Usage:
		status = http.StatusBadRequest
	case errors.Is(err, context.DeadlineExceeded):
		status, try = http.StatusGatewayTimeout, "a shorter window"
	}
	h.fail(w, status, what, cause, try)
}

func (h *handler) fail(w http.ResponseWriter, status int, what, cause, try string) {
	h.write(w, status, map[string]string{"error": what, "cause": cause, "try": try})
}

func (h *handler) write(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		h.Logger.Error("an answer cannot be written", "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}
