//go:build e2e

package e2e_test

import (
	"fmt"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/feed"
	"github.com/reprise-io/reprise/e2e/shop"
	"github.com/reprise-io/reprise/e2e/sink"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// arrivals sorts what a sink noted by exchange.
func arrivals(t *testing.T, s *sink.Sink) map[traffic.ID][]sink.Arrival {
	t.Helper()
	all := make(map[traffic.ID][]sink.Arrival)
	for _, a := range s.Arrivals() {
		id, err := traffic.ParseID(a.ID)
		require.NoError(t, err, "every request is marked with its exchange")
		all[id] = append(all[id], a)
	}
	return all
}

func TestReplayKeepsSpeedAndOrder(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	const duration = 2 * time.Millisecond // of each recorded answer
	made := feed.Made{
		Count: 2500, Rate: 500, Seed: 3, Sessions: 150, Duration: duration, Start: time.Now().Add(-time.Minute),
	}
	all, err := made.Write(within(t, time.Minute), shared.broker.Addr(), names)
	require.NoError(t, err)

	runs := 0
	at := func(t *testing.T, speed float64) func() error {
		return func() error {
			target, stop := startSink(t, sink.Options{})
			machine := noise(t)
			runs++
			r := replay(t, 3*time.Minute, replayArgs("run", prefix, target.Addr(), "--run", fmt.Sprint("speed-", runs),
				"--speed", strconv.FormatFloat(speed, 'g', -1, 64))...)
			own := machine()
			stop()
			require.EqualValues(t, made.Count, r.Fired)
			got := arrivals(t, target)
			require.Len(t, got, made.Count)
			last := make(map[int]feed.Recorded) // by session
			seen := make([]sight, 0, len(all))
			for _, x := range all {
				require.Len(t, got[x.ID], 1, "fired once")
				seen = append(seen, sight{x.Capture, got[x.ID][0].At})
				// An exchange that began after its predecessor had been answered is not sent before it.
				before, ok := last[x.Session]
				if ok && x.Capture.After(before.Capture.Add(duration)) {
					require.False(t, got[x.ID][0].At.Before(got[before.ID][0].At), "order within session %d", x.Session)
				}
				last[x.Session] = x
			}
			m, err := timingOf(seen, speed, own)
			t.Logf("%s; the machine's own p99 %s, it stood still %d times; reported lateness %+v", m, own.p99, len(own.asleep), r.Lateness)
			if err == nil && !m.stood && math.Abs(r.Speed.Achieved-speed) > 0.05*speed+0.02 {
				err = fmt.Errorf("the report says that the speed was %g, not %g", r.Speed.Achieved, speed)
			}
			return err
		}
	}
	for _, speed := range []float64{0.5, 1, 2} {
		t.Run(fmt.Sprintf("%g×", speed), func(t *testing.T) { holds(t, at(t, speed)) })
	}
}

func TestReplayFindsWhatTheNextBuildBroke(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	_, production := serveShop(t, shop.Options{})
	tap := startTap(t, prefix, production)
	visits, err := shop.Visit{URL: tap.url(), Rate: 400, Seed: 11, Requests: 800}.Run(t.Context())
	require.NoError(t, err)
	require.Zero(t, visits.Failed)
	c := tap.settled(t, visits.Requests)
	require.Equal(t, visits.Requests, c.produced)
	require.Equal(t, visits.Requests, stored(t, names.Exchanges))

	next, target := serveShop(t, shop.PreProduction())
	r := replay(t, time.Minute, replayArgs("run", prefix, target, "--run", "build", "--speed", "2")...)
	require.EqualValues(t, visits.Requests-visits.Writes, r.Fired)
	require.EqualValues(t, visits.Writes, r.Refused["write_not_allowed"])
	require.Zero(t, next.Writes(), "no write reached pre-production")
	require.Equal(t, r.Fired, next.Requests())
	require.NotEmpty(t, r.Differences)
	d := r.Differences[0]
	require.Equal(t, "GET /items/{id}", d.Route)
	require.Equal(t, "/price", d.Path)
	require.Equal(t, "missing", d.Kind)
	require.Len(t, r.Differences, 1, "and nothing else: %+v", r.Differences)
	for _, route := range r.Routes {
		if route.Route == "GET /search" {
			require.Greater(t, route.Service.P50, 90.0, "the slow route shows")
			require.Greater(t, route.Service.P50, route.Recorded.P50)
		}
	}
	require.Positive(t, stored(t, names.Results))

	// Writes that a rule allows are sent, with the marks that tell a replay from a customer.
	allowed, stop := startSink(t, sink.Options{Lines: true})
	r = replay(t, time.Minute, replayArgs("run", prefix, allowed.Addr(), "--run", "writes", "--speed", "max", "--allow-writes", "POST /cart")...)
	stop()
	posts := 0
	for _, a := range allowed.Arrivals() {
		if a.Method == "POST" {
			posts++
			require.Equal(t, "/cart", a.Target)
		}
	}
	require.Equal(t, visits.Status[201], posts)
	require.EqualValues(t, visits.Writes-posts, r.Refused["write_not_allowed"])
}

func TestLiveFollowsBehindProduction(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	_, production := serveShop(t, shop.Options{})
	tap := startTap(t, prefix, production)
	tap.waitTopics(t, names)
	target, stop := startSink(t, sink.Options{})
	admin := freeAddr(t)
	const lag = 3 * time.Second
	live := start(t, "replayer", replayArgs("live", prefix, target.Addr(), "--lag", lag.String(), "--admin", admin, "-o", "json")...)
	require.NoError(t, live.Ready(within(t, 2*time.Minute), admin))

	visits, err := shop.Visit{URL: tap.url(), Rate: 200, Seed: 5, For: 6 * time.Second}.Run(t.Context())
	require.NoError(t, err)
	want := visits.Requests - visits.Writes
	waitFor(t, 2*time.Minute, func() error {
		if n := target.Requests(); n < want {
			return fmt.Errorf("%d of %d fired", n, want)
		}
		return nil
	})
	code, err := live.Stop(time.Minute)
	require.NoError(t, err)
	require.Equal(t, 130, code, "interrupted after a clean drain")
	stop()
	r := parseReport(t, live.Stdout())
	require.EqualValues(t, want, r.Fired)
	require.EqualValues(t, visits.Writes, r.Refused["write_not_allowed"])
	captured := make(map[traffic.ID]time.Time)
	require.NoError(t, feed.Exchanges(within(t, 2*time.Minute), shared.broker.Addr(), names.Exchanges, func(_ *topic.Record, x *traffic.Exchange) error {
		captured[x.ID] = x.CaptureTime
		return nil
	}))
	least := time.Hour
	for id, arrived := range arrivals(t, target) {
		least = min(least, arrived[0].At.Sub(captured[id]))
	}
	require.InDelta(t, lag.Seconds(), least.Seconds(), 0.5, "requests are fired the lag after they were captured, or later on a busy machine")
}
