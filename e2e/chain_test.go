//go:build e2e

package e2e_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/feed"
	"github.com/reprise-io/reprise/e2e/shop"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// What a company has that wants to begin today: nginx in front of its service, a Kafka with TLS, SCRAM and ACLs, and the next
// build of the service to try.
func TestNginxMirrorSecuredKafkaReplayerShop(t *testing.T) {
	b := startSecureKafka(t)
	prefix, names := newPrefix()
	for _, user := range []string{tapUser, replayerUser, inspectUser} {
		allow(t, b, readmeACLs(t, user, prefix)...)
	}
	production, productionAddr := serveShop(t, shop.Options{})
	tap := &tapped{addr: freeAddr(t), admin: freeAddr(t)}
	tap.Process = start(t, "tap", append([]string{
		"mirror", "--listen", tap.addr, "--admin", tap.admin, "--topic-prefix", prefix, "--name", "edge",
		"--redact-key", "env:E2E_REDACT_KEY", "--production", productionAddr,
	}, b.Login(tapUser)...)...)
	require.NoError(t, tap.Ready(within(t, 2*time.Minute), tap.admin))
	edge := gateway{tap: tap.addr, app: productionAddr}.start(t)

	visits, err := shop.Visit{URL: "http://" + edge, Rate: 150, For: 4 * time.Second, Seed: 7}.Run(within(t, time.Minute))
	require.NoError(t, err)
	visited := int(production.Requests())
	require.Positive(t, visited)
	require.Zero(t, visits.Failed, "production answers everybody")
	c := tap.settled(t, visited)
	require.Equal(t, visited, c.produced, "every copy is stored: %+v", c)

	set := run(t, time.Minute, "tap", append([]string{"set", "--capture", "on", "--topic-prefix", prefix, "-o", "json"}, b.Login(tapUser)...)...)
	require.Zero(t, set.Code, "with the same rights a tap is told what to do\n%s", set.Stderr)
	require.Contains(t, set.Stdout, `"edge"`)

	reads := 0
	sessions := make(map[string]bool)
	err = feed.Exchanges(within(t, time.Minute), b.Addr(), names.Exchanges, func(_ *topic.Record, x *traffic.Exchange) error {
		require.True(t, x.Flags.Has(traffic.RequestOnly), "a gateway's copy has no answer")
		require.Equal(t, edge, string(x.Request.Authority), "the Host that the visitor had sent")
		if m := string(x.Request.Method); m == "GET" || m == "HEAD" || m == "OPTIONS" {
			reads++
		}
		sessions[string(x.Session)] = true
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, len(sessions), 5, "visitors are told apart by their session cookie")

	next := shop.New(shop.PreProduction())
	var mu sync.Mutex
	unmarked := 0
	nextAddr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Reprise-Replay") == "" || r.Header.Get("X-Tap-Client") != "" {
			mu.Lock()
			unmarked++
			mu.Unlock()
		}
		next.ServeHTTP(w, r)
	}))
	play := func(target string, more ...string) []string {
		args := append([]string{"run", "--topic-prefix", prefix, "--redact-key", "env:E2E_REDACT_KEY"}, b.Login(replayerUser)...)
		return append(append(args, "--target", "http://"+target, "--allow-target", target), more...)
	}
	r := replay(t, time.Minute, play(nextAddr, "--run", "chain", "--speed", "2")...)
	require.EqualValues(t, reads, r.Fired)
	require.EqualValues(t, reads, next.Requests())
	require.Zero(t, next.Writes(), "pre-production executes no writes")
	require.EqualValues(t, visited-reads, r.Refused["write_not_allowed"], "%v", r.Refused)
	require.Zero(t, unmarked, "every request is marked, and says nothing of the gateway")

	before := production.Requests()
	got := run(t, time.Minute, "replayer", play(productionAddr, "--run", "at-production")...)
	require.NotZero(t, got.Code, got.Stderr)
	requireExplained(t, got.Stderr, "replayer", productionAddr)
	require.Contains(t, got.Stderr, "tap edge")
	require.Equal(t, before, production.Requests(), "what the tap was told is production is no target")
	requireNoSecret(t, tap.Stderr()+got.Stderr)
}
