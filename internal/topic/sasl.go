package topic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/secret"
)

// sasl is the mechanism for the client, nil for none. Secrets are read at each log-in.
func (s *Security) sasl() sasl.Mechanism {
	if !s.usesSASL() {
		return nil
	}
	switch s.mechanism {
	case plainMechanism:
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			password, err := readSecret("--kafka-sasl-password", s.password)
			return plain.Auth{User: s.o.User, Pass: password}, err
		})
	case scram256:
		return scram.Sha256(s.scramAuth)
	case scram512:
		return scram.Sha512(s.scramAuth)
	default:
		return bearer{s}
	}
}

func (s *Security) scramAuth(context.Context) (scram.Auth, error) {
	password, err := readSecret("--kafka-sasl-password", s.password)
	return scram.Auth{User: s.o.User, Pass: password}, err
}

// bearer is OAUTHBEARER (RFC 7628). The client's own one hides what the broker says when it refuses a token.
type bearer struct{ s *Security }

// Name returns the mechanism's name.
func (bearer) Name() string { return oauthbearer }

// Authenticate returns the first message.
func (b bearer) Authenticate(ctx context.Context, host string) (sasl.Session, []byte, error) {
	token, err := b.s.bearerToken(ctx)
	if err != nil {
		return nil, nil, err
	}
	return bearerSession{b.s, host}, []byte("n,,\x01auth=Bearer " + token + "\x01\x01"), nil
}

// bearerToken is the token to log in with now.
func (s *Security) bearerToken(ctx context.Context) (string, error) {
	if !s.token.Given() {
		return s.tokens.get(ctx)
	}
	token, err := readSecret("--kafka-sasl-token", s.token)
	if err != nil {
		return "", err
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fault.BadUsage("--kafka-sasl-token "+s.token.String()+" holds no bearer token", "it has spaces or characters that no token has",
			"the access token alone, on one line")
	}
	s.tokens.note(token)
	return token, nil
}

type bearerSession struct {
	s    *Security
	host string
}

// Challenge is given an empty answer when all is well, and otherwise why not.
func (b bearerSession) Challenge(answer []byte) (bool, []byte, error) {
	if len(answer) == 0 {
		return true, nil, nil
	}
	var refused struct{ Status, Scope string }
	cause := "it refuses the token"
	if json.Unmarshal(answer, &refused) == nil && refused.Status != "" {
		cause += fmt.Sprintf(" (%.40q)", refused.Status)
	}
	if subject := b.s.tokens.subject(); subject != "" {
		cause += " of " + quote(subject)
	}
	f := &fault.Error{
		What: "cannot log in to Kafka at " + b.host, Cause: cause + ": expired, or of another issuer, audience or key than it expects",
		Try: "a fresh token in " + b.s.token.String() + " (" + whenRead(b.s.token) + ")", Err: kerr.SaslAuthenticationFailed,
	}
	if !b.s.token.Given() {
		f.Try = "--kafka-sasl-scope, and whether the broker trusts " + b.s.tokens.url + " (sasl.oauthbearer.jwks.endpoint.url, .expected.audience)"
		b.s.tokens.forget() // perhaps it was withdrawn
	}
	return false, nil, f
}

// whenRead tells when a changed secret counts.
func whenRead(ref secret.Ref) string {
	if ref.IsFile() {
		return "read at each log-in"
	}
	return "read at the start"
}

// isLogin reports whether the broker has answered a log-in with no.
func isLogin(err error) bool {
	return errors.Is(err, kerr.SaslAuthenticationFailed) || errors.Is(err, kerr.UnsupportedSaslMechanism) ||
		errors.Is(err, kerr.IllegalSaslState)
}

// refusedLogin is the error for an answer to a log-in. found is what a look at the broker told; nil: nothing.
func (c Config) refusedLogin(err error, found *listener) error {
	s := c.Security
	f := &fault.Error{What: "cannot log in to Kafka at " + c.at(), Cause: rootCause(err).Error(), Try: trySASL, Err: err}
	switch {
	case s == nil || !s.usesSASL(): // no log-in was asked for, yet this came
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		f.Cause = "it does not offer " + s.mechanism
		f.Try = "another --kafka-sasl-mechanism"
		if found != nil && len(found.mechanisms) > 0 {
			f.Cause += "; it offers " + strings.Join(found.mechanisms, ", ")
			f.Try = "--kafka-sasl-mechanism " + strings.ToLower(found.mechanisms[0])
		}
	case errors.Is(err, kerr.IllegalSaslState):
		f.Cause = "it takes connections on this port without a log-in"
		f.Try = "leave --kafka-sasl-mechanism out, or give the port that wants SASL: --brokers HOST:PORT"
	case s.mechanism == oauthbearer:
		f.Try = "a fresh token"
	default:
		f.Cause = fmt.Sprintf("it refuses user %s with %s: wrong name or password", quote(s.o.User), s.mechanism)
		f.Try = fmt.Sprintf("the right password in %s (%s), or the right --kafka-sasl-user", s.password, whenRead(s.password))
		if s.mechanism != plainMechanism {
			f.Try += fmt.Sprintf("\na new one: kafka-configs.sh --bootstrap-server %s --command-config admin.properties --alter --entity-type users --entity-name %s --add-config '%s=[password=…]'",
				c.Brokers[0], shellWord(s.o.User), s.mechanism)
		}
	}
	return f
}
