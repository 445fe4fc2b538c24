//go:build e2e

package e2e_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/feed"
	"github.com/reprise-io/reprise/e2e/proc"
	"github.com/reprise-io/reprise/e2e/sink"
)

// What a tap reports is not reached whatever the target is called, whoever sends elsewhere, and whatever stands in the traffic.
func TestProductionIsNotReachedByAnyName(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	production, upstream := serveNothing(t)
	tap := startTap(t, prefix, upstream)
	for i := range 20 {
		req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("%s/items/%d", tap.url(), i), nil)
		require.NoError(t, err)
		if i%2 == 0 {
			req.Host = upstream // production's own name, in half of what is recorded
		}
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	tap.settled(t, 20)
	require.Equal(t, 20, stored(t, names.Exchanges))
	before := production.Requests()

	_, port, err := net.SplitHostPort(upstream)
	require.NoError(t, err)
	for _, host := range []string{"127.1", "0x7f.0.0.1", "2130706433", "0.0.0.0", "localhost", "LOCALHOST.", "[::ffff:127.0.0.1]", "[::1]", "127.77.0.1"} {
		target := host + ":" + port
		got := run(t, 2*time.Minute, "replayer", replayArgs("run", prefix, target, "--run", "no")...)
		require.Equal(t, 2, got.Code, "%s: %s", target, got.Stderr)
		require.Contains(t, got.Stderr, "is the upstream of tap e2e", target)
	}
	var visits atomic.Int64
	preprod := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		visits.Add(1)
		w.Header().Set("Alt-Svc", `h2="`+upstream+`"`)
		w.Header().Set("Refresh", "0; url=http://"+upstream)
		http.Redirect(w, r, "http://"+upstream+"/", []int{301, 302, 303, 307, 308}[visits.Load()%5])
	}))
	t.Cleanup(preprod.Close)
	for i, more := range [][]string{nil, {"--retries", "2"}, {"--host", upstream, "--allow-target", upstream}, {"--host", "recorded", "--allow-target", upstream}} {
		o := options("replayer", replayArgs("run", prefix, preprod.Listener.Addr().String(), append(more, "--run", fmt.Sprint("led-", i), "--speed", "max")...)...)
		o.Env = append(o.Env, "HTTP_PROXY=http://"+upstream, "http_proxy=http://"+upstream, "ALL_PROXY=http://"+upstream)
		got, err := proc.Run(within(t, time.Minute), o)
		require.NoError(t, err)
		require.Zero(t, got.Code, got.Stderr)
	}
	require.Positive(t, visits.Load())
	led := run(t, 30*time.Second, "replayer", replayArgs("run", prefix, preprod.Listener.Addr().String(), "--run", "led", "--host", upstream)...)
	require.Equal(t, 2, led.Code, led.Stderr)
	requireExplained(t, led.Stderr, "replayer", "is a name of production")
	require.Equal(t, before, production.Requests(), "production saw nothing but its customers")
}

func TestRulesNameProductionAndBoundWhatIsSent(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	_, err := (feed.Made{Count: 100, Rate: 1000, Seed: 41, Start: time.Now().Add(-time.Minute)}).
		Write(within(t, time.Minute), shared.broker.Addr(), names)
	require.NoError(t, err)
	target, addr := serveNothing(t)
	file := filepath.Join(t.TempDir(), "rules.yaml")
	write := func(text string) []string {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		return []string{"--rules", file, "--speed", "max", "--run"}
	}
	for name, args := range map[string][]string{
		"rules": append(write("production: [127.0.0.0/8]\n"), "no"),
		"flag":  {"--production", addr, "--run", "no"},
	} {
		got := run(t, 2*time.Minute, "replayer", replayArgs("run", prefix, addr, args...)...)
		require.Equal(t, 2, got.Code, got.Stderr)
		requireExplained(t, got.Stderr, "replayer", "named as production")
		plan := run(t, 2*time.Minute, "replayer", replayArgs("plan", prefix, addr, args[:2]...)...)
		require.Zero(t, plan.Code, plan.Stderr)
		require.Contains(t, plan.Stdout, "named as production", name)
	}
	require.Zero(t, target.Requests())

	more := append(write("writes: {caps: [{route: 'GET /**', most: 30}]}\n"), "capped")
	r := replay(t, time.Minute, replayArgs("run", prefix, addr, more...)...)
	require.EqualValues(t, 70, r.Refused["route_cap"])
	require.Equal(t, 30, target.Requests())

	got := run(t, time.Minute, "replayer", replayArgs("run", prefix, addr, "--run", "some", "--speed", "max", "--max-total", "25", "-o", "json")...)
	require.Equal(t, 3, got.Code, got.Stderr)
	requireExplained(t, got.Stderr, "replayer", "--max-total 25 is reached")
	require.EqualValues(t, 25, parseReport(t, got.Stdout).Fired)
	require.Equal(t, 55, target.Requests())

	got = run(t, time.Minute, "replayer", replayArgs("run", prefix, addr, "--run", "asked", "--handshake-header", "X-Preprod: yes")...)
	require.Equal(t, 2, got.Code, got.Stderr)
	requireExplained(t, got.Stderr, "replayer", "does not answer as pre-production")
	require.Equal(t, 56, target.Requests(), "it was asked, and nothing else")
}

func TestKillSwitchStopsAllReplicas(t *testing.T) {
	startKafka(t)
	for _, by := range []string{"signal", "file"} {
		t.Run(by, func(t *testing.T) {
			prefix, names := newPrefix()
			_, err := (feed.Made{Count: 20_000, Rate: 200, Seed: 42, Start: time.Now().Add(-time.Hour)}).
				Write(within(t, time.Minute), shared.broker.Addr(), names)
			require.NoError(t, err)
			s, _ := startSink(t, sink.Options{Lines: true})
			file := filepath.Join(t.TempDir(), "kill")
			var replicas []*proc.Process
			for range 2 {
				replicas = append(replicas, start(t, "replayer", replayArgs("run", prefix, s.Addr(), "--run", "killed", "--wait-replicas", "2", "--kill-file", file)...))
			}
			require.NoError(t, proc.Poll(within(t, time.Minute), func() error {
				if s.Requests() < 200 {
					return errors.New("not under way")
				}
				return nil
			}))
			if by == "signal" {
				replicas[0].Signal(syscall.SIGUSR1)
			} else {
				require.NoError(t, os.WriteFile(file, nil, 0o600))
			}
			for _, p := range replicas {
				code, err := p.Wait(within(t, time.Minute))
				require.NoError(t, err)
				require.Equal(t, 130, code, p.Stderr())
				require.Contains(t, p.Stderr(), "kill switch")
			}
			sent := s.Requests()
			require.Less(t, sent, 20_000)
			if by == "file" {
				got := run(t, time.Minute, "replayer", replayArgs("run", prefix, s.Addr(), "--run", "killed", "--kill-file", file)...)
				require.Equal(t, 1, got.Code, got.Stderr)
				require.Contains(t, got.Stderr, "is there")
			}
			require.Equal(t, sent, s.Requests())
		})
	}
}
