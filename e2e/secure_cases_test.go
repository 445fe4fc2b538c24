//go:build e2e

package e2e_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/feed"
	"github.com/reprise-io/reprise/e2e/kafka"
	"github.com/reprise-io/reprise/internal/topic"
)

func storedAt(t *testing.T, b *kafka.Broker, name string) int {
	t.Helper()
	return int(must(feed.Count(within(t, 2*time.Minute), b.Addr(), name))(t))
}

func write(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	require.NoError(t, err)
	write(t, to, string(content))
}

// newUser makes a user that may do nothing yet, and gives the flags of its log-in.
func newUser(t *testing.T, b *kafka.Broker, prefix string) (user string, way []string) {
	t.Helper()
	user = "user-" + prefix
	require.NoError(t, b.SetPassword(within(t, 2*time.Minute), user, password))
	return user, loginAs(t, b, user)
}

func loginAs(t *testing.T, b *kafka.Broker, user string) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "user.password")
	write(t, file, password)
	return flagsOf("--brokers %s --kafka-tls-ca %s --kafka-sasl-mechanism scram-sha-512 --kafka-sasl-user %s --kafka-sasl-password file:%s",
		b.SASLAddr(), b.CA(), user, file)
}

func grant(operation, user, more string) string {
	return "kafka-acls.sh --add --allow-principal User:" + user + " --operation " + operation + " " + more
}

// Certificates.

func wrongCA(t *testing.T, b *kafka.Broker) trouble {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, must(kafka.NewAuthority("Somebody Else"))(t).WriteTo(ca))
	return trouble{
		way:  flagsOf("--brokers %s --kafka-tls-ca %s", b.TLSAddr(), ca),
		mend: func(t *testing.T) { copyFile(t, b.CA(), ca) },
	}
}

func missingCA(t *testing.T, b *kafka.Broker) trouble {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	return trouble{
		way: flagsOf("--brokers %s --kafka-tls-ca %s", b.TLSAddr(), ca), code: 2,
		mend: func(t *testing.T) { copyFile(t, b.CA(), ca) },
	}
}

func expired(b *kafka.Broker) trouble {
	return trouble{
		way:  flagsOf("--brokers %s --kafka-tls-ca %s", b.ExpiredAddr(), b.CA()),
		mend: func(t *testing.T) { require.NoError(t, b.Renew(within(t, 2*time.Minute))) },
	}
}

func otherName(b *kafka.Broker) trouble {
	return trouble{way: flagsOf("--brokers %s --kafka-tls-ca %s --kafka-tls-server-name kafka.example", b.TLSAddr(), b.CA())}
}

func noClientCert(t *testing.T, b *kafka.Broker) trouble {
	t.Helper()
	r := startRelay(t, b.MutualAddr())
	return trouble{
		way:  flagsOf("--brokers %s --kafka-tls-ca %s", r.addr(), b.CA()),
		mend: func(*testing.T) { r.turn(b.TLSAddr()) },
	}
}

func refusedClientCert(t *testing.T, b *kafka.Broker) trouble {
	t.Helper()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key")
	certPEM, keyPEM, err := must(kafka.NewAuthority("Somebody Else"))(t).Issue("tap", time.Now().Add(time.Hour))
	require.NoError(t, err)
	write(t, cert, string(certPEM))
	write(t, key, string(keyPEM))
	return trouble{
		way: flagsOf("--brokers %s --kafka-tls-ca %s --kafka-tls-cert %s --kafka-tls-key %s", b.MutualAddr(), b.CA(), cert, key),
		mend: func(t *testing.T) {
			allow(t, b, grant("All", "CN=tap,O=Reprise", "--resource-pattern-type prefixed --topic e2e"))
			copyFile(t, b.ClientCert(), cert)
			copyFile(t, b.ClientKey(), key)
		},
	}
}

// What the broker's port speaks.

func wantsTLS(t *testing.T, b *kafka.Broker) trouble {
	t.Helper()
	r := startRelay(t, b.TLSAddr())
	return trouble{way: flagsOf("--brokers %s", r.addr()), mend: func(*testing.T) { r.turn(b.Addr()) }}
}

func withoutTLS(t *testing.T, b *kafka.Broker) trouble {
	t.Helper()
	r := startRelay(t, b.Addr())
	return trouble{
		way:  flagsOf("--brokers %s --kafka-tls-ca %s", r.addr(), b.CA()),
		mend: func(*testing.T) { r.turn(b.TLSAddr()) },
	}
}

func wantsSASL(t *testing.T, b *kafka.Broker) trouble {
	t.Helper()
	r := startRelay(t, b.NarrowAddr())
	return trouble{
		way:  flagsOf("--brokers %s --kafka-tls-ca %s", r.addr(), b.CA()),
		mend: func(*testing.T) { r.turn(b.TLSAddr()) },
	}
}

func asTap(b *kafka.Broker, addr, mechanism string) []string {
	return flagsOf("--brokers %s --kafka-tls-ca %s --kafka-sasl-mechanism %s --kafka-sasl-user tap --kafka-sasl-password file:%s",
		addr, b.CA(), mechanism, b.PasswordFile(tapUser))
}

// tapMayAll: for troubles that are over once the user tap is in.
func tapMayAll(t *testing.T, b *kafka.Broker) {
	t.Helper()
	allow(t, b, grant("All", tapUser, "--resource-pattern-type prefixed --topic e2e"))
}

func withoutSASL(t *testing.T, b *kafka.Broker) trouble {
	t.Helper()
	tapMayAll(t, b)
	r := startRelay(t, b.TLSAddr())
	return trouble{way: asTap(b, r.addr(), "scram-sha-512"), mend: func(*testing.T) { r.turn(b.SASLAddr()) }}
}

