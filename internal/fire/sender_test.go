package fire_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
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

func TestWhatIsPreparedIsWhatArrives(t *testing.T) {
	arrived := make(chan string, 3)
	target := listen(t, func(c net.Conn, _ int) {
		r := bufio.NewReader(c)
		for {
			raw, err := readRequest(r)
			if err != nil {
				return
			}
			arrived <- raw
			_, _ = io.WriteString(c, ok)
		}
	})
	s := sender(t, target, nil)
	for _, x := range []*traffic.Exchange{
		exchange("GET /a?b=c\nx-LOWER: 1\nHOST: shop\nX-Upper: 2\nx-lower: 3", ""),
		exchange("POST /\nHost: s\nTransfer-Encoding: chunked", "a\x00b\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
		exchange("GET /\nHost: s\nAccept-Encoding: gzip\nUser-Agent: ", ""),
	} {
		shot, reason := s.Prepare(x, fire.Mark{})
		require.Empty(t, reason)
		a := s.Fire(t.Context(), shot)
		require.Empty(t, a.Reason, a.Err)
		require.Equal(t, string(shot.Bytes()), <-arrived)
	}
	require.EqualValues(t, 1, s.Stats().Dialed)
}

func TestAnswersComeBackAsTheyWere(t *testing.T) {
	for _, row := range []struct {
		name, method, answer string
		closes               bool // the target closes behind it
		status               int
		headers, body        string
		size                 int64
		kept                 bool // the connection is used again
	}{
		{
			"fields in order, case and number", "GET", "HTTP/1.1 200 OK\r\nx-b: 1\r\nX-A: 2\r\nX-B: 3\r\nContent-Length: 2\r\n\r\nok",
			false, 200, "x-b=1 X-A=2 X-B=3 Content-Length=2", "ok", 2, true,
		},
		{
			"chunked", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n",
			false, 200, "Transfer-Encoding=chunked", "abcde", 5, true,
		},
		{"until the target closes", "GET", "HTTP/1.1 200 OK\r\n\r\nall of it", true, 200, "", "all of it", 9, false},
		{"HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", false, 200, "Content-Length=1", "x", 1, false},
		{
			"Connection: close", "GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
			false, 200, "Connection=close Content-Length=1", "x", 1, false,
		},
		{"HEAD has no body", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", false, 200, "Content-Length=1000", "", 0, true},
		{"204 has no body", "GET", "HTTP/1.1 204 No Content\r\n\r\n", false, 204, "", "", 0, true},
		{"304 has no body", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", false, 304, "Content-Length=7", "", 0, true},
		{
			"1xx are skipped", "GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok,
			false, 200, "Content-Length=2", "ok", 2, true,
		},
		{
			"bytes behind the answer end the connection", "GET", ok + "HTTP/1.1 500 forged\r\nContent-Length: 0\r\n\r\n",
			false, 200, "Content-Length=2", "ok", 2, false,
		},
		{
			"a redirect without sense", "GET", "HTTP/1.1 302 Found\r\nLocation: http://%zz\x7f[/\r\nContent-Length: 0\r\n\r\n",
			false, 302, "Location=http://%zz\x7f[/ Content-Length=0", "", 0, true,
		},
		{"a status of its own", "GET", "HTTP/1.1 799 Odd\r\nContent-Length: 0\r\n\r\n", false, 799, "Content-Length=0", "", 0, true},
		{
			"a content coding is kept", "GET", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08",
			false, 200, "Content-Encoding=gzip Content-Length=3", "\x1f\x8b\x08", 3, true,
		},
	} {
		for _, split := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/bytewise=%v", row.name, split), func(t *testing.T) {
				var conns atomic.Int64
				target := listen(t, func(c net.Conn, n int) {
					conns.Store(int64(n))
					r := bufio.NewReader(c)
					for {
						if _, err := readRequest(r); err != nil {
							return
						}
						for chunk := range slices.Chunk([]byte(row.answer), map[bool]int{true: 1, false: 1 << 20}[split]) {
							_, _ = c.Write(chunk)
						}
						if row.closes {
							return
						}
					}
				})
				s := sender(t, target, nil)
				x := exchange(row.method+" /\nHost: s", "")
				for i := range 2 {
					a := fireOne(t, s, x)
					require.Empty(t, a.Reason, "%v", a.Err)
					require.NoError(t, a.Err)
					require.Equal(t, row.status, a.Response.Status)
					require.Equal(t, row.headers, fields(a.Response.Headers))
					require.Equal(t, row.body, string(a.Response.Body))
					require.Equal(t, row.size, a.Response.BodySize)
					require.False(t, a.Truncated)
					require.Equal(t, 1, a.Attempts)
					require.Positive(t, a.Response.TTFB)
					require.GreaterOrEqual(t, a.Response.Duration, a.Response.TTFB)
					if split { // what is behind an answer may come after it was taken for whole
						break
					}
					want := i + 1
					if row.kept {
						want = 1
					}
					require.EqualValues(t, want, conns.Load())
				}
			})
		}
	}
}

