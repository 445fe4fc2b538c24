package fire_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/traffic"
)

// serveThenClose answers so many requests on each connection and closes it then, quietly or with a reset.
func serveThenClose(requests int, reset bool, served *atomic.Int64) func(net.Conn, int) {
	return func(c net.Conn, n int) {
		r := bufio.NewReader(c)
		for range requests {
			if _, err := readRequest(r); err != nil {
				return
			}
			served.Add(1)
			_, _ = io.WriteString(c, ok)
		}
		if reset {
			_, _ = readRequest(r)
			_ = c.(*net.TCPConn).SetLinger(0)
		}
	}
}

func TestAStaleConnectionIsReplacedOnce(t *testing.T) {
	for _, reset := range []bool{false, true} {
		t.Run(fmt.Sprint("reset=", reset), func(t *testing.T) {
			var served atomic.Int64
			s := sender(t, listen(t, serveThenClose(1, reset, &served)), nil)
			resent := 0
			for range 20 {
				a := fireOne(t, s, get())
				require.Empty(t, a.Reason, "%v", a.Err)
				require.Equal(t, 1, a.Attempts, "that is no retry of the policy")
				resent += a.Resent
			}
			require.EqualValues(t, 20, served.Load())
			require.EqualValues(t, resent, s.Stats().Resent)
			if reset {
				require.Equal(t, 19, resent)
			}
		})
	}
}

func TestAWriteIsNotSentAgainOnceItMayHaveArrived(t *testing.T) {
	var served, arrived atomic.Int64
	target := listen(t, func(c net.Conn, _ int) {
		r := bufio.NewReader(c)
		for i := range 2 {
			if _, err := readRequest(r); err != nil {
				return
			}
			arrived.Add(1)
			if i == 0 {
				served.Add(1)
				_, _ = io.WriteString(c, ok)
			}
		}
	})
	s := sender(t, target, func(cfg *fire.SenderConfig) { cfg.Retries = 3 })
	require.Empty(t, fireOne(t, s, post()).Reason)
	a := fireOne(t, s, post())
	require.Equal(t, fire.Closed, a.Reason)
	require.Zero(t, a.Resent)
	require.Equal(t, 1, a.Attempts)
	require.EqualValues(t, 2, arrived.Load())
}

func TestAConnectionThatClosedWhileIdleIsNotUsed(t *testing.T) {
	var served atomic.Int64
	closed := make(chan struct{}, 10)
	serve := serveThenClose(1, false, &served)
	target := listen(t, func(c net.Conn, n int) {
		serve(c, n)
		c.Close()
		closed <- struct{}{}
	})
	s := sender(t, target, nil)
	for range 3 {
		a := fireOne(t, s, post()) // would not be sent again
		require.Empty(t, a.Reason, "%v", a.Err)
		require.Zero(t, a.Resent)
		<-closed
		time.Sleep(60 * time.Millisecond) // longer than a connection is trusted unseen, and a socket is looked at: no bubble
	}
	require.EqualValues(t, 3, served.Load())
}

func TestAConnectionThatClosedWhileIdleIsNotUsedUnderTLSEither(t *testing.T) {
	var served atomic.Int64
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) }))
	closed := make(chan struct{}, 10)
	srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- struct{}{}
		}
	}
	srv.Config.IdleTimeout = time.Millisecond
	srv.StartTLS()
	defer srv.Close()
	s := sender(t, parseURL(t, srv.URL), func(cfg *fire.SenderConfig) { cfg.TLS = &tls.Config{InsecureSkipVerify: true} })
	for range 3 {
		a := fireOne(t, s, post()) // would not be sent again
		require.Empty(t, a.Reason, "%v", a.Err)
		require.Zero(t, a.Resent)
		<-closed
		time.Sleep(60 * time.Millisecond) // longer than a connection is trusted unseen, and a socket is looked at: no bubble
	}
	require.EqualValues(t, 3, served.Load())
}

