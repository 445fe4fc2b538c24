//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/link"
)

// mishaps are all that may happen.
func (c *chaos) mishaps() []mishap {
	all := []mishap{
		{"Kafka killed", func(t *testing.T, c *chaos) {
			c.while(t, 0, 5*time.Second, c.broker.Kill, func() { c.startBroker(t) })
		}},
		{"Kafka stopped", func(t *testing.T, c *chaos) {
			c.while(t, 500*time.Millisecond, 8*time.Second, c.broker.Pause, c.broker.Resume)
		}},
		{"Kafka black-holed", func(t *testing.T, c *chaos) { c.withLink(t, link.Fault{Hang: true}) }},
		{"Kafka slow", func(t *testing.T, c *chaos) {
			f := link.Fault{Delay: c.some(200*time.Millisecond, 500*time.Millisecond), Rate: (128 + c.random.IntN(1024)) << 10}
			c.say("by %s, %d KiB/s", f.Delay, f.Rate>>10)
			c.withLink(t, f)
		}},
		{"rights taken back", func(t *testing.T, c *chaos) {
			c.while(t, time.Second, 5*time.Second, func() {
				for _, line := range c.rights {
					require.NoError(t, c.broker.Revoke(within(t, 2*time.Minute), line))
				}
			}, func() { allow(t, c.broker, c.rights...) })
		}},
		{"partitions added", widen},
		{"records that Kafka does not take", oversize},
		{"a storm of short connections", storm},
		{"copies with clocks that are an hour off", clocksOff},
		{"replayers that come and go", replayers},
		{"tap killed", killTap},
		{"tap upgraded", upgradeTap},
	}
	if c.disk != nil {
		all = append(all, mishap{"Kafka's disk full", func(t *testing.T, c *chaos) { c.kafkaFull(t) }})
	}
	if c.spool != nil {
		all = append(
			all,
			mishap{"spool's disk full", func(t *testing.T, c *chaos) { c.withSpool(t, c.spool.Fill, c.spool.Free) }},
			mishap{"spool read-only", func(t *testing.T, c *chaos) {
				folder := c.args[slices.Index(c.args, "--spool-dir")+1]
				c.withSpool(
					t, func(context.Context) error { return c.spool.Lock(folder, true) },
					func(context.Context) error { return c.spool.Lock(folder, false) },
				)
			}},
		)
	}
	if c.clock != "" {
		all = append(
			all,
			mishap{"Kafka's clock an hour ahead", func(t *testing.T, c *chaos) { c.withClock(t, time.Hour+time.Minute) }},
			mishap{"Kafka's clock an hour behind", func(t *testing.T, c *chaos) { c.withClock(t, -time.Hour-time.Minute) }},
		)
	}
	return all
}

func (c *chaos) withLink(t *testing.T, f link.Fault) {
	c.while(t, 500*time.Millisecond, 8*time.Second, func() { c.link.Set(f) }, func() { c.link.Set(link.Fault{}) })
}

// kafkaFull: the broker ends by itself, and is started when there is room.
func (c *chaos) kafkaFull(t *testing.T) {
	require.NoError(t, c.disk.Fill(t.Context()))
	waitFor(t, time.Minute, func() error {
		select {
		case <-c.broker.Exited():
			return nil
		default:
			return fmt.Errorf("it goes on with a full disk:\n%s", tail(c.broker.Log(), 3))
		}
	})
	c.pause(t, 0, 3*time.Second)
	require.NoError(t, c.disk.Free(t.Context()))
	c.broker.Kill()
	c.startBroker(t)
}

// withClock: records are taken whatever Kafka thinks of their time.
func (c *chaos) withClock(t *testing.T, off time.Duration) {
	before := c.tap.counts(t)
	c.setClock(t, off)
	sleep(t, 1500*time.Millisecond) // it looks once a second
	c.again(t)
	c.pause(t, time.Second, 3*time.Second)
	c.setClock(t, 0)
	c.again(t)
	require.Equal(t, before.dropped, c.tap.counts(t).dropped, "nothing is refused for its time")
}

// withSpool has the spool's disk fail while Kafka is away and the spool is needed. Records are lost then, and counted; the tap goes on.
func (c *chaos) withSpool(t *testing.T, hurt, cure func(context.Context) error) {
	require.NoError(t, hurt(t.Context()))
	before := c.tap.counts(t)
	c.broker.Pause()
	waitFor(t, time.Minute, func() error {
		if now := c.tap.counts(t); now.dropped == before.dropped {
			return fmt.Errorf("nothing lost yet: %+v", now)
		}
		return nil
	})
	c.pause(t, 0, 2*time.Second)
	require.NoError(t, cure(t.Context()))
	waitFor(t, time.Minute, func() error {
		if now := c.tap.counts(t); now.spooled == 0 {
			return fmt.Errorf("the disk is well, and nothing is spooled: %+v", now)
		}
		return nil
	})
	c.broker.Resume()
}

func widen(t *testing.T, c *chaos) {
	n, err := c.broker.Widen(within(t, 2*time.Minute), c.names.Exchanges, 1+c.random.IntN(3))
	require.NoError(t, err)
	c.say("to %d", n)
	c.pause(t, 0, 2*time.Second)
}

// killTap kills it when Kafka is away and much is spooled. The crowd has gone for a moment: what is under way at such an end breaks
// off, with a tap or any proxy; what comes past it is told in TestTrafficGoesPastATapThatIsKilled.
func killTap(t *testing.T, c *chaos) {
	c.broker.Pause()
	c.pause(t, 2*time.Second, 6*time.Second)
	c.leave(t)
	var last counts
	waitFor(t, 2*time.Minute, func() error { // the last exchanges leave the proxy some milliseconds later
		if last = c.tap.counts(t); last.seen != c.requests {
			return fmt.Errorf("%d requests: %+v", c.requests, last)
		}
		return nil
	})
	c.tap.Kill()
	c.broker.Resume()
	c.requests = 0
	c.startTap(t)
	waitFor(t, 2*time.Minute, func() error {
		if now := c.tap.counts(t); now.recovered < last.spooled {
			return fmt.Errorf("%d were on disk: %+v", last.spooled, now)
		}
		return nil
	})
	c.say("with %d spooled and %d in memory", last.spooled, last.pending)
	c.come(t)
}

// upgradeTap starts the next while the crowd is there; both together have seen all.
func upgradeTap(t *testing.T, c *chaos) {
	old := c.tap
	c.startTap(t)
	c.pause(t, 0, time.Second)
	c.leave(t)
	code, err := old.Wait(within(t, time.Minute))
	require.NoError(t, err)
	require.Zero(t, code, "%s", old.Stderr())
	var said struct {
		Msg                                                  string
		Seen, Recovered, Produced, Dropped, Unknown, Spooled int
	}
	for _, line := range strings.Split(old.Stderr(), "\n") {
		if json.Unmarshal([]byte(line), &said) == nil && said.Msg == "tap stopped" {
			break
		}
	}
	require.Equal(t, "tap stopped", said.Msg)
	require.Equal(t, said.Seen+said.Recovered, said.Produced+said.Dropped+said.Unknown+said.Spooled, "%+v", said)
	c.requests -= said.Seen
	c.come(t)
}
