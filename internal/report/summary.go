// Package report adds outcomes up: what became of a run's exchanges, how well the schedule was kept, how the target did
// and where its answers differ. A Summary collects, a Report is what is told: text for people, JSON for programs.
package report

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/reprise-io/reprise/internal/paths"
	"github.com/reprise-io/reprise/internal/traffic"
)

// Bounds of what a Summary holds.
const (
	maxRoutes      = 200 // told apart; the rest is one route
	maxDifferences = 50  // of a route
	maxBadRecords  = 100
	maxReasons     = 64
)

// OtherRoute is the route of all that came after maxRoutes different ones.
const OtherRoute = "other"

// histogramTop is the longest time that is told apart, in µs.
const histogramTop = int64(24 * time.Hour / time.Microsecond)

// Run is what is known of a run before it begins.
type Run struct {
	Name       string
	Generation uint32
	Live       bool
	Target     string
	Speed      float64 // asked; 0: as fast as it can
	Profile    string  // how it is to change; empty: not at all
	Partitions int
	Clones     int // copies of each exchange; 0: 1
	// Baseline and Noise are where the old build runs, and the copy that is asked a second time, as host:port; empty: nowhere.
	Baseline, Noise string
	// SentLateAfter is how much after its due time a request counts as sent late. 0: 1 s.
	SentLateAfter time.Duration
}

// Summary adds outcomes up. It is safe for concurrent use.
type Summary struct {
	routes paths.Templates

	mu  sync.Mutex
	run Run

	results  [traffic.BadRecord + 1]int64
	reasons  [traffic.BadRecord + 1]map[string]int64
	statuses map[int]int64
	verdicts [traffic.BodyChanged + 1]int64
	bad      []BadRecord

	captured, fired    span
	pace               pace
	sentLate           int64
	lateness, intended *hdrhistogram.Histogram
	service, recorded  *hdrhistogram.Histogram
	byRoute            map[string]*route
	second             *secondOpinion // nil: there was none
	key                []byte         // scratch of route
	resumed            int64
	started            time.Time
	judged, errors     atomic.Int64 // what tells how the target is
}

// span is the earliest and the latest of some moments.
type span struct{ first, last time.Time }

func (s *span) add(t time.Time) {
	if t.IsZero() {
		return
	}
	if s.first.IsZero() || t.Before(s.first) {
		s.first = t
	}
	if t.After(s.last) {
		s.last = t
	}
}

// pace is how fast the loop under way goes by what was recorded: clones come later by their jitter.
type pace struct {
	loop            uint32
	captured, fired span
}

func (p *pace) add(o *traffic.Outcome) {
	if o.Clone > 0 || o.Loop < p.loop {
		return
	}
	if o.Loop > p.loop {
		*p = pace{loop: o.Loop}
	}
	p.captured.add(o.CaptureTime)
	p.fired.add(o.FireTime)
}

func (s span) length() time.Duration { return s.last.Sub(s.first) }

// route is what is known of one method and path template.
type route struct {
	fired, failed              int64
	statusChanged, bodyChanged int64
	compared                   int64
	service, recorded          *hdrhistogram.Histogram
	differences                map[place]*difference
	twice                      int64 // pairs of the old build's answers
	noise                      map[string]*noiseAt
}

type place struct {
	path string
	kind traffic.DifferenceKind
}

type difference struct {
	count         int64
	recorded, got string
	exchange      traffic.ID
}

// NewSummary returns an empty summary of a run that starts at the given moment.
func NewSummary(run Run, started time.Time) *Summary {
	if run.SentLateAfter <= 0 {
		run.SentLateAfter = time.Second
	}
	return &Summary{
		run: run, started: started,
		lateness: precise(), intended: precise(), service: precise(), recorded: precise(),
	}
}

// precise keeps three digits in a quarter of a megabyte; coarse two digits in a tenth of that.
func precise() *hdrhistogram.Histogram { return hdrhistogram.New(1, histogramTop, 3) }
func coarse() *hdrhistogram.Histogram  { return hdrhistogram.New(1, histogramTop, 2) }

// Route returns the route that an outcome of this request belongs to, for Outcome.Route.
func (s *Summary) Route(target []byte) string { return s.routes.Template(target) }

// Count adds exchanges that were left out without an outcome of their own.
func (s *Summary) Count(result traffic.Result, reason string, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results[result] += n
	s.reason(result, reason, n)
}

// Resumed counts exchanges that an earlier start of this run had finished.
func (s *Summary) Resumed(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resumed += n
}

func (s *Summary) reason(result traffic.Result, reason string, n int64) {
	if reason == "" {
		return
	}
	m := s.reasons[result]
	if m == nil {
		m = make(map[string]int64)
		s.reasons[result] = m
	}
	if _, ok := m[reason]; !ok && len(m) >= maxReasons {
		reason = "other"
	}
	m[reason] += n
}

// Add takes outcomes in, in any order. It keeps nothing of them but copies.
func (s *Summary) Add(outcomes ...*traffic.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range outcomes {
		s.add(o)
	}
}

