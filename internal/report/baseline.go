package report

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/reprise-io/reprise/internal/chance"
	"github.com/reprise-io/reprise/internal/traffic"
)

// Baseline is how the comparison with the old build went (--baseline-target). Differences are then from its answers, and what they
// call recorded is what it answered.
type Baseline struct {
	Target     string           `json:"target"`                 // host:port
	Noise      string           `json:"noise_target,omitempty"` // of the copy that was asked a second time; absent: none was
	Compared   int64            `json:"compared"`               // answers that were compared with the old build's
	Uncompared map[string]int64 `json:"uncompared"`             // answers that were not, by reason
	Twice      int64            `json:"twice"`                  // of those compared, with a second answer of the old build beside
	Service    Percentiles      `json:"service_ms"`             // of the old build, from the fire time to the answer's last byte
	Places     []Noise          `json:"noise"`                  // where the old build differs from itself, most first
	Recorded   Answers          `json:"recorded"`               // what comparing with the recorded answers found, beside
}

// Noise is one place where a route's answers of the old build are not the same twice.
type Noise struct {
	Route string `json:"route"`
	Path  string `json:"path"`
	Own   int64  `json:"own"`      // pairs of its answers that differ there
	Twice int64  `json:"twice"`    // pairs of its answers
	Left  int64  `json:"left_out"` // differences of the target's answers there that are no differences by that
}

// secondOpinion is what a Summary adds up of the old build's answers.
type secondOpinion struct {
	compared, twice int64
	uncompared      map[string]int64
	service         *hdrhistogram.Histogram
	recorded        [traffic.BodyChanged + 1]int64
}

// noiseAt is what a route has of noise at one place.
type noiseAt struct{ own, left int64 }

// beside takes what the old build answered.
func (s *Summary) beside(b *traffic.Baseline, r *route) {
	if s.second == nil {
		s.second = &secondOpinion{uncompared: make(map[string]int64), service: precise()}
	}
	if int(b.Recorded) < len(s.second.recorded) {
		s.second.recorded[b.Recorded]++
	}
	if b.Status > 0 {
		record(s.second.service, b.Duration)
	}
	if b.Reason != "" {
		reason := b.Reason
		if _, ok := s.second.uncompared[reason]; !ok && len(s.second.uncompared) >= maxReasons {
			reason = "other"
		}
		s.second.uncompared[reason]++
	} else {
		s.second.compared++
	}
	if b.Twice {
		s.second.twice++
		r.twice++
	}
	r.eachPlace(b.Own, func(n *noiseAt) { n.own++ })
	r.eachPlace(b.Noise, func(n *noiseAt) { n.left++ })
}

// eachPlace calls count once for each place of the differences.
func (r *route) eachPlace(all []traffic.Difference, count func(*noiseAt)) {
	for i := range all {
		path := all[i].Path
		if slices.ContainsFunc(all[:i], func(d traffic.Difference) bool { return d.Path == path }) {
			continue
		}
		n := r.noise[path]
		if n == nil {
			if len(r.noise) == maxDifferences {
				continue
			}
			if r.noise == nil {
				r.noise = make(map[string]*noiseAt)
			}
			n = new(noiseAt)
			r.noise[path] = n
		}
		count(n)
	}
}

func (r *route) mergeNoise(from *route) {
	r.twice += from.twice
	for path, n := range from.noise {
		switch known := r.noise[path]; {
		case known != nil:
			known.own, known.left = known.own+n.own, known.left+n.left
		case r.noise == nil:
			r.noise = map[string]*noiseAt{path: n}
		case len(r.noise) < maxDifferences:
			r.noise[path] = n
		}
	}
}

// test tells whether the target differs at a place more often than the old build from itself; empty: the old build was not asked twice.
func (s *Summary) test(r *route, path string) string {
	if s.run.Noise == "" {
		return ""
	}
	target, old := chance.Rate{Of: r.compared}, chance.Rate{Of: r.twice}
	for at, d := range r.differences {
		if at.path == path {
			target.Count += d.count // of one answer there is one kind at a place, or nearly
		}
	}
	if n := r.noise[path]; n != nil {
		target.Count, old.Count = target.Count+n.left, n.own
	}
	target.Count = min(target.Count, target.Of)
	return chance.Compare(target, old).String()
}

// baseline returns what the report says of the old build; nil: there was none.
func (s *Summary) baseline() *Baseline {
	if s.run.Baseline == "" && s.second == nil {
		return nil
	}
	b := &Baseline{Target: s.run.Baseline, Noise: s.run.Noise, Uncompared: map[string]int64{}, Places: []Noise{}}
	if o := s.second; o != nil {
		b.Compared, b.Twice, b.Service = o.compared, o.twice, percentiles(o.service)
		b.Recorded = answers(&o.recorded)
		for reason, n := range o.uncompared {
			b.Uncompared[reason] = n
		}
	}
	for name, r := range s.byRoute {
		for path, n := range r.noise {
			b.Places = append(b.Places, Noise{name, path, n.own, r.twice, n.left})
		}
	}
	slices.SortFunc(b.Places, func(a, b Noise) int {
		return cmp.Or(cmp.Compare(b.Own+b.Left, a.Own+a.Left), cmp.Compare(a.Route, b.Route), cmp.Compare(a.Path, b.Path))
	})
	return b
}

// baselineLines are what a report says of the old build.
func (r *Report) baselineLines(line liner) {
	b := r.Baseline
	if b == nil {
		return
	}
	text := fmt.Sprintf("%s   compared %s   not compared %s", Printable(b.Target), Number(b.Compared), counted(b.Uncompared))
	if b.Service != (Percentiles{}) {
		text += fmt.Sprintf("   (p50 %s, p99 %s)", millis(b.Service.P50), millis(b.Service.P99))
	}
	line("baseline", "%s", text)
	if a := b.Recorded; a.compared() > 0 {
		line("recorded", "%s", a.text())
	}
	if b.Noise == "" {
		return
	}
	line("noise", "%s   %s of the old build", Printable(b.Noise), Count(b.Twice, "pair"))
	for i, n := range b.Places {
		if i == shownDifferences {
			line("", "… %s more", Count(int64(len(b.Places)-i), "place"))
			break
		}
		line("", "%s   %s differs from itself in %s of %s   left out %s", Printable(n.Route), Printable(trimPath(n.Path)), Number(n.Own), Number(n.Twice), Number(n.Left))
	}
}

// chanceText is what the test says of a difference, for people.
func chanceText(answer string) string {
	switch answer {
	case chance.Chance.String():
		return "   no more than noise"
	case chance.Few.String():
		return "   too few to tell from noise"
	}
	return ""
}
