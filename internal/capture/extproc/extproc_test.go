package extproc

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/wire"
)

func TestExchangeHasAllThatEnvoySent(t *testing.T) {
	r := start(t, Config{Name: "edge", BodyMax: 100})
	at := time.Now().Add(-time.Second).Truncate(time.Microsecond).UTC()
	x := r.exchange(t,
		with(requestHead(false, "x-dup", "1", "content-type", "text/plain", "x-dup", "\xff2"), map[string]any{
			"request.time": at.Format("2006-01-02T15:04:05.000000+00:00"), "request.protocol": "HTTP/1.1",
			"source.address": "198.51.100.4:58242", "destination.address": "192.0.2.1:443", "connection.id": 17,
		}),
		requestBody(false, "hel"), requestBody(false, "lo"), requestTrailers("x-sum", "5"),
		with(responseHead("201", false, "content-type", "text/html"), map[string]any{"response.code_details": "via_upstream"}),
		responseBody(false, "cre"), responseBody(false, "ated"), responseTrailers("grpc-status", "0"))
	require.Equal(t, &traffic.Exchange{
		CaptureTime: at, TimeSource: traffic.GatewayTime, Source: traffic.Source{Kind: traffic.ExtProc, Name: []byte("edge")},
		Connection: traffic.Connection{
			ID: []byte("bufconn/17/198.51.100.4:58242"), Client: []byte("198.51.100.4:58242"), Server: []byte("192.0.2.1:443"),
		},
		Request: traffic.Request{
			Method: []byte("POST"), Scheme: []byte("http"), Authority: []byte("shop.example:8080"), Target: []byte("/cart?x=1"),
			Protocol: []byte("HTTP/1.1"), Headers: fields("host", "shop.example:8080", "x-dup", "1", "content-type", "text/plain", "x-dup", "\xff2"),
			Body: []byte("hello"), BodySize: 5, Trailers: fields("x-sum", "5"),
		},
		Response: &traffic.Response{
			Status: 201, Headers: fields("content-type", "text/html"), Body: []byte("created"), BodySize: 7,
			Trailers: fields("grpc-status", "0"), TTFB: x.Response.TTFB, Duration: x.Response.Duration,
		},
	}, x)
	require.GreaterOrEqual(t, x.Response.Duration, x.Response.TTFB)
	require.Equal(t, Stats{Accepted: 1, RequestBytes: 5, ResponseBytes: 7}, r.Stats())
}

func TestStreamEndsWithTheResponse(t *testing.T) {
	for name, end := range map[string][]*extprocv3.ProcessingRequest{
		"headers":  {responseHead("204", true)},
		"body":     {responseHead("200", false), responseBody(false, "a"), responseBody(true, "")},
		"trailers": {responseHead("200", false), responseTrailers("a", "b")},
		"switched": {responseHead("101", false)},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, Config{BodyMax: 10})
			st := r.open(t)
			send(st, append([]*extprocv3.ProcessingRequest{requestHead(true)}, end...)...)
			_, err := st.Recv() // without CloseSend: the server ends it
			require.ErrorIs(t, err, io.EOF)
			require.Len(t, r.kept, 1)
		})
	}
}

