//go:build e2e

package e2e_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/proc"
)

// startHAProxy runs deploy/haproxy/reprise.cfg with other addresses.
func startHAProxy(t *testing.T, tap, direct string) (addr string) {
	t.Helper()
	addr = freeAddr(t)
	text, err := os.ReadFile(filepath.Join(shared.root, "deploy", "haproxy", "reprise.cfg"))
	require.NoError(t, err)
	for old, now := range map[string]string{"bind :80": "bind " + addr, "127.0.0.1:8080": tap, "127.0.0.1:9000": direct} {
		require.Equal(t, 1, strings.Count(string(text), old), old)
		text = []byte(strings.Replace(string(text), old, now, 1))
	}
	conf := filepath.Join(t.TempDir(), "haproxy.cfg")
	require.NoError(t, os.WriteFile(conf, text, 0o600))
	p, err := proc.Start(proc.Options{Path: "haproxy", Args: []string{"-db", "-f", conf}})
	require.NoError(t, err, "make installs it")
	t.Cleanup(p.Kill)
	require.NoError(t, proc.Poll(within(t, 2*time.Minute), func() error {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			err = c.Close()
		}
		return err
	}), "%s", p.Stderr())
	return addr
}

// The tap is killed under load. HAProxy's backup takes over; what fails is at most what was under way.
func TestTrafficGoesPastATapThatIsKilled(t *testing.T) {
	direct := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
		_, _ = io.WriteString(w, "ok")
	}))
	listen, admin := freeAddr(t), freeAddr(t)
	tap := start(t, "tap", "proxy", "--listen", listen, "--upstream", direct, "--admin", admin, "--brokers", "127.0.0.1:1", "--redact", "off")
	require.NoError(t, tap.Ready(within(t, 2*time.Minute), admin))
	front := startHAProxy(t, listen, direct)

	const clients = 16
	var asked, failed [2]atomic.Int64 // GETs and POSTs
	var worst, later atomic.Int64
	var noticed atomic.Bool // whatever begins from then on must not fail
	var stopped atomic.Bool
	var running sync.WaitGroup
	for i := range clients {
		method, body := []string{"GET", "POST"}[i%2], strings.Repeat("b", 100*(i%2))
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second} // nothing is retried by it
		running.Go(func() {
			for !stopped.Load() {
				asked[i%2].Add(1)
				after, began := noticed.Load(), time.Now()
				if err := request(client, method, "http://"+front, body); err != nil {
					failed[i%2].Add(1)
					if after {
						later.Add(1)
					}
				}
				if took := int64(time.Since(began)); took > worst.Load() {
					worst.Store(took)
				}
			}
		})
	}
	total := func() int64 { return asked[0].Load() + asked[1].Load() }
	more := func(n int64) {
		before := total()
		require.NoError(t, proc.Poll(within(t, 2*time.Minute), func() error {
			if total() < before+n {
				return fmt.Errorf("%d of %d more", total()-before, n)
			}
			return nil
		}))
	}
	more(500)
	m, err := proc.Scrape(within(t, 2*time.Minute), admin)
	require.NoError(t, err)
	require.Greater(t, m.Sum("reprise_tap_accepted_total"), 400.0, "the traffic goes through the tap before")
	require.Zero(t, failed[0].Load()+failed[1].Load())
	tap.Kill()
	more(500)
	noticed.Store(true)
	more(500)
	stopped.Store(true)
	running.Wait()
	t.Logf("%d GETs, %d failed; %d POSTs, %d failed; slowest %v", asked[0].Load(), failed[0].Load(), asked[1].Load(), failed[1].Load(),
		time.Duration(worst.Load()).Round(time.Millisecond))
	require.LessOrEqual(t, failed[0].Load()+failed[1].Load(), int64(2*clients), "what was under way, and what HAProxy sent before it had noticed")
	require.Zero(t, later.Load(), "nothing fails later")
	require.Less(t, time.Duration(worst.Load()), 10*time.Second)
}

func request(client *http.Client, method, url, body string) error {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || string(got) != body+"ok") {
		err = fmt.Errorf("status %d, %q", resp.StatusCode, got)
	}
	return err
}
