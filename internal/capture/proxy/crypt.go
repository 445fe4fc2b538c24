package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
)

// TLS says on which sides a Proxy speaks it by itself. Without it TLS passes as it is, unread.
type TLS struct {
	Cert, Key string   // PEM files: clients speak TLS with us; "": they do not
	ALPN      []string // offered to clients when the upstream speaks no TLS that could choose; none: "http/1.1"

	Upstream     bool   // upstreams speak TLS
	UpstreamCA   string // PEM file of the authorities to trust; "": the system's
	UpstreamName string // in the upstream's certificate; "": its host
}

func (t *TLS) listens() bool { return t.Cert != "" || t.Key != "" }

// crypt has what TLS is spoken with. It reads its files again when they have changed, and keeps what it has when they are bad.
type crypt struct {
	TLS
	log *slog.Logger

	looking chan struct{} // has room for who looks at the files
	seen    [3]stamp      // of Cert, Key, UpstreamCA; the one who looks has it

	mu          sync.Mutex
	certificate *tls.Certificate
	roots       *x509.CertPool // nil: the system's
	listening   *tls.Config    // for handshakes with clients, all of them: it has the keys by which sessions are resumed
	sessions    tls.ClientSessionCache
}

// How long the files are waited for. They may be on a file system that hangs.
const (
	lookTime  = 2 * time.Second // by one handshake
	rereadMax = 5 * time.Second // when somebody has asked for them to be read
)

// stamp tells whether a file has changed.
type stamp struct {
	modified time.Time
	size     int64
}

// newCrypt returns nil when no TLS is asked for. Files that cannot be used are an error here: later they are not.
func newCrypt(t TLS, log *slog.Logger) (*crypt, error) {
	if !t.listens() && !t.Upstream {
		return nil, nil
	}
	c := &crypt{TLS: t, log: log, looking: make(chan struct{}, 1), sessions: tls.NewLRUClientSessionCache(0)}
	if len(c.ALPN) == 0 {
		c.ALPN = []string{"http/1.1"}
	}
	c.seen = c.stamps()
	if err := c.read(); err != nil {
		return nil, err
	}
	c.listening = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.current}
	c.listening.GetConfigForClient = c.forClient
	return c, nil
}

func (c *crypt) stamps() (now [3]stamp) {
	for i, path := range []string{c.Cert, c.Key, c.UpstreamCA} {
		if info, err := os.Stat(path); path != "" && err == nil {
			now[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return now
}

// read takes what is in the files, all of it or nothing.
func (c *crypt) read() error {
	var certificate *tls.Certificate
	var trusted *x509.CertPool
	if c.listens() {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return badFile(fmt.Sprintf("cannot use --listen-tls-cert %s with --listen-tls-key %s", c.Cert, c.Key), err)
		}
		certificate = &pair
	}
	if c.UpstreamCA != "" {
		pem, err := os.ReadFile(c.UpstreamCA)
		roots := x509.NewCertPool()
		if err == nil && !roots.AppendCertsFromPEM(pem) {
			err = errors.New("no certificate in it")
		}
		if err != nil {
			return badFile("cannot use --upstream-tls-ca "+c.UpstreamCA, err)
		}
		trusted = roots
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.certificate, c.roots = certificate, trusted
	return nil
}

func badFile(what string, err error) error {
	f := fault.BadUsage(what, err.Error(), "PEM files that this process may read")
	f.Err = err
	return f
}

// refresh has the files looked at, and read again if they have changed. It waits for that for a moment, and not at all while they are
// being looked at: what was there before is good enough.
func (c *crypt) refresh() {
	select {
	case c.looking <- struct{}{}:
		c.look(false, lookTime)
	default:
	}
}

// look is for whoever has taken looking, which it gives back when the files have answered.
func (c *crypt) look(anyCase bool, most time.Duration) {
	done := make(chan struct{})
	go func() { // stays where the file system does not answer
		defer close(done)
		defer func() { <-c.looking }()
		c.reread(anyCase)
	}()
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		c.log.Error("THE CERTIFICATES CANNOT BE LOOKED AT: those from before stay in use", "error", "their files do not answer")
	}
}

// reread reads the files if they have changed, or in any case.
func (c *crypt) reread(anyCase bool) {
	now := c.stamps()
	if now == c.seen && !anyCase {
		return
	}
	c.seen = now
	if err := c.read(); err != nil {
		c.log.Error("THE CERTIFICATES WERE NOT READ AGAIN: those from before stay in use", "error", err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.certificate != nil && c.certificate.Leaf != nil {
		c.log.Info("the certificates were read again", "valid_until", c.certificate.Leaf.NotAfter.UTC().Format(time.RFC3339))
	} else {
		c.log.Info("the certificates were read again")
	}
}

// Reload reads certificates again, changed or not.
func (p *Proxy) Reload() {
	c := p.crypt
	if c == nil {
		return
	}
	timer := time.NewTimer(rereadMax)
	defer timer.Stop()
	select {
	case c.looking <- struct{}{}:
		c.look(true, rereadMax)
	case <-timer.C:
		c.log.Error("THE CERTIFICATES WERE NOT READ AGAIN: those from before stay in use", "error", "their files do not answer")
	}
}

func (c *crypt) current(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.refresh()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.certificate, nil
}

// guest is a client's connection on its way into TLS.
type guest struct {
	half
	choose func(*tls.ClientHelloInfo) (protocols []string, err error) // what it is offered
}

// forClient makes the configuration for one handshake, without keys of its own: those of listening go on.
func (c *crypt) forClient(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	protocols, err := hello.Conn.(*guest).choose(hello)
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: protocols, GetCertificate: c.current}, nil
}

// toUpstream is for a handshake with an upstream that offers these protocols.
func (c *crypt) toUpstream(host string, protocols []string) *tls.Config {
	c.refresh()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.UpstreamName != "" {
		host = c.UpstreamName
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: c.roots, ServerName: host, NextProtos: protocols, ClientSessionCache: c.sessions,
	}
}
