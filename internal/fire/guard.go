// Package fire sends recorded requests to the target and refuses what must not be sent.
//
// Guard decides: the target has to be named and allowed, is never production, and gets writes only by rule. Sender
// sends: Prepare builds a request's bytes once, with the recorded fields as they stood and the marks, Fire writes them
// over a kept connection and reads the answer. go-retryablehttp decides about retries, over a RoundTripper of our own that
// gives net/http no more than the status: the request is sent as recorded, the answer comes back as it was.
package fire

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/traffic"
)

// The reasons why an exchange is refused.
const (
	WriteNotAllowed    = "write_not_allowed"    // neither GET, HEAD nor OPTIONS, and no rule allows it
	AuthorityIsTarget  = "authority_is_target"  // it was recorded at the target's own host and port
	TargetIsProduction = "target_is_production" // the target turned out to be production
	TargetIsPublic     = "target_is_public"     // it turned out to be on the internet, and that is not allowed
	TargetIsMetadata   = "target_is_metadata"   // it turned out to be where a cloud gives its machines their credentials
	NoHandshake        = "no_handshake"         // the target did not answer as pre-production is to
	HostNotAllowed     = "host_not_allowed"     // --host recorded, and the recorded name is not allowed
	BadFlags           = "flags"                // not known whole, or not a request of its own
	UnsafeBytes        = "unsafe_bytes"         // bytes that would make another request, or several, of it
	NoTarget           = "no_target"            // a request target without origin form, such as CONNECT's
)

// Matcher decides about one exchange; filter.Filter is one.
type Matcher interface {
	Match(x *traffic.Exchange) (bool, error)
}

// Resolver looks up host names; net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Address is a place where production is served. HostPort is a host or an address, with a port or for all ports
// ("10.0.3.7:8080", "shop.internal"), every address of the machine that reported it (":8080", "0.0.0.0:8080"), or a
// network ("10.0.0.0/8").
type Address struct {
	HostPort string
	HostID   string    // of that machine: loopback and ":8080" are ours only if it is ours, or empty
	Host     string    // its name, looked up for ":8080" reported elsewhere; may be empty
	Origin   string    // for people: "the upstream of tap gateway-2"
	Reported time.Time // zero: not from a report
}

// GuardConfig says what may be fired at.
type GuardConfig struct {
	Target        *url.URL  // http or https
	Allow         []string  // --allow-target HOST[:PORT]; "*.preprod.internal" is every name below
	AllowPublic   bool      // the target may be a public address; else only one that Allow names as an address
	Production    []Address // known at the start
	NotProduction []string  // --not-production HOST:PORT: authority_is_target does not count for these
	HostID        string    // of this machine; empty: unknown, then every loopback address may be ours
	AllowWrites   []Matcher
	Handshake     *Handshake // what every address of the target has to answer first; nil: nothing
	Resolver      Resolver   // nil: the system's
	Dialer        DialFunc   // replaces the network, for tests; nil: TCP
	Logger        *slog.Logger
}

// DialFunc opens a connection to an address of the target.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Guard keeps production safe from the replayer. It is safe for concurrent use.
type Guard struct {
	cfg        GuardConfig
	target     endpoint
	allow      []pattern
	exempt     []endpoint
	exempted   atomic.Bool
	production atomic.Pointer[production]
	refresh    sync.Mutex // one at a time replaces production
	authority  atomic.Pointer[judgedAuthority]
	share      share
	greeter    *greeter // nil: no handshake
	halted     atomic.Bool
}