func otherMechanism(t *testing.T, b *kafka.Broker) trouble {
	t.Helper()
	tapMayAll(t, b)
	r := startRelay(t, b.NarrowAddr())
	return trouble{way: asTap(b, r.addr(), "plain"), mend: func(*testing.T) { r.turn(b.SASLAddr()) }}
}

// Who we are.

func wrongPassword(t *testing.T, b *kafka.Broker, prefix string) trouble {
	t.Helper()
	user := "user-" + prefix
	require.NoError(t, b.SetPassword(within(t, 2*time.Minute), user, "another"))
	allow(t, b, grant("All", user, "--resource-pattern-type prefixed --topic "+prefix))
	return trouble{
		way:  loginAs(t, b, user),
		mend: func(t *testing.T) { require.NoError(t, b.SetPassword(within(t, 2*time.Minute), user, password)) },
	}
}

func missingPassword(t *testing.T, b *kafka.Broker, prefix string) trouble {
	t.Helper()
	user, way := newUser(t, b, prefix)
	allow(t, b, grant("All", user, "--resource-pattern-type prefixed --topic "+prefix))
	file := way[len(way)-1][len("file:"):]
	require.NoError(t, os.Remove(file))
	return trouble{way: way, code: 2, mend: func(t *testing.T) { write(t, file, password) }}
}

func expiredToken(t *testing.T, b *kafka.Broker, prefix string) trouble {
	t.Helper()
	allow(t, b, grant("All", tapUser, "--resource-pattern-type prefixed --topic "+prefix))
	file := filepath.Join(t.TempDir(), "bearer.token")
	write(t, file, must(issuer.Token(tapUser, -time.Hour))(t))
	return trouble{
		way:  flagsOf("--brokers %s --kafka-tls-ca %s --kafka-sasl-mechanism oauthbearer --kafka-sasl-token file:%s", b.SASLAddr(), b.CA(), file),
		mend: func(t *testing.T) { write(t, file, must(issuer.Token(tapUser, time.Hour))(t)) },
	}
}

func brokenEndpoint(t *testing.T, b *kafka.Broker, prefix string) trouble {
	t.Helper()
	allow(t, b, grant("All", tapUser, "--resource-pattern-type prefixed --topic "+prefix))
	issuer.Fail(true)
	t.Cleanup(func() { issuer.Fail(false) })
	return trouble{
		way: flagsOf("--brokers %s --kafka-tls-ca %s --kafka-sasl-mechanism oauthbearer --kafka-sasl-token-url %s --kafka-sasl-client-id tap --kafka-sasl-client-secret file:%s",
			b.SASLAddr(), b.CA(), issuer.TokenURL(), b.PasswordFile(tapUser)),
		mend: func(*testing.T) { issuer.Fail(false) },
	}
}

// What we may do.

func importing(t *testing.T) []string {
	t.Helper()
	own := filepath.Join(t.TempDir(), "own.gor")
	write(t, own, gor(2))
	return []string{"tap", "import", own, "--redact-key", "env:E2E_REDACT_KEY"}
}

func writeDenied(t *testing.T, b *kafka.Broker, prefix string) trouble {
	t.Helper()
	user, way := newUser(t, b, prefix)
	names := topic.NamesOf(prefix)
	allow(t, b, grant("Describe", user, "--resource-pattern-type prefixed --topic "+prefix+"."))
	return trouble{
		way: way, tool: importing(t),
		mend: func(t *testing.T) {
			allow(t, b, grant("Write", user, "--topic "+names.Exchanges), grant("Write", user, "--topic "+names.Control))
		},
	}
}

func readDenied(t *testing.T, b *kafka.Broker, prefix string) trouble {
	t.Helper()
	user, way := newUser(t, b, prefix)
	return trouble{
		way: way, noTap: true,
		mend: func(t *testing.T) { allow(t, b, grant("Read", user, "--topic "+topic.NamesOf(prefix).Exchanges)) },
	}
}

func groupDenied(t *testing.T, b *kafka.Broker, prefix string) trouble {
	t.Helper()
	user, way := newUser(t, b, prefix)
	names := topic.NamesOf(prefix)
	makeTopics(t, b, names)
	_, err := feed.Made{Count: 20, Rate: 1000, Seed: 71, Start: time.Now().Add(-time.Minute)}.Write(within(t, time.Minute), b.Addr(), names)
	require.NoError(t, err)
	allow(t, b, grant("Read", user, "--topic "+names.Exchanges+" --topic "+names.Control),
		grant("Write", user, "--topic "+names.Control+" --topic "+names.Results))
	_, addr := serveNothing(t)
	return trouble{
		way: way, noTap: true,
		tool: append([]string{"replayer", "run"}, flagsOf("--run denied --speed max --redact-key env:E2E_REDACT_KEY -o json --target http://%s --allow-target %s", addr, addr)...),
		mend: func(t *testing.T) {
			allow(t, b, grant("Read", user, "--resource-pattern-type prefixed --group "+prefix+"."))
		},
	}
}

func missingTopic(t *testing.T, b *kafka.Broker, prefix string) trouble {
	t.Helper()
	user, way := newUser(t, b, prefix)
	names := topic.NamesOf(prefix)
	allow(t, b, grant("Write", user, "--topic "+names.Exchanges+" --topic "+names.Control))
	return trouble{
		way: way, tool: importing(t), noTopics: true,
		mend: func(t *testing.T) { makeTopics(t, b, names) },
	}
}
