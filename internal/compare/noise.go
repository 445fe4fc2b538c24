package compare

import (
	"strings"
	"sync"

	"github.com/reprise-io/reprise/internal/chance"
	"github.com/reprise-io/reprise/internal/traffic"
)

// Bounds of what is learned. What comes later is noise only where both answers of the old build to the same request say so.
const (
	maxNoiseRoutes = 256
	maxNoisePlaces = 256 // of a route
)

// Noise learns, route by route and place by place, where the old build differs from itself, and tells a new build's differences
// from that. The zero value knows nothing yet; it is safe for concurrent use.
type Noise struct {
	mu     sync.Mutex
	routes map[string]*noiseRoute
}

type noiseRoute struct {
	compared, twice int64
	places          map[string]*noisePlace
}

type noisePlace struct {
	differs int64 // of compared: the new build differs from the old one
	own     int64 // of twice: the old one from itself
}

// Pair takes what two comparisons of one request have found: of the new build's answer with the old build's, and of the old build's with
// another one of its own, if there was one (twice). It returns which of the first are differences, and which noise: the old build
// differs from itself there too, in this answer or about as often in others.
func (n *Noise) Pair(route string, differences, own []traffic.Difference, twice bool) (left, noise []traffic.Difference) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.route(route)
	r.compared++
	if twice {
		r.twice++
	}
	r.each(own, func(p *noisePlace) { p.own++ })
	r.each(differences, func(p *noisePlace) { p.differs++ })
	for _, d := range differences {
		if covers(own, d.Path) || r.learned(d.Path) {
			noise = append(noise, d)
		} else {
			left = append(left, d)
		}
	}
	return left, noise
}

func (n *Noise) route(name string) *noiseRoute {
	r := n.routes[name]
	if r != nil {
		return r
	}
	r = new(noiseRoute)
	if n.routes == nil {
		n.routes = make(map[string]*noiseRoute)
	}
	if len(n.routes) < maxNoiseRoutes {
		n.routes[name] = r
	}
	return r
}

// each calls count once for each place of the differences.
func (r *noiseRoute) each(all []traffic.Difference, count func(*noisePlace)) {
	for i := range all {
		path := all[i].Path
		if seenBefore(all[:i], path) {
			continue
		}
		p := r.places[path]
		if p == nil {
			if len(r.places) == maxNoisePlaces {
				continue
			}
			if r.places == nil {
				r.places = make(map[string]*noisePlace)
			}
			p = new(noisePlace)
			r.places[path] = p
		}
		count(p)
	}
}

func seenBefore(all []traffic.Difference, path string) bool {
	for i := range all {
		if all[i].Path == path {
			return true
		}
	}
	return false
}

// learned reports whether the new build differs at a place no more often than the old one from itself, as far as can be told.
func (r *noiseRoute) learned(path string) bool {
	p := r.places[path]
	return p != nil && p.own > 0 &&
		chance.Compare(chance.Rate{Count: p.differs, Of: r.compared}, chance.Rate{Count: p.own, Of: r.twice}) != chance.More
}

// covers reports whether a place, or one that it is part of, is among the differences.
func covers(all []traffic.Difference, path string) bool {
	for i := range all {
		if at := all[i].Path; at == path || at == "/" && strings.HasPrefix(path, "/") || strings.HasPrefix(path, at) && path[len(at)] == '/' {
			return true
		}
	}
	return false
}
