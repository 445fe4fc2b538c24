package proxy

import (
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
	last   bool // of its upstream: when it fails too, the upstream has failed
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
	addresses  atomic.Pointer[[]address] // nil: not resolved yet
	again      chan struct{}
	down       atomic.Bool // the last connection failed
	unresolved bool        // and said so
	one        bool        // there are no other upstreams
	failures   atomic.Int32
	restUntil  atomic.Int64 // Unix ns
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
	r := &resolver{host: host, port: port, log: log, again: make(chan struct{}, 1)}
	if host == "" {
		r.host = "127.0.0.1"
	}
	if ip, err := netip.ParseAddr(r.host); err == nil {
		r.set([]netip.Addr{ip})
	}
	return r, nil
}

// notAt refuses an upstream that is the tap's own address: each connection would open the next.
func (r *resolver) notAt(listener net.Addr) error {
	own, err := netip.ParseAddrPort(listener.String())
	if err != nil {
		return nil
	}
	for _, a := range r.get() {
		to, _ := netip.ParseAddrPort(string(a.text))
		here := to.Addr() == own.Addr().Unmap() || own.Addr().IsUnspecified() && (to.Addr().IsLoopback() || to.Addr().IsUnspecified())
		if here && to.Port() == own.Port() {
			return fault.BadUsage(fmt.Sprintf("upstream %s is this tap itself", a.text), "it listens on "+own.String(),
				"--upstream with the address of the application behind the tap")
		}
	}
	return nil
}

// get returns the addresses, none when the name did not resolve yet.
func (r *resolver) get() []address {
	if a := r.addresses.Load(); a != nil {
		return *a
	}
	return nil
}

// failed is told when no address could be connected to, and asks for a new look at the name. It and worked log the
// change, not each connection.
func (r *resolver) failed(why error) {
	r.rest(time.Now())
	if !r.down.Swap(true) {
		says := "an upstream cannot be reached; its connections go to the others"
		if r.one {
			says = "the upstream cannot be reached; clients are reset"
		}
		r.log.Warn(says, "upstream", net.JoinHostPort(r.host, r.port), "error", why)
	}
	select {
	case r.again <- struct{}{}:
	default:
	}
}

func (r *resolver) worked() {
	if r.down.Load() && r.down.Swap(false) {
		r.failures.Store(0)
		r.restUntil.Store(0)
		r.log.Info("the upstream can be reached again", "upstream", net.JoinHostPort(r.host, r.port))
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
	r.set(ips)
	return true
}

func (r *resolver) set(ips []netip.Addr) {
	port, err := net.LookupPort("tcp", r.port) // numbers and well-known names: no network
	if err != nil {
		r.log.Error("bad upstream port", "port", r.port, "error", err)
		return
	}
	all := make([]address, 0, len(ips))
	for _, ip := range ips {
		ip = ip.Unmap()
		a := address{of: r, text: []byte(netip.AddrPortFrom(ip, uint16(port)).String())}
		if ip.Is4() {
			a.family, a.ip4 = unix.AF_INET, unix.SockaddrInet4{Port: port, Addr: ip.As4()}
		} else {
			a.family = unix.AF_INET6
			a.ip6 = unix.SockaddrInet6{Port: port, Addr: ip.As16(), ZoneId: zone(ip.Zone())}
		}
		all = append(all, a)
	}
	if len(all) > 0 {
		all[len(all)-1].last = true
	}
	r.addresses.Store(&all)
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