func fields(headers []traffic.Field) string {
	var all []string
	for _, f := range headers {
		all = append(all, string(f.Name)+"="+string(f.Value))
	}
	return strings.Join(all, " ")
}

func TestAnAnswerIsTheCallersOwn(t *testing.T) {
	target := listen(t, func(c net.Conn, _ int) {
		r := bufio.NewReader(c)
		for i := 1; ; i++ {
			if _, err := readRequest(r); err != nil {
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nN: %d\r\nContent-Length: 1\r\n\r\n%d", i, i)
		}
	})
	s := sender(t, target, nil)
	first := fireOne(t, s, get())
	for range 5 {
		fireOne(t, s, get())
	}
	require.Equal(t, "N=1 Content-Length=1", fields(first.Response.Headers))
	require.Equal(t, "1", string(first.Response.Body))
}

func TestARedirectIsNotFollowed(t *testing.T) {
	production, visits := decoy(t)
	for _, status := range []int{301, 302, 303, 307, 308} {
		target := listen(t, answering(fmt.Sprintf(
			"HTTP/1.1 %d Moved\r\nLocation: %s/x\r\nRefresh: 0;url=%s\r\nContent-Length: 0\r\n\r\n", status, production, production)))
		s := sender(t, target, func(cfg *fire.SenderConfig) { cfg.Retries, cfg.RetryStatus = 2, true })
		for _, x := range []*traffic.Exchange{get(), post()} {
			a := fireOne(t, s, x)
			require.Equal(t, status, a.Response.Status)
			require.Equal(t, 1, a.Attempts)
		}
	}
	require.Zero(t, visits.Load())
}

func TestAHugeBodyIsReadCountedAndCut(t *testing.T) {
	const size = 20 << 20
	chunked := func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		block := bytes.Repeat([]byte{'x'}, 1<<20)
		for range size >> 20 {
			fmt.Fprintf(c, "%x\r\n%s\r\n", len(block), block)
		}
		_, _ = io.WriteString(c, "0\r\n\r\n")
	}
	target := listen(t, func(c net.Conn, _ int) {
		for r := bufio.NewReader(c); ; {
			if _, err := readRequest(r); err != nil {
				return
			}
			chunked(c)
		}
	})
	s := sender(t, target, func(cfg *fire.SenderConfig) { cfg.BodyMax = 1000 })
	for range 2 {
		a := fireOne(t, s, get())
		require.Empty(t, a.Reason)
		require.True(t, a.Truncated)
		require.Len(t, a.Response.Body, 1000)
		require.EqualValues(t, size, a.Response.BodySize)
	}
	require.EqualValues(t, 1, s.Stats().Dialed, "the rest was read, so the connection is kept")
}

func TestALargeRequestGoesWhole(t *testing.T) {
	got := make(chan int, 2)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		got <- int(n)
	}))
	defer srv.Close()
	s := sender(t, parseURL(t, srv.URL), nil)
	body := strings.Repeat("x", 5<<20)
	for range 2 {
		a := fireOne(t, s, exchange("PUT /\nHost: s", body))
		require.Empty(t, a.Reason, "%v", a.Err)
		require.Equal(t, len(body), <-got)
	}
	require.EqualValues(t, 1, s.Stats().Dialed)
}

