//go:build e2e

package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/crowd"
	"github.com/reprise-io/reprise/e2e/feed"
	"github.com/reprise-io/reprise/e2e/proc"
	"github.com/reprise-io/reprise/e2e/sink"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// upload sends a body that does not compress and wants its digest.
func (c *chaos) upload(client *http.Client, size int, seed uint64) error {
	body := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(body)
	resp, err := client.Post(c.tap.url()+"/upload", "application/octet-stream", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err == nil && string(got) != crowd.Digest(body) {
		err = fmt.Errorf("not the digest of what was sent: %q", got)
	}
	return err
}

// oversize: some bodies are larger than Kafka takes records. They are lost, one by one, and counted; and as the tap has little memory,
// some of what was captured beside them is shed, and counted.
func oversize(t *testing.T, c *chaos) {
	before := c.tap.counts(t)
	n := 5 + c.random.IntN(20)
	for range n {
		size := 1_100_000 + c.random.IntN(2<<20)
		require.NoError(t, c.upload(http.DefaultClient, size, c.random.Uint64()))
	}
	c.requests += n
	c.say("%d of them", n)
	waitFor(t, 2*time.Minute, func() error {
		if now := c.tap.counts(t); now.dropped < before.dropped+n {
			return fmt.Errorf("%+v", now)
		}
		return nil
	})
	http.DefaultClient.CloseIdleConnections()
}

// storm is of connections that come for one request, and of some that come for none and are gone.
func storm(t *testing.T, c *chaos) {
	var asking sync.WaitGroup
	var mu sync.Mutex
	var asked int
	var failed []error
	for worker := range 16 {
		random := rand.New(rand.NewPCG(c.random.Uint64(), uint64(worker)))
		asking.Go(func() {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
			for range 100 {
				var err error
				ask := random.IntN(2) == 0
				if ask {
					err = c.upload(client, random.IntN(2000), random.Uint64())
				} else if conn, dialed := net.Dial("tcp", c.tap.addr); dialed == nil {
					_, _ = conn.Write([]byte("GET /th")[:random.IntN(8)])
					if tcp, ok := conn.(*net.TCPConn); ok && random.IntN(2) == 0 {
						_ = tcp.SetLinger(0) // which resets it
					}
					_ = conn.Close()
				} else {
					err = dialed
				}
				mu.Lock()
				if ask {
					asked++
				}
				if err != nil {
					failed = append(failed, err)
				}
				mu.Unlock()
			}
		})
	}
	asking.Wait()
	require.Empty(t, failed)
	c.requests += asked
	c.say("1,600, %d with a request", asked)
}

// clocksOff: gateways whose clocks are wrong send copies to a tap of theirs. All are stored, at a time that can be.
func clocksOff(t *testing.T, c *chaos) {
	prefix, names := newPrefix()
	p := &tapped{addr: freeAddr(t), admin: freeAddr(t)}
	p.Process = start(t, "tap", "ingest", "--listen", p.addr, "--admin", p.admin, "--topic-prefix", prefix,
		"--redact-key", "env:E2E_REDACT_KEY", "--name", "gateway", "--brokers", c.broker.Addr())
	require.NoError(t, p.Ready(within(t, 2*time.Minute), p.admin))
	const n = 60
	var lines strings.Builder
	for i := range n {
		off := time.Duration(i%3-1) * time.Hour
		fmt.Fprintf(&lines, `{"time":%q,"request":{"method":"GET","target":"/%d"},"response":{"status":200}}`+"\n", time.Now().Add(off).Format(time.RFC3339Nano), i)
	}
	resp, err := http.Post(p.url()+"/v1/exchanges", "application/x-ndjson", strings.NewReader(lines.String()))
	require.NoError(t, err)
	answer, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusAccepted, resp.StatusCode, string(answer))
	require.Equal(t, n, p.settled(t, n).produced)
	found := 0
	require.NoError(t, feed.Exchanges(within(t, time.Minute), c.broker.Addr(), names.Exchanges, func(_ *topic.Record, x *traffic.Exchange) error {
		found++
		if off := time.Since(x.CaptureTime).Abs(); off > 10*time.Minute || x.Request.Target == nil {
			return fmt.Errorf("%s was captured at %s", x.Request.Target, x.CaptureTime)
		}
		return nil
	}))
	require.Equal(t, n, found)
	code, err := p.Stop(time.Minute)
	require.NoError(t, err)
	require.Equal(t, 130, code)
}

// replayers of one run come, leave and are killed while it goes on. All that was recorded is fired, and nothing else.
func replayers(t *testing.T, c *chaos) {
	prefix, names := newPrefix()
	made := feed.Made{Count: 3000, Rate: 500, Seed: c.random.Uint64(), Start: time.Now().Add(-time.Minute)}
	all, err := made.Write(within(t, time.Minute), c.broker.Addr(), names)
	require.NoError(t, err)
	target, stop := startSink(t, sink.Options{})
	args := []string{
		"run", "--brokers", c.broker.Addr(), "--topic-prefix", prefix, "--target", "http://" + target.Addr(), "--allow-target", target.Addr(),
		"--redact-key", "env:E2E_REDACT_KEY", "--run", "chaos", "--speed", "1", "-o", "json",
	}
	running := []*proc.Process{start(t, "replayer", args...)}
	ended := func(p *proc.Process) bool {
		select {
		case <-p.Exited():
			return true
		default:
			return false
		}
	}
	var done []string
	for range 4 + c.random.IntN(4) {
		c.pause(t, 0, 1500*time.Millisecond)
		switch event := c.random.IntN(4); {
		case len(running) == 0 || event <= 1 && len(running) < 3:
			done = append(done, "comes")
			running = append(running, start(t, "replayer", args...))
		case event == 2:
			done = append(done, "leaves")
			_, err := running[0].Stop(time.Minute)
			require.NoError(t, err)
			running = running[1:]
		default:
			done = append(done, "killed")
			running[0].Kill()
			running = running[1:]
		}
	}
	c.say("%s", strings.Join(done, ", "))
	if len(running) == 0 {
		running = append(running, start(t, "replayer", args...))
	}
	waitFor(t, 2*time.Minute, func() error {
		for _, p := range running {
			if ended(p) {
				return nil
			}
		}
		return fmt.Errorf("%d of %d arrived", target.Requests(), made.Count)
	})
	for _, p := range running {
		code, err := p.Wait(within(t, time.Minute))
		require.NoError(t, err)
		if code != 0 { // one that came when the run had ended is told so
			require.Equal(t, 2, code, p.Stderr())
			require.Contains(t, p.Stderr(), "--restart")
		}
	}
	stop()
	got := arrivals(t, target)
	for _, x := range all {
		require.NotEmpty(t, got[x.ID], "exchange %d is missing", x.ID.Seq())
	}
	require.Len(t, got, made.Count, "no id that was not recorded")
}
