//go:build e2e

package e2e_test

import (
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/proc"
	"github.com/reprise-io/reprise/e2e/shop"
	"github.com/reprise-io/reprise/e2e/sink"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"

	"github.com/reprise-io/reprise/e2e/feed"
)

func TestTwentyThousandExchangesArriveInKafka(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	_, production := serveShop(t, shop.Options{})
	tap := startTap(t, prefix, production)
	const count = 20000
	visits, err := shop.Visit{URL: tap.url(), Rate: 2000, Seed: 51, Requests: count, Visitors: 128}.Run(t.Context())
	require.NoError(t, err)
	require.Zero(t, visits.Failed)
	t.Logf("%d visits in %s", count, visits.Elapsed.Round(time.Millisecond))
	c := tap.settled(t, count)
	require.Equal(t, counts{seen: count, produced: count}, c, "nothing dropped, nothing unknown")
	require.Equal(t, count, stored(t, names.Exchanges))

	// tap_seq proves it to every reader: from 1, without gaps, once each.
	seen := make([]bool, count)
	err = feed.Exchanges(within(t, time.Minute), shared.broker.Addr(), names.Exchanges, func(_ *topic.Record, x *traffic.Exchange) error {
		seq := x.ID.Seq()
		require.True(t, seq >= 1 && seq <= count && !seen[seq-1], "sequence number %d", seq)
		seen[seq-1] = true
		return nil
	})
	require.NoError(t, err)
}

func TestTapCapturesAtFullRate(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	origin, _ := startSink(t, sink.Options{Count: true})
	tap := startTap(t, prefix, origin.Addr())
	tap.waitTopics(t, names)
	tap.warm(t)
	got, err := proc.Run(within(t, time.Minute), proc.Options{Path: "wrk", Args: []string{"-t1", "-c32", "-d4s", tap.url() + "/items/1"}})
	require.NoError(t, err)
	require.Zero(t, got.Code, got.Stderr)
	require.NotContains(t, got.Stdout, "Socket errors", "production is untouched at full rate:\n%s", got.Stdout)
	m := regexp.MustCompile(`(\d+) requests in`).FindStringSubmatch(got.Stdout)
	require.NotNil(t, m, got.Stdout)
	answered, err := strconv.Atoi(m[1])
	require.NoError(t, err)
	require.NoError(t, waitQuiet(t, tap))
	c := tap.counts(t)
	t.Logf("%d answered, %+v", answered, c)
	require.GreaterOrEqual(t, c.seen, answered)
	require.LessOrEqual(t, c.seen, origin.Requests())
	require.Equal(t, c.seen, c.produced+c.filtered+c.sampledOut+c.dropped+c.unknown, "the arithmetic closes: %+v", c)
	require.Equal(t, c.produced, stored(t, names.Exchanges))
	require.GreaterOrEqual(t, float64(c.produced), 0.99*float64(c.seen))
}
