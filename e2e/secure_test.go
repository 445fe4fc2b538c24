//go:build e2e

package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/feed"
	"github.com/reprise-io/reprise/e2e/kafka"
	"github.com/reprise-io/reprise/e2e/shop"
	"github.com/reprise-io/reprise/internal/topic"
)

// The users of the secured broker, for the three programs, each with what README says that it needs.
const tapUser, replayerUser, inspectUser = "tap", "replayer", "inspect"

// password is what no output may ever hold.
const password = "correct-horse-battery"

// issuer serves the secured broker's tokens for as long as the tests run.
var issuer *kafka.Issuer

// startSecureKafka returns the running secured broker.
func startSecureKafka(t *testing.T) *kafka.Broker {
	t.Helper()
	ctx := within(t, 2*time.Minute)
	if shared.secure == nil {
		var err error
		issuer, err = kafka.NewIssuer(map[string]string{tapUser: password, inspectUser: password})
		require.NoError(t, err)
		dir := filepath.Join(shared.dir, "secure")
		require.NoError(t, os.MkdirAll(dir, 0o700))
		users := map[string]string{tapUser: password, replayerUser: password, inspectUser: password}
		b, err := kafka.New(ctx, kafka.Options{
			Jars: filepath.Join(shared.root, ".cache", "kafka"), Dir: dir, Secure: &kafka.Secure{Users: users, Issuer: issuer},
		})
		require.NoError(t, err)
		shared.secure = b
	}
	b := shared.secure
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

// flagsOf are flags written on one line.
func flagsOf(format string, args ...any) []string {
	return strings.Fields(fmt.Sprintf(format, args...))
}

// readmeACLs are the lines of README that say what a program needs, for a topic prefix.
func readmeACLs(t *testing.T, user, prefix string) []string {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join(shared.root, "README.md"))
	require.NoError(t, err)
	var lines []string
	for _, line := range regexp.MustCompile(`(?m)^\$acl .*--allow-principal User:`+user+` .*$`).FindAllString(string(readme), -1) {
		line = strings.Replace(line, "$acl", "kafka-acls.sh --add", 1)
		lines = append(lines, strings.ReplaceAll(line, " reprise.", " "+prefix+"."))
	}
	require.NotEmpty(t, lines, "README says what %s needs", user)
	return lines
}

func allow(t *testing.T, b *kafka.Broker, lines ...string) {
	t.Helper()
	for _, line := range lines {
		require.NoError(t, b.Allow(within(t, 2*time.Minute), line), line)
	}
}

// requireNoSecret: whatever happens, nobody is told a password.
func requireNoSecret(t *testing.T, output string) {
	t.Helper()
	require.NotContains(t, output, password)
	require.NotContains(t, output, "eyJ", "no token either")
}

// get sends requests through a tap, which must all be answered.
func (p *tapped) get(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		resp, err := http.Get(fmt.Sprintf("%s/items/%d", p.url(), 1+i%20))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusOK, resp.StatusCode)
	}
}

func TestRecordAndReplayOverTLSAndSCRAM(t *testing.T) {
	b := startSecureKafka(t)
	prefix, names := newPrefix()
	for _, user := range []string{tapUser, replayerUser, inspectUser} {
		allow(t, b, readmeACLs(t, user, prefix)...)
	}
	_, production := serveShop(t, shop.Options{})
	tap := startTapWith(t, prefix, production, b.Login(tapUser)...)
	tap.get(t, 50)
	c := tap.settled(t, 50)
	require.Equal(t, 50, c.produced, "%+v", c)

	cat := run(t, time.Minute, "inspect", append(b.Login(inspectUser), "cat", "--topic-prefix", prefix, "-o", "ndjson")...)
	require.Zero(t, cat.Code, cat.Stderr)
	require.Len(t, readPrinted(t, cat.Stdout), 50)
	topics := run(t, time.Minute, "inspect", append(b.Login(inspectUser), "topics", "--topic-prefix", prefix, "-o", "ndjson")...)
	require.Zero(t, topics.Code, topics.Stderr)
	require.Contains(t, topics.Stdout, names.Exchanges)

	target, addr := serveNothing(t)
	play := func(command string, more ...string) []string {
		args := append([]string{command, "--topic-prefix", prefix, "--redact-key", "env:E2E_REDACT_KEY"}, b.Login(replayerUser)...)
		return append(append(args, "--target", "http://"+addr, "--allow-target", addr), more...)
	}
	plan := run(t, time.Minute, "replayer", play("plan", "-o", "json")...)
	require.Zero(t, plan.Code, plan.Stderr)
	r := replay(t, time.Minute, play("run", "--run", "secure", "--speed", "max")...)
	require.EqualValues(t, 50, r.Fired)
	require.Equal(t, 50, target.Requests())
	require.Equal(t, 50, int(must(feed.Count(within(t, time.Minute), b.Addr(), names.Results))(t)))

	code, err := tap.Stop(time.Minute)
	require.NoError(t, err)
	require.Equal(t, 130, code)
	requireNoSecret(t, tap.Stderr()+cat.Stderr+plan.Stderr)
}

