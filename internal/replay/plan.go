package replay

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/sample"
	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

const (
	planSamples    = 5
	maxPlanSeconds = 1 << 20 // seconds of captured time that are told apart when looking for the peak
	maxPlanRoutes  = 200
)

// Plan is what a run with the same options would do. Its JSON names are stable.
type Plan struct {
	Target  string `json:"target"`
	Allowed bool   `json:"allowed"`           // a run would be let through to the target
	Refusal string `json:"refusal,omitempty"` // why not
	Try     string `json:"try,omitempty"`

	Sample     string             `json:"sample,omitempty"` // share of the recorded sessions that would be sent; absent: all
	Clones     int                `json:"clones"`           // copies of each exchange; every copy counts below
	Loops      int                `json:"loops"`            // times that the window would be replayed; -1: until the run is stopped. All below is of one
	Read       int64              `json:"read"`
	Fire       int64              `json:"fire"`
	MaxTotal   int64              `json:"max_total,omitempty"` // after so many of those the run would stop
	Skipped    map[string]int64   `json:"skipped"`
	Refused    map[string]int64   `json:"refused"`
	Rules      []report.RuleCount `json:"rules,omitempty"` // what each filter of the rules file has decided
	BadRecords []report.BadRecord `json:"bad_records"`
	BadTotal   int64              `json:"bad_records_total"`

	Window   report.Window `json:"window"`            // capture times of what would be sent
	Speed    float64       `json:"speed"`             // 0: as fast as it can
	Seconds  float64       `json:"seconds"`           // how long it would take; 0 at full speed
	Total    float64       `json:"total_seconds"`     // all loops, with what is between them; 0 at full speed, or for ever
	PerSec   float64       `json:"per_second"`        // on average, at that speed
	Peak     float64       `json:"peak_per_second"`   // in the busiest captured second
	Profile  string        `json:"profile,omitempty"` // how the speed would change
	Curve    []PlanRate    `json:"curve"`             // how fast it would be, in at most 60 steps of equal length
	profile  schedule.Profile
	jitter   time.Duration
	Routes   []PlanRoute   `json:"routes"`   // most first
	Examples []PlanExample `json:"examples"` // the first that would be sent
}

// PlanRoute is one method and path template.
type PlanRoute struct {
	Route   string `json:"route"`
	Fire    int64  `json:"fire"`
	Refused int64  `json:"refused"`
	Reason  string `json:"reason,omitempty"` // of the first refusal
}

// PlanRate is how many requests a second would be sent from a moment of the run on.
type PlanRate struct {
	After  float64 `json:"after_seconds"`
	PerSec float64 `json:"per_second"`
}

// PlanExample is one request that would be sent.
type PlanExample struct {
	Time   time.Time `json:"time"`
	Method string    `json:"method"`
	Target string    `json:"target"`
	ID     string    `json:"id"`
}

// planner adds decisions up.
type planner struct {
	plan    *Plan
	summary *report.Summary // for its routes
	routes  map[string]*PlanRoute
	seconds map[int64]int64
	gaps    *schedule.GapFinder // nil: gaps are not shortened
	caps    []int64             // what is left of each
}

// MakePlan reads what a run with these options would read and decides as it would. It sends nothing and writes nothing.
func MakePlan(ctx context.Context, o Options) (*Plan, error) {
	if o.Run == "" {
		o.Run = "plan"
	}
	o.Live, o.planning = false, true
	if err := o.check(); err != nil {
		return nil, err
	}
	s, err := newSieve(&o)
	if err != nil {
		return nil, err
	}
	writes, err := compileWrites(o.AllowWrites)
	if err != nil {
		return nil, err
	}
	admin, err := topic.NewAdmin(o.Kafka)
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	if err := admin.Ping(ctx); err != nil {
		return nil, err
	}
	names := topic.NamesOf(o.Prefix)
	window, err := admin.Window(ctx, names.Exchanges, o.From)
	if err != nil {
		return nil, err
	}
	reg := &registry{cfg: o.Kafka, admin: admin, name: names.Control}
	if topics, err := admin.List(ctx); err != nil {
		return nil, err
	} else if slices.Contains(topics, names.Control) {
		if err := reg.catchUp(ctx); err != nil {
			return nil, err
		}
	}
	p := &planner{
		plan: &Plan{
			Clones: max(1, o.Clones), Loops: o.loops(), jitter: o.CloneJitter, Target: o.address(), Speed: o.Profile[0].From, profile: o.Profile, Skipped: map[string]int64{}, Refused: map[string]int64{},
			BadRecords: []report.BadRecord{}, Routes: []PlanRoute{}, Examples: []PlanExample{}, Curve: []PlanRate{},
			Window: report.Window{Partitions: len(window)},
		},
		summary: report.NewSummary(report.Run{}, time.Now()), routes: map[string]*PlanRoute{}, seconds: map[int64]int64{},
	}
	p.plan.MaxTotal = o.MaxTotal
	if share := o.share(); share != sample.All {
		p.plan.Sample = share.String()
	}
	for _, c := range o.Caps {
		p.caps = append(p.caps, c.Most)
	}
	if o.GapMax > 0 {
		p.gaps = schedule.NewGapFinder(o.GapMax)
	}
	if err := p.guard(ctx, &o, s, reg.production(), writes); err != nil {
		return nil, err
	}
	if s.sender != nil {
		defer s.sender.Close()
	}
	s.dresser = newDresser(&o, s, nil, new(sessionCounters))
	if err := p.read(ctx, &o, names.Exchanges, window, s); err != nil {
		return nil, err
	}
	p.plan.Rules = s.ruleCounts()
	return p.end(), nil
}

