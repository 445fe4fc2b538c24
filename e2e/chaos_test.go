//go:build e2e

package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/crowd"
	"github.com/reprise-io/reprise/e2e/disk"
	"github.com/reprise-io/reprise/e2e/proc"
)

// chaosTime is for how long `make chaos` asks this to go on; 0: this is another run.
func chaosTime(t *testing.T) time.Duration {
	t.Helper()
	given := os.Getenv("REPRISE_CHAOS")
	if given == "" {
		return 0
	}
	d, err := time.ParseDuration(given)
	require.NoError(t, err, "REPRISE_CHAOS")
	return d
}

// Of a tap that meets chaos: little memory, so that the spool is soon needed; bodies larger than Kafka takes.
const chaosMemory, chaosBody, chaosRate = 8 << 20, 4 << 20, 1500

// chaos is a tap before production, and all that may befall them. What is done, and in which order, follows from the seed;
// when, only nearly.
type chaos struct {
	*ward
	seed   uint64
	random *rand.Rand
	spool  *disk.Disk
	clock  string // file from which the broker has how wrong its clock is; "": it cannot be made wrong here
	args   []string
	crowd  *crowd.Crowd

	requests int // that the tap must have seen
	history  []string
}

// mishap is something that may happen while a crowd is there; when do returns it is over, and the tap has to go on as before.
type mishap struct {
	name string
	do   func(*testing.T, *chaos)
}

func TestChaos(t *testing.T) {
	length := chaosTime(t)
	if length == 0 {
		t.Skip("make chaos runs it, for as long as it is asked")
	}
	c := startChaos(t)
	all := c.mishaps()
	counted := make(map[string]int)
	worst := int64(0)
	deck := c.random.Perm(len(all)) // all of them before one comes again
	for end := time.Now().Add(length); time.Now().Before(end); deck = deck[1:] {
		if len(deck) == 0 {
			deck = c.random.Perm(len(all))
		}
		worst = max(worst, c.meet(t, all[deck[0]]))
		counted[all[deck[0]].name]++
	}
	code, err := c.tap.Stop(time.Minute)
	require.NoError(t, err)
	require.Equal(t, 130, code)
	c.audited(t)
	requireNoSecret(t, c.tap.Stderr())
	t.Logf("seed %d: %d mishaps, %v; RSS at most %d MiB", c.seed, len(c.history), counted, worst>>20)
}

func startChaos(t *testing.T) *chaos {
	t.Helper()
	c := &chaos{seed: uint64(time.Now().UnixNano()) % 1e6}
	if given := os.Getenv("REPRISE_CHAOS_SEED"); given != "" {
		var err error
		c.seed, err = strconv.ParseUint(given, 10, 64)
		require.NoError(t, err, "REPRISE_CHAOS_SEED")
	}
	c.random = rand.New(rand.NewPCG(c.seed, 0))
	t.Logf("REPRISE_CHAOS_SEED=%d does the same again", c.seed)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("REPRISE_CHAOS_SEED=%d did this:\n%s", c.seed, strings.Join(c.history, "\n"))
		}
	})

	var env []string
	if found, _ := filepath.Glob("/usr/lib/*/faketime/libfaketimeMT.so.1"); len(found) > 0 {
		c.clock = filepath.Join(t.TempDir(), "clock")
		c.setClock(t, 0)
		env = []string{
			"LD_PRELOAD=" + found[0], "FAKETIME_TIMESTAMP_FILE=" + c.clock, "FAKETIME_CACHE_DURATION=1",
			"FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME_FORCE_MONOTONIC_FIX=0", "FAKETIME_DISABLE_SHM=1", // only what it reads of the day
		}
	} else {
		t.Log("LEFT OUT, a broker whose clock is wrong: there is no libfaketime")
	}
	c.ward = openWard(t, env...)

	dir := t.TempDir()
	var err error
	c.spool, err = disk.New(t.Context(), dir, 256<<20)
	if err != nil {
		t.Logf("LEFT OUT, a spool's disk that is full or read-only: %v", err)
	} else {
		t.Cleanup(c.spool.Close)
	}
	c.tap = &tapped{addr: freeAddr(t), admin: freeAddr(t)}
	c.args = append([]string{
		"proxy", "--listen", c.tap.addr, "--upstream", c.origin.Addr(), "--admin", c.tap.admin, "--topic-prefix", c.prefix,
		"--redact-key", "env:E2E_REDACT_KEY", "--name", "e2e", "--memory-max", strconv.Itoa(chaosMemory), "--body-max", strconv.Itoa(chaosBody),
		"--spool-dir", filepath.Join(dir, "spool"), "--spool-max", "128MiB", "--takeover", filepath.Join(t.TempDir(), "takeover"),
	}, c.broker.Login(tapUser)...)
	c.startTap(t)
	return c
}

