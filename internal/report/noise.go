package report

import "github.com/reprise-io/reprise/internal/chance"

// HoldAgainst tells of each difference whether it is more often than in another run, which was of the build that was recorded: what
// differs there is noise. Routes are the same by name.
func (r *Report) HoldAgainst(old *Report) {
	r.NoiseRun = old.Run
	for i := range r.Differences {
		d := &r.Differences[i]
		d.Chance = chance.Compare(r.rate(d.Route, d.Path), old.rate(d.Route, d.Path)).String()
	}
}

// NoiseOf returns the places, by route, where a run that was held against another one differs no more often than that.
func (r *Report) NoiseOf(old *Report) map[string]map[string]bool {
	all := make(map[string]map[string]bool)
	for _, d := range r.Differences {
		if own := old.rate(d.Route, d.Path); own.Count == 0 || chance.Compare(r.rate(d.Route, d.Path), own) == chance.More {
			continue
		}
		if all[d.Route] == nil {
			all[d.Route] = make(map[string]bool)
		}
		all[d.Route][d.Path] = true
	}
	return all
}

// rate is how many of the answers of a route that could be compared differ at a place.
func (r *Report) rate(route, path string) (share chance.Rate) {
	for i := range r.Routes {
		if r.Routes[i].Route == route {
			share.Of = r.Routes[i].Compared
		}
	}
	for i := range r.Differences {
		if d := &r.Differences[i]; d.Route == route && d.Path == path {
			share.Count += d.Count // of one answer there is one kind at a place, or nearly
		}
	}
	share.Count = min(share.Count, share.Of)
	return share
}
