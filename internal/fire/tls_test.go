package fire_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/fire"
)

// certificate writes a self-signed certificate for that name, and its key.
func certificate(t *testing.T, name string) (cert, key string) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IsCA: true,
		BasicConstraintsValid: true, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	require.NoError(t, err)
	cert, key = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
	return cert, key
}

func TestTLSFlagsDoWhatTheySay(t *testing.T) {
	serverCert, serverKey := certificate(t, "preprod.test")
	cert, key := certificate(t, "replayer")
	other, _ := certificate(t, "other.test")
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := "nobody"
		if len(r.TLS.PeerCertificates) > 0 {
			who = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		fmt.Fprint(w, r.Proto, " ", who)
	}))
	pair, err := tls.LoadX509KeyPair(serverCert, serverKey)
	require.NoError(t, err)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert}
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	for _, row := range []struct {
		name string
		tls  fire.TLS
		want string
	}{
		{"nothing", fire.TLS{}, fire.TLSFailed},
		{"the authority, but the address is not in the certificate", fire.TLS{CA: serverCert}, fire.TLSFailed},
		{"and the name", fire.TLS{CA: serverCert, ServerName: "preprod.test"}, "nobody"},
		{"another authority", fire.TLS{CA: other, ServerName: "preprod.test"}, fire.TLSFailed},
		{"insecure", fire.TLS{Insecure: true}, "nobody"},
		{"our certificate", fire.TLS{Insecure: true, Cert: cert, Key: key}, "replayer"},
	} {
		for _, protocol := range []fire.Protocol{fire.OnlyHTTP1, fire.OnlyHTTP2} {
			config, err := row.tls.Config(true)
			require.NoError(t, err)
			s := sender(t, parseURL(t, srv.URL), func(cfg *fire.SenderConfig) { cfg.TLS, cfg.Protocol = config, protocol })
			a := fireOne(t, s, get())
			if row.want == fire.TLSFailed {
				require.Equal(t, row.want, a.Reason, row.name)
				continue
			}
			require.Empty(t, a.Reason, "%s: %v", row.name, a.Err)
			proto := map[fire.Protocol]string{fire.OnlyHTTP1: "HTTP/1.1 ", fire.OnlyHTTP2: "HTTP/2.0 "}[protocol]
			require.Equal(t, proto+row.want, string(a.Response.Body), row.name)
		}
	}
	for says, bad := range map[string]fire.TLS{
		"--target-tls-key":      {Cert: cert},
		"--target-tls-cert":     {Key: key},
		"useless":               {Insecure: true, CA: cert},
		"no certificate in it":  {CA: key},
		"/no/such":              {CA: "/no/such"},
		"cannot use":            {Cert: key, Key: cert},
		"--target-tls-ca /none": {CA: "/none"},
	} {
		_, err := bad.Config(true)
		require.ErrorContains(t, err, says)
		require.Equal(t, fault.Usage, fault.Code(err))
	}
	_, err = fire.TLS{Insecure: true}.Config(false)
	require.ErrorContains(t, err, "https")
}