func (s *Summary) add(o *traffic.Outcome) {
	if int(o.Result) >= len(s.results) {
		return
	}
	s.results[o.Result]++
	s.reason(o.Result, o.Reason, 1)
	if o.Result == traffic.BadRecord && len(s.bad) < maxBadRecords {
		reason := o.Detail
		if reason == "" {
			reason = o.Reason
		}
		s.bad = append(s.bad, BadRecord{o.Partition, o.Offset, reason})
	}
	if o.Result != traffic.Fired && o.Result != traffic.Failed {
		return
	}
	s.captured.add(o.CaptureTime)
	s.fired.add(o.FireTime)
	s.pace.add(o)
	r := s.route(o)
	late := o.Lateness()
	if !o.DueTime.IsZero() && !o.FireTime.IsZero() {
		record(s.lateness, late)
		if late > s.run.SentLateAfter {
			s.sentLate++
		}
	}
	if o.Result == traffic.Failed {
		r.failed++
		return
	}
	r.fired++
	if s.statuses == nil {
		s.statuses = make(map[int]int64)
	}
	if _, ok := s.statuses[o.Status]; ok || len(s.statuses) < 1000 {
		s.statuses[o.Status]++
	}
	record(s.service, o.Duration)
	record(r.service, o.Duration)
	if !o.DueTime.IsZero() {
		record(s.intended, max(0, late)+o.Duration)
	}
	if o.RecordedDuration > 0 {
		record(s.recorded, o.RecordedDuration)
		if r.recorded == nil {
			r.recorded = coarse()
		}
		record(r.recorded, o.RecordedDuration)
	}
	s.judge(o, r)
	if o.Baseline != nil {
		s.beside(o.Baseline, r)
	}
}

func (s *Summary) judge(o *traffic.Outcome, r *route) {
	if int(o.Verdict) >= len(s.verdicts) {
		return
	}
	s.verdicts[o.Verdict]++
	switch o.Verdict {
	case traffic.Same:
		r.compared++
	case traffic.StatusChanged:
		r.compared++
		r.statusChanged++
	case traffic.BodyChanged:
		r.compared++
		r.bodyChanged++
	}
	for i := range o.Differences {
		d := &o.Differences[i]
		at := place{d.Path, d.Kind}
		known := r.differences[at]
		if known == nil {
			if len(r.differences) == maxDifferences {
				continue
			}
			if r.differences == nil {
				r.differences = make(map[place]*difference)
			}
			known = &difference{recorded: string(d.Recorded), got: string(d.Got), exchange: o.ExchangeID}
			r.differences[at] = known
		}
		known.count++
	}
}

func (s *Summary) route(o *traffic.Outcome) *route {
	s.key = append(append(append(s.key[:0], o.Method...), ' '), o.Route...)
	if r := s.byRoute[string(s.key)]; r != nil {
		return r
	}
	key := string(s.key)
	if s.byRoute == nil {
		s.byRoute = make(map[string]*route)
	}
	if len(s.byRoute) >= maxRoutes {
		s.regroup()
		if key = s.routes.Again(key); s.byRoute[key] == nil && len(s.byRoute) >= maxRoutes {
			key = OtherRoute
		}
		if r := s.byRoute[key]; r != nil {
			return r
		}
	}
	r := &route{service: coarse()}
	s.byRoute[key] = r
	return r
}

// regroup joins the routes that turned out to be one.
func (s *Summary) regroup() {
	for key, r := range s.byRoute {
		if now := s.routes.Again(key); now != key {
			delete(s.byRoute, key)
			if into := s.byRoute[now]; into != nil {
				into.merge(r)
			} else {
				s.byRoute[now] = r
			}
		}
	}
}

func (r *route) merge(from *route) {
	r.fired += from.fired
	r.failed += from.failed
	r.statusChanged += from.statusChanged
	r.bodyChanged += from.bodyChanged
	r.compared += from.compared
	r.service.Merge(from.service)
	if r.recorded == nil {
		r.recorded = from.recorded
	} else if from.recorded != nil {
		r.recorded.Merge(from.recorded)
	}
	r.mergeNoise(from)
	for at, d := range from.differences {
		switch known := r.differences[at]; {
		case known != nil:
			known.count += d.count
		case r.differences == nil:
			r.differences = map[place]*difference{at: d}
		case len(r.differences) < maxDifferences:
			r.differences[at] = d
		}
	}
}

func record(h *hdrhistogram.Histogram, d time.Duration) {
	us := min(max(0, int64((d+500)/time.Microsecond)), histogramTop)
	_ = h.RecordValue(us) // cannot be out of range
}

// Counts is how a run stands, for a line of progress.
type Counts struct {
	Fired, Failed, Skipped, Refused, Late, Bad int64
	LatenessP50, LatenessP99                   time.Duration
	TargetP50, TargetP99                       time.Duration
	LastCapture                                time.Time
	Statuses                                   []StatusCount // most first
}

// StatusCount is how many answers had a status.
type StatusCount struct {
	Status int
	Count  int64
}

// Counts returns how the run stands.
func (s *Summary) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	statuses := make([]StatusCount, 0, len(s.statuses))
	for status, n := range s.statuses {
		statuses = append(statuses, StatusCount{status, n})
	}
	slices.SortFunc(statuses, func(a, b StatusCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Status, b.Status))
	})
	return Counts{
		Statuses: statuses,
		Fired:    s.results[traffic.Fired], Failed: s.results[traffic.Failed], Skipped: s.results[traffic.Skipped],
		Refused: s.results[traffic.Refused], Late: s.results[traffic.Late], Bad: s.results[traffic.BadRecord],
		LatenessP50: quantile(s.lateness, 50), LatenessP99: quantile(s.lateness, 99),
		TargetP50: quantile(s.service, 50), TargetP99: quantile(s.service, 99),
		LastCapture: s.captured.last,
	}
}

// Captured returns the first and the last capture time of what was sent; zero when nothing was.
func (s *Summary) Captured() (first, last time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pace.captured.first, s.pace.captured.last
}

// Achieved returns the speed so far: captured time, without what was shortened of it, to the time it took. 0: too few
// requests to tell.
func (s *Summary) Achieved(shortened time.Duration) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.speed(shortened).Achieved
}

func quantile(h *hdrhistogram.Histogram, percent float64) time.Duration {
	return time.Duration(h.ValueAtQuantile(percent)) * time.Microsecond
}
