package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/web"
)

// source answers with what it was asked.
type source struct {
	err  error
	hold chan struct{} // nil: it answers at once
	came chan struct{}
}

func (s *source) said(v ...any) (any, error) {
	if s.hold != nil {
		s.came <- struct{}{}
		<-s.hold
	}
	if s.err != nil && fault.Code(s.err) != fault.Incomplete {
		return nil, s.err
	}
	return v, s.err
}

func (s *source) Stats(_ context.Context, q web.Query) (any, error) { return s.said("stats", q.From) }
func (s *source) Runs(context.Context) (any, error)                 { return s.said("runs") }
func (s *source) Pace(context.Context) (any, error)                 { return s.said("pace") }
func (s *source) Exchanges(_ context.Context, q web.Query) (any, error) {
	return s.said(q.Filter, q.Limit)
}
func (s *source) Exchange(_ context.Context, id string) (any, error) { return s.said(id) }
func (s *source) Report(_ context.Context, run string) (any, error)  { return s.said(run) }
func (s *source) Diff(_ context.Context, run string, n int64) (any, error) {
	return s.said("diff", run, n)
}

func handler(t *testing.T, s *source) http.Handler {
	t.Helper()
	h, err := web.Handler(web.Options{Source: s, Host: "inspect.local", Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	return h
}

func get(h http.Handler, host, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "http://"+host+path, nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestPageAsksForWhatThereIs(t *testing.T) {
	h := handler(t, &source{})
	for path, want := range map[string]string{
		"/api/stats?from=now-5m": `["stats","now-5m"]`,
		"/api/runs":              `["runs"]`,
		"/api/pace":              `["pace"]`,
		"/api/exchanges?filter=GET%20/a/**&limit=7": `["GET /a/**",7]`,
		"/api/exchanges/9f":                         `["9f"]`,
		"/api/runs/build-1/report":                  `["build-1"]`,
		"/api/runs/build-1/diff":                    `["diff","build-1",100]`,
	} {
		w := get(h, "127.0.0.1:9410", path)
		require.Equal(t, http.StatusOK, w.Code, path)
		require.JSONEq(t, want, w.Body.String(), path)
	}
	for _, path := range []string{"/", "/app.js", "/style.css"} {
		w := get(h, "127.0.0.1:9410", path)
		require.Equal(t, http.StatusOK, w.Code, path)
		require.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'")
		require.NotContains(t, w.Body.String(), "innerHTML")
		require.NotContains(t, w.Body.String(), "https://", "nothing of elsewhere")
	}
	for _, n := range []string{"0", "-1", "1001", "x"} {
		require.Equal(t, http.StatusBadRequest, get(h, "127.0.0.1", "/api/exchanges?limit="+n).Code, n)
	}
	post := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/api/runs", nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, post)
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
}

func TestOtherNamesAreNotAnswered(t *testing.T) {
	h := handler(t, &source{})
	for host, code := range map[string]int{
		"127.0.0.1:9410": 200, "[::1]:9410": 200, "localhost": 200, "LOCALHOST.:1": 200, "10.0.0.7": 200, "inspect.local:9410": 200,
		"evil.example": 421, "127.0.0.1.evil.example:9410": 421, "localhost.evil.example": 421,
	} {
		require.Equal(t, code, get(h, host, "/api/runs").Code, host)
		require.Equal(t, code, get(h, host, "/").Code, host)
	}
}

func TestErrorsAreToldAsEverywhere(t *testing.T) {
	for _, row := range []struct {
		err  error
		code int
	}{
		{fault.BadUsage("bad filter", "it ends", "GET /"), http.StatusBadRequest},
		{fault.New("no run x", "", "inspect runs"), http.StatusBadGateway},
		{errors.New("broken pipe"), http.StatusBadGateway},
		{context.DeadlineExceeded, http.StatusGatewayTimeout},
		{&fault.Error{What: "1 record could not be read", Code: fault.Incomplete}, http.StatusOK},
	} {
		w := get(handler(t, &source{err: row.err}), "127.0.0.1", "/api/stats")
		require.Equal(t, row.code, w.Code, row.err)
		require.True(t, json.Valid(w.Body.Bytes()))
	}
}

func TestNoMoreThanSomeReadAtOnce(t *testing.T) {
	s := &source{hold: make(chan struct{}), came: make(chan struct{})}
	h := handler(t, s)
	done := make(chan int)
	for range 4 {
		go func() { done <- get(h, "127.0.0.1", "/api/stats").Code }()
		<-s.came
	}
	require.Equal(t, http.StatusTooManyRequests, get(h, "127.0.0.1", "/api/stats").Code)
	close(s.hold)
	for range 4 {
		require.Equal(t, http.StatusOK, <-done)
	}
}
