//go:build e2e

package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/inspect"
	"github.com/reprise-io/reprise/internal/traffic"
)

// clearH2 are the protocols of clients and servers that speak HTTP/2 in clear text, with prior knowledge.
func clearH2() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

// cart is a gRPC service in the words of HTTP: it sends every message back, and its status in the trailers.
func cart(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	if !strings.HasPrefix(req.URL.Path, "/shop.Cart/") {
		w.Header().Set("X-Proto", req.Proto)
		_, _ = fmt.Fprintf(w, "%s %s", req.Method, req.URL.Path)
		return
	}
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
	_, _ = w.Write(body)
	if w.Header().Set("Grpc-Status", "0"); req.URL.Path == "/shop.Cart/Lost" {
		w.Header().Set("Grpc-Status", "5")
		w.Header().Set("Grpc-Message", "no such cart")
	}
}

func TestTapRecordsHTTP2AndGRPC(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	production := httptest.NewUnstartedServer(http.HandlerFunc(cart))
	production.Config.Protocols = clearH2()
	production.Start()
	t.Cleanup(production.Close)
	tap := startTap(t, prefix, production.Listener.Addr().String())
	client := &http.Client{Transport: &http.Transport{Protocols: clearH2(), MaxConnsPerHost: 1}, Timeout: time.Minute}
	ask := func(method, path, contentType string, body []byte) (*http.Response, []byte) {
		req, err := http.NewRequestWithContext(t.Context(), method, tap.url()+path, bytes.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer planted-secret")
		if contentType != "" {
			req.Header.Set("Content-Type", contentType)
			req.Header.Set("Te", "trailers")
		}
		res, err := client.Do(req)
		require.NoError(t, err)
		defer res.Body.Close()
		got, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return res, got
	}
	const gets, calls = 100, 50
	message := func(i int) []byte { return fmt.Appendf([]byte{0, 0, 0, 0, 10}, "message%03d", i) }
	var asking sync.WaitGroup
	for i := range gets {
		asking.Go(func() {
			path := fmt.Sprintf("/items/%d", i)
			res, got := ask(http.MethodGet, path, "", nil)
			require.Equal(t, "HTTP/2.0", res.Header.Get("X-Proto"))
			require.Equal(t, "GET "+path, string(got))
		})
	}
	for i := range calls {
		asking.Go(func() {
			path := "/shop.Cart/Add"
			if i%10 == 0 {
				path = "/shop.Cart/Lost"
			}
			res, got := ask(http.MethodPost, path, "application/grpc", message(i))
			require.Equal(t, message(i), got)
			require.NotEmpty(t, res.Trailer.Get("Grpc-Status"))
		})
	}
	asking.Wait()
	require.Equal(t, gets+calls, tap.settled(t, gets+calls).produced)

	all := exchanges(t, names)
	for i := range gets {
		x := one(t, all, fmt.Sprintf("/items/%d", i))
		require.Equal(t, "HTTP/2.0", string(x.Request.Protocol))
		require.Equal(t, tap.addr, string(x.Request.Authority))
		require.Equal(t, fmt.Sprintf("GET /items/%d", i), string(x.Response.Body))
		require.Zero(t, x.Flags)
		secret, ok := traffic.Get(x.Request.Headers, "authorization")
		require.True(t, ok)
		require.NotContains(t, string(secret), "planted")
	}
	require.Len(t, all["/shop.Cart/Add"], 45)
	require.Len(t, all["/shop.Cart/Lost"], 5)
	for _, x := range all["/shop.Cart/Lost"] {
		messages, rest := traffic.GRPCMessages(x.Response.Body, 10)
		require.Len(t, messages, 1)
		require.Empty(t, rest)
		require.Equal(t, x.Request.Body, x.Response.Body)
		code, ok := x.GRPCStatus()
		require.True(t, ok)
		require.Equal(t, 5, code)
		text, _ := traffic.Get(x.Response.Trailers, "grpc-message")
		require.Equal(t, "no such cart", string(text))
	}

	got := run(t, time.Minute, "inspect", "stats", "-o", "json", "--brokers", shared.broker.Addr(), "--topic-prefix", prefix)
	require.Zero(t, got.Code, got.Stderr)
	var stats inspect.Stats
	require.NoError(t, json.Unmarshal([]byte(got.Stdout), &stats))
	require.Equal(t, []string{"GET /items/{id}", "POST /shop.Cart/Add", "POST /shop.Cart/Lost"},
		[]string{stats.Routes[0].Route, stats.Routes[1].Route, stats.Routes[2].Route})
	require.EqualValues(t, 5, *stats.Routes[2].GRPCErrors)

	// gRPC is replayed over HTTP/2 with prior knowledge, the rest over HTTP/1.1; and a tap knows its own replay in either.
	var overHTTP2, overHTTP1 atomic.Int64
	next := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasPrefix(req.URL.Path, "/shop.Cart/") && req.ProtoMajor == 2 {
			overHTTP2.Add(1)
		} else if req.ProtoMajor == 1 {
			overHTTP1.Add(1)
		}
		cart(w, req)
	}))
	next.Config.Protocols = clearH2()
	next.Config.Protocols.SetHTTP1(true)
	next.Start()
	t.Cleanup(next.Close)
	preproduction := next.Listener.Addr().String()
	r := replay(t, time.Minute, replayArgs("run", prefix, preproduction, "--run", "h2", "--speed", "max", "--allow-writes", "POST /shop.Cart/*")...)
	require.EqualValues(t, gets+calls, r.Fired)
	require.Empty(t, r.Failed)
	require.EqualValues(t, gets+calls, r.Statuses["2xx"]+r.Statuses["200"], "%v", r.Statuses)
	require.EqualValues(t, calls, overHTTP2.Load())
	require.EqualValues(t, gets, overHTTP1.Load())
	require.EqualValues(t, gets+calls, r.Answers.Same, "gRPC's status too")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tap.url()+"/replayed", http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Reprise-Replay", "h2")
	res, err := client.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, 1, tap.settled(t, gets+calls+1).filtered)
}
