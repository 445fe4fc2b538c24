package fire

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
)

// errHalted is what a dial returns when nothing more may be sent.
var errHalted = errors.New("nothing more is sent")

// refusedDial is what a dial returns whose address is no target.
type refusedDial struct {
	reason string // such as TargetIsProduction
	error
}

func (r *refusedDial) Unwrap() error { return r.error }

// resolve returns the target's addresses as of now.
func (g *Guard) resolve(ctx context.Context) ([]netip.AddrPort, error) {
	addrs, err := g.lookup(ctx, g.target.host)
	if err != nil {
		return nil, err
	}
	at := make([]netip.AddrPort, len(addrs))
	for i, addr := range addrs {
		at[i] = netip.AddrPortFrom(addr, g.target.port)
	}
	if len(at) == 0 {
		return nil, &net.DNSError{Err: "no address", Name: g.target.host, IsNotFound: true}
	}
	return at, nil
}

// Dial connects to the target, and to nothing else: its name is looked up once, no address of it may be production, public
// (unless allowed) or a cloud's own, and the addresses found are dialled as such, so that a name which changes its meaning in
// between wins nothing. Where a handshake is wanted the address has passed it.
func (g *Guard) Dial(ctx context.Context) (net.Conn, error) {
	if g.halted.Load() {
		return nil, errHalted
	}
	g.renew(ctx)
	addrs, err := g.resolve(ctx)
	if err != nil {
		return nil, err
	}
	p := g.production.Load()
	if p.refused != nil {
		return nil, &refusedDial{p.reason, p.refused}
	}
	for _, at := range addrs {
		if reason, refused := g.judge(p, at); refused != nil {
			return nil, &refusedDial{reason, refused}
		}
	}
	for i, at := range addrs {
		var conn net.Conn
		if err = g.greeter.admits(ctx, at); err == nil {
			if conn, err = g.dialOne(ctx, at, len(addrs)-i); err == nil {
				return conn, nil
			}
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

// dialOne dials one address with its share of the time that is left.
func (g *Guard) dialOne(ctx context.Context, at netip.AddrPort, left int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
		defer cancel()
	}
	return g.cfg.Dialer(ctx, "tcp", at.String())
}

// renew looks up production's names again when that was long ago.
func (g *Guard) renew(ctx context.Context) {
	p := g.production.Load()
	if !p.hasNames || time.Since(p.lookedUp) < lookupAge || !g.refresh.TryLock() {
		return
	}
	defer g.refresh.Unlock()
	if p := g.production.Load(); time.Since(p.lookedUp) >= lookupAge {
		if err := g.setProduction(ctx, p.addresses); err != nil {
			g.cfg.Logger.Error("the target has become production", "error", err)
		}
	}
}

// admits reports whether a connection that was dialled in an earlier generation may still be used, and the present one.
func (g *Guard) admits(remote netip.AddrPort, generation uint64) (now uint64, ok bool) {
	p := g.production.Load()
	if p.refused != nil || g.halted.Load() {
		return p.generation, false
	}
	if p.generation == generation {
		return generation, true
	}
	_, production := p.at(remote)
	return p.generation, !production
}

func (g *Guard) generation() uint64 { return g.production.Load().generation }

// lastRefusal is why a connection that was made is not used.
func (g *Guard) lastRefusal() error {
	p := g.production.Load()
	switch {
	case g.halted.Load():
		return errHalted
	case p.refused != nil:
		return &refusedDial{p.reason, p.refused}
	}
	return &refusedDial{TargetIsProduction, errors.New("the address has become production")}
}
