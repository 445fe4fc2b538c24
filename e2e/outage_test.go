//go:build e2e

package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/proc"
	"github.com/reprise-io/reprise/e2e/shop"
	"github.com/reprise-io/reprise/internal/topic"
)

// waitFor repeats a check until it passes.
func waitFor(t *testing.T, limit time.Duration, check func() error) {
	t.Helper()
	require.NoError(t, proc.Poll(within(t, limit), check))
}

// waitTopics waits until the tap has made its topics.
func (p *tapped) waitTopics(t *testing.T, names topic.Names) {
	t.Helper()
	waitFor(t, 2*time.Minute, func() error {
		got, err := topics(t)
		if err != nil {
			return err
		}
		for _, name := range []string{names.Exchanges, names.Control, names.Results} {
			if !slices.Contains(got, name) {
				return fmt.Errorf("no topic %s yet, only %v", name, got)
			}
		}
		return nil
	})
}

// topics lists what there is.
func topics(t *testing.T) ([]string, error) {
	t.Helper()
	admin, err := topic.NewAdmin(topic.Config{Brokers: []string{shared.broker.Addr()}})
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	return admin.List(t.Context())
}

// visit sends visitors for a while, in the background.
func visit(t *testing.T, v shop.Visit) (done func() shop.Visits) {
	t.Helper()
	type result struct {
		visits shop.Visits
		err    error
	}
	ended := make(chan result, 1)
	go func() {
		got, err := v.Run(t.Context())
		ended <- result{got, err}
	}()
	return func() shop.Visits {
		got := <-ended
		require.NoError(t, got.err)
		return got.visits
	}
}

// p99 of the answers to requests that were sent in [from, to).
func p99(answers []shop.Answer, from, to time.Time) time.Duration {
	var took []time.Duration
	for _, a := range answers {
		if !a.At.Before(from) && a.At.Before(to) {
			took = append(took, a.Took)
		}
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

func sleep(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

func TestProductionDoesNotNoticeAKafkaOutage(t *testing.T) {
	holds(t, func() error { return outage(t) })
}

// outage takes Kafka from a tap, twice, and returns an error when that made answers slower.
func outage(t *testing.T) error {
	broker := startKafka(t)
	prefix, names := newPrefix()
	_, production := serveShop(t, shop.Options{})
	tap := startTap(t, prefix, production)

	const phase = 3 * time.Second
	machine := noise(t)
	done := visit(t, shop.Visit{URL: tap.url(), Rate: 300, Seed: 21, For: 5 * phase})
	begin := time.Now()
	sleep(t, phase)
	hung := time.Now()
	broker.Pause() // connections open, no answer
	sleep(t, phase)
	broker.Resume()
	sleep(t, phase)
	gone := time.Now()
	require.NoError(t, broker.Stop())
	sleep(t, phase)
	back := time.Now()
	startKafka(t)
	visits := done()
	own := machine().p99

	require.Zero(t, visits.Failed, "production is untouched")
	up := p99(visits.Answers, begin, hung)
	hanging, down := p99(visits.Answers, hung, hung.Add(phase)), p99(visits.Answers, gone, back)
	t.Logf("p99 with Kafka up %s, hanging %s, stopped %s; the machine's own %s", up, hanging, down, own)
	c := tap.settled(t, visits.Requests)
	t.Logf("%+v", c)
	require.Zero(t, c.dropped+c.unknown, "a few seconds of outage fit into the tap's memory: %+v", c)
	require.Equal(t, c.produced, stored(t, names.Exchanges), "what was acknowledged is there, once")
	code, err := tap.Stop(time.Minute)
	require.NoError(t, err)
	require.Equal(t, 130, code)
	// The bar of the contract is 1 ms; a shared machine that stops and starts a JVM meanwhile needs more room.
	if max(hanging, down) >= up+50*time.Millisecond+4*own {
		return fmt.Errorf("p99 with Kafka up %s, hanging %s, stopped %s", up, hanging, down)
	}
	return nil
}

func TestTapStartsWithoutKafkaAndCatchesUp(t *testing.T) {
	broker := startKafka(t)
	require.NoError(t, broker.Stop())
	prefix, names := newPrefix()
	_, production := serveShop(t, shop.Options{})
	tap := startTap(t, prefix, production) // ready, with no broker
	visits, err := shop.Visit{URL: tap.url(), Rate: 300, Seed: 22, Requests: 600}.Run(t.Context())
	require.NoError(t, err)
	require.Zero(t, visits.Failed)
	c := tap.counts(t)
	waitFor(t, 2*time.Minute, func() error { // the last exchanges leave the proxy some milliseconds later
		if c = tap.counts(t); c.seen != visits.Requests {
			return fmt.Errorf("%d of %d seen", c.seen, visits.Requests)
		}
		return nil
	})
	require.Equal(t, c.seen, c.produced+c.filtered+c.sampledOut+c.dropped+c.unknown+c.pending, "%+v", c)

	startKafka(t)
	c = tap.settled(t, visits.Requests)
	require.Equal(t, visits.Requests, c.produced, "%+v", c)
	require.Equal(t, visits.Requests, stored(t, names.Exchanges))
}

func TestTapDropsOldestAndSaysSoWhenItsMemoryIsFull(t *testing.T) {
	broker := startKafka(t)
	require.NoError(t, broker.Stop())
	prefix, names := newPrefix()
	_, production := serveShop(t, shop.Options{})
	tap := startTap(t, prefix, production, "--memory-max", "1MiB")
	visits, err := shop.Visit{URL: tap.url(), Rate: 800, Seed: 23, Requests: 3000}.Run(t.Context())
	require.NoError(t, err)
	require.Zero(t, visits.Failed, "capture is shed, traffic is not")
	startKafka(t)
	c := tap.settled(t, visits.Requests)
	t.Logf("%+v", c)
	require.Positive(t, c.dropped, "so much does not fit into a mebibyte")
	require.Positive(t, c.produced)
	require.Equal(t, c.produced, stored(t, names.Exchanges))
}

// warm waits until a first exchange is stored: a tap that has just made its topics needs a second until Kafka leads them.
func (p *tapped) warm(t *testing.T) {
	t.Helper()
	resp, err := http.Get(p.url() + "/warm")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	waitFor(t, 2*time.Minute, func() error {
		if c := p.counts(t); c.produced == 0 {
			return fmt.Errorf("nothing stored yet: %+v", c)
		}
		return nil
	})
}
