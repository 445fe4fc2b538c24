package fire

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"

	"github.com/reprise-io/reprise/internal/fault"
)

// TLS says how an https target is known, and we to it. The zero value trusts the system's authorities.
type TLS struct {
	CA         string // PEM file of the authorities to trust; "": the system's
	Cert, Key  string // PEM files of our certificate, read for each handshake; "": none
	ServerName string // in the target's certificate; "": its host
	Insecure   bool   // the target's certificate is not looked at
}

// Config returns what SenderConfig wants, or a *fault.Error about flags that contradict each other and files that cannot
// be used. https: the target is one.
func (t TLS) Config(https bool) (*tls.Config, error) {
	switch {
	case t == TLS{}:
		return nil, nil
	case !https:
		return nil, fault.BadUsage("--target-tls-… needs an https target", "with http nothing is encrypted", "--target https://HOST:PORT")
	case (t.Cert == "") != (t.Key == ""):
		return nil, fault.BadUsage("--target-tls-cert and --target-tls-key go together", "one is missing", "both, or none")
	case t.Insecure && t.CA != "":
		return nil, fault.BadUsage("--target-tls-insecure makes --target-tls-ca useless", "no certificate is checked then", "one of the two")
	}
	c := &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: t.ServerName,
		InsecureSkipVerify: t.Insecure,
	}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		c.RootCAs = x509.NewCertPool()
		if err == nil && !c.RootCAs.AppendCertsFromPEM(pem) {
			err = errors.New("no certificate in it")
		}
		if err != nil {
			return nil, badFile("--target-tls-ca "+t.CA, err)
		}
	}
	if t.Cert != "" {
		read := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
			return &pair, err
		}
		if _, err := read(nil); err != nil {
			return nil, badFile("--target-tls-cert "+t.Cert+" with --target-tls-key "+t.Key, err)
		}
		c.GetClientCertificate = read
	}
	return c, nil
}

func badFile(what string, err error) error {
	f := fault.BadUsage("cannot use "+what, err.Error(), "PEM files that this process may read")
	f.Err = err
	return f
}
