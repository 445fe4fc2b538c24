package cli

import (
	"log/slog"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/reprise-io/reprise/internal/topic"
)

// defaultBroker is where a Kafka on this machine listens.
const defaultBroker = "127.0.0.1:9092"

// AddKafka adds --brokers, --topic-prefix and everything about TLS and SASL. What is not given comes from the environment.
func (s *Shared) AddKafka(fs *pflag.FlagSet) {
	brokers := []string{defaultBroker}
	if env := os.Getenv("REPRISE_BROKERS"); env != "" {
		brokers = strings.Split(env, ",")
	}
	fs.StringSliceVar(&s.Brokers, "brokers", brokers, "Kafka brokers, HOST:PORT with commas between (env REPRISE_BROKERS)")
	fs.Lookup("brokers").DefValue = "[" + defaultBroker + "]" // of the program, not of this environment
	s.AddTopicPrefix(fs, "topics are PREFIX.exchanges, PREFIX.control, PREFIX.results")

	o := &s.Security
	fs.BoolVar(&o.TLS, "kafka-tls", envSays(topic.EnvOf("kafka-tls")),
		"speak TLS with Kafka; each --kafka-tls-… means it too (env "+topic.EnvOf("kafka-tls")+"=1)")
	fs.Lookup("kafka-tls").DefValue = "false"
	for _, f := range []struct {
		to          *string
		name, usage string
	}{
		{&o.CA, "kafka-tls-ca", "PEM `FILE` with the authorities to trust; default: the system's"},
		{&o.Cert, "kafka-tls-cert", "PEM `FILE` with our certificate, for a broker that wants one; read again when it changes"},
		{&o.Key, "kafka-tls-key", "PEM `FILE` with its private key"},
		{&o.ServerName, "kafka-tls-server-name", "`NAME` to expect in the broker's certificate; default: the host of --brokers"},
		{&o.Mechanism, "kafka-sasl-mechanism", "`NAME` of the log-in: plain, scram-sha-256, scram-sha-512 or oauthbearer; default: none"},
		{&o.User, "kafka-sasl-user", "user `NAME`, for plain and scram"},
		{&o.Password, "kafka-sasl-password", "`PLACE` of the password, env:NAME or file:PATH; a file is read at each log-in"},
		{&o.Token, "kafka-sasl-token", "`PLACE` of a ready bearer token, env:NAME or file:PATH; a file is read at each log-in"},
		{&o.TokenURL, "kafka-sasl-token-url", "`URL` that gives bearer tokens for client credentials (OAuth 2)"},
		{&o.ClientID, "kafka-sasl-client-id", "client `NAME` there"},
		{&o.ClientSecret, "kafka-sasl-client-secret", "`PLACE` of the client's secret, env:NAME or file:PATH"},
		{&o.Scope, "kafka-sasl-scope", "`SCOPE` to ask for there"},
	} {
		fs.StringVar(f.to, f.name, os.Getenv(topic.EnvOf(f.name)), f.usage+" (env "+topic.EnvOf(f.name)+")")
		fs.Lookup(f.name).DefValue = "" // of the program, not of this environment
	}
	fs.BoolVar(&o.Insecure, "kafka-tls-insecure", false, "do not check the broker's certificate: for a try only, and it has no variable")
}

// envSays: a variable that is there says yes, unless it says no.
func envSays(name string) bool {
	text := os.Getenv(name)
	yes, err := strconv.ParseBool(text)
	return text != "" && (yes || err != nil)
}

// Topic returns what internal/topic needs to connect, and shouts what is set against all reason. Contradictions are told by
// whoever connects.
func (s *Shared) Topic(clientID string, log *slog.Logger) topic.Config {
	security := topic.NewSecurity(s.Security)
	for _, warning := range security.Warnings() {
		log.Error(warning) // also where only errors are shown
	}
	return topic.Config{Brokers: s.Brokers, ClientID: clientID, Logger: log, Security: security}
}
