package topic

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/secret"
)

// SecurityOptions say how connections are protected and who we are, as flags give it. Password, Token and ClientSecret
// are places: env:NAME or file:PATH.
type SecurityOptions struct {
	TLS        bool   // also implied by each of the following
	CA         string // PEM file with the authorities to trust; "": the system's
	Cert, Key  string // PEM files of the client's certificate; both or none
	ServerName string // expected in the broker's certificate; "": the host that is dialled
	Insecure   bool   // the broker's certificate is not looked at

	Mechanism    string // plain, scram-sha-256, scram-sha-512, oauthbearer, in any case; "": no SASL
	User         string
	Password     string
	Token        string // a ready bearer token
	TokenURL     string // where a token is had for ClientID and ClientSecret (OAuth 2 client credentials)
	ClientID     string
	ClientSecret string
	Scope        string // asked for with the token; may be empty
}

// Security is the way to a broker: TLS, SASL, and what was read for them. Certificates are read anew for each connection
// once their files have changed, secrets at each log-in; a fetched token is kept until it ages. Nil is plain TCP without a
// name. It is safe for concurrent use and shared by all clients of a process.
type Security struct {
	o         SecurityOptions
	err       error  // a contradiction in o, reported by whatever is made with it
	mechanism string // as Kafka spells it; "": no SASL

	password, token, clientSecret secret.Ref

	files  certificates
	tokens *tokens
}

// The mechanisms, as Kafka spells them.
const (
	plainMechanism  = "PLAIN"
	scram256        = "SCRAM-SHA-256"
	scram512        = "SCRAM-SHA-512"
	oauthbearer     = "OAUTHBEARER"
	mechanismChoice = "plain, scram-sha-256, scram-sha-512 or oauthbearer"
)

// NewSecurity reads no file and connects to nobody. A contradiction in o is a usage error of whatever is made with it.
func NewSecurity(o SecurityOptions) *Security {
	if o == (SecurityOptions{}) {
		return nil
	}
	o.TLS = o.TLS || o.CA != "" || o.Cert != "" || o.Key != "" || o.ServerName != "" || o.Insecure
	s := &Security{o: o}
	s.err = s.parse()
	s.files.ca, s.files.cert, s.files.key = o.CA, o.Cert, o.Key
	s.tokens = newTokens(o.TokenURL, o.ClientID, o.Scope, s.clientSecret)
	return s
}

func (s *Security) parse() (err error) {
	for _, place := range []struct {
		flag, value string
		to          *secret.Ref
	}{
		{"--kafka-sasl-password", s.o.Password, &s.password},
		{"--kafka-sasl-token", s.o.Token, &s.token},
		{"--kafka-sasl-client-secret", s.o.ClientSecret, &s.clientSecret},
	} {
		if *place.to, err = secret.Parse(place.flag, place.value); err != nil {
			return err
		}
	}
	if err := s.checkTLS(); err != nil {
		return err
	}
	switch mechanism := strings.ToUpper(s.o.Mechanism); mechanism {
	case "":
		return s.unused("without --kafka-sasl-mechanism it has no use", "--kafka-sasl-mechanism "+s.likely(),
			"user", "password", "token", "token-url", "client-id", "client-secret", "scope")
	case plainMechanism, scram256, scram512:
		s.mechanism = mechanism
		return s.checkPassword()
	case oauthbearer:
		s.mechanism = mechanism
		return s.checkToken()
	default:
		return fault.BadUsage("bad --kafka-sasl-mechanism "+quote(s.o.Mechanism), "", mechanismChoice)
	}
}

func (s *Security) checkTLS() error {
	switch {
	case s.o.Cert != "" && s.o.Key == "":
		return fault.BadUsage("--kafka-tls-cert is given without --kafka-tls-key", "", "--kafka-tls-key FILE with its private key")
	case s.o.Key != "" && s.o.Cert == "":
		return fault.BadUsage("--kafka-tls-key is given without --kafka-tls-cert", "", "--kafka-tls-cert FILE with its certificate")
	case s.o.Insecure && s.o.CA != "":
		return fault.BadUsage("--kafka-tls-insecure contradicts --kafka-tls-ca", "with the one, the other is not looked at",
			"leave --kafka-tls-insecure out")
	}
	return nil
}

func (s *Security) checkPassword() error {
	flag := strings.ToLower(s.mechanism)
	switch {
	case s.o.User == "":
		return fault.BadUsage("--kafka-sasl-mechanism "+flag+" needs a user", "", "--kafka-sasl-user NAME")
	case !s.password.Given():
		return fault.BadUsage("--kafka-sasl-mechanism "+flag+" needs a password", "", "--kafka-sasl-password file:PATH, or env:NAME")
	}
	return s.unused("it belongs to oauthbearer, and the mechanism is "+flag, "leave it out, or --kafka-sasl-mechanism oauthbearer",
		"token", "token-url", "client-id", "client-secret", "scope")
}