func TestFlags(t *testing.T) {
	old := time.Now().Add(-6 * time.Minute).Format(time.RFC3339Nano)
	for _, k := range []struct {
		name     string
		messages []*extprocv3.ProcessingRequest
		want     traffic.Flags
		check    func(*testing.T, *traffic.Exchange)
	}{
		{"Envoy's own answer", []*extprocv3.ProcessingRequest{
			requestHead(true), with(responseHead("503", true), map[string]any{"response.code_details": "no_healthy_upstream"}),
		}, traffic.LocalReply, nil},
		{"a clock that is off", []*extprocv3.ProcessingRequest{
			with(requestHead(true), map[string]any{"request.time": old}), responseHead("200", true),
		}, traffic.ClockReplaced, func(t *testing.T, x *traffic.Exchange) {
			require.Equal(t, traffic.OwnClock, x.TimeSource)
			require.WithinDuration(t, time.Now(), x.CaptureTime, time.Minute)
		}},
		{"no clock", []*extprocv3.ProcessingRequest{requestHead(true), responseHead("200", true)}, 0, func(t *testing.T, x *traffic.Exchange) {
			require.Equal(t, traffic.OwnClock, x.TimeSource)
			require.Empty(t, x.Connection.ID)
		}},
		{"bodies over the cap", []*extprocv3.ProcessingRequest{
			requestHead(false), requestBody(false, strings.Repeat("a", 70)), requestBody(true, strings.Repeat("b", 70)),
			responseHead("200", false), responseBody(true, strings.Repeat("c", 300)),
		}, traffic.TruncatedRequest | traffic.TruncatedResponse, func(t *testing.T, x *traffic.Exchange) {
			require.Equal(t, strings.Repeat("a", 70)+strings.Repeat("b", 30), string(x.Request.Body))
			require.EqualValues(t, 140, x.Request.BodySize)
			require.Len(t, x.Response.Body, 100)
			require.EqualValues(t, 300, x.Response.BodySize)
		}},
		{"the client left before its request was whole", []*extprocv3.ProcessingRequest{
			requestHead(false, "content-length", "90"), requestBody(false, "abc"),
		}, traffic.ClientAborted | traffic.TruncatedRequest, func(t *testing.T, x *traffic.Exchange) {
			require.EqualValues(t, 90, x.Request.BodySize)
		}},
		{"the client left before the answer", []*extprocv3.ProcessingRequest{requestHead(true)}, traffic.ClientAborted, nil},
		{"the answer was not whole", []*extprocv3.ProcessingRequest{
			requestHead(true), responseHead("200", false, "content-length", "50"), responseBody(false, "abc"),
		}, traffic.TruncatedResponse, func(t *testing.T, x *traffic.Exchange) {
			require.EqualValues(t, 50, x.Response.BodySize)
		}},
		{"an answer before the request's end", []*extprocv3.ProcessingRequest{
			requestHead(false), requestBody(false, "abc"), responseHead("413", true),
		}, traffic.TruncatedRequest, nil},
		{"103, then the answer", []*extprocv3.ProcessingRequest{
			requestHead(true), responseHead("103", false, "link", "x"), responseHead("200", true),
		}, 0, func(t *testing.T, x *traffic.Exchange) { require.Equal(t, 200, x.Response.Status) }},
		{"the length of an answer to HEAD", []*extprocv3.ProcessingRequest{
			requestHead(true), responseHead("200", true, "content-length", "5000"),
		}, 0, func(t *testing.T, x *traffic.Exchange) { require.Zero(t, x.Response.BodySize) }},
		{"a version as Envoy writes it", []*extprocv3.ProcessingRequest{
			with(requestHead(true), map[string]any{"request.protocol": "HTTP/2"}), responseHead("200", true),
		}, 0, func(t *testing.T, x *traffic.Exchange) {
			require.Equal(t, "HTTP/2.0", string(x.Request.Protocol))
			require.Empty(t, x.Request.Headers, "no Host, as the client sent none")
		}},
		{"upgraded", []*extprocv3.ProcessingRequest{requestHead(false), responseHead("101", false)}, traffic.Upgraded, nil},
		{"parts that come twice or too late", []*extprocv3.ProcessingRequest{
			requestBody(false, "early"), requestTrailers("early", "1"), responseBody(true, "early"), responseTrailers("early", "1"),
			requestHead(true), requestHead(true, "again", "1"), requestBody(true, "late"), requestTrailers("late", "1"),
			responseHead("200", false), responseHead("500", true), responseBody(true, "ok"),
		}, 0, func(t *testing.T, x *traffic.Exchange) {
			require.Empty(t, x.Request.Body)
			require.Empty(t, x.Request.Headers)
			require.Empty(t, x.Request.Trailers)
			require.Equal(t, 200, x.Response.Status)
			require.Equal(t, "ok", string(x.Response.Body))
		}},
	} {
		t.Run(k.name, func(t *testing.T) {
			r := start(t, Config{BodyMax: 100})
			x := r.exchange(t, k.messages...)
			require.NotNil(t, x)
			require.Equal(t, k.want, x.Flags, x.Flags)
			if k.check != nil {
				k.check(t, x)
			}
		})
	}
}

func TestConnectIsFlaggedAndEndsWithItsAnswer(t *testing.T) {
	r := start(t, Config{})
	connect := requestHead(false)
	connect.GetRequestHeaders().Headers = headerMap([]string{":method", "CONNECT", ":authority", "db:5432"})
	x := r.exchange(t, connect, responseHead("200", false), responseBody(false, "opaque"))
	require.Equal(t, traffic.Connect, x.Flags, x.Flags)
	require.Equal(t, "db:5432", string(x.Request.Target))
}

