//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/crowd"
	"github.com/reprise-io/reprise/e2e/disk"
	"github.com/reprise-io/reprise/e2e/kafka"
	"github.com/reprise-io/reprise/e2e/link"
	"github.com/reprise-io/reprise/e2e/proc"
	"github.com/reprise-io/reprise/internal/topic"
)

// budget is a tap's --memory-max, and beside it is what a tap may take in all.
const budget, beside = 64 << 20, 64 << 20

// ward is where Kafka is made sick: a broker of its own, with TLS, log-ins and ACLs, behind a link and on a disk that do
// as they are told; a tap with a spool; an origin that knows what it must be asked.
type ward struct {
	broker *kafka.Broker
	link   *link.Link
	disk   *disk.Disk // nil: cannot be had here
	origin *crowd.Origin
	prefix string
	names  topic.Names
	rights []string // of the tap
	tap    *tapped
}

// diskBytes is more than any test writes.
const diskBytes = 8 << 30

// openWard starts all but the tap; env is the broker's.
func openWard(t *testing.T, env ...string) *ward {
	t.Helper()
	w := &ward{}
	w.prefix, w.names = newPrefix()
	var err error
	w.link, err = link.New()
	require.NoError(t, err)
	t.Cleanup(w.link.Close)
	w.origin, err = crowd.NewOrigin()
	require.NoError(t, err)
	t.Cleanup(w.origin.Close)

	dir := t.TempDir()
	o := kafka.Options{
		Jars: filepath.Join(shared.root, ".cache", "kafka"), Dir: dir, Env: env,
		Secure: &kafka.Secure{Users: map[string]string{tapUser: password, inspectUser: password}, Via: w.link.Addr()},
	}
	data := filepath.Join(dir, "disk")
	require.NoError(t, os.Mkdir(data, 0o700))
	if w.disk, err = disk.New(t.Context(), data, diskBytes); err != nil {
		t.Logf("LEFT OUT, what a full disk does: no mount namespace can be made here: %v", err)
	} else {
		t.Cleanup(w.disk.Close)
		o.Data, o.Wrap = data, w.disk.Wrap()
	}
	w.broker, err = kafka.New(t.Context(), o)
	require.NoError(t, err)
	w.link.To(w.broker.SASLAddr())
	w.startBroker(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("kafka said:\n%s", tail(w.broker.Log(), 20))
		}
		w.broker.Kill()
	})
	w.rights = readmeACLs(t, tapUser, w.prefix)
	allow(t, w.broker, append(w.rights, readmeACLs(t, inspectUser, w.prefix)...)...)
	return w
}

func (w *ward) startBroker(t *testing.T) {
	t.Helper()
	require.NoError(t, w.broker.Start(within(t, 2*time.Minute)))
}

// settled waits until the tap owes nothing, and checks that its arithmetic closes over so many requests.
func (w *ward) settled(t *testing.T, limit time.Duration, requests int) (c counts) {
	t.Helper()
	waitFor(t, limit, func() error {
		if c = w.tap.counts(t); c.seen < requests || c.pending+c.spooled > 0 {
			return fmt.Errorf("%d requests: %+v", requests, c)
		}
		return nil
	})
	require.Equal(t, requests, c.seen, "%+v", c)
	require.Equal(t, c.seen+c.recovered, c.produced+c.filtered+c.sampledOut+c.dropped+c.unknown, "the arithmetic closes: %+v", c)
	return c
}

// peak reads the most memory that a process has had since it was asked last.
func peak(t *testing.T, p *proc.Process) (bytes int64) {
	t.Helper()
	dir := filepath.Join("/proc", strconv.Itoa(p.PID()))
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	require.NoError(t, err)
	found := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	require.NotNil(t, found, string(status))
	kib, err := strconv.ParseInt(string(found[1]), 10, 64)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "clear_refs"), []byte("5"), 0))
	return kib << 10
}