func (s *Security) checkToken() error {
	if err := s.unused("it belongs to plain and scram, and the mechanism is oauthbearer",
		"leave it out, or --kafka-sasl-mechanism scram-sha-512", "user", "password"); err != nil {
		return err
	}
	switch {
	case s.token.Given():
		return s.unused("the token comes from --kafka-sasl-token", "one of --kafka-sasl-token and --kafka-sasl-token-url",
			"token-url", "client-id", "client-secret", "scope")
	case s.o.TokenURL == "":
		return fault.BadUsage("--kafka-sasl-mechanism oauthbearer needs a token", "",
			"--kafka-sasl-token file:PATH, or --kafka-sasl-token-url URL with --kafka-sasl-client-id and --kafka-sasl-client-secret")
	case s.o.ClientID == "":
		return fault.BadUsage("--kafka-sasl-token-url needs a client", "", "--kafka-sasl-client-id NAME")
	case !s.clientSecret.Given():
		return fault.BadUsage("--kafka-sasl-token-url needs the client's secret", "", "--kafka-sasl-client-secret file:PATH, or env:NAME")
	}
	u, err := url.Parse(s.o.TokenURL)
	switch {
	case err != nil, u.Host == "", u.Scheme != "http" && u.Scheme != "https":
		return fault.BadUsage("bad --kafka-sasl-token-url", "want https://HOST/PATH", "https://idp.example/oauth2/token")
	case u.User != nil:
		return fault.BadUsage("bad --kafka-sasl-token-url "+quote(u.Redacted()), "a secret in it would show in the process list",
			"--kafka-sasl-client-id and --kafka-sasl-client-secret")
	}
	return nil
}

// unused is an error for the first of the SASL options named that is given and has no use.
func (s *Security) unused(cause, try string, names ...string) error {
	given := map[string]string{
		"user": s.o.User, "password": s.o.Password, "token": s.o.Token, "token-url": s.o.TokenURL,
		"client-id": s.o.ClientID, "client-secret": s.o.ClientSecret, "scope": s.o.Scope,
	}
	for _, n := range names {
		if given[n] != "" {
			return fault.BadUsage(fmt.Sprintf("--kafka-sasl-%s (or %s) is given", n, EnvOf("kafka-sasl-"+n)), cause, try)
		}
	}
	return nil
}

// likely is the mechanism that the other options speak of.
func (s *Security) likely() string {
	if s.o.Token != "" || s.o.TokenURL != "" || s.o.ClientID != "" {
		return strings.ToLower(oauthbearer)
	}
	return strings.ToLower(scram512)
}

// EnvOf is the environment variable that stands for a flag: REPRISE_KAFKA_SASL_USER for kafka-sasl-user.
func EnvOf(flag string) string {
	return "REPRISE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Check reports the contradiction in o, if there is one. It reads no file.
func (o SecurityOptions) Check() error { return NewSecurity(o).usage() }

// usage is the contradiction in the options, if there is one.
func (s *Security) usage() error {
	if s == nil {
		return nil
	}
	return s.err
}

// readable makes sure that every file and secret can be had now: for those who rather stop than wait.
func (s *Security) readable() error {
	if s == nil {
		return nil
	}
	if s.o.TLS {
		if _, err := s.files.load(); err != nil {
			return err
		}
	}
	for _, ref := range []struct {
		flag string
		secret.Ref
	}{
		{"--kafka-sasl-password", s.password},
		{"--kafka-sasl-token", s.token},
		{"--kafka-sasl-client-secret", s.clientSecret},
	} {
		if ref.Given() {
			if _, err := readSecret(ref.flag, ref.Ref); err != nil {
				return err
			}
		}
	}
	return nil
}

func readSecret(flag string, ref secret.Ref) (string, error) {
	text, err := ref.Read()
	if err != nil {
		try := "put it into " + ref.Name() + ": it is read at each log-in"
		if !ref.IsFile() {
			try = "export " + ref.Name() + "=… before the start, or " + flag + " file:PATH"
		}
		f := fault.BadUsage("cannot read "+flag+" "+ref.String(), err.Error(), try)
		f.Err = err
		return "", f
	}
	return string(text), nil
}

// slow is the error for a log-in that still waits for a token; nil when it does not.
func (s *Security) slow(waited time.Duration) error {
	if s == nil {
		return nil
	}
	return s.tokens.slow(waited)
}

func (s *Security) usesTLS() bool { return s != nil && s.o.TLS }

func (s *Security) usesSASL() bool { return s != nil && s.mechanism != "" }

// Warnings are what to shout at the start: settings that expose what they should protect.
func (s *Security) Warnings() []string {
	var all []string
	switch {
	case s == nil || s.err != nil:
		return nil
	case s.o.Insecure:
		all = append(all, "KAFKA'S CERTIFICATE IS NOT CHECKED (--kafka-tls-insecure): anyone in between can read and alter everything, the log-in too")
	case s.mechanism == plainMechanism && !s.o.TLS:
		all = append(all, "THE KAFKA PASSWORD TRAVELS IN THE CLEAR: --kafka-sasl-mechanism plain without --kafka-tls")
	case s.mechanism == oauthbearer && !s.o.TLS:
		all = append(all, "THE KAFKA TOKEN TRAVELS IN THE CLEAR: --kafka-sasl-mechanism oauthbearer without --kafka-tls")
	}
	if u, err := url.Parse(s.o.TokenURL); err == nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
		all = append(all, "THE CLIENT SECRET TRAVELS IN THE CLEAR: --kafka-sasl-token-url is not https")
	}
	return all
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// principal is whom the broker takes us for, as far as that can be told from here: brokers may map names.
func (s *Security) principal() string {
	const anonymous = "User:ANONYMOUS"
	switch {
	case s == nil:
		return anonymous
	case s.o.User != "":
		return "User:" + s.o.User
	case s.mechanism == oauthbearer:
		if subject := s.tokens.subject(); subject != "" {
			return "User:" + subject
		}
		if s.o.ClientID != "" {
			return "User:" + s.o.ClientID
		}
		return "User:NAME"
	case s.o.Cert != "":
		if loaded, err := s.files.load(); err == nil {
			return "User:" + loaded.certificate.Leaf.Subject.String()
		}
		return "User:NAME"
	}
	return anonymous
}

// hostOf is the host part of a dialled address.
func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}