func TestAnotherHostBesideTheAuthorityIsFlagged(t *testing.T) {
	r := start(t, Config{})
	x := r.exchange(t, requestHead(true, "host", "a", "host", "b"), responseHead("200", true))
	require.Equal(t, traffic.AmbiguousFraming, x.Flags, x.Flags)
}

func TestShed(t *testing.T) {
	whole := func(fields ...string) []*extprocv3.ProcessingRequest {
		return []*extprocv3.ProcessingRequest{
			requestHead(false, fields...), requestBody(false, strings.Repeat("a", 5000)), requestBody(true, ""),
			responseHead("200", true),
		}
	}
	t.Run("what a replayer sent, without reading on", func(t *testing.T) {
		r := start(t, Config{})
		st := r.open(t)
		send(st, requestHead(false, "reprise-replay", "a"))
		_, err := st.Recv()
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, map[string]int{"marked": 1}, r.shed)
	})
	t.Run("over the budget", func(t *testing.T) {
		r := start(t, Config{BodyMax: 10000})
		r.limit = 3000
		r.exchange(t, whole()...)
		r.exchange(t, whole("x", strings.Repeat("y", 3000))...)
		require.Equal(t, map[string]int{"memory": 2}, r.shed)
		require.Empty(t, r.kept)
	})
	t.Run("an answer over the budget is cut", func(t *testing.T) {
		r := start(t, Config{BodyMax: 10000})
		r.limit = 3000
		x := r.exchange(t, requestHead(true), responseHead("200", false), responseBody(true, strings.Repeat("a", 5000)))
		require.Equal(t, traffic.TruncatedResponse, x.Flags, x.Flags)
		require.EqualValues(t, 5000, x.Response.BodySize)
	})
	t.Run("an answer to nothing", func(t *testing.T) {
		r := start(t, Config{})
		r.exchange(t, responseHead("400", true))
		require.Equal(t, map[string]int{"no_request": 1}, r.shed)
	})
	t.Run("a fault of ours", func(t *testing.T) {
		r := start(t, Config{BodyMax: 10})
		r.fails = true
		r.exchange(t, whole()...)
		require.EqualValues(t, 1, r.Stats().Panics)
		require.Equal(t, map[string]int{"panic": 1}, r.shed)
		r.fails = false
		r.exchange(t, whole()...)
		require.Len(t, r.kept, 1)
	})
	t.Run("over the number of streams", func(t *testing.T) {
		r := start(t, Config{MaxStreams: 1})
		first := r.open(t)
		send(first, requestHead(true))
		require.Eventually(t, func() bool { return r.Stats().Streams == 1 }, time.Minute, time.Millisecond)
		r.exchange(t, whole()...)
		require.Equal(t, map[string]int{"streams": 1}, r.shed)
		send(first, responseHead("200", true))
		_, err := first.Recv()
		require.ErrorIs(t, err, io.EOF)
		require.Len(t, r.kept, 1)
	})
}

func TestResponseIsAwaitedForSoLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shelf := &shelf{}
		s := newServer(Config{BodyMax: 10, ResponseWait: 2 * time.Second, Sink: shelf, Budget: shelf})
		none, part, upload := newRecording(s, ""), newRecording(s, ""), newRecording(s, "")
		for _, r := range []*recording{none, part} {
			require.False(t, r.handle(requestHead(true), time.Now()))
		}
		require.False(t, upload.handle(requestHead(false), time.Now()))
		time.Sleep(1500 * time.Millisecond)
		require.False(t, part.handle(responseHead("200", false), time.Now()))
		time.Sleep(499 * time.Millisecond)
		synctest.Wait()
		require.Zero(t, shelf.settled())
		time.Sleep(time.Millisecond)
		synctest.Wait()
		require.Len(t, shelf.kept, 2, "an upload has all the time it needs")
		flags := shelf.kept[0].Flags | shelf.kept[1].Flags
		require.Equal(t, traffic.NoResponse|traffic.TruncatedResponse, flags, flags)
		require.True(t, none.handle(responseHead("200", false), time.Now()), "nothing more is wanted")
		part.end(true, time.Now())
		require.False(t, upload.handle(requestBody(true, ""), time.Now()))
		require.True(t, upload.handle(responseHead("200", true), time.Now()))
		require.Len(t, shelf.kept, 3)
		require.Zero(t, shelf.used)
		require.EqualValues(t, 2, s.Stats().Unanswered)
	})
}

