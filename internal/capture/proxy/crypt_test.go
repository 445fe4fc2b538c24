package proxy

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
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/reprise-io/reprise/internal/fault"
)

// identity is a certificate for 127.0.0.1 and shop.test that is its own authority, in files.
type identity struct {
	cert, key string
	pool      *x509.CertPool
	pair      tls.Certificate
}

func newIdentity(t *testing.T, serial int64) *identity {
	t.Helper()
	dir := t.TempDir()
	id := &identity{cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), pool: x509.NewCertPool()}
	id.write(t, serial)
	return id
}

// write makes a new pair in the same files.
func (id *identity) write(t *testing.T, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "shop.test"}, DNSNames: []string{"shop.test"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	require.NoError(t, os.WriteFile(id.cert, cert, 0o600))
	require.NoError(t, os.WriteFile(id.key, private, 0o600))
	require.True(t, id.pool.AppendCertsFromPEM(cert))
	id.pair, err = tls.X509KeyPair(cert, private)
	require.NoError(t, err)
}

// webServer answers with how it was asked. A nil identity: without TLS, h2c too.
func webServer(t *testing.T, id *identity) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %d %t", r.Proto, len(body), r.TLS != nil)
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	if id == nil {
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Start()
	} else {
		s.Config.Protocols.SetHTTP2(true)
		s.EnableHTTP2 = true
		s.TLS = &tls.Config{Certificates: []tls.Certificate{id.pair}}
		s.StartTLS()
	}
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// askHTTP sends a request over HTTP/2 if that may be, and returns the answer.
func askHTTP(t *testing.T, r *rig, scheme string, roots *x509.CertPool, protocols func(*http.Protocols)) (string, error) {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, Protocols: new(http.Protocols)}
	defer tr.CloseIdleConnections()
	protocols(tr.Protocols)
	c := &http.Client{Transport: tr, Timeout: patience}
	resp, err := c.Post(scheme+"://"+r.Addr().String()+"/x", "text/plain", strings.NewReader(strings.Repeat("b", 100<<10)))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func only1(p *http.Protocols) { p.SetHTTP1(true) }
func both(p *http.Protocols)  { p.SetHTTP1(true); p.SetHTTP2(true) }
func onlyH2c(p *http.Protocols) {
	p.SetUnencryptedHTTP2(true)
}

func TestTLSOfOurOwnIsRecorded(t *testing.T) {
	front, back := newIdentity(t, 1), newIdentity(t, 2)
	for _, row := range []struct {
		name       string
		listens    bool
		upstream   bool
		alpn       []string
		client     func(*http.Protocols)
		wants, has string
	}{
		{"with clients", true, false, nil, both, "HTTP/1.1 102400 false", "HTTP/1.1"},
		{"with clients, HTTP/2", true, false, []string{"h2", "http/1.1"}, both, "HTTP/2.0 102400 false", "HTTP/2.0"},
		{"on both sides, HTTP/1", true, true, nil, only1, "HTTP/1.1 102400 true", "HTTP/1.1"},
		{"on both sides, HTTP/2", true, true, nil, both, "HTTP/2.0 102400 true", "HTTP/2.0"},
		{"with the upstream", false, true, nil, only1, "HTTP/1.1 102400 true", "HTTP/1.1"},
		{"with the upstream, HTTP/2", false, true, nil, onlyH2c, "HTTP/2.0 102400 true", "HTTP/2.0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			id, scheme := back, "http"
			if !row.upstream {
				id = nil
			}
			r := newRig(t, webServer(t, id), func(c *Config) {
				c.TLS = TLS{ALPN: row.alpn, Upstream: row.upstream, UpstreamCA: back.cert}
				if !row.upstream {
					c.TLS.UpstreamCA = ""
				}
				if row.listens {
					scheme, c.TLS.Cert, c.TLS.Key = "https", front.cert, front.key
				}
			})
			got, err := askHTTP(t, r, scheme, front.pool, row.client)
			require.NoError(t, err)
			require.Equal(t, row.wants, got)
			x := r.shelf.exchanges(t, 1)[0]
			require.Equal(t, "POST", string(x.Request.Method))
			require.Equal(t, row.has, string(x.Request.Protocol))
			require.Len(t, x.Request.Body, 100<<10)
			require.Equal(t, row.wants, string(x.Response.Body))
			if row.listens || row.has == "HTTP/1.1" { // HTTP/2 says it itself
				require.Equal(t, "https", string(x.Request.Scheme))
			}
			r.end()
		})
	}
}

