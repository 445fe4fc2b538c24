package fire

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
)

const (
	lookupTimeout = 5 * time.Second
	lookupAge     = time.Minute // of production names, before a dial looks them up again
)

// production is what is known of production at one moment. It is not changed once it is in use.
type production struct {
	generation uint64 // counts up; a connection checked against it need not be checked again
	addresses  []Address
	names      map[endpoint]Address
	addrs      map[netip.AddrPort]Address // port 0: every port
	networks   []network
	below      []below
	here       map[uint16]Address // ports of this machine, on every address it has
	local      map[netip.Addr]bool
	lookedUp   time.Time
	hasNames   bool
	refused    *fault.Error // the target is production, or something else that is no target
	reason     string       // of that
}

type network struct {
	netip.Prefix
	Address
}

// below is every name that ends so.
type below struct {
	pattern
	Address
}

// findProduction sorts addresses by how they are recognised, looking names up. One that cannot be read is logged, for it
// comes from outside and must not stop a run.
func (g *Guard) findProduction(ctx context.Context, addresses []Address) *production {
	p := &production{
		addresses: addresses, lookedUp: time.Now(),
		names: make(map[endpoint]Address), addrs: make(map[netip.AddrPort]Address),
		here: make(map[uint16]Address), local: localAddresses(),
	}
	for _, a := range addresses {
		s := strings.TrimSuffix(a.HostPort, "/")
		if _, rest, ok := strings.Cut(s, "://"); ok {
			s = rest
		}
		if prefix, err := netip.ParsePrefix(s); err == nil {
			p.networks = append(p.networks, network{plainPrefix(prefix), a})
			continue
		}
		if strings.HasPrefix(s, "*.") {
			if pattern, err := parsePattern(s); err == nil {
				p.below = append(p.below, below{pattern, a})
				continue
			}
		}
		e, ok := parseEndpoint(s)
		if host, _ := splitAuthority(s); !ok && host != "" {
			e, ok = parseEndpoint(host) // a port that is no number, such as "http", may be any
		}
		if !ok {
			g.cfg.Logger.Warn("production address cannot be read", "address", a.HostPort, "origin", a.Origin)
			continue
		}
		g.add(ctx, p, a, e)
	}
	return p
}

// ParseProduction reads what a person names as production: a host, an address, either with a port, "*.DOMAIN" for every name
// below, or a network. what it stands for, such as a flag, is in the *fault.Error about one that cannot be read.
func ParseProduction(s, what string) (Address, error) {
	a := Address{HostPort: s, Origin: "named as production (" + what + ")"}
	if _, err := netip.ParsePrefix(s); err == nil {
		return a, nil
	}
	if _, err := parsePattern(s); err != nil {
		return a, fault.BadUsage("bad "+what+" "+quote(s), "want HOST[:PORT], *.DOMAIN or a network", what+" 10.0.0.7:443, or 10.1.0.0/16")
	}
	return a, nil
}

func (g *Guard) add(ctx context.Context, p *production, a Address, e endpoint) {
	ours := a.HostID == "" || g.cfg.HostID == "" || a.HostID == g.cfg.HostID
	addr, err := netip.ParseAddr(e.host)
	addr = plain(addr)
	switch {
	case e.host == "", err == nil && addr.IsUnspecified():
		if ours {
			p.here[e.port] = a
		} else if a.Host != "" {
			g.addName(ctx, p, a, endpoint{canonicalHost(a.Host), e.port}, false)
		}
	case err == nil && addr.IsLoopback():
		if ours {
			p.here[e.port] = a // what listens on all addresses is reached by this one too
		}
	case err == nil:
		p.addrs[netip.AddrPortFrom(addr, e.port)] = a
	case e.host == "localhost" || strings.HasSuffix(e.host, ".localhost"):
		if ours {
			p.here[e.port] = a
			p.names[e] = a
		}
	default:
		g.addName(ctx, p, a, e, ours)
	}
}

// addName adds a name and what it means at present.
func (g *Guard) addName(ctx context.Context, p *production, a Address, e endpoint, ours bool) {
	p.hasNames = true
	p.names[e] = a
	addrs, err := g.lookup(ctx, e.host)
	if err != nil {
		return // production's names need not be known here; the name itself counts
	}
	for _, addr := range addrs {
		if addr = addr.WithZone(""); !addr.IsLoopback() {
			p.addrs[netip.AddrPortFrom(addr, e.port)] = a
		} else if ours {
			p.here[e.port] = a
		}
	}
}

// named tells whether a host and port is production by its name alone.
func (p *production) named(e endpoint) (Address, bool) {
	if a, ok := p.names[e]; ok {
		return a, true
	}
	if a, ok := p.names[endpoint{host: e.host}]; ok {
		return a, true
	}
	for _, b := range p.below {
		if b.matches(e) {
			return b.Address, true
		}
	}
	return Address{}, false
}

// means tells whether a Host names production: by its name, or as an address. A name without a port may be on any.
func (p *production) means(e endpoint) bool {
	if _, ok := p.named(e); ok {
		return true
	}
	if addr, err := netip.ParseAddr(e.host); err == nil {
		_, ok := p.at(netip.AddrPortFrom(addr, e.port))
		return ok
	}
	for name := range p.names {
		if e.port == 0 && name.host == e.host {
			return true
		}
	}
	return false
}

// at tells whether an address is production, or leads to one that is.
func (p *production) at(at netip.AddrPort) (Address, bool) {
	addr := plain(at.Addr())
	means := []netip.Addr{addr}
	if addr.IsUnspecified() { // a dial to it is one to loopback
		means = append(means, netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback())
	}
	if v4 := inside(addr); v4.IsValid() {
		means = append(means, v4)
	}
	for _, addr := range means {
		if a, ok := p.is(addr, at.Port()); ok {
			return a, true
		}
	}
	return Address{}, false
}

func (p *production) is(addr netip.Addr, on uint16) (Address, bool) {
	for _, port := range [...]uint16{on, 0} {
		if a, ok := p.addrs[netip.AddrPortFrom(addr, port)]; ok {
			return a, true
		}
		if a, ok := p.here[port]; ok && (addr.IsLoopback() || addr.IsUnspecified() || p.local[addr]) {
			return a, true
		}
	}
	for _, n := range p.networks {
		if n.Contains(addr) {
			return n.Address, true
		}
	}
	return Address{}, false
}

// localAddresses returns the addresses of this machine. Without them loopback and unspecified ones are still known.
func localAddresses() map[netip.Addr]bool {
	local := make(map[netip.Addr]bool)
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return local
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP); ok {
				local[addr.Unmap()] = true
			}
		}
	}
	return local
}

func (g *Guard) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr.Unmap()}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := g.cfg.Resolver.LookupNetIP(ctx, "ip", host)
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, err
}
