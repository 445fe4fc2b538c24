package openloop_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/openloop"
)

const get = "GET /items/1 HTTP/1.1\r\nHost: shop.example\r\n\r\n"

// serve answers the requests of every connection by a function; false closes it.
func serve(t *testing.T, answer func(net.Conn, *http.Request) bool) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				for in := bufio.NewReader(conn); ; {
					r, err := http.ReadRequest(in)
					if err != nil || !answer(conn, r) {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		all.Wait()
	})
	return ln.Addr().String()
}

func ok(conn net.Conn, _ *http.Request) bool {
	_, err := fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	return err == nil
}

func load(addr string) openloop.Load {
	return openloop.Load{Addr: addr, Requests: [][]byte{[]byte(get)}, Rate: 2000, For: 500 * time.Millisecond, Patience: time.Minute, Connections: 8}
}

func TestEveryRequestThatIsDueIsSentAndAnswered(t *testing.T) {
	addr := serve(t, ok)
	r, err := load(addr).Run(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1000, r.Due)
	require.Len(t, r.Answers, 1000)
	require.Empty(t, r.Failed)
	require.GreaterOrEqual(t, time.Since(r.Start), 499*time.Millisecond, "not before its time")
	for _, a := range r.Answers {
		require.Equal(t, 200, a.Status)
		require.Positive(t, a.Took)
	}
	require.Len(t, r.Times(0, 250*time.Millisecond), 500)
}

// A client that waits for its answers would tell 20 ms for each: here the waiting counts too.
func TestTimesCountFromWhenARequestWasDue(t *testing.T) {
	addr := serve(t, func(conn net.Conn, r *http.Request) bool {
		time.Sleep(20 * time.Millisecond) // what is measured
		return ok(conn, r)
	})
	l := load(addr)
	l.Connections, l.Rate, l.For = 1, 200, 100*time.Millisecond
	r, err := l.Run(t.Context())
	require.NoError(t, err)
	require.Len(t, r.Answers, 20)
	require.GreaterOrEqual(t, r.Answers[19].Took, 20*20*time.Millisecond-95*time.Millisecond)
	require.GreaterOrEqual(t, openloop.Quantile(r.All(), 0.5), 10*20*time.Millisecond-50*time.Millisecond)
}

func TestWhatIsNotAnsweredHasFailed(t *testing.T) {
	for name, row := range map[string]struct {
		answer func(net.Conn, *http.Request) bool
		why    string
	}{
		"closed": {func(net.Conn, *http.Request) bool { return false }, "the server closed the connection"},
		"no length": {func(conn net.Conn, _ *http.Request) bool {
			_, err := fmt.Fprint(conn, "HTTP/1.1 200 OK\r\n\r\n")
			return err == nil
		}, "an answer has no Content-Length"},
		"twice":  {func(conn net.Conn, r *http.Request) bool { return ok(conn, nil) && ok(conn, r) }, "more came than the answer"},
		"silent": {func(net.Conn, *http.Request) bool { return true }, "no answer in time"},
	} {
		t.Run(name, func(t *testing.T) {
			l := load(serve(t, row.answer))
			l.Rate, l.For, l.Patience = 200, 100*time.Millisecond, time.Minute
			if name == "silent" {
				l.Connections, l.Patience = 20, 100*time.Millisecond
			}
			r, err := l.Run(t.Context())
			require.NoError(t, err)
			require.Equal(t, r.Due, len(r.Answers)+r.Failures(), "%v", r.Failed)
			if name == "twice" { // the second one may come when the connection is idle again
				return
			}
			require.Empty(t, r.Answers)
			require.Contains(t, r.Failed, row.why)
		})
	}
}

func TestABodyLargerThanTheSocketIsSentWhole(t *testing.T) {
	const size = 8 << 20
	addr := serve(t, func(conn net.Conn, r *http.Request) bool {
		n := 0
		for buf := make([]byte, 64<<10); ; {
			m, err := r.Body.Read(buf)
			if n += m; err != nil {
				break
			}
		}
		return n == size && ok(conn, r)
	})
	l := load(addr)
	l.Rate, l.For, l.Patience = 20, 200*time.Millisecond, time.Minute
	l.Requests = [][]byte{fmt.Appendf(nil, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size))}
	r, err := l.Run(t.Context())
	require.NoError(t, err)
	require.Len(t, r.Answers, 4, "%v", r.Failed)
}

func TestTheEndOfTheContextEndsALoad(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var asked atomic.Int64
	addr := serve(t, func(conn net.Conn, r *http.Request) bool {
		if asked.Add(1) == 20 {
			cancel()
		}
		return ok(conn, r)
	})
	l := load(addr)
	l.For = time.Hour
	l.Rate = 100
	r, err := l.Run(ctx)
	require.NoError(t, err)
	require.Less(t, r.Due, 360000)
}

func TestALoadThatCannotBeSaysSo(t *testing.T) {
	_, err := openloop.Load{Addr: "127.0.0.1:1", Rate: 1, For: time.Second}.Run(t.Context())
	require.ErrorContains(t, err, "no requests")
	l := load("127.0.0.1:1")
	l.Rate = 0
	_, err = l.Run(t.Context())
	require.ErrorContains(t, err, "rate 0")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = load("127.0.0.1:1").Run(ctx)
	require.ErrorContains(t, err, "0 of 8 connections stand")
}