func TestFailuresHaveTheirReasons(t *testing.T) {
	nobody := &url.URL{Scheme: "http", Host: "127.0.0.1:1"}
	once := func(answer string, reset bool) *url.URL {
		return listen(t, func(c net.Conn, _ int) {
			_, _ = readRequest(bufio.NewReader(c))
			_, _ = io.WriteString(c, answer)
			if reset {
				_ = c.(*net.TCPConn).SetLinger(0)
			}
		})
	}
	for _, row := range []struct {
		name   string
		target *url.URL
		reason string
	}{
		{"nobody listens", nobody, fire.ConnectRefused},
		{"closed without an answer", once("", false), fire.Closed},
		{"reset without an answer", once("", true), fire.Reset},
		{"closed inside the head", once("HTTP/1.1 200 OK\r\nA: 1", false), fire.Closed},
		{"closed inside the body", once("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", false), fire.Closed},
		{"closed inside a chunk", once("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", false), fire.Closed},
		{"no HTTP", once("SSH-2.0-OpenSSH_9.2\r\n", false), fire.BadAnswer},
		{"HTTP/2", once("\x00\x00\x12\x04\x00\x00\x00\x00\x00", false), fire.BadAnswer},
		{"a head without end", once("HTTP/1.1 200 OK\r\nA: "+strings.Repeat("x", 200<<10), false), fire.BadAnswer},
		{"1xx and no more", once("HTTP/1.1 100 Continue\r\n\r\n", false), fire.Closed},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := sender(t, row.target, nil)
			a := fireOne(t, s, get())
			require.Equal(t, row.reason, a.Reason, "%v", a.Err)
			require.Error(t, a.Err)
			require.Nil(t, a.Response)
			require.Equal(t, 1, a.Attempts)
			require.WithinDuration(t, time.Now(), a.FireTime, time.Minute)
			require.Zero(t, s.Stats().Open)
		})
	}
}

// mute never answers.
func mute(c net.Conn, _ int) { _, _ = io.Copy(io.Discard, c) }

func TestASlowTargetTimesOut(t *testing.T) {
	const timeout = 100 * time.Millisecond
	dripping := func(c net.Conn, _ int) {
		r := bufio.NewReader(c)
		if _, err := readRequest(r); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
		for {
			if _, err := c.Write([]byte("x")); err != nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	for name, serve := range map[string]func(net.Conn, int){"no answer": mute, "an answer in drops": dripping} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := piped(t, serve, func(cfg *fire.SenderConfig) { cfg.Timeout, cfg.Retries = timeout, 3 })
				start := time.Now()
				a := fireOne(t, s, get())
				require.Equal(t, fire.Timeout, a.Reason, "%v", a.Err)
				require.GreaterOrEqual(t, time.Since(start), timeout)
				require.LessOrEqual(t, time.Since(start), timeout+timeout/16, "what is set ahead of it")
				require.Equal(t, 1, a.Attempts, "a timeout is no reason to try again")
				require.Zero(t, s.Stats().Open)
			})
		})
	}
}

// A deadline is set ahead for those that follow: it ends none of them early, and all of them in the end.
func TestTheDeadlineIsEachRequestsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = 200 * time.Millisecond
		takes := timeout - time.Millisecond
		s := piped(t, func(c net.Conn, _ int) {
			for r := bufio.NewReader(c); ; {
				if _, err := readRequest(r); err != nil {
					return
				}
				time.Sleep(takes)
				if _, err := io.WriteString(c, ok); err != nil {
					return
				}
			}
		}, func(cfg *fire.SenderConfig) { cfg.Timeout = timeout })
		for n := range 20 { // longer in all than one timeout, over one connection
			a := fireOne(t, s, get())
			require.Empty(t, a.Reason, "%d: %v", n, a.Err)
			time.Sleep(time.Duration(n) * time.Millisecond)
		}
		require.EqualValues(t, 1, s.Stats().Dialed)
		takes = 2 * timeout
		require.Equal(t, fire.Timeout, fireOne(t, s, get()).Reason)
	})
}

