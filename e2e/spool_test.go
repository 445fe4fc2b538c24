//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/proc"
	"github.com/reprise-io/reprise/e2e/shop"
	"github.com/reprise-io/reprise/internal/inspect"
	"github.com/reprise-io/reprise/internal/topic"
)

// audit runs inspect audit.
func audit(t *testing.T, prefix string) (a inspect.Audit, code int) {
	t.Helper()
	got := run(t, time.Minute, "inspect", "audit", "--brokers", shared.broker.Addr(), "--topic-prefix", prefix, "-o", "json")
	require.NoError(t, json.Unmarshal([]byte(got.Stdout), &a), "%s\n%s", got.Stdout, got.Stderr)
	return a, got.Code
}

func TestAKilledBrokerCostsNothingWithASpool(t *testing.T) {
	const rate = 300 // requests a second
	broker := startKafka(t)
	prefix, names := newPrefix()
	_, production := serveShop(t, shop.Options{})
	dir := filepath.Join(t.TempDir(), "spool")
	// The memory is for a disk that stops for some seconds; little of it is used.
	tap := startTap(t, prefix, production, "--memory-max", "24MiB", "--spool-dir", dir, "--spool-max", "256MiB")
	tap.warm(t)

	done := visit(t, shop.Visit{URL: tap.url(), Rate: rate, Seed: 31, For: 12 * time.Second})
	sleep(t, 2*time.Second)
	broker.Kill()
	sleep(t, 7*time.Second)
	during := tap.counts(t)
	require.Positive(t, during.spooled, "what Kafka does not take is on the disk: %+v", during)
	startKafka(t)
	visits := done()
	require.Zero(t, visits.Failed, "production is untouched")

	c := tap.settled(t, visits.Requests+1)
	t.Logf("while away %+v; after %+v; lost %v", during, c, tap.lost(t))
	require.Zero(t, c.dropped, "%v", tap.lost(t))
	// What was on its way when the broker was killed is asked for again. A broker that comes back without knowing the topic, or
	// its producers, leaves that unknown.
	require.Less(t, c.unknown, rate, "%v", tap.lost(t))
	found := stored(t, names.Exchanges)
	require.LessOrEqual(t, c.produced, found)
	require.LessOrEqual(t, found, c.produced+c.unknown)
	code, err := tap.Stop(time.Minute)
	require.NoError(t, err)
	require.Equal(t, 130, code)
	a, code := audit(t, prefix)
	require.Zero(t, code)
	require.Len(t, a.Taps, 1)
	require.Equal(t, inspect.TapStopped, a.Taps[0].State)
	require.EqualValues(t, found, a.Taps[0].Found)
	require.LessOrEqual(t, int(a.Taps[0].Missing), c.seen-found, "%+v", a.Taps[0])
	require.Zero(t, a.Taps[0].Unexplained+a.Taps[0].Duplicates, "%+v", a.Taps[0])
}

// lost tells by reason what was dropped and what is unknown.
func (p *tapped) lost(t *testing.T) map[string]int {
	t.Helper()
	m, err := proc.Scrape(within(t, 2*time.Minute), p.admin)
	require.NoError(t, err)
	reasons := append(topic.Reasons(), "spool_full", "spool_error", "spool_slow", "memory")
	lost := make(map[string]int)
	for _, result := range []string{"dropped", "unknown"} {
		for _, reason := range reasons {
			if n := m.Sum("reprise_tap_exchanges_total", `result="`+result+`"`, `reason="`+string(reason)+`"`); n > 0 {
				lost[result+" "+string(reason)] = int(n)
			}
		}
	}
	return lost
}

