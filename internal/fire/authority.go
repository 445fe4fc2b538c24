package fire

import (
	"bytes"
	"slices"
	"sync"

	"github.com/reprise-io/reprise/internal/traffic"
)

// judgedAuthority remembers the last authority: most exchanges of a run have the same few.
type judgedAuthority struct {
	authority []byte
	isTarget  bool
}

// recordedAtTarget reports whether the exchange was recorded at the target's own host and port: the target is then most
// likely what the tap stands before.
func (g *Guard) recordedAtTarget(x *traffic.Exchange) bool {
	if g.exempted.Load() {
		return false
	}
	is := g.isTarget(recordedAuthority(&x.Request))
	if !is {
		if authority, _, ok := absoluteForm(x.Request.Target); ok {
			is = g.isTarget(authority)
		}
	}
	g.share.add(is)
	return is
}

// recordedAuthority returns the authority a request was sent to.
func recordedAuthority(r *traffic.Request) []byte {
	if len(r.Authority) > 0 {
		return r.Authority
	}
	host, _ := traffic.Get(r.Headers, "host")
	return host
}

func (g *Guard) isTarget(authority []byte) bool {
	if j := g.authority.Load(); j != nil && bytes.Equal(j.authority, authority) {
		return j.isTarget
	}
	j := &judgedAuthority{slices.Clone(authority), g.judgeAuthority(string(authority))}
	g.authority.Store(j)
	return j.isTarget
}

func (g *Guard) judgeAuthority(authority string) bool {
	e, ok := parseEndpoint(authority)
	if !ok || e.host != g.target.host {
		return false
	}
	if e.port != g.target.port && !(e.port == 0 && defaultPort(g.target.port)) {
		return false
	}
	e.port = g.target.port
	return !slices.Contains(g.exempt, e)
}

// Exempt reports whether the target's own host and port were said not to be production.
func (g *Guard) Exempt() bool { return g.exempted.Load() || slices.Contains(g.exempt, g.target) }

// ExemptTarget is NotProduction with the target, while running. What was counted until then says nothing any more.
func (g *Guard) ExemptTarget() {
	g.exempted.Store(true)
	g.share.clear()
}

// defaultPort reports whether an authority without a port can mean this one: where TLS ends before the tap, the recorded
// scheme does not tell which.
func defaultPort(port uint16) bool { return port == 80 || port == 443 }

// absoluteForm splits "http://host/path"; rest is "" when there is nothing behind the authority.
func absoluteForm(target []byte) (authority, rest []byte, ok bool) {
	if len(target) == 0 || target[0] == '/' {
		return nil, nil, false
	}
	colon := bytes.Index(target, []byte("://"))
	if colon <= 0 {
		return nil, nil, false
	}
	switch string(bytes.ToLower(target[:colon])) {
	case "http", "https", "ws", "wss":
	default:
		return nil, nil, false
	}
	authority = target[colon+len("://"):]
	if end := bytes.IndexAny(authority, "/?#"); end >= 0 {
		authority, rest = authority[:end], authority[end:]
	}
	if at := bytes.LastIndexByte(authority, '@'); at >= 0 {
		authority = authority[at+1:]
	}
	return authority, rest, true
}

// share is the part of the last 1,000 events that were of one kind.
type share struct {
	mu   sync.Mutex
	ring [shareEvents]bool
	next int
	hits int
}

const shareEvents = 1000

func (s *share) add(hit bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ring[s.next] {
		s.hits--
	}
	if hit {
		s.hits++
	}
	s.ring[s.next] = hit
	s.next = (s.next + 1) % shareEvents
}

func (s *share) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ring, s.hits = [shareEvents]bool{}, 0
}

// AuthorityIsTargetShare returns which part of the last 1,000 exchanges was recorded at the target's own host and port, 0
// to 1. Above 0.01 the target is likely to be production whatever the taps report.
func (g *Guard) AuthorityIsTargetShare() float64 {
	g.share.mu.Lock()
	defer g.share.mu.Unlock()
	return float64(g.share.hits) / shareEvents
}
