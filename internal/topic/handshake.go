package topic

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
)

// explainHandshake says what is wrong with the broker's certificate; other errors remain as they are.
func (s *Security) explainHandshake(address string, err error) error {
	f := &fault.Error{What: "no TLS connection to Kafka at " + address, Err: err}
	unknown, isUnknown := errors.AsType[x509.UnknownAuthorityError](err)
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	name, isName := errors.AsType[x509.HostnameError](err)
	_, isRoots := errors.AsType[x509.SystemRootsError](err)
	switch {
	case isUnknown:
		shown := []*x509.Certificate{unknown.Cert}
		if v, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			shown = v.UnverifiedCertificates
		}
		s.explainAuthority(f, shown)
	case isInvalid && invalid.Reason == x509.Expired:
		explainDates(f, invalid.Cert)
	case isInvalid:
		f.Cause = fmt.Sprintf("its certificate %s is not valid: %s", quote(invalid.Cert.Subject.String()), invalid.Error())
		f.Try = "another certificate on the broker"
	case isName:
		explainName(f, name)
	case isRoots:
		f.Cause, f.Try = "this machine has no certificate authorities to trust", "--kafka-tls-ca FILE"
	default:
		return fmt.Errorf("TLS handshake with %s: %w", address, err)
	}
	return f
}

// explainAuthority is given the chain as the broker shows it: its own certificate first.
func (s *Security) explainAuthority(f *fault.Error, shown []*x509.Certificate) {
	if len(shown) == 0 || shown[0] == nil {
		f.Cause, f.Try = "its certificate is signed by an unknown authority", "--kafka-tls-ca FILE"
		return
	}
	issuer := quote(shown[len(shown)-1].Issuer.String())
	f.Cause = fmt.Sprintf("its certificate %s is signed by an unknown authority: issuer %s", quote(shown[0].Subject.String()), issuer)
	if s.o.CA == "" {
		f.Cause += " is none of this machine's"
	} else {
		f.Cause += " is not in " + s.o.CA
	}
	f.Try = "--kafka-tls-ca FILE with the CA certificate of " + issuer
}

func explainDates(f *fault.Error, cert *x509.Certificate) {
	if now := time.Now(); now.Before(cert.NotBefore) {
		f.Cause = fmt.Sprintf("its certificate %s is valid from %s on only, and it is %s here", quote(cert.Subject.String()), day(cert.NotBefore), day(now))
		f.Try = "set this machine's clock, or wait"
		return
	}
	f.Cause = fmt.Sprintf("its certificate %s has expired: it was valid until %s", quote(cert.Subject.String()), day(cert.NotAfter))
	f.Try = "a new certificate on the broker (ssl.keystore.location), signed by issuer " + quote(cert.Issuer.String())
}

func explainName(f *fault.Error, e x509.HostnameError) {
	names := append([]string(nil), e.Certificate.DNSNames...)
	for _, ip := range e.Certificate.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		f.Cause = fmt.Sprintf("its certificate %s has no names (SAN), and must have %s", quote(e.Certificate.Subject.String()), quote(e.Host))
		f.Try = "a certificate on the broker with subjectAltName"
		return
	}
	f.Cause = fmt.Sprintf("its certificate is for %s, not for %s", strings.Join(names, ", "), quote(e.Host))
	f.Try = "--kafka-tls-server-name " + names[0] + ", or --brokers with a name that is in it"
}
