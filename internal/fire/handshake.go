package fire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
)

const (
	handshakeAge     = time.Minute // after which an address is asked again
	handshakeTimeout = 10 * time.Second
)

// Handshake is what the target has to answer before anything recorded is sent to one of its addresses: HEAD Path brings a
// field Header with that Value. Where nothing of the kind comes, it is not pre-production.
type Handshake struct {
	Header, Value string
	Path          string      // "": "/"
	Run           string      // its name, for Reprise-Replay
	TLS           *tls.Config // for https; nil: the system's roots
	Protocol      Protocol    // OnlyHTTP2: also to http targets
}

// ParseHandshake reads 'Name: value'. "" is none.
func ParseHandshake(s, path string) (*Handshake, error) {
	if s == "" {
		return nil, nil //nolint:nilnil // none is wanted
	}
	name, value, ok := strings.Cut(s, ":")
	h := &Handshake{Header: strings.TrimSpace(name), Value: strings.TrimSpace(value), Path: path}
	switch {
	case !ok || h.Value == "" || !token([]byte(h.Header)) || !fieldValue([]byte(h.Value)):
		return nil, fault.BadUsage("bad --handshake-header "+quote(s), "want 'Name: value'", "--handshake-header 'X-Preprod: yes'")
	case path != "" && (path[0] != '/' || !visible([]byte(path))):
		return nil, fault.BadUsage("bad --handshake-path "+quote(path), "want a path", "--handshake-path /healthz")
	}
	return h, nil
}

// For returns the same for a run, by a way to the target.
func (h Handshake) For(run string, config *tls.Config, protocol Protocol) *Handshake {
	h.Run, h.TLS, h.Protocol = run, config, protocol
	return &h
}

// greeter asks the target's addresses for the handshake. A nil one admits all.
type greeter struct {
	Handshake
	guard *Guard

	turn   chan struct{}                // holds a token while one asks
	passed map[netip.AddrPort]time.Time // guarded by turn
}

func newGreeter(g *Guard, h *Handshake) *greeter {
	if h == nil {
		return nil
	}
	r := &greeter{Handshake: *h, guard: g, turn: make(chan struct{}, 1), passed: make(map[netip.AddrPort]time.Time)}
	if r.Path == "" {
		r.Path = "/"
	}
	return r
}

// admits returns nil when an address has answered as pre-production is to, within the last minute or now.
func (r *greeter) admits(ctx context.Context, at netip.AddrPort) error {
	if r == nil {
		return nil
	}
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-r.turn }()
	if asked, ok := r.passed[at]; ok && time.Since(asked) < handshakeAge {
		return nil
	}
	delete(r.passed, at)
	if err := r.ask(ctx, at); err != nil {
		return err
	}
	r.passed[at] = time.Now()
	return nil
}

// ask sends the request, over a connection of its own. A *refusedDial: the answer is not the one that is wanted.
func (r *greeter) ask(ctx context.Context, at netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	target := r.guard.cfg.Target
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, target.Scheme+"://"+target.Host+r.Path, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Reprise-Replay", r.Run+";loop=0;clone=0")
	transport := &http.Transport{ // no proxy: nothing else than the target is dialled
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return r.guard.dialOne(ctx, at, 1) },
		TLSClientConfig:   r.TLS.Clone(),
		DisableKeepAlives: true, ForceAttemptHTTP2: true,
	}
	if r.Protocol == OnlyHTTP2 {
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetHTTP2(true)
		transport.Protocols.SetUnencryptedHTTP2(true)
	}
	defer transport.CloseIdleConnections()
	answer, err := transport.RoundTrip(req) // which follows no redirect
	if err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	_ = answer.Body.Close()
	for _, v := range answer.Header[textproto.CanonicalMIMEHeaderKey(r.Header)] {
		if strings.TrimSpace(v) == r.Value {
			return nil
		}
	}
	return &refusedDial{NoHandshake, fault.BadUsage(r.guard.refused(at)+" does not answer as pre-production",
		fmt.Sprintf("HEAD %s brought status %d without %s: %s", r.Path, answer.StatusCode, r.Header, r.Value),
		"look at --target, or have pre-production answer so (--handshake-header, --handshake-path)")}
}

// Greet asks every address of the target for the handshake, once a minute. It returns a *fault.Error when one does not answer as
// pre-production is to, and nil when all do, when none is wanted, or when the target does not answer at all: each connection
// to an address begins with it.
func (g *Guard) Greet(ctx context.Context) error {
	if g.greeter == nil {
		return nil
	}
	addrs, err := g.resolve(ctx)
	if err != nil {
		return nil //nolint:nilerr // nothing can be dialled either
	}
	p := g.production.Load()
	for _, at := range addrs {
		if _, refused := g.judge(p, at); refused != nil {
			return refused
		}
		err := g.greeter.admits(ctx, at)
		if refused, ok := errors.AsType[*refusedDial](err); ok {
			return refused.error
		}
		if err != nil {
			g.cfg.Logger.Warn("the target does not answer the handshake", "error", err)
		}
	}
	return nil
}
