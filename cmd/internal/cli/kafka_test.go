package cli

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/topic"
)

// connect parses flags as the programs do, and returns what connecting says of them without connecting.
func connect(t *testing.T, args ...string) (*Shared, string, error) {
	t.Helper()
	var s Shared
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	s.AddKafka(fs)
	require.NoError(t, fs.Parse(args))
	var log bytes.Buffer
	admin, err := topic.NewAdmin(s.Topic("test", slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))))
	if err == nil {
		admin.Close()
	}
	return &s, log.String(), err
}

func TestKafkaFlagsThatContradictAreUsageErrors(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	require.NoError(t, os.WriteFile(secret, []byte("s3cret\n"), 0o600))
	password := "--kafka-sasl-password file:" + secret
	oauth := "--kafka-sasl-mechanism oauthbearer "
	for flags, says := range map[string]string{
		"--kafka-sasl-mechanism kerberos":                  "scram-sha-512",
		"--kafka-sasl-user a":                              "--kafka-sasl-mechanism",
		password:                                           "--kafka-sasl-mechanism",
		"--kafka-sasl-token file:" + secret:                "--kafka-sasl-mechanism oauthbearer",
		"--kafka-sasl-mechanism plain " + password:         "--kafka-sasl-user",
		"--kafka-sasl-mechanism plain --kafka-sasl-user a": "--kafka-sasl-password",
		"--kafka-sasl-mechanism plain --kafka-sasl-user a --kafka-sasl-token env:X " + password:     "--kafka-sasl-token",
		"--kafka-sasl-mechanism scram-sha-256 --kafka-sasl-user a --kafka-sasl-scope x " + password: "--kafka-sasl-scope",
		"--kafka-sasl-mechanism plain --kafka-sasl-user a --kafka-sasl-password hunter2":            "env:NAME or file:PATH",
		"--kafka-sasl-mechanism plain --kafka-sasl-user a --kafka-sasl-password env:hunter2_UNSET":  "hunter2_UNSET",
		"--kafka-sasl-mechanism plain --kafka-sasl-user a --kafka-sasl-password file:/no/such":      "/no/such",
		oauth:                                "--kafka-sasl-token",
		oauth + "--kafka-sasl-user a":        "--kafka-sasl-user",
		oauth + "--kafka-sasl-token hunter2": "env:NAME or file:PATH",
		oauth + "--kafka-sasl-token file:" + secret + " --kafka-sasl-token-url https://idp/t":                                       "one of",
		oauth + "--kafka-sasl-token-url https://idp/t":                                                                              "--kafka-sasl-client-id",
		oauth + "--kafka-sasl-token-url https://idp/t --kafka-sasl-client-id a":                                                     "--kafka-sasl-client-secret",
		oauth + "--kafka-sasl-client-id a --kafka-sasl-client-secret file:" + secret:                                                "--kafka-sasl-token-url",
		oauth + "--kafka-sasl-token-url idp --kafka-sasl-client-id a --kafka-sasl-client-secret file:" + secret:                     "https://",
		oauth + "--kafka-sasl-token-url https://a:hunter2@idp/t --kafka-sasl-client-id a --kafka-sasl-client-secret file:" + secret: "--kafka-sasl-client-secret",
		"--kafka-tls-cert " + secret:                                "--kafka-tls-key",
		"--kafka-tls-key " + secret:                                 "--kafka-tls-cert",
		"--kafka-tls-insecure --kafka-tls-ca " + secret:             "--kafka-tls-insecure",
		"--kafka-tls-ca /no/such":                                   "/no/such",
		"--kafka-tls-ca " + secret:                                  "no certificate",
		"--kafka-tls-cert " + secret + " --kafka-tls-key " + secret: "--kafka-tls-cert",
	} {
		t.Run(flags, func(t *testing.T) {
			_, _, err := connect(t, strings.Fields(flags)...)
			f, ok := errors.AsType[*fault.Error](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, fault.Usage, fault.Code(err))
			text := f.What + "\n" + f.Cause + "\n" + f.Try
			require.Contains(t, text, says)
			require.Contains(t, text, "--kafka-", "names the flag")
			for _, hidden := range []string{"s3cret", "hunter2 ", "hunter2\n", "hunter2@"} {
				require.NotContains(t, text, hidden, "a secret is not repeated")
			}
		})
	}
}

func TestKafkaFlagBeatsVariable(t *testing.T) {
	t.Setenv("REPRISE_KAFKA_TLS", "1")
	t.Setenv("REPRISE_KAFKA_SASL_MECHANISM", "SCRAM-SHA-512")
	t.Setenv("REPRISE_KAFKA_SASL_USER", "from-variable")
	t.Setenv("REPRISE_KAFKA_SASL_PASSWORD", "env:TEST_PASSWORD")
	t.Setenv("TEST_PASSWORD", "s3cret")
	s, shouted, err := connect(t)
	require.NoError(t, err)
	require.Empty(t, shouted)
	require.True(t, s.Security.TLS)
	require.Equal(t, "from-variable", s.Security.User)

	s, _, err = connect(t, "--kafka-tls=false", "--kafka-sasl-user", "from-flag")
	require.NoError(t, err)
	require.False(t, s.Security.TLS)
	require.Equal(t, "from-flag", s.Security.User)

	_, _, err = connect(t, "--kafka-sasl-mechanism", "oauthbearer")
	require.ErrorContains(t, err, "REPRISE_KAFKA_SASL_USER", "who typed none is told where it comes from")
}

func TestHelpDoesNotTellTheEnvironment(t *testing.T) {
	t.Setenv("REPRISE_KAFKA_SASL_PASSWORD", "hunter2") // by mistake
	t.Setenv("REPRISE_KAFKA_SASL_USER", "alice")
	var s Shared
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	s.AddKafka(fs)
	usage := fs.FlagUsages()
	require.NotContains(t, usage, "hunter2")
	require.NotContains(t, usage, "alice")
	require.Contains(t, usage, "REPRISE_KAFKA_SASL_PASSWORD")
}

func TestWhatExposesSecretsIsShouted(t *testing.T) {
	t.Setenv("TEST_PASSWORD", "s3cret")
	login := " --kafka-sasl-user a --kafka-sasl-password env:TEST_PASSWORD"
	for flags, says := range map[string]string{
		"--kafka-tls-insecure":                                                    "NOT CHECKED",
		"--kafka-sasl-mechanism plain" + login:                                    "IN THE CLEAR",
		"--kafka-sasl-mechanism plain --kafka-tls" + login:                        "",
		"--kafka-sasl-mechanism scram-sha-512" + login:                            "",
		"--kafka-sasl-mechanism oauthbearer --kafka-sasl-token env:TEST_PASSWORD": "IN THE CLEAR",
		"--kafka-tls --kafka-sasl-mechanism oauthbearer --kafka-sasl-token-url http://idp.example/token --kafka-sasl-client-id a --kafka-sasl-client-secret env:TEST_PASSWORD": "not https",
		"--kafka-tls --kafka-sasl-mechanism oauthbearer --kafka-sasl-token-url http://127.0.0.1:9/token --kafka-sasl-client-id a --kafka-sasl-client-secret env:TEST_PASSWORD": "",
		"": "",
	} {
		_, shouted, err := connect(t, strings.Fields(flags)...)
		require.NoError(t, err, flags)
		require.Equal(t, says == "", shouted == "", "%s: %s", flags, shouted)
		require.Contains(t, shouted, says)
	}
}