func TestWhatAKilledTapHadSpooledIsSentByTheNext(t *testing.T) {
	broker := startKafka(t)
	prefix, names := newPrefix()
	_, production := serveShop(t, shop.Options{})
	dir := filepath.Join(t.TempDir(), "spool")
	spooling := []string{"--memory-max", "1MiB", "--spool-dir", dir, "--spool-max", "256MiB", "--linger", "50ms"}

	const rounds = 10
	var requests, spooled, onDisk int
	recovers := func(tap *tapped) {
		waitFor(t, 2*time.Minute, func() error {
			if c := tap.counts(t); c.recovered < onDisk {
				return fmt.Errorf("%d were on disk when the tap before was killed: %+v", onDisk, c)
			}
			return nil
		})
	}
	for round := range rounds {
		tap := startTap(t, prefix, production, spooling...)
		recovers(tap)
		tap.warm(t)
		visits, err := shop.Visit{URL: tap.url(), Rate: 600, Seed: uint64(40 + round), For: time.Second}.Run(t.Context())
		require.NoError(t, err)
		before := tap.counts(t)
		broker.Pause()
		more, err := shop.Visit{URL: tap.url(), Rate: 800, Seed: uint64(60 + round), For: 2 * time.Second}.Run(t.Context())
		require.NoError(t, err)
		c := tap.counts(t)
		tap.Kill()
		broker.Resume()
		require.Zero(t, visits.Failed+more.Failed)
		requests += visits.Requests + more.Requests + 1
		// What was spooled when Kafka went is partly sent since; what came on top of it is on the disk.
		spooled += max(0, c.spooled-before.spooled)
		onDisk = c.spooled // Kafka hangs: nothing has left the spool since
	}
	require.Positive(t, spooled)

	tap := startTap(t, prefix, production, spooling...)
	recovers(tap)
	tap.warm(t)
	waitFor(t, 2*time.Minute, func() error {
		if c := tap.counts(t); c.spooled > 0 {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
	c := tap.settled(t, 1)
	t.Logf("%d requests, %d were on disk when the taps were killed; the last tap: %+v", requests, spooled, c)
	require.Zero(t, c.dropped+c.unknown)
	_, err := tap.Stop(time.Minute)
	require.NoError(t, err)

	a, code := audit(t, prefix)
	require.Zero(t, code, "the sum closes")
	require.Len(t, a.Taps, rounds+1)
	require.Zero(t, a.Unreported)
	var found, missing, duplicates uint64
	for _, x := range a.Taps {
		found, missing, duplicates = found+x.Found, missing+x.Missing, duplicates+x.Duplicates
		require.Equal(t, max(x.LastSeq, x.LastFound), x.Found+x.Missing, "%+v", x)
		require.Zero(t, x.Unexplained)
		require.LessOrEqual(t, uint64(len(x.Gaps)), x.GapCount)
	}
	t.Logf("found %d, missing %d, duplicates %d", found, missing, duplicates)
	require.EqualValues(t, stored(t, names.Exchanges), found+duplicates)
	require.GreaterOrEqual(t, int(found), spooled)
	require.LessOrEqual(t, int(found), requests+1)
	// A mebibyte in each of the killed taps is what can be lost.
	require.GreaterOrEqual(t, int(found), requests-rounds*(1<<20)/256)
	requireOwnersOnly(t, dir)
}

// requireOwnersOnly: nobody else reads what is spooled.
func requireOwnersOnly(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.NotEmpty(t, entries)
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), e.Name())
	}
}

func TestASpoolThatCannotBeWrittenCostsRecordsAndNoTraffic(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, dir string) (wrap []string){
		"no directory": func(t *testing.T, dir string) []string {
			require.NoError(t, os.WriteFile(dir, nil, 0o600))
			return nil
		},
		"read-only": func(t *testing.T, dir string) []string { return mounted(t, dir, "ro") },
		"full":      func(t *testing.T, dir string) []string { return mounted(t, dir, "size=256k") },
	} {
		t.Run(name, func(t *testing.T) {
			prefix, _ := newPrefix()
			_, production := serveShop(t, shop.Options{})
			dir := filepath.Join(t.TempDir(), "spool")
			wrap := prepare(t, dir)
			p := &tapped{addr: freeAddr(t), admin: freeAddr(t)}
			o := options(
				"tap", "proxy", "--listen", p.addr, "--upstream", production, "--admin", p.admin, "--topic-prefix", prefix,
				"--redact-key", "env:E2E_REDACT_KEY", "--brokers", freeAddr(t), "--memory-max", "1MiB", "--spool-dir", dir,
			)
			if wrap != nil {
				o.Args = append(append(wrap[1:], o.Path), o.Args...)
				o.Path = wrap[0]
			}
			var err error
			p.Process, err = proc.Start(o)
			require.NoError(t, err)
			t.Cleanup(p.Kill)
			require.NoError(t, p.Ready(within(t, 2*time.Minute), p.admin), p.Stderr())
			visits, err := shop.Visit{URL: p.url(), Rate: 800, Seed: 71, Requests: 3000}.Run(t.Context())
			require.NoError(t, err)
			require.Zero(t, visits.Failed, "traffic passes")
			waitFor(t, 2*time.Minute, func() error {
				c := p.counts(t)
				if c.seen != visits.Requests || c.dropped == 0 {
					return fmt.Errorf("%+v", c)
				}
				require.Equal(t, c.seen, c.dropped+c.pending+c.spooled+c.produced)
				return nil
			})
			m, err := proc.Scrape(within(t, 2*time.Minute), p.admin)
			require.NoError(t, err)
			require.Positive(t, m.Sum("reprise_tap_exchanges_total", `reason="spool_error"`))
			require.Contains(t, p.Stderr(), "THE SPOOL FAILS")
			require.Equal(t, 1, strings.Count(p.Stderr(), "THE SPOOL FAILS"), "said once")
		})
	}
}

// mounted makes the command line of a program for which dir is a file system of its own.
func mounted(t *testing.T, dir, how string) []string {
	t.Helper()
	require.NoError(t, os.Mkdir(dir, 0o700))
	script := "mount -t tmpfs -o " + how + ` none "$1" && shift && exec "$@"`
	if out, err := exec.Command("unshare", "-rm", "sh", "-c", script, "sh", dir, "true").CombinedOutput(); err != nil {
		t.Skipf("LEFT OUT: no mount namespace can be made here: %v %s", err, out)
	}
	return []string{"unshare", "-rm", "sh", "-c", script, "sh", dir}
}