func TestConnectionThatBreaksIsNoClientThatLeft(t *testing.T) {
	r := start(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	st, err := r.client.Process(ctx)
	require.NoError(t, err)
	send(st, requestHead(true))
	require.Eventually(t, func() bool { return r.Stats().Streams == 1 }, time.Minute, time.Millisecond)
	cancel()
	require.Eventually(t, func() bool { return r.settled() == 1 }, time.Minute, time.Millisecond)
	require.Equal(t, traffic.NoResponse, r.kept[0].Flags, r.kept[0].Flags)
}

func TestEnvoyThatWaitsIsAnsweredToTheEnd(t *testing.T) {
	var logs bytes.Buffer
	r := start(t, Config{BodyMax: 10, Logger: slog.New(slog.NewTextHandler(&logs, nil))})
	for range 2 {
		st := r.open(t)
		for _, m := range []*extprocv3.ProcessingRequest{
			requestHead(false, "reprise-replay", "a"), requestBody(false, "a"), requestTrailers("a", "b"),
			responseHead("200", false), responseBody(false, "b"), responseTrailers("c", "d"),
		} {
			require.NoError(t, st.Send(m))
			a, err := st.Recv()
			require.NoError(t, err)
			require.IsType(t, answer(m, nil).GetResponse(), a.GetResponse())
			require.Nil(t, a.GetImmediateResponse())
			require.Nil(t, a.GetRequestBody().GetResponse(), "nothing is changed")
		}
		require.NoError(t, st.CloseSend())
		_, err := st.Recv()
		require.ErrorIs(t, err, io.EOF)
	}
	require.EqualValues(t, 2, r.Stats().Waiting)
	require.Equal(t, 1, strings.Count(logs.String(), "observability_mode"))
}

func TestListenSaysWhyItCannot(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	_, err = Listen(Config{Listen: ln.Addr().String(), Sink: &shelf{}})
	var f *fault.Error
	require.ErrorAs(t, err, &f)
	require.Equal(t, fault.Failure, f.Code)
}

// FuzzMessages: whatever comes in whatever order, nothing panics, a stream gives at most one exchange, and the budget has
// everything back.
func FuzzMessages(f *testing.F) {
	f.Add("hbtHBT", "content-length", "5", int64(0))
	f.Add("HhBbTt", "reprise-replay", "", int64(600))
	f.Add("hbbbbbHBBBBb", "x", "\x00\xff", int64(2000))
	f.Fuzz(func(t *testing.T, order, name, value string, limit int64) {
		shelf := &shelf{limit: limit}
		s := newServer(Config{BodyMax: 64, ResponseWait: time.Hour, Sink: shelf, Budget: shelf})
		r := newRecording(s, "gateway")
		for i := range order {
			end := i%3 == 2
			var m *extprocv3.ProcessingRequest
			switch order[i] {
			case 'h':
				m = requestHead(end, name, value)
			case 'b':
				m = requestBody(end, value+order)
			case 't':
				m = requestTrailers(name, value)
			case 'H':
				m = responseHead(value, end, name, value)
			case 'B':
				m = responseBody(end, order)
			case 'T':
				m = responseTrailers(name, value)
			case '1':
				m = with(responseHead("101", end), map[string]any{"response.code_details": true})
			case 'a':
				m = with(requestHead(end), map[string]any{"request.time": 1, "connection.id": 1e300, "source.address": nil})
			default:
				m = &extprocv3.ProcessingRequest{}
			}
			if r.handle(m, time.Now()) && order[i] != 'x' { // x: it goes on all the same, as for an Envoy that waits
				break
			}
		}
		r.end(len(order)%2 == 0, time.Now())
		r.lose(wire.LostPanic.String())
		require.LessOrEqual(t, shelf.settled(), 1)
		require.Zero(t, shelf.used)
		require.Zero(t, s.Stats().Panics)
		for _, x := range shelf.kept {
			require.LessOrEqual(t, len(x.Request.Body), 64)
			require.LessOrEqual(t, int64(len(x.Request.Body)), x.Request.BodySize)
		}
	})
}
