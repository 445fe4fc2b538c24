//go:build e2e

package e2e_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/kafka"
	"github.com/reprise-io/reprise/e2e/shop"
	"github.com/reprise-io/reprise/internal/topic"
)

var update = flag.Bool("update", false, "write the golden files anew")

// trouble is something that is wrong between the programs and a secured broker.
type trouble struct {
	way  []string // the flags that lead to the broker
	tool []string // the program that meets it, and its arguments; nil: inspect cat
	code int      // its exit code
	noTap,
	noTopics bool
	mend func(t *testing.T) // nil: this one cannot be mended while a program runs
}

// relay passes connections on to an address that can be changed: a broker whose settings are mended.
type relay struct {
	listener net.Listener
	mu       sync.Mutex
	to       string
	open     map[net.Conn]bool
	passing  sync.WaitGroup
}

func startRelay(t *testing.T, to string) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &relay{listener: listener, to: to, open: make(map[net.Conn]bool)}
	r.passing.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			r.passing.Go(func() { r.pass(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		r.turn("")
		r.passing.Wait()
	})
	return r
}

func (r *relay) addr() string { return r.listener.Addr().String() }

// turn sends new connections elsewhere and ends those that are open.
func (r *relay) turn(to string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.to = to
	for conn := range r.open {
		_ = conn.Close()
	}
	clear(r.open)
}

func (r *relay) pass(client net.Conn) {
	defer client.Close()
	r.mu.Lock()
	server, err := net.Dial("tcp", r.to)
	if err == nil {
		r.open[client], r.open[server] = true, true
	}
	r.mu.Unlock()
	if err != nil {
		return
	}
	defer server.Close()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(client, server)
		_ = client.Close()
	})
	_, _ = io.Copy(server, client)
	_ = server.Close()
	back.Wait()
}

func TestTroubleWithASecuredBrokerIsExplainedAndMendedWithoutRestart(t *testing.T) {
	b := startSecureKafka(t)
	_, production := serveShop(t, shop.Options{})
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, prefix string) trouble
	}{
		{"wrong-ca", func(t *testing.T, _ string) trouble { return wrongCA(t, b) }},
		{"expired", func(t *testing.T, _ string) trouble { return expired(b) }},
		{"other-name", func(t *testing.T, _ string) trouble { return otherName(b) }},
		{"no-client-cert", func(t *testing.T, _ string) trouble { return noClientCert(t, b) }},
		{"client-cert", func(t *testing.T, _ string) trouble { return refusedClientCert(t, b) }},
		{"ca-file-missing", func(t *testing.T, _ string) trouble { return missingCA(t, b) }},
		{"broker-wants-tls", func(t *testing.T, _ string) trouble { return wantsTLS(t, b) }},
		{"broker-without-tls", func(t *testing.T, _ string) trouble { return withoutTLS(t, b) }},
		{"broker-wants-sasl", func(t *testing.T, _ string) trouble { return wantsSASL(t, b) }},
		{"broker-without-sasl", func(t *testing.T, _ string) trouble { return withoutSASL(t, b) }},
		{"mechanism", func(t *testing.T, _ string) trouble { return otherMechanism(t, b) }},
		{"wrong-password", func(t *testing.T, prefix string) trouble { return wrongPassword(t, b, prefix) }},
		{"password-missing", func(t *testing.T, prefix string) trouble { return missingPassword(t, b, prefix) }},
		{"token-expired", func(t *testing.T, prefix string) trouble { return expiredToken(t, b, prefix) }},
		{"token-endpoint", func(t *testing.T, prefix string) trouble { return brokenEndpoint(t, b, prefix) }},
		{"write-denied", func(t *testing.T, prefix string) trouble { return writeDenied(t, b, prefix) }},
		{"read-denied", func(t *testing.T, prefix string) trouble { return readDenied(t, b, prefix) }},
		{"group-denied", func(t *testing.T, prefix string) trouble { return groupDenied(t, b, prefix) }},
		{"topic-missing", func(t *testing.T, prefix string) trouble { return missingTopic(t, b, prefix) }},
	} {
		t.Run(c.name, func(t *testing.T) { meet(t, b, c.name, production, c.prepare) })
	}
}