func TestAnUpstreamWithAnotherCertificateIsRefused(t *testing.T) {
	front, back := newIdentity(t, 1), newIdentity(t, 2)
	r := newRig(t, webServer(t, back), func(c *Config) {
		c.TLS = TLS{Cert: front.cert, Key: front.key, Upstream: true, UpstreamCA: front.cert}
	})
	_, err := askHTTP(t, r, "https", front.pool, both)
	require.Error(t, err)
	eventually(t, func() bool { return r.Stats().Refused == 1 && r.Stats().Connections == 0 })
	require.Contains(t, r.logs.String(), "certificate signed by unknown authority")

	named := newRig(t, webServer(t, back), func(c *Config) {
		c.TLS = TLS{Cert: front.cert, Key: front.key, Upstream: true, UpstreamCA: back.cert, UpstreamName: "shop.test"}
	})
	got, err := askHTTP(t, named, "https", front.pool, both)
	require.NoError(t, err)
	require.Contains(t, got, "HTTP/2.0")
}

func TestAnUpstreamThatSpeaksNoTLSIsSaidOnce(t *testing.T) {
	front := newIdentity(t, 1)
	r := newRig(t, webServer(t, nil), func(c *Config) {
		c.TLS = TLS{Cert: front.cert, Key: front.key, Upstream: true, UpstreamCA: front.cert}
	})
	for range 5 {
		_, err := askHTTP(t, r, "https", front.pool, only1)
		require.Error(t, err)
	}
	eventually(t, func() bool { return r.Stats().Connections == 0 })
	require.EqualValues(t, 5, r.Stats().Refused)
	require.Equal(t, 1, strings.Count(r.logs.String(), "cannot be reached"), r.logs.String())
	require.NotContains(t, r.logs.String(), "again", "that it accepts connections is not enough")
}

