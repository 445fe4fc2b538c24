//go:build e2e

package e2e_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/feed"
	"github.com/reprise-io/reprise/e2e/shop"
	"github.com/reprise-io/reprise/e2e/sink"
)

// serveNothing is a target that answers and notes.
func serveNothing(t *testing.T) (s *sink.Sink, addr string) {
	t.Helper()
	s, _ = startSink(t, sink.Options{Lines: true})
	return s, s.Addr()
}

func TestTargetThatIsNotAllowedGetsNothing(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	_, err := (feed.Made{Count: 20, Rate: 1000, Seed: 31, Start: time.Now().Add(-time.Minute)}).
		Write(within(t, time.Minute), shared.broker.Addr(), names)
	require.NoError(t, err)
	target, addr := serveNothing(t)
	for name, args := range map[string][]string{
		"another host is": {"--allow-target", "preprod.example"},
		"another port is": {"--allow-target", "127.0.0.1:1"},
		"none is":         {},
	} {
		t.Run(name, func(t *testing.T) {
			for _, command := range []string{"run", "live"} {
				got := run(t, 2*time.Minute, "replayer", append([]string{
					command, "--brokers", shared.broker.Addr(), "--topic-prefix", prefix, "--target", "http://" + addr, "--run", "no",
				}, args...)...)
				require.Equal(t, 2, got.Code, got.Stderr)
				requireExplained(t, got.Stderr, "replayer", "--allow-target")
			}
		})
	}
	require.Zero(t, target.Requests())
}

func TestProductionIsNeverATarget(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	production, upstream := serveNothing(t)
	tap := startTap(t, prefix, upstream)
	resp, err := http.Get(tap.url() + "/items/1")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	tap.settled(t, 1)
	require.Equal(t, 1, stored(t, names.Exchanges))
	before := production.Requests()
	for name, target := range map[string]string{"the tap's upstream": upstream, "the tap itself": tap.addr} {
		t.Run(name, func(t *testing.T) {
			for _, command := range []string{"run", "live"} {
				got := run(t, 2*time.Minute, "replayer", replayArgs(command, prefix, target, "--run", "no")...)
				require.NotZero(t, got.Code, "%s fired at production", command)
				require.Contains(t, got.Stderr, "refused")
				requireExplained(t, got.Stderr, "replayer", target, "tap e2e")
			}
		})
	}
	require.Equal(t, before, production.Requests(), "production saw nothing but its customer")
}

func TestWritesAreRefusedWithoutARule(t *testing.T) {
	startKafka(t)
	prefix, _ := newPrefix()
	_, upstream := serveShop(t, shop.Options{})
	tap := startTap(t, prefix, upstream)
	visits, err := shop.Visit{URL: tap.url(), Rate: 500, Seed: 33, Requests: 200}.Run(t.Context())
	require.NoError(t, err)
	require.Positive(t, visits.Writes)
	tap.settled(t, visits.Requests)

	target, addr := serveNothing(t)
	plan := run(t, time.Minute, "replayer", replayArgs("plan", prefix, addr)...)
	require.Zero(t, plan.Code, plan.Stderr)
	require.Contains(t, plan.Stdout+plan.Stderr, "POST", "the plan tells what would be refused")
	require.Zero(t, target.Requests(), "a plan sends nothing")

	r := replay(t, time.Minute, replayArgs("run", prefix, addr, "--run", "reads", "--speed", "max")...)
	require.EqualValues(t, visits.Writes, r.Refused["write_not_allowed"])
	require.Equal(t, visits.Requests-visits.Writes, target.Requests())
}

func TestTapRecordsNoReplay(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	upstream, addr := serveNothing(t)
	tap := startTap(t, prefix, addr)
	for _, mark := range []string{"", "yesterday;loop=0;clone=0"} {
		req, err := http.NewRequest(http.MethodGet, tap.url()+"/items/1", nil)
		require.NoError(t, err)
		if mark != "" {
			req.Header.Set("Reprise-Replay", mark)
		}
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusOK, resp.StatusCode)
	}
	c := tap.settled(t, 2)
	require.Equal(t, 1, c.produced, "%+v", c)
	require.Equal(t, 1, c.filtered, "a marked request is passed on and counted, not recorded: %+v", c)
	require.Equal(t, 1, stored(t, names.Exchanges))
	require.Equal(t, 2, upstream.Requests())
}
