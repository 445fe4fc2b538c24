//go:build e2e

// Package e2e_test runs the three programs as their users do, against a real Kafka. Run it with `make e2e`.
package e2e_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/feed"
	"github.com/reprise-io/reprise/e2e/kafka"
	"github.com/reprise-io/reprise/e2e/proc"
	"github.com/reprise-io/reprise/e2e/shop"
	"github.com/reprise-io/reprise/e2e/sink"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// rig is what all tests share: the built programs and one broker, started by the first test that needs it. Tests keep
// apart by their topic prefix, and run one after the other: the machine may have two cores.
type rig struct {
	root, bin string
	dir       string // of the broker

	broker  *kafka.Broker
	secure  *kafka.Broker // started by the first test that needs it
	prefixN int
}

var shared rig

func TestMain(m *testing.M) { os.Exit(runMain(m)) }

func runMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "reprise-e2e-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	shared.dir = dir
	if shared.root, err = filepath.Abs(".."); err != nil {
		return fail(err)
	}
	if shared.bin = os.Getenv("REPRISE_BIN"); shared.bin == "" { // make e2e sets it; plain go test builds its own
		shared.bin = filepath.Join(dir, "bin")
		build := exec.Command("go", "build", "-o", shared.bin+"/", "./cmd/...")
		build.Dir, build.Stderr = shared.root, os.Stderr
		if err := build.Run(); err != nil {
			return fail(err)
		}
	}
	defer func() {
		for _, b := range []*kafka.Broker{shared.broker, shared.secure} {
			if b != nil {
				b.Kill()
			}
		}
	}()
	return m.Run()
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "e2e:", err)
	return 1
}

// within bounds a test that forgets to.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// startKafka returns the running broker, starting it when it is not.
func startKafka(t *testing.T) *kafka.Broker {
	t.Helper()
	ctx := within(t, 2*time.Minute)
	if shared.broker == nil {
		b, err := kafka.New(ctx, kafka.Options{Jars: filepath.Join(shared.root, ".cache", "kafka"), Dir: shared.dir})
		require.NoError(t, err)
		shared.broker = b
	}
	b := shared.broker
	if !b.Running() {
		require.NoError(t, b.Start(ctx))
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("kafka said:\n%s", tail(b.Log(), 20))
		}
	})
	return b
}

// newPrefix returns topic names that no other test uses.
func newPrefix() (prefix string, names topic.Names) {
	shared.prefixN++
	prefix = fmt.Sprintf("e2e%d", shared.prefixN)
	return prefix, topic.NamesOf(prefix)
}

// redactKey is the same for all programs of a test, so that pseudonyms join.
const redactKey = "E2E_REDACT_KEY=0123456789abcdef0123456789abcdef"

// options describe a program of ours.
func options(program string, args ...string) proc.Options {
	return proc.Options{Path: filepath.Join(shared.bin, program), Args: args, Env: []string{redactKey}}
}

// run runs a program to its end.
func run(t *testing.T, limit time.Duration, program string, args ...string) proc.Result {
	t.Helper()
	got, err := proc.Run(within(t, limit), options(program, args...))
	require.NoError(t, err)
	requireNoTrace(t, got.Stderr)
	return got
}

// start runs a program until the test ends; when the test failed it tells what the program said.
func start(t *testing.T, program string, args ...string) *proc.Process {
	t.Helper()
	p, err := proc.Start(options(program, args...))
	require.NoError(t, err)
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", program, tail(p.Stderr(), 40))
		}
		requireNoTrace(t, p.Stderr())
	})
	return p
}

// requireNoTrace: whatever happens, people are not shown goroutines.
func requireNoTrace(t *testing.T, stderr string) {
	t.Helper()
	for _, sign := range []string{"goroutine ", "panic:", ".go:"} {
		require.NotContains(t, stderr, sign)
	}
}

func tail(s string, lines int) string {
	all := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := proc.FreeAddr()
	require.NoError(t, err)
	return addr
}

// tapped is a running tap proxy.
type tapped struct {
	*proc.Process
	addr, admin string
}

func (p *tapped) url() string { return "http://" + p.addr }

func startTap(t *testing.T, prefix, upstream string, more ...string) *tapped {
	t.Helper()
	return startTapWith(t, prefix, upstream, append([]string{"--brokers", shared.broker.Addr()}, more...)...)
}

// startTapWith starts a tap that is told where its broker is.
func startTapWith(t *testing.T, prefix, upstream string, more ...string) *tapped {
	t.Helper()
	p := &tapped{addr: freeAddr(t), admin: freeAddr(t)}
	args := []string{
		"proxy", "--listen", p.addr, "--upstream", upstream, "--admin", p.admin, "--topic-prefix", prefix,
		"--redact-key", "env:E2E_REDACT_KEY", "--name", "e2e",
	}
	p.Process = start(t, "tap", append(args, more...)...)
	require.NoError(t, p.Ready(within(t, 2*time.Minute), p.admin))
	return p
}