// NewGuard checks the target and returns a *fault.Error when it is not allowed, cannot be found or is production.
func NewGuard(ctx context.Context, cfg GuardConfig) (*Guard, error) {
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	if cfg.Dialer == nil {
		cfg.Dialer = new(net.Dialer).DialContext
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	target, err := parseTarget(cfg.Target)
	if err != nil {
		return nil, err
	}
	g := &Guard{cfg: cfg, target: target}
	for _, s := range cfg.Allow {
		p, err := parsePattern(s)
		if err != nil {
			return nil, err
		}
		g.allow = append(g.allow, p)
	}
	for _, s := range cfg.NotProduction {
		e, ok := parseEndpoint(s)
		if !ok || e.port == 0 || e.host == "" {
			return nil, fault.BadUsage("bad --not-production "+quote(s), "want HOST:PORT", "--not-production "+target.String())
		}
		g.exempt = append(g.exempt, e)
	}
	if !g.allowed(target) {
		return nil, fault.BadUsage("refused: target "+target.String()+" is not allowed", g.allowCause(),
			"--allow-target "+target.String()+" if that is a pre-production address")
	}
	if _, err := g.resolve(ctx); err != nil {
		return nil, &fault.Error{
			What:  "cannot find target " + target.String(),
			Cause: err.Error(), Try: "check the name in --target, or give its address", Err: err,
		}
	}
	if err := g.SetProduction(ctx, cfg.Production); err != nil {
		return nil, err
	}
	g.greeter = newGreeter(g, cfg.Handshake)
	return g, nil
}

// Halt lets nothing more be sent: no connection is made, and none that is kept is used. What is being written then is
// written, and answered.
func (g *Guard) Halt() { g.halted.Store(true) }

// SetProduction replaces the production addresses, also while running. When the target is one of them it returns a
// *fault.Error, and everything is refused from then on.
func (g *Guard) SetProduction(ctx context.Context, addresses []Address) error {
	g.refresh.Lock()
	defer g.refresh.Unlock()
	return g.setProduction(ctx, addresses)
}

func (g *Guard) setProduction(ctx context.Context, addresses []Address) error {
	p := g.findProduction(ctx, addresses)
	p.reason, p.refused = g.judgeTarget(ctx, p)
	if old := g.production.Load(); old != nil {
		p.generation = old.generation + 1
	}
	g.production.Store(p)
	if p.refused != nil {
		return p.refused
	}
	return nil
}

// judgeTarget returns why the target is refused, nil when it is not.
func (g *Guard) judgeTarget(ctx context.Context, p *production) (reason string, refused *fault.Error) {
	if a, ok := p.named(g.target); ok {
		return TargetIsProduction, g.refusal(a, netip.AddrPort{})
	}
	addrs, err := g.resolve(ctx)
	if err != nil {
		return "", nil // nothing can be dialled either, and every dial looks again
	}
	for _, at := range addrs {
		if reason, refused := g.judge(p, at); refused != nil {
			return reason, refused
		}
	}
	return "", nil
}

// judge returns why an address that the target has is refused, nil when it is not.
func (g *Guard) judge(p *production, at netip.AddrPort) (reason string, refused *fault.Error) {
	if a, ok := p.at(at); ok {
		return TargetIsProduction, g.refusal(a, at)
	}
	switch {
	case isMetadata(at.Addr()):
		return TargetIsMetadata, fault.BadUsage(g.refused(at)+" is where clouds give machines their credentials", "it is never pre-production",
			"name the pre-production address with --target and --allow-target")
	case isPublic(at.Addr()) && !g.cfg.AllowPublic && !g.namesAddress(at):
		return TargetIsPublic, fault.BadUsage(g.refused(at)+" is a public address", "pre-production is taken to be in a private network",
			"if it is pre-production: --allow-public, or --allow-target "+netip.AddrPortFrom(plain(at.Addr()), at.Port()).String())
	}
	return "", nil
}

// refused begins a refusal: the target, and the address that it has where that is something else.
func (g *Guard) refused(at netip.AddrPort) string {
	what := "refused: target " + g.target.String()
	if at.IsValid() && at.Addr().String() != g.target.host {
		what += " (" + at.Addr().String() + ")"
	}
	return what
}

func (g *Guard) refusal(a Address, at netip.AddrPort) *fault.Error {
	what := g.refused(at)
	origin := a.Origin
	if origin == "" {
		origin = "production"
	}
	cause := "the production address " + a.HostPort + " was given"
	if !a.Reported.IsZero() {
		cause = "the tap report of " + a.Reported.Format(time.TimeOnly) + " lists it as production"
	}
	return fault.BadUsage(what+" is "+origin, cause, "name the pre-production address with --target and --allow-target")
}

// Admit says whether what was recorded may be fired, and if not, why: one of the reasons above. Whether it is a write that is allowed is judged in
// Sender.Prepare, when what is written of it is known.
func (g *Guard) Admit(x *traffic.Exchange) (reason string, ok bool) {
	if x.Flags.Unreplayable() != 0 {
		return BadFlags, false
	}
	if p := g.production.Load(); p.refused != nil {
		return p.reason, false
	}
	if g.recordedAtTarget(x) {
		return AuthorityIsTarget, false
	}
	return "", true
}

func safeMethod(m []byte) bool {
	switch string(m) {
	case "GET", "HEAD", "OPTIONS":
		return true
	}
	return false
}

// Explain returns one line for a person about a reason.
func (g *Guard) Explain(reason string) string {
	switch reason {
	case WriteNotAllowed:
		return "no --allow-writes rule allows this write"
	case AuthorityIsTarget:
		return "recorded at " + g.target.String() + ", which is the target itself; --not-production " +
			g.target.String() + " if it is not production"
	case TargetIsProduction, TargetIsPublic, TargetIsMetadata:
		if refused := g.production.Load().refused; refused != nil {
			return refused.Error()
		}
		return "an address of " + g.target.String() + " is one that must not be fired at"
	case HostNotAllowed:
		return "--host recorded sends only names that an --allow-target allows"
	case BadFlags:
		return "the request was not recorded whole, or is none of its own"
	case UnsafeBytes:
		return "the recorded request holds bytes that would make another request of it"
	case NoTarget:
		return "the recorded request target has no origin form"
	}
	return ""
}

// Err returns why the target is refused at present, nil when it is not.
func (g *Guard) Err() error {
	if refused := g.production.Load().refused; refused != nil {
		return refused
	}
	return nil
}