// guard asks whether the target would be let through. When it would not, the exchanges are judged as if it were.
func (p *planner) guard(ctx context.Context, o *Options, s *sieve, production []fire.Address, writes []fire.Matcher) error {
	cfg := o.guard(slices.Concat(o.Production, production), writes)
	g, err := fire.NewGuard(ctx, cfg)
	p.plan.Allowed = err == nil
	if err != nil {
		f, ok := errors.AsType[*fault.Error](err)
		if !ok {
			return err
		}
		p.plan.Refusal, p.plan.Try = f.Error(), f.Try
		cfg.Production, cfg.Allow, cfg.AllowPublic = nil, []string{o.Target.Host}, true
		if g, err = fire.NewGuard(ctx, cfg); err != nil {
			return nil //nolint:nilerr // the target is unknown altogether: what it would refuse is as well
		}
	}
	for _, other := range o.seconds() {
		if !p.plan.Allowed {
			break
		}
		also := cfg
		also.Target = other.target
		if _, err := fire.NewGuard(ctx, also); err != nil {
			f, ok := errors.AsType[*fault.Error](err)
			if !ok {
				return err
			}
			p.plan.Allowed, p.plan.Refusal, p.plan.Try = false, f.Error(), f.Try
		}
	}
	s.guard = g
	s.sender, err = fire.NewSender(o.sender(o.Target, g))
	return err
}

