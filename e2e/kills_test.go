//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/feed"
	"github.com/reprise-io/reprise/internal/spool"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// number reads a number from the environment.
func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, name)
	require.Positive(t, n, name)
	return n
}

// TestKilledTapsLoseNothingThatIsOnDisk kills a tap under load with SIGKILL at random moments, REPRISE_KILLS times, while Kafka
// comes and goes; each next one has the same spool. REPRISE_SEED repeats the moments.
func TestKilledTapsLoseNothingThatIsOnDisk(t *testing.T) {
	const memory = 4 << 20
	kills := number(t, "REPRISE_KILLS", 5)
	seed := number(t, "REPRISE_SEED", int(time.Now().UnixNano()&0x7fffffff))
	t.Logf("%d kills, REPRISE_SEED=%d", kills, seed)
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	upTo := func(d time.Duration) time.Duration { return time.Duration(random.Int64N(int64(d))) }

	broker := startKafka(t)
	t.Cleanup(func() {
		if broker.Running() { // others use it
			broker.Resume()
		}
	})
	prefix, names := newPrefix()
	production := new(counting)
	origin := serve(t, production)
	dir := filepath.Join(t.TempDir(), "spool")
	begin := func() *tapped {
		return startTap(t, prefix, origin, "--memory-max", fmt.Sprint(memory), "--spool-dir", dir, "--spool-max", "512MiB")
	}
	tap := begin()
	tap.warm(t) // and the topics are there
	steady := startStream(t, 400, tap.addr, origin)

	onDisk := make(map[traffic.ID]bool)
	hung, gone := false, false
	for kill := range kills {
		sleep(t, upTo(time.Second))
		switch away := random.IntN(4); {
		case hung || gone:
		case kill%25 == 12:
			broker.Kill()
			gone = true
		case away > 0 || kill == 0: // longer than it takes until all goes to the disk, or not
			broker.Pause()
			hung = true
		}
		if kill == 0 {
			waitFor(t, 2*time.Minute, func() error {
				if c := tap.counts(t); c.spooled == 0 {
					return fmt.Errorf("nothing is on the disk: %+v", c)
				}
				return nil
			})
		}
		sleep(t, upTo(4*time.Second))
		told := tap.counts(t)
		tap.Kill()
		steady.to(origin)

		left := recordsIn(t, dir)
		if hung || gone {
			// Nothing leaves the disk meanwhile but what had been taken from it just before Kafka went.
			require.GreaterOrEqual(t, len(left), told.spooled, "what it said was spooled: %+v", told)
		}
		for _, id := range left {
			onDisk[id] = true
		}
		if hung && random.IntN(3) > 0 { // else the outage outlasts the kill
			broker.Resume()
			hung = false
		}
		if gone {
			startKafka(t)
			gone = false
		}
		tap = begin()
		waitFor(t, 2*time.Minute, func() error {
			if c := tap.counts(t); c.recovered != len(left) {
				return fmt.Errorf("%d were on disk: %+v", len(left), c)
			}
			return nil
		})
		steady.to(tap.addr)
	}
	if hung {
		broker.Resume()
	}
	sleep(t, time.Second)
	sent := steady.stop()
	require.Zero(t, sent.failed, "everything was answered, by the tap or by production itself")
	require.Equal(t, sent.requests, production.different(), "by production, in any case")
	waitFor(t, 2*time.Minute, func() error {
		if c := tap.counts(t); c.pending+c.spooled > 0 {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
	_, err := tap.Stop(time.Minute)
	require.NoError(t, err)

	found, records := make(map[traffic.ID]bool), 0
	targets := make(map[string]bool)
	err = feed.Exchanges(within(t, 2*time.Minute), broker.Addr(), names.Exchanges, func(_ *topic.Record, x *traffic.Exchange) error {
		found[x.ID] = true
		targets[string(x.Request.Target)] = true
		records++
		return nil
	})
	require.NoError(t, err)
	missing := 0
	for id := range onDisk {
		if !found[id] {
			missing++
		}
	}
	require.Zero(t, missing, "of what was on disk at a kill, %d exchanges", len(onDisk))
	lost := 0
	for _, target := range sent.through {
		if !targets[target] {
			lost++
		}
	}

	a, code := audit(t, prefix)
	require.Zero(t, code, "the sum closes")
	require.True(t, a.Closes)
	require.LessOrEqual(t, len(a.Taps)+a.Unreported, kills+1)
	var reported, afterReport, counted uint64
	gaps := 0
	for _, x := range a.Taps {
		require.True(t, x.Judged && x.Balanced && x.Closes, "%+v", x)
		require.Equal(t, x.Missing, x.Counted+x.AfterReport)
		named := uint64(0)
		for _, g := range x.Gaps {
			named += g.Last - g.First + 1
		}
		require.Equal(t, x.Missing, named, "every number that is missing is named")
		reported, afterReport, counted, gaps = reported+x.Found, afterReport+x.AfterReport, counted+x.Counted, gaps+len(x.Gaps)
	}
	if a.Unreported == 0 {
		require.EqualValues(t, len(found), reported)
	}
	t.Logf("%d requests, %d of them through a tap, the others while it was dead; %d in the topic, and %d twice; %d were on disk at a kill, "+
		"all of them there; %d were lost with the %d processes; audit: %d taps, %d that never could report, %d missing after a last "+
		"report and %d counted, in %d gaps", sent.requests, len(sent.through), len(found), records-len(found), len(onDisk), lost, kills,
		len(a.Taps), a.Unreported, afterReport, counted, gaps)
	require.NotEmpty(t, onDisk, "the spool was in use")
	require.LessOrEqual(t, lost, kills*memory/256, "more than memory can have held")
}

// recordsIn reads which exchanges a killed tap has left in its spool, from a copy: reading repairs.
func recordsIn(t *testing.T, dir string) (ids []traffic.ID) {
	t.Helper()
	copied := t.TempDir()
	require.NoError(t, os.CopyFS(copied, os.DirFS(dir)))
	defer os.RemoveAll(copied)
	files, err := spool.OpenDirectory(copied)
	require.NoError(t, err)
	s, err := spool.Open(files, spool.Config{MaxBytes: 1 << 30, OnLost: func(n int64, why spool.Reason) { t.Errorf("%d damaged: %s", n, why) }})
	require.NoError(t, err)
	for s.Len() > 0 {
		payloads, _, err := s.Take(1<<10, 1<<20)
		require.NoError(t, err)
		for _, b := range payloads {
			r, err := topic.ParseRecord(b)
			require.NoError(t, err)
			var meta traffic.Meta
			require.NoError(t, traffic.ParseMeta(r.Headers, &meta))
			ids = append(ids, meta.ID)
		}
	}
	require.NoError(t, s.Close())
	return ids
}

// counting is a production that knows what it has answered.
type counting struct {
	mu       sync.Mutex
	answered map[string]bool
}

func (c *counting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	c.mu.Lock()
	if c.answered == nil {
		c.answered = make(map[string]bool)
	}
	if strings.HasPrefix(r.URL.Path, "/n/") {
		c.answered[r.URL.Path] = true
	}
	c.mu.Unlock()
	_, _ = w.Write([]byte("ok"))
}

func (c *counting) different() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.answered)
}

// stream is requests at a steady rate, whatever becomes of them. One that a tap does not answer is sent to production itself, as
// the balancer in front does it.
type stream struct {
	addr   atomic.Pointer[string]
	origin string
	stop   func() delivery
}

// delivery is what became of the requests.
type delivery struct {
	requests, failed int
	through          []string // targets that a tap has answered
}

func (l *stream) to(addr string) { l.addr.Store(&addr) }

const loaders = 64

func startStream(t *testing.T, rate float64, addr, origin string) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &stream{origin: origin}
	l.to(addr)
	arrivals := make(chan int, 1<<16)
	var work sync.WaitGroup
	results := make([]delivery, loaders)
	for i := range results {
		work.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}
			defer client.CloseIdleConnections()
			for n := range arrivals {
				l.request(client, n, &results[i])
			}
		})
	}
	work.Go(func() {
		defer close(arrivals)
		start := time.Now()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for n := 0; ; {
			select {
			case now := <-tick.C:
				for ; n < int(rate*now.Sub(start).Seconds()); n++ {
					arrivals <- n
				}
			case <-ctx.Done():
				return
			}
		}
	})
	l.stop = sync.OnceValue(func() (all delivery) {
		cancel()
		work.Wait()
		for _, r := range results {
			all.requests += r.requests
			all.failed += r.failed
			all.through = append(all.through, r.through...)
		}
		return all
	})
	t.Cleanup(func() { l.stop() })
	return l
}

func (l *stream) request(client *http.Client, n int, count *delivery) {
	count.requests++
	target := fmt.Sprintf("/n/%d", n)
	addr := *l.addr.Load()
	err := visitOnce(client, addr, target, n)
	switch {
	case err == nil:
		if addr != l.origin {
			count.through = append(count.through, target)
		}
	case visitOnce(client, l.origin, target, n) != nil:
		count.failed++
	}
}

// visitOnce sends one request; one in four is a POST.
func visitOnce(client *http.Client, addr, target string, n int) error {
	method, body := http.MethodGet, io.Reader(nil)
	if n%4 == 0 {
		method, body = http.MethodPost, strings.NewReader(strings.Repeat("a", 600))
	}
	req, err := http.NewRequest(method, "http://"+addr+target, body)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
