package fire

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"github.com/reprise-io/reprise/internal/fault"
)

// endpoint is a host, in lower case and without a final dot, or an address, and a port; 0 stands for every port.
type endpoint struct {
	host string
	port uint16
}

// String returns host:port, or the host alone for every port.
func (e endpoint) String() string {
	if e.port == 0 {
		return e.host
	}
	return net.JoinHostPort(e.host, strconv.Itoa(int(e.port)))
}

func parseTarget(u *url.URL) (endpoint, error) {
	const try = "--target http://preprod.internal:8080"
	if u == nil {
		return endpoint{}, fault.BadUsage("no target", "nothing says where to send", try)
	}
	bad := func(cause string) (endpoint, error) {
		return endpoint{}, fault.BadUsage("bad --target "+quote(u.Redacted()), cause, try)
	}
	port := uint16(80)
	switch u.Scheme {
	case "http":
	case "https":
		port = 443
	default:
		return bad("want a URL that begins with http:// or https://")
	}
	if u.User != nil {
		return bad("a user and password are not sent")
	}
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return bad("want scheme, host and port only: the path is the recorded one")
	}
	e, ok := parseEndpoint(u.Host)
	switch {
	case !ok || e.host == "" || !ascii(e.host):
		return bad("want a host name or address, and a port")
	case !ascii(u.Host):
		return endpoint{}, fault.BadUsage("bad --target "+quote(u.Redacted()), "want the name as it is in DNS and in Host", "--target "+u.Scheme+"://"+e.String())
	}
	if e.port == 0 {
		e.port = port
	}
	return e, nil
}

// parseEndpoint reads "host", "host:port", ":port", "[::1]:port" or "::1".
func parseEndpoint(s string) (endpoint, bool) {
	host, port := splitAuthority(s)
	e := endpoint{host: canonicalHost(host)}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return e, false
		}
		e.port = uint16(n)
	}
	for i := range len(e.host) {
		if c := e.host[i]; c <= ' ' || c == 0x7f || strings.IndexByte(`/\@?#,"<>`, c) >= 0 {
			return e, false
		}
	}
	return e, e.host != "" || e.port != 0
}

// splitAuthority cuts a port off; host keeps no brackets.
func splitAuthority(s string) (host, port string) {
	colon := strings.LastIndexByte(s, ':')
	switch {
	case strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]"):
		return s[1 : len(s)-1], ""
	case colon < 0 || strings.HasPrefix(s, "[") && s[colon-1] != ']':
		return s, ""
	case strings.HasPrefix(s, "["):
		return s[1 : colon-1], s[colon+1:]
	case strings.IndexByte(s, ':') != colon: // an IPv6 address without brackets
		return s, ""
	}
	return s[:colon], s[colon+1:]
}

// canonicalHost makes equal what is the same name or address: without case and final dots, names in the letters of DNS, and
// addresses in one spelling.
func canonicalHost(host string) string {
	host = strings.TrimRight(strings.ToLower(host), ".")
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().String()
	}
	if !ascii(host) {
		if name, err := idna.Lookup.ToASCII(host); err == nil {
			host = strings.TrimRight(name, ".")
		}
	}
	if addr, ok := numericHost(host); ok {
		return addr.String()
	}
	return host
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// pattern is one --allow-target.
type pattern struct {
	endpoint
	below bool // host begins with a dot: every name that ends so
}

func parsePattern(s string) (pattern, error) {
	rest, below := strings.CutPrefix(s, "*.")
	e, ok := parseEndpoint(rest)
	if !ok || e.host == "" || strings.Contains(e.host, "*") {
		return pattern{}, fault.BadUsage("bad --allow-target "+quote(s),
			`want HOST[:PORT], or "*.DOMAIN" for every name below`, "--allow-target preprod.internal:8080, and once more for each other one")
	}
	if below {
		e.host = "." + e.host
	}
	return pattern{e, below}, nil
}

func (p pattern) matches(e endpoint) bool {
	if p.port != 0 && p.port != e.port {
		return false
	}
	if p.below {
		return len(e.host) > len(p.host) && strings.HasSuffix(e.host, p.host)
	}
	return p.host == e.host
}

func (g *Guard) allowed(e endpoint) bool {
	for _, p := range g.allow {
		if p.matches(e) {
			return true
		}
	}
	return false
}

// namesAddress reports whether an --allow-target is this very address.
func (g *Guard) namesAddress(at netip.AddrPort) bool {
	e := endpoint{plain(at.Addr()).String(), at.Port()}
	for _, p := range g.allow {
		if !p.below && p.matches(e) {
			return true
		}
	}
	return false
}

// hostAllowed reports whether a recorded Host may be sent: its name has to be allowed, on any port. A name of production has to
// be allowed as such: "*.example" does not mean it, and a gateway that goes by Host may lead there.
func (g *Guard) hostAllowed(e endpoint) bool {
	production := g.production.Load().means(e)
	for _, p := range g.allow {
		p.port = 0
		if p.matches(e) && !(p.below && production) {
			return true
		}
	}
	return false
}

// nameAllowed reports whether --host may be that name: any but one of production, which has to be allowed as such, with that port or
// without one. That another port of an address is allowed is not enough: production may be beside pre-production.
func (g *Guard) nameAllowed(e endpoint) bool {
	if !g.production.Load().means(e) {
		return true
	}
	for _, p := range g.allow {
		if !p.below && p.host == e.host && (p.port == 0 || e.port == 0 || p.port == e.port) {
			return true
		}
	}
	return false
}

func (g *Guard) allowCause() string {
	if len(g.cfg.Allow) == 0 {
		return "no --allow-target was given"
	}
	return "--allow-target allows only " + strings.Join(g.cfg.Allow, ", ")
}

func quote(s string) string { return strconv.Quote(s) }