func (p *planner) read(ctx context.Context, o *Options, name string, window map[int32]topic.Range, s *sieve) error {
	from, to := make(map[int32]int64, len(window)), make(map[int32]int64, len(window))
	for id, r := range window {
		if r.Start < r.End {
			from[id], to[id] = r.Start, r.End
		}
	}
	if len(from) == 0 {
		return nothing(name, o.From, window)
	}
	reader, err := topic.NewAssignReader(topic.AssignConfig{Config: o.Kafka, Topic: name, From: from, To: to})
	if err != nil {
		return err
	}
	defer reader.Close()
	it := new(item)
	var decoder traffic.Decoder
	for {
		batch, err := reader.Poll(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		batch.Each(func(r *topic.Record) {
			j := s.sift(r, it, &decoder, time.Time{})
			if j.result == 0 && p.beyondCap(it.caps) {
				j = judgement{result: traffic.Refused, reason: routeCap}
			}
			p.add(r, it, j)
			if it.shot != nil {
				s.sender.Recycle(it.shot)
				it.shot = nil
			}
		})
	}
}

func (p *planner) add(r *topic.Record, it *item, j judgement) {
	p.plan.Read++
	switch j.result {
	case 0:
		p.fire(it)
	case traffic.Skipped:
		p.plan.Skipped[j.reason] += int64(p.plan.Clones)
	case traffic.Refused:
		p.plan.Refused[j.reason] += int64(p.plan.Clones)
		route := p.route(&it.x)
		route.Refused += int64(p.plan.Clones)
		if route.Reason == "" {
			route.Reason = j.reason
		}
	case traffic.BadRecord:
		p.plan.BadTotal++
		if len(p.plan.BadRecords) < 100 {
			p.plan.BadRecords = append(p.plan.BadRecords, report.BadRecord{Partition: r.Partition, Offset: r.Offset, Reason: j.detail})
		}
	}
}

// beyondCap counts an exchange and all its clones under its caps, as far as they go. Which ones of a route are within is decided
// when they are fired: the plan tells how many.
func (p *planner) beyondCap(mask uint64) bool {
	n := int64(p.plan.Clones)
	for i, left := range p.caps {
		if mask>>i&1 == 1 && left < n {
			return true
		}
	}
	for i := range p.caps {
		if mask>>i&1 == 1 {
			p.caps[i] -= n
		}
	}
	return false
}

func (p *planner) fire(it *item) {
	x := &it.x
	p.plan.Fire += int64(p.plan.Clones)
	p.route(x).Fire += int64(p.plan.Clones)
	w := &p.plan.Window
	if w.From.IsZero() || x.CaptureTime.Before(w.From) {
		w.From = x.CaptureTime
	}
	if x.CaptureTime.After(w.To) {
		w.To = x.CaptureTime
	}
	if p.gaps != nil {
		p.gaps.Add(x.CaptureTime)
	}
	second := x.CaptureTime.Unix()
	if _, known := p.seconds[second]; known || len(p.seconds) < maxPlanSeconds {
		p.seconds[second] += int64(p.plan.Clones) // those of clones are spread by their jitter
	}
	// The first ones by capture time; partitions come one after the other.
	e := PlanExample{x.CaptureTime, string(x.Request.Method), string(it.sent.Target), x.ID.String()}
	at, _ := slices.BinarySearchFunc(p.plan.Examples, e, func(a, b PlanExample) int { return a.Time.Compare(b.Time) })
	if at < planSamples {
		p.plan.Examples = slices.Insert(p.plan.Examples, at, e)
		p.plan.Examples = p.plan.Examples[:min(len(p.plan.Examples), planSamples)]
	}
}

func (p *planner) route(x *traffic.Exchange) *PlanRoute {
	key := string(x.Request.Method) + " " + p.summary.Route(x.Request.Target)
	if _, known := p.routes[key]; !known && len(p.routes) >= maxPlanRoutes {
		key = report.OtherRoute
	}
	r := p.routes[key]
	if r == nil {
		r = &PlanRoute{Route: key}
		p.routes[key] = r
	}
	return r
}

func (p *planner) end() *Plan {
	plan := p.plan
	for _, r := range p.routes {
		plan.Routes = append(plan.Routes, *r)
	}
	slices.SortFunc(plan.Routes, func(a, b PlanRoute) int {
		if d := b.Fire + b.Refused - a.Fire - a.Refused; d != 0 {
			return int(d)
		}
		return strings.Compare(a.Route, b.Route)
	})
	if !plan.profile.IsMax() && plan.Window.To.After(plan.Window.From) {
		p.rates()
	}
	return plan
}

// curveSteps is how finely a plan tells how fast it would be.
const curveSteps = 60

// rates says how long the run would take, and how fast it would be when.
func (p *planner) rates() {
	plan := p.plan
	if _, constant := plan.profile.Constant(); !constant {
		plan.Profile = plan.profile.String()
	}
	start := time.Unix(0, 0)
	var gaps schedule.Gaps
	if p.gaps != nil {
		gaps = p.gaps.Gaps()
	}
	timeline := schedule.NewTimeline(schedule.Base{Capture: plan.Window.From, Wall: start}, plan.profile)
	after := func(captured time.Time) float64 {
		at, _ := timeline.Due(gaps.Squeeze(captured))
		return at.Sub(start).Seconds()
	}
	last := plan.Window.To
	if plan.Clones > 1 {
		last = last.Add(plan.jitter)
	}
	plan.Seconds = after(last)
	if plan.Loops > 0 {
		plan.Total = float64(plan.Loops)*plan.Seconds + float64(plan.Loops-1)*headStart.Seconds()
	}
	plan.PerSec = float64(plan.Fire) / plan.Seconds
	plan.Peak = plan.PerSec
	step := max(1, plan.Seconds/curveSteps)
	sent := make([]float64, int(plan.Seconds/step)+1)
	for second, n := range p.seconds {
		from, to := after(time.Unix(second, 0)), after(time.Unix(second+1, 0))
		plan.Peak = max(plan.Peak, float64(n)/(to-from))
		// The captured second is spread over the steps that it falls in.
		from, to = max(from, 0), min(to, plan.Seconds)
		for i := int(from / step); i < len(sent) && float64(i)*step < to; i++ {
			sent[i] += float64(n) * (min(to, float64(i+1)*step) - max(from, float64(i)*step)) / max(to-from, 1e-9)
		}
	}
	for i, n := range sent {
		if width := min(step, plan.Seconds-float64(i)*step); width > step/100 {
			plan.Curve = append(plan.Curve, PlanRate{float64(i) * step, n / width})
		}
	}
}
