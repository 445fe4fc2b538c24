//go:build e2e

package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/feed"
	"github.com/reprise-io/reprise/e2e/shop"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// TestClonesAndLoopsComeOnceEach: three users where there was one, twice over. Every copy of every request comes once, marked
// with its loop and clone; a clone's cookies are its own, equal in both loops and where they were equal; outcomes tell them apart.
func TestClonesAndLoopsComeOnceEach(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	_, production := serveShop(t, shop.Options{})
	tap := startTap(t, prefix, production)
	visits, err := shop.Visit{URL: tap.url(), Rate: 400, Seed: 21, Requests: 600}.Run(t.Context())
	require.NoError(t, err)
	require.Zero(t, visits.Failed)
	require.Equal(t, visits.Requests, tap.settled(t, visits.Requests).produced)
	recorded := map[string]string{} // the cookie of each GET, by exchange
	require.NoError(t, feed.Exchanges(within(t, time.Minute), shared.broker.Addr(), names.Exchanges, func(_ *topic.Record, x *traffic.Exchange) error {
		if string(x.Request.Method) != http.MethodGet {
			return nil
		}
		recorded[x.ID.String()] = ""
		for _, f := range x.Request.Headers {
			if strings.EqualFold(string(f.Name), "Cookie") {
				recorded[x.ID.String()] = string(f.Value)
			}
		}
		return nil
	}))
	require.Len(t, recorded, visits.Requests-visits.Writes)

	const clones, loops = 3, 2
	var mu sync.Mutex
	came := map[string]map[string]string{} // the cookie, by exchange and "loop=0;clone=2"
	again := 0
	target := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		id := r.Header.Get("Reprise-Exchange-Id")
		_, mark, _ := strings.Cut(r.Header.Get("Reprise-Replay"), ";")
		if came[id] == nil {
			came[id] = map[string]string{}
		}
		if _, known := came[id][mark]; known {
			again++
		}
		came[id][mark] = r.Header.Get("Cookie")
	}))
	r := replay(t, 2*time.Minute, replayArgs("run", prefix, target, "--run", "crowd", "--speed", "5",
		"--clone", fmt.Sprint(clones), "--loop", fmt.Sprint(loops))...)
	require.EqualValues(t, len(recorded)*clones*loops, r.Fired)
	require.EqualValues(t, visits.Writes*clones*loops, r.Refused["write_not_allowed"])
	require.Equal(t, loops, r.Loops)

	mu.Lock()
	defer mu.Unlock()
	require.Zero(t, again, "some came twice")
	require.Len(t, came, len(recorded))
	owner := map[string]string{} // which recorded cookie of which clone became that one
	for id, was := range recorded {
		require.Len(t, came[id], clones*loops, "exchange %s", id)
		for clone := range clones {
			first, known := came[id][fmt.Sprintf("loop=0;clone=%d", clone)]
			require.True(t, known, "exchange %s, clone %d", id, clone)
			for loop := 1; loop < loops; loop++ {
				later, known := came[id][fmt.Sprintf("loop=%d;clone=%d", loop, clone)]
				require.True(t, known, "exchange %s, loop %d, clone %d", id, loop, clone)
				require.Equal(t, first, later, "the same user in every loop")
			}
			if clone == 0 {
				require.Equal(t, was, first, "as it was recorded")
			}
			if was == "" {
				require.Empty(t, first)
				continue
			}
			require.Len(t, first, len(was))
			who := fmt.Sprintf("%d %s", clone, was)
			if owner[first] == "" {
				owner[first] = who
			}
			require.Equal(t, who, owner[first], "two users with one cookie")
		}
	}
	require.NotEmpty(t, owner)
	require.Zero(t, len(owner)%clones, "each user has become as many")

	type key struct {
		id          traffic.ID
		loop, clone uint32
	}
	outcomes := map[key]int{}
	require.NoError(t, feed.Records(within(t, time.Minute), shared.broker.Addr(), names.Results, func(r *topic.Record) error {
		o := new(traffic.Outcome)
		err := traffic.DecodeOutcome(r.Value, o)
		if o.Result != traffic.Refused {
			outcomes[key{o.ExchangeID, o.Loop, o.Clone}]++
		}
		return err
	}))
	require.Len(t, outcomes, len(recorded)*clones*loops)
}
