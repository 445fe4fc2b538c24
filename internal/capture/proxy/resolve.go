package proxy

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/reprise-io/reprise/internal/fault"
)

const (
	resolveTimeout = 5 * time.Second
	resolveEvery   = time.Second // at most, however many connections fail
)

// address is where to connect to, in the forms that are needed.
type address struct {
	family int
	ip4    unix.SockaddrInet4
	ip6    unix.SockaddrInet6
	text   []byte // "ip:port"
	of     *resolver
	rest   *respite // goes on when the name is resolved again
}

// socket is a copy: connecting writes into it, and loops share the address.
func (a *address) socket() unix.Sockaddr {
	if a.family == unix.AF_INET6 {
		return &unix.SockaddrInet6{Port: a.ip6.Port, Addr: a.ip6.Addr, ZoneId: a.ip6.ZoneId}
	}
	return &unix.SockaddrInet4{Port: a.ip4.Port, Addr: a.ip4.Addr}
}

// resolver keeps the upstream's addresses. The loops only load a pointer: looking a name up is done beside them.
type resolver struct {
	host, port string
	log        *slog.Logger
	born       time.Time
	addresses  atomic.Pointer[[]*address] // nil: not resolved yet
	again      chan struct{}
	down       atomic.Bool    // no address of it could be connected to
	unresolved bool           // and said so
	one        bool           // there are no other upstreams
	listener   netip.AddrPort // where this tap listens
	leadsHere  bool           // the name does, and that is said
}

func newResolver(upstream string, log *slog.Logger) (*resolver, error) {
	host, port, err := net.SplitHostPort(upstream)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil || port == "0" || port == "" {
		cause := "a host and a port are needed"
		if err != nil {
			cause = err.Error()
		}
		return nil, fault.BadUsage(fmt.Sprintf("bad upstream %q", upstream), cause, "HOST:PORT, such as 127.0.0.1:9000")
	}
	r := &resolver{host: host, port: port, log: log, born: time.Now(), again: make(chan struct{}, 1)}
	if host == "" {
		r.host = "127.0.0.1"
	}
	if ip, err := netip.ParseAddr(r.host); err == nil {
		r.set([]netip.Addr{ip})
	}
	return r, nil
}

// notAt refuses an upstream that is the tap's own address: each connection would open the next, until no descriptor is left. A
// name that leads here later is not followed.
func (r *resolver) notAt(listener net.Addr) error {
	own, err := netip.ParseAddrPort(listener.String())
	if err != nil {
		return nil
	}
	r.listener = netip.AddrPortFrom(own.Addr().Unmap(), own.Port())
	for _, a := range r.get() {
		if to, _ := netip.ParseAddrPort(string(a.text)); leadsTo(to, r.listener) {
			return fault.BadUsage(fmt.Sprintf("upstream %s is this tap itself", a.text), "it listens on "+own.String(),
				"--upstream with the address of the application behind the tap")
		}
	}
	return nil
}

// leadsTo reports whether who connects to an address is with the listener of this machine.
func leadsTo(to, listener netip.AddrPort) bool {
	ip, at := to.Addr(), listener.Addr()
	switch {
	case !listener.IsValid() || to.Port() != listener.Port():
		return false
	case ip == at:
		return true
	case ip.IsUnspecified(): // the kernel takes loopback
		return at.IsLoopback() || at.IsUnspecified()
	case !at.IsUnspecified() || at.Is4() && !ip.Is4():
		return false
	}
	return ip.IsLoopback() || ofThisMachine(ip)
}

func ofThisMachine(ip netip.Addr) bool {
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range own {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Unmap() == ip.WithZone("") {
			return true
		}
	}
	return false
}

// get returns the addresses, none when the name did not resolve yet.
func (r *resolver) get() []*address {
	if a := r.addresses.Load(); a != nil {
		return *a
	}
	return nil
}

// failed is told when no address can be connected to. It and worked log the change, not each connection.
func (r *resolver) failed(why error) {
	if !r.down.Swap(true) {
		says := "an upstream cannot be reached; its connections go to the others"
		if r.one {
			says = "the upstream cannot be reached; clients are reset"
		}
		r.log.Warn(says, "upstream", net.JoinHostPort(r.host, r.port), "error", why)
	}
	r.lookAgain()
}

// lookAgain asks for a new look at the name.
func (r *resolver) lookAgain() {
	select {
	case r.again <- struct{}{}:
	default:
	}
}