func TestAClientThatOffersOtherProtocolsIsNoFailureOfTheUpstream(t *testing.T) {
	front, back := newIdentity(t, 1), newIdentity(t, 2)
	r := newRig(t, webServer(t, back), func(c *Config) {
		c.TLS = TLS{Cert: front.cert, Key: front.key, Upstream: true, UpstreamCA: back.cert}
	})
	_, err := tls.Dial("tcp", r.Addr().String(), &tls.Config{RootCAs: front.pool, NextProtos: []string{"whatever"}})
	require.Error(t, err)
	eventually(t, func() bool { return r.Stats().Refused == 1 && r.Stats().Connections == 0 })
	require.False(t, r.upstreams.all[0].resting(time.Now()))
	require.NotContains(t, r.logs.String(), "cannot be reached")
	require.Equal(t, 1, strings.Count(r.logs.String(), "no protocol in common"), r.logs.String())

	only := httptest.NewUnstartedServer(http.NotFoundHandler()) // HTTP/1.1
	only.TLS = &tls.Config{Certificates: []tls.Certificate{back.pair}}
	only.StartTLS()
	defer only.Close()
	plain := newRig(t, only.Listener.Addr().String(), func(c *Config) { c.TLS = TLS{Upstream: true, UpstreamCA: back.cert} })
	for range 2 {
		c := plain.dial()
		send(t, c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
		_, _ = io.Copy(io.Discard, c)
	}
	eventually(t, func() bool { return plain.Stats().Refused == 2 && plain.Stats().Connections == 0 })
	require.False(t, plain.upstreams.all[0].resting(time.Now()))
	require.Equal(t, 1, strings.Count(plain.logs.String(), "no protocol in common"), plain.logs.String())
}

func serialOf(t *testing.T, r *rig) int64 {
	t.Helper()
	c, err := tls.Dial("tcp", r.Addr().String(), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // whatever it is
	require.NoError(t, err)
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func TestCertificatesAreReadAgain(t *testing.T) {
	id := newIdentity(t, 1)
	r := newRig(t, webServer(t, nil), func(c *Config) { c.TLS = TLS{Cert: id.cert, Key: id.key} })
	require.EqualValues(t, 1, serialOf(t, r))
	id.write(t, 20)
	require.NoError(t, os.Chtimes(id.cert, time.Time{}, time.Now().Add(time.Minute)))
	eventually(t, func() bool { return serialOf(t, r) == 20 }) // without being told

	require.NoError(t, os.WriteFile(id.cert, []byte("nonsense"), 0o600))
	require.EqualValues(t, 20, serialOf(t, r))
	require.Equal(t, 1, strings.Count(r.logs.String(), "THE CERTIFICATES WERE NOT READ AGAIN"))
	r.Reload()
	require.Equal(t, 2, strings.Count(r.logs.String(), "THE CERTIFICATES WERE NOT READ AGAIN"), "asked by a signal it says it again")
	require.NoError(t, os.Remove(id.cert))
	require.EqualValues(t, 20, serialOf(t, r))
	id.write(t, 3)
	r.Reload()
	eventually(t, func() bool { return serialOf(t, r) == 3 })
}

func TestACertificateThatCannotBeReadHoldsUpNoHandshake(t *testing.T) {
	id := newIdentity(t, 1)
	r := newRig(t, webServer(t, nil), func(c *Config) { c.TLS = TLS{Cert: id.cert, Key: id.key} })
	require.EqualValues(t, 1, serialOf(t, r))
	require.NoError(t, os.Remove(id.cert))
	require.NoError(t, unix.Mkfifo(id.cert, 0o600)) // opening it hangs, as on a file system that is gone
	for range 3 {
		require.EqualValues(t, 1, serialOf(t, r))
	}
	require.Contains(t, r.logs.String(), "THE CERTIFICATES CANNOT BE LOOKED AT")
	answers, err := os.OpenFile(id.cert, os.O_RDWR, 0)
	require.NoError(t, err)
	require.NoError(t, os.Remove(id.cert))
	require.NoError(t, answers.Close()) // what hung reads an end
	eventually(t, func() bool { return strings.Contains(r.logs.String(), "THE CERTIFICATES WERE NOT READ AGAIN") })
	id.write(t, 20)
	eventually(t, func() bool { return serialOf(t, r) == 20 })
}

func TestBadCertificatesStopAStart(t *testing.T) {
	id, other := newIdentity(t, 1), newIdentity(t, 2)
	for _, bad := range []TLS{
		{Cert: "/nowhere.pem", Key: id.key},
		{Cert: id.cert, Key: other.key},
		{Upstream: true, UpstreamCA: id.key},
	} {
		_, err := Listen(Config{Listen: "127.0.0.1:0", Upstreams: []string{"127.0.0.1:1"}, Sink: newShelf(), TLS: bad})
		require.Equal(t, fault.Usage, fault.Code(err), "%v", err)
	}
}

func TestAnUpstreamThatDoesNotWaitForTheFirstRequestEndsTheConnection(t *testing.T) {
	back := newIdentity(t, 2)
	for name, linger := range map[string]int{"by an end": -1, "by a reset": 0} {
		t.Run(name, func(t *testing.T) {
			address, accept := listen(t)
			r := newRig(t, address, func(c *Config) { c.TLS = TLS{Upstream: true, UpstreamCA: back.cert} })
			client := r.dial()
			server := accept()
			require.NoError(t, server.SetLinger(linger))
			require.NoError(t, server.Close())
			requireEnd(t, client)
			eventually(t, func() bool { return r.Stats().Connections == 0 })
			require.Zero(t, r.Stats().Refused, "it is no failure")
		})
	}
}

func TestWhoSpeaksNoTLSIsCounted(t *testing.T) {
	id := newIdentity(t, 1)
	r := newRig(t, webServer(t, nil), func(c *Config) { c.TLS = TLS{Cert: id.cert, Key: id.key} })
	c := r.dial()
	send(t, c, get)
	_, _ = io.Copy(io.Discard, c)
	eventually(t, func() bool { return r.Stats().Handshakes == 1 && r.Stats().Connections == 0 })
	require.Zero(t, r.Stats().Refused)
}

// tlsPair returns the ends of a connection whose client speaks TLS with the proxy.
func tlsPair(t *testing.T, options ...func(*Config)) (r *rig, client *tls.Conn, server *net.TCPConn) {
	t.Helper()
	id := newIdentity(t, 1)
	address, accept := listen(t)
	r = newRig(t, address, append(options, func(c *Config) { c.TLS = TLS{Cert: id.cert, Key: id.key} })...)
	client = tls.Client(r.dial(), &tls.Config{RootCAs: id.pool, ServerName: "shop.test"})
	require.NoError(t, client.Handshake())
	return r, client, accept()
}

func TestEndsAndResetsGoThroughTLS(t *testing.T) {
	t.Run("the client's end", func(t *testing.T) {
		r, client, server := tlsPair(t)
		tell(t, client, server, get)
		require.NoError(t, client.CloseWrite())
		requireEnd(t, server)
		tell(t, server, client, answer)
		require.NoError(t, server.Close())
		requireEnd(t, client)
		require.Equal(t, []string{`1 GET / "" → 200 "ok"`}, lineOf(r.shelf.exchanges(t, 1)))
		eventually(t, func() bool { return r.Stats().Connections == 0 })
	})
	t.Run("the server's reset", func(t *testing.T) {
		r, client, server := tlsPair(t)
		tell(t, client, server, get)
		require.NoError(t, server.SetLinger(0))
		require.NoError(t, server.Close())
		requireReset(t, client)
		require.Equal(t, []string{`1 GET / "" NO_RESPONSE`}, lineOf(r.shelf.exchanges(t, 1)))
	})
	t.Run("the client's reset", func(t *testing.T) {
		r, client, server := tlsPair(t)
		tell(t, client, server, get)
		raw := client.NetConn().(*net.TCPConn)
		require.NoError(t, raw.SetLinger(0))
		require.NoError(t, raw.Close())
		requireReset(t, server)
		require.Equal(t, []string{`1 GET / "" CLIENT_ABORTED`}, lineOf(r.shelf.exchanges(t, 1)))
	})
	t.Run("the server's end, and a client that stays", func(t *testing.T) {
		r, client, server := tlsPair(t)
		tell(t, client, server, get)
		tell(t, server, client, answer)
		require.NoError(t, server.CloseWrite())
		requireEnd(t, client)
		n, err := client.NetConn().Read(make([]byte, 1))
		require.Zero(t, n)
		require.ErrorIs(t, err, io.EOF, "below TLS, too")
		tell(t, client, server, get) // it was an end, and no close
		require.NoError(t, server.SetLinger(0))
		require.NoError(t, server.Close()) // as its kernel says a minute after a close, when it is asked
		eventually(t, func() bool { return r.Stats().Connections == 0 })
	})
	t.Run("draining", func(t *testing.T) {
		r, client, server := tlsPair(t, func(c *Config) { c.DrainTimeout = 2 * patience })
		tell(t, client, server, get)
		r.stop()
		tell(t, server, client, answer) // what is under way goes on
		_ = client.Close()
		requireEnd(t, server)
		require.NoError(t, server.Close())
		r.end()
	})
	t.Run("draining, and its time is over", func(t *testing.T) {
		r, client, server := tlsPair(t, func(c *Config) { c.DrainTimeout = 10 * time.Millisecond })
		tell(t, client, server, get)
		tell(t, server, client, answer)
		r.shelf.exchanges(t, 1) // it is over for the proxy too: a connection in the middle of one is reset
		r.stop()
		requireEnd(t, client)
		requireEnd(t, server)
		r.end()
	})
	t.Run("draining, with a handshake that never comes", func(t *testing.T) {
		id := newIdentity(t, 1)
		r := newRig(t, webServer(t, nil), func(c *Config) { c.TLS = TLS{Cert: id.cert, Key: id.key} })
		c := r.dial()
		eventually(t, func() bool { return r.Stats().Accepted == 1 })
		r.end()
		_, err := c.Read(make([]byte, 1))
		require.Error(t, err)
	})
}

// resumes asks a proxy twice over TLS and reports whether the second handshake was a short one.
func resumes(t *testing.T, r *rig, version uint16, cache tls.ClientSessionCache) (resumed bool) {
	t.Helper()
	c, err := tls.Dial("tcp", r.Addr().String(), &tls.Config{
		InsecureSkipVerify: true, ClientSessionCache: cache, MaxVersion: version, //nolint:gosec // whoever it is
	})
	require.NoError(t, err)
	defer c.Close()
	send(t, c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	_, err = io.ReadAll(c)
	require.NoError(t, err)
	return c.ConnectionState().DidResume
}

func TestClientsResumeTheirSessions(t *testing.T) {
	id, back := newIdentity(t, 1), newIdentity(t, 2)
	for name, upstream := range map[string]bool{"with clients": false, "on both sides": true} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(name+", "+tls.VersionName(version), func(t *testing.T) {
				behind := TLS{Cert: id.cert, Key: id.key}
				server := back
				if behind.Upstream = upstream; upstream {
					behind.UpstreamCA = back.cert
				} else {
					server = nil
				}
				r := newRig(t, webServer(t, server), func(c *Config) { c.TLS = behind })
				cache := tls.NewLRUClientSessionCache(1)
				require.False(t, resumes(t, r, version, cache))
				require.True(t, resumes(t, r, version, cache))
			})
		}
	}
}
