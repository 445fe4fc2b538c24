package proxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/reprise-io/reprise/internal/traffic"
)

// h2Rig is a proxy in front of an HTTP/2 server in clear text, and a client that knows it to be one.
func h2Rig(t *testing.T, handler http.HandlerFunc) (*rig, *http.Transport) {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	server := httptest.NewUnstartedServer(handler)
	server.Config.Protocols = protocols
	server.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 500}
	server.Start()
	t.Cleanup(server.Close)
	client := &http.Transport{Protocols: protocols, MaxConnsPerHost: 1, HTTP2: &http.HTTP2Config{StrictMaxConcurrentRequests: true}}
	t.Cleanup(client.CloseIdleConnections)
	return newRig(t, server.Listener.Addr().String()), client
}

// do sends a request through the proxy and reads the whole answer.
func (r *rig) do(client *http.Transport, method, path string, body []byte, header http.Header) (*http.Response, []byte) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.Addr().String()+path, bytes.NewReader(body))
	require.NoError(r.t, err)
	for name, values := range header {
		req.Header[name] = values
	}
	res, err := client.RoundTrip(req)
	require.NoError(r.t, err)
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	require.NoError(r.t, err)
	return res, got
}

func TestCapturesManyStreamsOfOneConnection(t *testing.T) {
	const streams = 300
	var begun sync.WaitGroup
	begun.Add(streams)
	r, client := h2Rig(t, func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		begun.Done()
		begun.Wait() // all are open at once
		w.Header().Set("X-Echo", req.URL.Path)
		_, _ = w.Write(append([]byte("echo of "), body...))
	})
	var asking sync.WaitGroup
	for i := range streams {
		asking.Go(func() {
			path, body := fmt.Sprintf("/items/%d", i), bytes.Repeat([]byte{byte(i)}, i)
			res, got := r.do(client, http.MethodPost, path, body, nil)
			require.Equal(t, path, res.Header.Get("X-Echo"))
			require.Equal(t, "echo of "+string(body), string(got))
		})
	}
	asking.Wait()
	kept := r.shelf.exchanges(t, streams)
	seen := map[string]bool{}
	for _, x := range kept {
		var i int
		_, err := fmt.Sscanf(string(x.Request.Target), "/items/%d", &i)
		require.NoError(t, err)
		require.Equal(t, bytes.Repeat([]byte{byte(i)}, i), append([]byte{}, x.Request.Body...))
		require.Equal(t, "echo of "+string(x.Request.Body), string(x.Response.Body))
		require.Equal(t, "HTTP/2.0", string(x.Request.Protocol))
		require.Equal(t, r.Addr().String(), string(x.Request.Authority))
		require.Zero(t, x.Flags)
		seen[string(x.Request.Target)] = true
	}
	require.Len(t, seen, streams)
	require.Equal(t, int64(1), r.Stats().Accepted)
	require.Zero(t, r.Stats().Opaque)
}

func TestCapturesGRPC(t *testing.T) {
	message := "\x00\x00\x00\x00\x05hello"
	r, client := h2Rig(t, func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
		if req.URL.Path == "/shop.Cart/Nothing" {
			w.Header().Set("Grpc-Status", "12")
			return
		}
		for range 3 {
			_, _ = w.Write(body)
			w.(http.Flusher).Flush()
		}
		w.Header().Set("Grpc-Status", "0")
		w.Header().Set("Grpc-Message", "fine")
	})
	header := http.Header{"Content-Type": {"application/grpc+proto"}, "Te": {"trailers"}}
	res, got := r.do(client, http.MethodPost, "/shop.Cart/Add", []byte(message), header)
	require.Equal(t, strings.Repeat(message, 3), string(got))
	require.Equal(t, "0", res.Trailer.Get("Grpc-Status"))
	res, _ = r.do(client, http.MethodPost, "/shop.Cart/Nothing", []byte(message), header)
	require.Equal(t, http.StatusOK, res.StatusCode)

	kept := r.shelf.exchanges(t, 2)
	x := kept[0]
	method, ok := x.GRPCMethod()
	require.True(t, ok)
	require.Equal(t, "/shop.Cart/Add", string(method))
	status, ok := x.GRPCStatus()
	require.True(t, ok)
	require.Zero(t, status)
	messages, rest := traffic.GRPCMessages(x.Response.Body, 10)
	require.Len(t, messages, 3)
	require.Equal(t, "hello", string(messages[2].Data))
	require.Empty(t, rest)
	require.ElementsMatch(t, []string{"grpc-status=0", "grpc-message=fine"}, pairs(x.Response.Trailers))
	require.Contains(t, pairs(x.Request.Headers), "te=trailers")
	status, ok = kept[1].GRPCStatus()
	require.True(t, ok)
	require.Equal(t, 12, status)
}

func pairs(fields []traffic.Field) (out []string) {
	for _, f := range fields {
		out = append(out, string(f.Name)+"="+string(f.Value))
	}
	return out
}

