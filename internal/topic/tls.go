package topic

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
)

// certificates are read from files, and again when a file has changed.
type certificates struct {
	ca, cert, key string // paths; "": none

	mu     sync.Mutex
	seen   [3]stamp
	loaded *loaded
}

type loaded struct {
	roots       *x509.CertPool   // nil: the system's
	certificate *tls.Certificate // with its Leaf; nil: none
}

// stamp tells whether a file has changed.
type stamp struct {
	modified time.Time
	size     int64
}

// load returns what the files hold now. While a new pair is only half there, it is an error: the next connection is soon.
func (c *certificates) load() (*loaded, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var now [3]stamp
	for i, path := range []string{c.ca, c.cert, c.key} {
		if path == "" {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, badFile(path, []string{"--kafka-tls-ca", "--kafka-tls-cert", "--kafka-tls-key"}[i], err)
		}
		now[i] = stamp{info.ModTime(), info.Size()}
	}
	if c.loaded != nil && now == c.seen {
		return c.loaded, nil
	}
	fresh, err := c.read()
	if err != nil {
		return nil, err
	}
	c.loaded, c.seen = fresh, now
	return fresh, nil
}

func (c *certificates) read() (*loaded, error) {
	var l loaded
	if c.ca != "" {
		pem, err := os.ReadFile(c.ca)
		if err != nil {
			return nil, badFile(c.ca, "--kafka-tls-ca", err)
		}
		l.roots = x509.NewCertPool()
		if !l.roots.AppendCertsFromPEM(pem) {
			return nil, badFile(c.ca, "--kafka-tls-ca", errors.New("no certificate in it"))
		}
	}
	if c.cert != "" {
		pair, err := tls.LoadX509KeyPair(c.cert, c.key)
		if err != nil {
			return nil, badFile(c.cert, "--kafka-tls-cert", err)
		}
		l.certificate = &pair // with its Leaf
	}
	return &l, nil
}

func badFile(path, flag string, err error) error {
	f := fault.BadUsage("cannot use "+flag+" "+path, err.Error(), "a PEM file that this process may read; it is read again for each connection")
	f.Err = err
	return f
}

// dialer adds TLS to dial, if that is wanted. Its errors are *fault.Error where they are about certificates.
func (s *Security) dialer(dial DialFunc) DialFunc {
	if !s.usesTLS() {
		return dial
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		files, err := s.files.load()
		if err != nil {
			return nil, err
		}
		raw, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		c := &tlsConn{files: files, address: address}
		c.Conn = tls.Client(raw, s.clientConfig(files, address, &c.asked))
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		if err := c.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			if ctx.Err() != nil {
				return nil, fmt.Errorf("TLS handshake with %s: %w", address, ctx.Err())
			}
			return nil, s.explainHandshake(address, c.explain(err))
		}
		return c, nil
	}
}

// clientConfig notes in asked whether the broker asks for a certificate.
func (s *Security) clientConfig(files *loaded, address string, asked *atomic.Bool) *tls.Config {
	name := s.o.ServerName
	if name == "" {
		name = hostOf(address)
	}
	return &tls.Config{
		RootCAs: files.roots, ServerName: name, InsecureSkipVerify: s.o.Insecure, //nolint:gosec // typed in full, and shouted
		MinVersion: tls.VersionTLS12,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked.Store(true)
			if files.certificate == nil {
				return new(tls.Certificate), nil
			}
			return files.certificate, nil
		},
	}
}

// tlsConn explains a connection that the broker ends before it has said anything: in TLS 1.3 that is where it refuses our
// certificate, after a handshake that was good as seen from here.
type tlsConn struct {
	*tls.Conn
	files   *loaded
	address string
	asked   atomic.Bool // for a certificate
	heard   atomic.Bool
}

// Read reads from the broker.
func (c *tlsConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.heard.Store(true)
	}
	return n, c.explain(err)
}

// Write writes to the broker.
func (c *tlsConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, c.explain(err)
}

func (c *tlsConn) explain(err error) error {
	if err == nil || c.heard.Load() || !c.asked.Load() {
		return err
	}
	remote, _ := errors.AsType[*net.OpError](err)
	alert := remote != nil && remote.Op == "remote error"
	if !alert && !hungUp(err) {
		return err
	}
	f := &fault.Error{What: "no TLS connection to Kafka at " + c.address, Err: err}
	if c.files.certificate == nil {
		f.Cause = "it wants a client certificate, and none is given"
		f.Try = "--kafka-tls-cert FILE --kafka-tls-key FILE"
		return f
	}
	leaf := c.files.certificate.Leaf
	f.Cause = fmt.Sprintf("it refuses our certificate %s of issuer %s, valid until %s", quote(leaf.Subject.String()),
		quote(leaf.Issuer.String()), day(leaf.NotAfter))
	if alert {
		f.Cause += ": " + remote.Err.Error()
	}
	f.Try = "a --kafka-tls-cert of a CA that the broker trusts (its ssl.truststore.location); it is read again for each connection"
	return f
}

// hungUp reports whether err is how a connection ends that the other side closes.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE)
}

func day(t time.Time) string { return t.UTC().Format(time.RFC3339) }