func TestTheContextEndsWhatIsOnItsWay(t *testing.T) {
	s := sender(t, listen(t, mute), nil)
	ctx, cancel := context.WithCancel(t.Context())
	other, cancelOther := context.WithCancel(t.Context()) // one that does not share the watch
	defer cancelOther()
	answers := make(chan fire.Answer, 9)
	var wg sync.WaitGroup
	for i := range 9 {
		wg.Go(func() {
			shot, _ := s.Prepare(get(), fire.Mark{})
			if i == 8 {
				answers <- s.Fire(other, shot)
				return
			}
			answers <- s.Fire(ctx, shot)
		})
	}
	require.Eventually(t, func() bool { return s.Stats().Dialed == 9 }, time.Minute, time.Millisecond)
	cancel()
	for range 8 {
		a := <-answers
		require.Equal(t, fire.Canceled, a.Reason)
		require.ErrorIs(t, a.Err, context.Canceled)
	}
	cancelOther()
	require.Equal(t, fire.Canceled, (<-answers).Reason)
	wg.Wait()

	shot, _ := s.Prepare(get(), fire.Mark{})
	require.Equal(t, fire.Canceled, s.Fire(ctx, shot).Reason, "nothing is sent under an ended context")
	fresh, cancelFresh := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancelFresh()
	require.Equal(t, fire.Canceled, s.Fire(fresh, shot).Reason)
	require.Zero(t, s.Stats().Open)
}

func TestRetriesAreOffUnlessAskedFor(t *testing.T) {
	var served atomic.Int64
	busy := func(after string) *url.URL {
		return listen(t, func(c net.Conn, _ int) {
			for r := bufio.NewReader(c); ; {
				if _, err := readRequest(r); err != nil {
					return
				}
				if answer := ok; served.Add(1)%2 == 1 {
					answer = "HTTP/1.1 503 Busy\r\nRetry-After: " + after + "\r\nContent-Length: 0\r\n\r\n"
					_, _ = io.WriteString(c, answer)
				} else {
					_, _ = io.WriteString(c, answer)
				}
			}
		})
	}
	for _, row := range []struct {
		name             string
		x                *traffic.Exchange
		retries          int
		byStatus         bool
		after            string
		attempts, status int
		atLeast          time.Duration
	}{
		{"off", get(), 0, true, "0", 1, 503, 0},
		{"on, but not for answers", get(), 2, false, "0", 1, 503, 0},
		{"on for answers", get(), 2, true, "0", 2, 200, 0},
		{"not for writes", post(), 2, true, "0", 1, 503, 0},
		{"after the time the target asks for", get(), 2, true, "1", 2, 200, time.Second},
		{"a date that is over", get(), 2, true, "Fri, 31 Dec 1999 23:59:59 GMT", 2, 200, 0},
		{"no sense: as without", get(), 2, true, "soon", 2, 200, 50 * time.Millisecond},
	} {
		t.Run(row.name, func(t *testing.T) {
			served.Store(0)
			s := sender(t, busy(row.after), func(cfg *fire.SenderConfig) { cfg.Retries, cfg.RetryStatus = row.retries, row.byStatus })
			start := time.Now()
			a := fireOne(t, s, row.x)
			require.Empty(t, a.Reason, "%v", a.Err)
			require.Equal(t, row.status, a.Response.Status)
			require.Equal(t, row.attempts, a.Attempts)
			require.EqualValues(t, row.attempts, served.Load())
			require.GreaterOrEqual(t, time.Since(start), row.atLeast)
			require.WithinRange(t, a.FireTime, start, time.Now().Add(-row.atLeast), "the time of the first attempt")
		})
	}
}

func TestRetriesOfConnectionsEndWithTheLastReason(t *testing.T) {
	var arrived atomic.Int64
	target := listen(t, func(c net.Conn, _ int) {
		if _, err := readRequest(bufio.NewReader(c)); err == nil {
			arrived.Add(1)
		}
	})
	s := sender(t, target, func(cfg *fire.SenderConfig) { cfg.Retries = 2 })
	a := fireOne(t, s, get())
	require.Equal(t, fire.Closed, a.Reason)
	require.Equal(t, 3, a.Attempts)
	require.EqualValues(t, 3, arrived.Load())
	require.Equal(t, 1, fireOne(t, s, post()).Attempts, "a write may have arrived")
}