// startTap starts the tap, or its successor, which sees the spool's disk.
func (c *chaos) startTap(t *testing.T) {
	t.Helper()
	o := options("tap", c.args...)
	if c.spool != nil {
		command := append(c.spool.Wrap(), o.Path)
		o.Path, o.Args = command[0], append(command[1:], o.Args...)
	}
	p, err := proc.Start(o)
	require.NoError(t, err)
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("tap said:\n%s", tail(p.Stderr(), 30))
		}
		requireNoTrace(t, p.Stderr())
	})
	c.tap = &tapped{p, c.tap.addr, c.tap.admin}
	require.NoError(t, p.Ready(within(t, 2*time.Minute), c.tap.admin))
}

func (c *chaos) come(t *testing.T) {
	t.Helper()
	var err error
	c.crowd, err = crowd.Start(crowd.Options{Addr: c.tap.addr, Rate: chaosRate, Seed: c.random.Uint64()})
	require.NoError(t, err)
	t.Cleanup(func() { c.crowd.Stop() })
}

// leave has the crowd go, and judges what it got.
func (c *chaos) leave(t *testing.T) {
	t.Helper()
	got := c.crowd.Stop()
	c.requests += len(got.Answers) + got.Failed
	require.Zero(t, got.Failed, "production is untouched: %v", got.First)
}

// meet has a mishap happen to a tap with a crowd, and holds what must be true after it against what is.
func (c *chaos) meet(t *testing.T, m mishap) (rss int64) {
	t.Helper()
	before, began := c.tap.counts(t), time.Now()
	peak(t, c.tap.Process)
	c.history = append(c.history, m.name)
	c.come(t)
	c.pause(t, 200*time.Millisecond, 700*time.Millisecond)
	m.do(t, c)
	c.again(t)
	c.pause(t, 0, 500*time.Millisecond)
	c.leave(t)
	after := c.settled(t, 90*time.Second, c.requests)
	rss = peak(t, c.tap.Process)
	require.LessOrEqual(t, rss, int64(chaosMemory+beside), "RSS after %s", m.name)
	if after.seen < before.seen { // another process since
		before = counts{}
	}
	t.Logf("%5.1f s  %-60s %6d requests, %d produced, %d dropped, %d unknown, RSS %d MiB", time.Since(began).Seconds(), c.history[len(c.history)-1],
		after.seen-before.seen, after.produced-before.produced, after.dropped-before.dropped, after.unknown-before.unknown, rss>>20)
	return rss
}

// again waits until records are produced that were not before.
func (c *chaos) again(t *testing.T) {
	t.Helper()
	produced := c.tap.counts(t).produced
	waitFor(t, 2*time.Minute, func() error {
		if now := c.tap.counts(t).produced; now == produced {
			return fmt.Errorf("%d records were produced, and no more since it was over", now)
		}
		return nil
	})
}

// say adds to what the present mishap is called in the history.
func (c *chaos) say(format string, args ...any) {
	c.history[len(c.history)-1] += " " + fmt.Sprintf(format, args...)
}

// some is a time at random.
func (c *chaos) some(least, most time.Duration) time.Duration {
	return least + time.Duration(c.random.Int64N(int64(most-least))).Round(time.Millisecond)
}

func (c *chaos) pause(t *testing.T, least, most time.Duration) {
	t.Helper()
	sleep(t, c.some(least, most))
}

// while does something that is undone after a random time.
func (c *chaos) while(t *testing.T, least, most time.Duration, do, undo func()) {
	t.Helper()
	d := c.some(least, most)
	c.say("for %s", d)
	do()
	sleep(t, d)
	undo()
}

func (c *chaos) setClock(t *testing.T, off time.Duration) {
	t.Helper()
	require.NoError(t, os.WriteFile(c.clock, fmt.Appendf(nil, "%+d\n", int(off.Seconds())), 0o600))
}