// slowToReturn is a connection whose writer comes back only when it is told to, though all has been written.
type slowToReturn struct {
	net.Conn
	told chan struct{}
}

func (c slowToReturn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if n > 1<<20 {
		<-c.told
	}
	return n, err
}

func (c slowToReturn) SetWriteDeadline(t time.Time) error {
	c.told <- struct{}{}
	return c.Conn.SetWriteDeadline(t)
}

// On a machine that is busy the answer may be read long before the goroutine that has written the body runs again.
func TestAConnectionIsKeptThoughItsWriterWasSlowToComeBack(t *testing.T) {
	target := listen(t, answering(ok))
	g := guard(t, target, func(cfg *fire.GuardConfig) {
		cfg.AllowWrites = []fire.Matcher{matcher(anything)}
		cfg.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, address)
			return slowToReturn{c, make(chan struct{}, 9)}, err
		}
	})
	s := sender(t, target, func(cfg *fire.SenderConfig) { cfg.Guard = g })
	body := strings.Repeat("x", 3<<20)
	for range 3 {
		a := fireOne(t, s, exchange(fmt.Sprintf("PUT /\nHost: s\nContent-Length: %d", len(body)), body))
		require.Empty(t, a.Reason, "%v", a.Err)
	}
	require.Equal(t, fire.Stats{Dialed: 1, Open: 1, Idle: 1}, s.Stats())
}

func TestAnEarlyAnswerToALargeRequestCounts(t *testing.T) {
	for name, thenCloses := range map[string]bool{"the target closes": true, "the target reads no further": false} {
		t.Run(name, func(t *testing.T) {
			done := make(chan struct{})
			defer close(done)
			target := listen(t, func(c net.Conn, _ int) {
				if _, err := bufio.NewReaderSize(c, 16).ReadString('\n'); err != nil {
					return
				}
				_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
				if thenCloses {
					_ = c.(*net.TCPConn).CloseWrite()
				}
				<-done
			})
			s := sender(t, target, nil)
			a := fireOne(t, s, exchange("PUT /\nHost: s", strings.Repeat("x", 20<<20)))
			require.Empty(t, a.Reason, "%v", a.Err)
			require.Equal(t, 413, a.Response.Status)
			require.Zero(t, s.Stats().Idle, "a half-written connection is of no use")
		})
	}
}

func TestConcurrencyBoundsTheConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		s := piped(t, func(c net.Conn, _ int) {
			for r := bufio.NewReader(c); ; {
				if _, err := readRequest(r); err != nil {
					return
				}
				n := now.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				time.Sleep(time.Millisecond) // until all wait for an answer or for a connection
				now.Add(-1)
				_, _ = io.WriteString(c, ok)
			}
		}, func(cfg *fire.SenderConfig) { cfg.Concurrency = 3 })
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for range 10 {
					if a := fireOne(t, s, get()); a.Reason != "" {
						t.Error(a.Reason, a.Err)
					}
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 3, most.Load())
		require.EqualValues(t, 3, s.Stats().Dialed)
	})
}

func TestWaitingForAConnectionHasAnEnd(t *testing.T) {
	s := sender(t, listen(t, mute), func(cfg *fire.SenderConfig) { cfg.Concurrency, cfg.Timeout = 1, 150*time.Millisecond })
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			a := fireOne(t, s, get())
			if a.Reason != fire.Timeout && a.Reason != fire.ConnectTimeout {
				t.Error(a.Reason, a.Err)
			}
		})
	}
	wg.Wait()
	require.Zero(t, s.Stats().Open)
}

func TestHTTPSTargets(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Proto)
	}))
	srv.EnableHTTP2 = true // offered, not taken
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	target := parseURL(t, srv.URL)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	s := sender(t, target, func(cfg *fire.SenderConfig) { cfg.TLS = &tls.Config{RootCAs: roots} })
	for range 3 {
		a := fireOne(t, s, get())
		require.Empty(t, a.Reason, "%v", a.Err)
		require.Equal(t, "HTTP/1.1", string(a.Response.Body))
	}
	require.EqualValues(t, 1, s.Stats().Dialed)
	shot, _ := s.Prepare(get(), fire.Mark{})
	require.False(t, s.Begin(shot))

	require.Equal(t, fire.TLSFailed, fireOne(t, sender(t, target, nil), get()).Reason, "an unknown authority")
	plain := listen(t, func(c net.Conn, _ int) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") })
	plain.Scheme = "https"
	require.Equal(t, fire.TLSFailed, fireOne(t, sender(t, plain, nil), get()).Reason, "no TLS there")
}