func TestPassesLargeH2BodiesUnchanged(t *testing.T) {
	const size = 5 << 20
	body := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	r, client := h2Rig(t, func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(w, req.Body)
	})
	_, got := r.do(client, http.MethodPut, "/large", body, nil)
	require.Equal(t, sha256.Sum256(body), sha256.Sum256(got))
	x := r.shelf.exchanges(t, 1)[0]
	require.Equal(t, body[:256<<10], x.Request.Body)
	require.Equal(t, body[:256<<10], x.Response.Body)
	require.EqualValues(t, size, x.Request.BodySize)
	require.EqualValues(t, size, x.Response.BodySize)
	require.Equal(t, traffic.TruncatedRequest|traffic.TruncatedResponse, x.Flags)
}

func TestSeesStreamsBreakOff(t *testing.T) {
	arrived := make(chan struct{})
	r, client := h2Rig(t, func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/client":
			close(arrived)
			<-req.Context().Done()
		case "/server":
			panic(http.ErrAbortHandler)
		case "/middle":
			_, _ = io.WriteString(w, "part")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	})
	url := "http://" + r.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/client", http.NoBody)
	require.NoError(t, err)
	_, err = client.RoundTrip(req)
	require.ErrorIs(t, err, context.Canceled)
	for _, path := range []string{"/server", "/middle"} {
		req, err = http.NewRequestWithContext(t.Context(), http.MethodGet, url+path, http.NoBody)
		require.NoError(t, err)
		if res, err := client.RoundTrip(req); err == nil {
			_, err = io.ReadAll(res.Body)
			require.Error(t, err)
		}
	}
	r.do(client, http.MethodGet, "/fine", nil, nil)
	got := lineOf(r.shelf.exchanges(t, 4))
	slices.Sort(got)
	require.Equal(t, []string{
		`1 GET /client "" CLIENT_ABORTED`, `2 GET /server "" NO_RESPONSE`, `3 GET /middle "" → 200 "part" TRUNCATED_RESPONSE`, `4 GET /fine "" → 200 ""`,
	}, got)
}

func TestAServerThatGoesAwayLosesNothing(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	r, client := h2Rig(t, func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		w.Header().Set("Connection", "close") // which HTTP/2 says with GOAWAY
		_, _ = io.WriteString(w, "bye")
	})
	go func() { <-arrived; close(release) }()
	_, got := r.do(client, http.MethodGet, "/", nil, nil)
	require.Equal(t, "bye", string(got))
	require.Equal(t, []string{`1 GET / "" → 200 "bye"`}, lineOf(r.shelf.exchanges(t, 1)))
	eventually(t, func() bool { return r.Stats().Connections == 0 })
}

func TestCapturesAnUpgradeToH2(t *testing.T) {
	r, client, server := pair(t)
	var sent, block bytes.Buffer
	framer := http2.NewFramer(&sent, nil)
	bytesOf := func(err error) string {
		require.NoError(t, err)
		defer sent.Reset()
		return sent.String()
	}
	encoder := hpack.NewEncoder(&block) // for one side at a time: nothing below is said by both
	headers := func(stream uint32, end bool, fields ...string) string {
		block.Reset()
		encoder.SetMaxDynamicTableSize(0)
		for i := 0; i < len(fields); i += 2 {
			require.NoError(t, encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}))
		}
		return bytesOf(framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, EndStream: end, EndHeaders: true, BlockFragment: block.Bytes()}))
	}
	hold(t, client, server, 7, []turn{
		ask("POST /first HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: 2\r\n\r\nab"),
		reply("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + bytesOf(framer.WriteSettings())),
		ask(http2.ClientPreface + bytesOf(framer.WriteSettings())),
		ask(headers(3, true, ":method", "GET", ":scheme", "http", ":authority", "shop", ":path", "/second")),
		reply(headers(3, true, ":status", "404") + headers(1, false, ":status", "200") + bytesOf(framer.WriteData(1, true, []byte("ok")))),
	})
	require.Equal(t, []string{`2 GET /second "" → 404 ""`, `1 POST /first "ab" → 200 "ok"`}, lineOf(r.shelf.exchanges(t, 2)))
	require.Zero(t, r.Stats().Opaque)
}

func TestAMarkedH2RequestIsNotCaptured(t *testing.T) {
	r, client := h2Rig(t, func(http.ResponseWriter, *http.Request) {})
	r.do(client, http.MethodGet, "/marked", nil, http.Header{"Reprise-Replay": {"live"}})
	r.do(client, http.MethodGet, "/real", nil, nil)
	require.Equal(t, []string{`2 GET /real "" → 200 ""`}, lineOf(r.shelf.exchanges(t, 1)))
	r.shelf.until(t, func() bool { return r.shelf.shed["marked"] == 1 })
}

func TestH2PassesWhileTheBudgetIsSpent(t *testing.T) {
	r, client := h2Rig(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	r.shelf.limit.Store(1)
	for range 20 {
		_, got := r.do(client, http.MethodGet, "/", nil, nil)
		require.Equal(t, "ok", string(got))
	}
	r.shelf.until(t, func() bool { return r.shelf.shed["memory"] == 20 })
	r.shelf.limit.Store(0)
	r.do(client, http.MethodGet, "/kept", nil, nil)
	require.Equal(t, []string{`21 GET /kept "" → 200 "ok"`}, lineOf(r.shelf.exchanges(t, 1)))
}
