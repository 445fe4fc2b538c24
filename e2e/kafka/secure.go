package kafka

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/reprise-io/reprise/e2e/proc"
)

// Secure makes a broker that also has protected listeners and decides by ACLs. Whoever comes to its plaintext listener,
// which is there for the test's own work, may do everything; everybody else, what Allow says.
type Secure struct {
	Users  map[string]string // name → password, for PLAIN and both SCRAMs
	Issuer *Issuer           // of the tokens for OAUTHBEARER; nil: the mechanism is not offered
	Via    string            // address at which clients are told that the listener for log-ins is: of a relay before it; "": its own
}

// The listeners of a secured broker beside the plaintext one.
const (
	tlsListener     = "TLS"     // nobody is asked for a name
	mutualListener  = "MUTUAL"  // wants a client certificate
	expiredListener = "EXPIRED" // its certificate has expired, until Renew
	saslListener    = "SASL"    // TLS with every mechanism
	narrowListener  = "NARROW"  // TLS with SCRAM-SHA-512 alone
)

// security is what a secured broker has on disk and where it listens.
type security struct {
	Secure
	authority *Authority
	addr      map[string]string // by listener
}

// prepareSecurity writes the certificates and password files.
func (b *Broker) prepareSecurity(s Secure) error {
	authority, err := NewAuthority("Reprise e2e CA")
	if err != nil {
		return err
	}
	b.security = &security{Secure: s, authority: authority, addr: make(map[string]string)}
	for _, name := range []string{tlsListener, mutualListener, expiredListener, saslListener, narrowListener} {
		if b.security.addr[name], err = proc.FreeAddr(); err != nil {
			return err
		}
	}
	tomorrow := time.Now().Add(24 * time.Hour)
	if err := authority.WriteTo(b.CA()); err != nil {
		return err
	}
	if err := authority.writeStore(b.path("server.pem"), "broker", tomorrow); err != nil {
		return err
	}
	if err := authority.writeStore(b.path("expired.pem"), "broker", time.Now().Add(-24*time.Hour)); err != nil {
		return err
	}
	cert, key, err := authority.Issue("tap", tomorrow)
	if err != nil {
		return err
	}
	for path, content := range map[string][]byte{b.path("client.pem"): cert, b.path("client.key"): key} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
	}
	for user, password := range s.Users {
		if err := os.WriteFile(b.PasswordFile(user), []byte(password+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// properties are the lines that a secured broker has more; they replace listeners.
func (s *security) properties(b *Broker) []string {
	lines := []string{
		"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users=User:ANONYMOUS",
		"ssl.keystore.type=PEM", "ssl.keystore.location=" + b.path("server.pem"),
		"ssl.truststore.type=PEM", "ssl.truststore.location=" + b.CA(),
		"listener.name.mutual.ssl.client.auth=required",
		"listener.name.expired.ssl.keystore.type=PEM", "listener.name.expired.ssl.keystore.location=" + b.path("expired.pem"),
		"listener.name.narrow.sasl.enabled.mechanisms=SCRAM-SHA-512",
		"listener.name.narrow.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;",
		"listener.name.sasl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;",
		"listener.name.sasl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;",
	}
	mechanisms := "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"
	plain := "listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required"
	for _, user := range slices.Sorted(maps.Keys(s.Users)) {
		plain += fmt.Sprintf(" user_%s=%q", user, s.Users[user])
	}
	lines = append(lines, plain+";")
	if s.Issuer != nil {
		mechanisms += ",OAUTHBEARER"
		lines = append(lines,
			"listener.name.sasl.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;",
			"listener.name.sasl.oauthbearer.sasl.server.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler",
			"listener.name.sasl.sasl.oauthbearer.jwks.endpoint.url="+s.Issuer.url("/jwks"),
			"listener.name.sasl.sasl.oauthbearer.expected.audience="+audience,
			"listener.name.sasl.sasl.oauthbearer.expected.issuer="+s.Issuer.url(""),
		)
	}
	return append(lines, "listener.name.sasl.sasl.enabled.mechanisms="+mechanisms)
}

// listeners are the protected listeners as Kafka's settings list them, what clients are told, and the protocol of each.
func (s *security) listeners() (listeners, advertised, protocols string) {
	for _, name := range slices.Sorted(maps.Keys(s.addr)) {
		protocol := "SSL"
		if name == saslListener || name == narrowListener {
			protocol = "SASL_SSL"
		}
		listeners += "," + name + "://" + s.addr[name]
		told := s.addr[name]
		if name == saslListener && s.Via != "" {
			told = s.Via
		}
		advertised += "," + name + "://" + told
		protocols += "," + name + ":" + protocol
	}
	return listeners, advertised, protocols
}

// scram are the arguments with which storage is formatted, so that the users are there from the start.
func (s *security) scram() []string {
	var args []string
	for _, user := range slices.Sorted(maps.Keys(s.Users)) {
		for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
			args = append(args, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", mechanism, user, s.Users[user]))
		}
	}
	return args
}

// jvm are the settings that Kafka takes from nowhere else.
func (s *security) jvm() []string {
	if s.Issuer == nil {
		return nil
	}
	return []string{"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=" + s.Issuer.url("/jwks")}
}

// TLSAddr is the listener that speaks TLS and asks for no name.
func (b *Broker) TLSAddr() string { return b.security.addr[tlsListener] }

// MutualAddr is the listener that wants a client certificate.
func (b *Broker) MutualAddr() string { return b.security.addr[mutualListener] }

// ExpiredAddr is the TLS listener whose certificate has expired, until Renew.
func (b *Broker) ExpiredAddr() string { return b.security.addr[expiredListener] }

// SASLAddr is the listener that speaks TLS and wants a log-in, with whatever mechanism.
func (b *Broker) SASLAddr() string { return b.security.addr[saslListener] }

// NarrowAddr is the listener that speaks TLS and wants a log-in with SCRAM-SHA-512.
func (b *Broker) NarrowAddr() string { return b.security.addr[narrowListener] }

// CA is a file with the certificate of the authority that signed the broker's.
func (b *Broker) CA() string { return b.path("ca.pem") }

// ClientCert and ClientKey are files with a certificate for CN=tap and its key.
func (b *Broker) ClientCert() string { return b.path("client.pem") }

// ClientKey is the key of ClientCert.
func (b *Broker) ClientKey() string { return b.path("client.key") }

// PasswordFile holds the password of a user of Secure.Users.
func (b *Broker) PasswordFile(user string) string {
	return filepath.Join(b.options.Dir, user+".password")
}

// Login are the flags with which our programs reach the broker as a user, over TLS and SCRAM-SHA-512.
func (b *Broker) Login(user string) []string {
	return strings.Fields(fmt.Sprintf(
		"--brokers %s --kafka-tls-ca %s --kafka-sasl-mechanism scram-sha-512 --kafka-sasl-user %s --kafka-sasl-password file:%s",
		cmp.Or(b.security.Via, b.SASLAddr()), b.CA(), user, b.PasswordFile(user)))
}