// resting reports that all addresses are.
func (r *resolver) resting(now time.Time) bool {
	all := r.get()
	for _, a := range all {
		if !a.rest.resting(r.since(now)) {
			return false
		}
	}
	return len(all) > 0
}

func (r *resolver) since(now time.Time) time.Duration { return now.Sub(r.born) }

// failed is told that a cannot be connected to. The name may lead elsewhere by now.
func (a *address) failed(why error) {
	r, now := a.of, time.Now()
	first := a.rest.works()
	a.rest.failed(r.since(now))
	if r.resting(now) {
		r.failed(why)
		return
	}
	if first {
		r.log.Warn("an address of the upstream cannot be reached; connections go to its others", "address", string(a.text), "error", why)
	}
	r.lookAgain()
}

func (a *address) worked() {
	r := a.of
	if !a.rest.worked() {
		return
	}
	if r.down.Swap(false) {
		r.log.Info("the upstream can be reached again", "upstream", net.JoinHostPort(r.host, r.port))
	} else {
		r.log.Info("the address can be reached again", "address", string(a.text))
	}
}

// run looks the name up at once, and again whenever connecting fails, until ctx ends. changed is called when addresses
// have come.
func (r *resolver) run(ctx context.Context, changed func()) {
	if _, err := netip.ParseAddr(r.host); err == nil {
		return
	}
	for {
		if r.lookUp(ctx) {
			changed()
		}
		select {
		case <-time.After(resolveEvery):
		case <-ctx.Done():
			return
		}
		if r.addresses.Load() == nil {
			continue
		}
		select {
		case <-r.again:
		case <-ctx.Done():
			return
		}
	}
}

func (r *resolver) lookUp(ctx context.Context) bool {
	limited, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(limited, "ip", r.host)
	if err != nil {
		if ctx.Err() == nil && !r.unresolved {
			r.unresolved = true
			r.log.Warn("cannot resolve the upstream's name; trying on", "error", err)
		}
		return false
	}
	r.unresolved = false
	return r.set(ips)
}

// set takes what the name has resolved to, but for this tap itself: where that is all, what was known before stays.
func (r *resolver) set(ips []netip.Addr) bool {
	port, err := net.LookupPort("tcp", r.port) // numbers and well-known names: no network
	if err != nil {
		r.log.Error("bad upstream port", "port", r.port, "error", err)
		return false
	}
	all := make([]*address, 0, len(ips))
	for _, ip := range ips {
		to := netip.AddrPortFrom(ip.Unmap(), uint16(port))
		if !leadsTo(to, r.listener) {
			all = append(all, r.address(to))
		}
	}
	if here := len(all) < len(ips); here != r.leadsHere {
		if r.leadsHere = here; here {
			r.log.Error("THE UPSTREAM'S NAME LEADS TO THIS TAP ITSELF: no connection goes there", "upstream", net.JoinHostPort(r.host, r.port),
				"listen", r.listener.String(), "others", len(all), "try", "--upstream with the application's own address")
		}
	}
	if len(all) == 0 {
		return false
	}
	r.addresses.Store(&all)
	return true
}

// address makes one. That it failed a short while ago is not forgotten.
func (r *resolver) address(to netip.AddrPort) *address {
	ip := to.Addr()
	a := &address{of: r, text: []byte(to.String()), rest: new(respite)}
	if ip.Is4() {
		a.family, a.ip4 = unix.AF_INET, unix.SockaddrInet4{Port: int(to.Port()), Addr: ip.As4()}
	} else {
		a.family = unix.AF_INET6
		a.ip6 = unix.SockaddrInet6{Port: int(to.Port()), Addr: ip.As16(), ZoneId: zone(ip.Zone())}
	}
	for _, before := range r.get() {
		if bytes.Equal(before.text, a.text) {
			a.rest = before.rest
		}
	}
	return a
}

func zone(name string) uint32 {
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		return uint32(n)
	}
	if iface, err := net.InterfaceByName(name); err == nil {
		return uint32(iface.Index)
	}
	return 0
}

// textOf writes a peer's address as "ip:port".
func textOf(sa unix.Sockaddr) []byte {
	a := addrPortOf(sa)
	if !a.IsValid() {
		return nil
	}
	return a.AppendTo(make([]byte, 0, 48))
}

func addrPortOf(sa unix.Sockaddr) netip.AddrPort {
	switch s := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(s.Addr).Unmap(), uint16(s.Port))
	}
	return netip.AddrPort{}
}