func TestBeginWritesAtOnceAndFireAwaitsTheAnswer(t *testing.T) {
	arrived := make(chan string, 10)
	goOn := make(chan struct{})
	target := listen(t, func(c net.Conn, _ int) {
		for r := bufio.NewReader(c); ; {
			raw, err := readRequest(r)
			if err != nil {
				return
			}
			arrived <- raw
			<-goOn
			_, _ = io.WriteString(c, ok)
		}
	})
	s := sender(t, target, nil)
	shot, _ := s.Prepare(get(), fire.Mark{})
	require.False(t, s.Begin(shot), "no connection is kept yet")
	go func() { goOn <- struct{}{} }()
	require.Empty(t, s.Fire(t.Context(), shot).Reason)
	<-arrived

	require.True(t, s.Begin(shot))
	require.False(t, s.Begin(shot), "it is on its way already")
	began := time.Now()
	require.Equal(t, string(shot.Bytes()), <-arrived)
	go func() { goOn <- struct{}{} }()
	a := s.Fire(t.Context(), shot)
	require.Empty(t, a.Reason, "%v", a.Err)
	require.False(t, a.FireTime.After(began))
	require.Equal(t, 1, s.Stats().Idle)

	require.True(t, s.Begin(shot))
	<-arrived
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, fire.Canceled, s.Fire(ended, shot).Reason)
	s.Recycle(shot)
	close(goOn)
	require.Zero(t, s.Stats().Open)
}

func TestRecycleGivesUpWhatBeginHasWritten(t *testing.T) {
	s := sender(t, listen(t, answering(ok)), nil)
	require.Empty(t, fireOne(t, s, get()).Reason)
	shot, _ := s.Prepare(get(), fire.Mark{})
	require.True(t, s.Begin(shot))
	s.Recycle(shot)
	require.Zero(t, s.Stats().Open, "its answer must not become another's")
	require.Empty(t, fireOne(t, s, get()).Reason)
}

func TestBeginSeesThatTheTargetHasClosed(t *testing.T) {
	var served atomic.Int64
	closed := make(chan struct{}, 10)
	serve := serveThenClose(1, false, &served)
	s := sender(t, listen(t, func(c net.Conn, n int) {
		serve(c, n)
		c.Close()
		closed <- struct{}{}
	}), nil)
	require.Empty(t, fireOne(t, s, post()).Reason)
	<-closed
	shot, _ := s.Prepare(post(), fire.Mark{})
	begun := s.Begin(shot)
	require.False(t, begun)
	require.Empty(t, s.Fire(t.Context(), shot).Reason)
	require.EqualValues(t, 2, served.Load())
}

func TestManyWorkersMixEverything(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if len(body)%7 == 3 {
			w.Header().Set("Connection", "close")
		}
		fmt.Fprint(w, r.Header.Get("N"), " ", len(body))
	}))
	defer srv.Close()
	s := sender(t, parseURL(t, srv.URL), func(cfg *fire.SenderConfig) { cfg.Concurrency = 5 })
	var wg sync.WaitGroup
	for w := range 12 {
		wg.Go(func() {
			for i := range 40 {
				size := (w*40 + i) * 37 % 100_000
				x := exchange(fmt.Sprintf("PUT /\nHost: s\nN: %d-%d", w, i), strings.Repeat("b", size))
				shot, _ := s.Prepare(x, fire.Mark{})
				if i%2 == 0 {
					s.Begin(shot)
				}
				a := s.Fire(t.Context(), shot)
				s.Recycle(shot)
				if a.Reason != "" || string(a.Response.Body) != fmt.Sprintf("%d-%d %d", w, i, size) {
					t.Error(a.Reason, a.Err)
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, s.Close())
	require.Zero(t, s.Stats().Open)
}