// counts are a tap's arithmetic.
type counts struct {
	seen, recovered, produced, filtered, sampledOut, dropped, unknown, pending, spooled int
}

func (p *tapped) counts(t *testing.T) counts {
	t.Helper()
	m, err := proc.Scrape(within(t, 2*time.Minute), p.admin)
	require.NoError(t, err)
	of := func(result string) int { return int(m.Sum("reprise_tap_exchanges_total", `result="`+result+`"`)) }
	return counts{
		int(m.Sum("reprise_tap_seen_total")), int(m.Sum("reprise_tap_recovered_total")), of("produced"), of("filtered"), of("sampled_out"), of("dropped"), of("unknown"),
		int(m.Sum("reprise_tap_pending")), int(m.Sum("reprise_tap_spooled")),
	}
}

// logDropped tells why exchanges were dropped.
func (p *tapped) logDropped(t *testing.T) {
	t.Helper()
	m, err := proc.Scrape(within(t, 2*time.Minute), p.admin)
	require.NoError(t, err)
	for sample, n := range m {
		if n > 0 && strings.Contains(sample, `result="dropped"`) {
			t.Logf("%s %.0f", sample, n)
		}
	}
}

// settled waits until the tap has seen that many exchanges and owes nothing, and checks that its arithmetic closes.
func (p *tapped) settled(t *testing.T, seen int) counts {
	t.Helper()
	var c counts
	err := proc.Poll(within(t, 2*time.Minute), func() error {
		if c = p.counts(t); c.seen < seen || c.pending+c.spooled > 0 {
			return fmt.Errorf("seen %d of %d, %d pending, %d spooled", c.seen, seen, c.pending, c.spooled)
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, seen, c.seen)
	require.Equal(t, c.seen+c.recovered, c.produced+c.filtered+c.sampledOut+c.dropped+c.unknown, "the arithmetic closes: %+v", c)
	return c
}

// serveShop runs a build of the shop.
func serveShop(t *testing.T, o shop.Options) (s *shop.Shop, addr string) {
	t.Helper()
	s = shop.New(o)
	return s, serve(t, s)
}

func serve(t *testing.T, h http.Handler) (addr string) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// startSink runs a target until stop is called; then its arrivals can be read.
func startSink(t *testing.T, o sink.Options) (s *sink.Sink, stop func()) {
	t.Helper()
	s, err := sink.New(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(stop)
	return s, stop
}

// replayArgs are those of a replay command at a target.
func replayArgs(command, prefix, target string, more ...string) []string {
	return append([]string{
		command, "--brokers", shared.broker.Addr(), "--topic-prefix", prefix,
		"--target", "http://" + target, "--allow-target", target, "--redact-key", "env:E2E_REDACT_KEY",
	}, more...)
}

// replay runs a replayer command that ends with code 0 and returns its report.
func replay(t *testing.T, limit time.Duration, args ...string) *report.Report {
	t.Helper()
	got := run(t, limit, "replayer", append(args, "-o", "json")...)
	require.Zero(t, got.Code, "exit code of replayer %s\n%s", strings.Join(args, " "), got.Stderr)
	return parseReport(t, got.Stdout)
}

func parseReport(t *testing.T, stdout string) *report.Report {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	r, err := report.Parse([]byte(lines[len(lines)-1]))
	require.NoError(t, err, "last line of stdout: %q", lines[len(lines)-1])
	return r
}

// exchanges returns what is stored, by request target.
func exchanges(t *testing.T, names topic.Names) map[string][]*traffic.Exchange {
	t.Helper()
	all := make(map[string][]*traffic.Exchange)
	err := feed.Exchanges(within(t, time.Minute), shared.broker.Addr(), names.Exchanges, func(_ *topic.Record, x *traffic.Exchange) error {
		all[string(x.Request.Target)] = append(all[string(x.Request.Target)], x)
		return nil
	})
	require.NoError(t, err)
	return all
}

func stored(t *testing.T, name string) int {
	t.Helper()
	n, err := feed.Count(within(t, 2*time.Minute), shared.broker.Addr(), name)
	require.NoError(t, err)
	return int(n)
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	tcp, ok := conn.(*net.TCPConn)
	require.True(t, ok)
	t.Cleanup(func() { _ = tcp.Close() })
	require.NoError(t, tcp.SetDeadline(time.Now().Add(2*time.Minute)))
	return tcp
}