// must gives the value of a call that has to succeed.
func must[V any](v V, err error) func(*testing.T) V {
	return func(t *testing.T) V {
		t.Helper()
		require.NoError(t, err)
		return v
	}
}

func TestEveryWayToLogIn(t *testing.T) {
	b := startSecureKafka(t)
	prefix, names := newPrefix()
	allow(t, b, append(readmeACLs(t, tapUser, prefix), readmeACLs(t, inspectUser, prefix)...)...)
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte(must(issuer.Token(tapUser, time.Hour))(t)), 0o600))
	// The broker knows the owner of a client certificate by its whole name.
	allow(t, b, "kafka-acls.sh --add --allow-principal 'User:CN=tap,O=Reprise' --operation Write --topic "+names.Exchanges)
	own := filepath.Join(t.TempDir(), "own.gor")
	require.NoError(t, os.WriteFile(own, []byte(gor(3)), 0o600))
	sasl := func(format string, args ...any) []string {
		return append(flagsOf("--brokers %s --kafka-tls-ca %s", b.SASLAddr(), b.CA()), flagsOf(format, args...)...)
	}
	stored := 0
	for _, c := range []struct {
		name  string
		flags []string
	}{
		{"tls", flagsOf("--brokers %s --kafka-tls --kafka-tls-ca %s", b.TLSAddr(), b.CA())},
		{"insecure", flagsOf("--brokers %s --kafka-tls-insecure", b.TLSAddr())},
		{"other name", flagsOf("--brokers %s --kafka-tls-ca %s --kafka-tls-server-name localhost", b.TLSAddr(), b.CA())},
		{"client certificate", flagsOf("--brokers %s --kafka-tls-ca %s --kafka-tls-cert %s --kafka-tls-key %s", b.MutualAddr(), b.CA(), b.ClientCert(), b.ClientKey())},
		{"plain", sasl("--kafka-sasl-mechanism PLAIN --kafka-sasl-user tap --kafka-sasl-password file:%s", b.PasswordFile(tapUser))},
		{"scram-sha-256", sasl("--kafka-sasl-mechanism Scram-Sha-256 --kafka-sasl-user tap --kafka-sasl-password file:%s", b.PasswordFile(tapUser))},
		{"scram-sha-512", b.Login(tapUser)},
		{"token", sasl("--kafka-sasl-mechanism oauthbearer --kafka-sasl-token file:%s", token)},
		{"client credentials", sasl("--kafka-sasl-mechanism oauthbearer --kafka-sasl-token-url %s --kafka-sasl-client-id tap --kafka-sasl-client-secret file:%s --kafka-sasl-scope kafka", issuer.TokenURL(), b.PasswordFile(tapUser))},
	} {
		t.Run(c.name, func(t *testing.T) {
			imported := run(t, time.Minute, "tap", append([]string{"import", own, "--topic-prefix", prefix, "--redact-key", "env:E2E_REDACT_KEY"}, c.flags...)...)
			require.Zero(t, imported.Code, imported.Stderr)
			stored += 3
			require.Equal(t, stored, int(must(feed.Count(within(t, time.Minute), b.Addr(), names.Exchanges))(t)))
			requireNoSecret(t, imported.Stderr)
		})
	}
	asked := issuer.Asked()
	require.LessOrEqual(t, asked, 3, "a token serves all connections of a client")

	t.Setenv("REPRISE_BROKERS", b.SASLAddr())
	for name, value := range map[string]string{
		"kafka-tls-ca": b.CA(), "kafka-sasl-mechanism": "scram-sha-512", "kafka-sasl-user": inspectUser, "kafka-sasl-password": "env:E2E_PASSWORD",
	} {
		t.Setenv(topic.EnvOf(name), value)
	}
	t.Setenv("E2E_PASSWORD", password)
	stats := run(t, time.Minute, "inspect", "stats", "--topic-prefix", prefix)
	require.Zero(t, stats.Code, stats.Stderr)
	help := run(t, time.Minute, "inspect", "cat", "--help")
	require.NotContains(t, help.Stdout, b.CA(), "help is the program's, whatever the environment")
}