// meet lets a tool and a tap meet the trouble, compares what they say with the golden file, and mends it.
func meet(t *testing.T, b *kafka.Broker, name, production string, prepare func(*testing.T, string) trouble) {
	prefix, names := newPrefix()
	x := prepare(t, prefix)
	if !x.noTopics {
		makeTopics(t, b, names)
	}
	if x.tool == nil {
		x.tool = []string{"inspect", "cat"}
	}
	if x.code == 0 {
		x.code = 1
	}
	common := append([]string{"--topic-prefix", prefix}, x.way...)
	args := append(x.tool[1:len(x.tool):len(x.tool)], common...)
	got := run(t, time.Minute, x.tool[0], args...)
	require.Equal(t, x.code, got.Code, got.Stderr)
	if x.tool[0] != "replayer" { // which reports its end
		require.Empty(t, got.Stdout, "stdout is data")
	}
	requireNoSecret(t, got.Stderr)
	said := fmt.Sprintf("$ %s %s\n%sexit code %d\n", x.tool[0], x.tool[1], withoutLog(got.Stderr), got.Code)

	var tap *tapped
	if !x.noTap {
		tap = startTapWith(t, prefix, production, x.way...)
		tap.get(t, 20)
		line := tap.waitTrouble(t, names.Exchanges)
		said += fmt.Sprintf("\n$ tap proxy\n%s\n  cause  %s\n  try    %s\n", line.Msg, line.Cause, strings.ReplaceAll(line.Try, "\n", "\n         "))
	}
	requireGolden(t, name, normal(said, prefix))
	if x.mend == nil {
		return
	}

	x.mend(t)
	if tap != nil {
		tap.get(t, 5)
		c := tap.settled(t, 25)
		require.Equal(t, 25, c.produced, "all that was captured meanwhile is stored: %+v", c)
		waitFor(t, 2*time.Minute, func() error {
			if len(tap.lines(names.Exchanges, "kafka takes records again")) != 1 {
				return fmt.Errorf("its end is not said: %s", tap.Stderr())
			}
			return nil
		})
		require.Len(t, tap.lines(names.Exchanges, sayTrouble), 1, "said once: %s", tap.Stderr())
		require.Equal(t, 25, storedAt(t, b, names.Exchanges))
		requireNoSecret(t, tap.Stderr())
	}
	waitFor(t, 2*time.Minute, func() error { // an ACL takes a moment to be known
		if got = run(t, time.Minute, x.tool[0], args...); got.Code != 0 {
			return fmt.Errorf("exit code %d: %s", got.Code, got.Stderr)
		}
		return nil
	})
}

// logged is a line of a program's log.
type logged struct{ Level, Msg, Topic, Cause, Try string }

const sayTrouble = "kafka does not take records; they wait in memory"

func (p *tapped) lines(topic, msg string) (all []logged) {
	for line := range strings.Lines(p.Stderr()) {
		var l logged
		if json.Unmarshal([]byte(line), &l) == nil && l.Topic == topic && l.Msg == msg {
			all = append(all, l)
		}
	}
	return all
}

// waitTrouble waits until the tap says what keeps it from writing to a topic.
func (p *tapped) waitTrouble(t *testing.T, topic string) (l logged) {
	t.Helper()
	waitFor(t, 2*time.Minute, func() error {
		lines := p.lines(topic, sayTrouble)
		if len(lines) == 0 {
			return fmt.Errorf("nothing said yet:\n%s", tail(p.Stderr(), 5))
		}
		l = lines[0]
		return nil
	})
	return l
}

// withoutLog leaves what is said to a person.
func withoutLog(stderr string) string {
	return regexp.MustCompile(`(?m)^\{.*\}\n`).ReplaceAllString(stderr, "")
}

// normal puts names where every run has other values.
func normal(said, prefix string) string {
	for _, r := range []struct{ pattern, by string }{
		{`127\.0\.0\.1:\d+`, "HOST:PORT"},
		{`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`, "TIME"},
		{`/[^ "]*/([a-z.-]+\.(?:pem|key|password|token))`, "DIR/$1"},
		{regexp.QuoteMeta(prefix) + `\b`, "PREFIX"},
	} {
		said = regexp.MustCompile(r.pattern).ReplaceAllString(said, r.by)
	}
	return said
}

func requireGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "secure", name+".golden")
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "go test -update writes it")
	require.Equal(t, string(want), got)
}

func makeTopics(t *testing.T, b *kafka.Broker, names topic.Names) {
	t.Helper()
	admin, err := topic.NewAdmin(topic.Config{Brokers: []string{b.Addr()}})
	require.NoError(t, err)
	defer admin.Close()
	require.NoError(t, admin.Ensure(within(t, time.Minute), []topic.Spec{
		topic.ExchangesSpec(names, 3), topic.ControlSpec(names), topic.ResultsSpec(names, 3),
	}))
}
