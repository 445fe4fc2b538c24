package report

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/reprise-io/reprise/internal/traffic"
)

// Report is what is told about a run. Its JSON names are stable: fields may be added, none changes its meaning. Times
// ending in _ms are milliseconds with fractions.
type Report struct {
	Run        string    `json:"run"`
	Generation uint32    `json:"generation"` // counts --restart, from 1
	Live       bool      `json:"live,omitempty"`
	State      string    `json:"state"`                // "finished", "stopped", "failed", "running"
	StoppedBy  string    `json:"stopped_by,omitempty"` // what ended it before its end: a command, a guard, a limit, an error
	Target     string    `json:"target"`               // host:port
	Started    time.Time `json:"started"`
	Ended      time.Time `json:"ended"`
	Window     Window    `json:"window"`

	Clones     int              `json:"clones,omitempty"`   // copies of each exchange that were sent; every copy counts below
	Loops      int              `json:"loops,omitempty"`    // times that the window was begun
	Read       int64            `json:"read"`               // records, whatever became of them
	Fired      int64            `json:"fired"`              // a whole answer came, whatever its status
	Skipped    map[string]int64 `json:"skipped"`            // left out by a rule
	Refused    map[string]int64 `json:"refused"`            // left out by a safety guard
	Failed     map[string]int64 `json:"failed"`             // tried, and no whole answer came
	Late       int64            `json:"late"`               // left out because late or stale
	LateWhy    map[string]int64 `json:"late_by_reason"`     // of those
	SentLate   int64            `json:"sent_late"`          // sent more than a second after it was due
	Reordered  int64            `json:"reordered"`          // left the look-ahead before its turn was certain
	Resumed    int64            `json:"resumed"`            // finished by an earlier start of this run
	Gone       int64            `json:"gone"`               // offsets of the run that were not in Kafka any more (--on-data-loss skip)
	GivenUp    int64            `json:"given_up"`           // committed and not fired (--delivery at-most-once)
	Sessions   *Sessions        `json:"sessions,omitempty"` // absent: no request depended on an answer
	Rules      []RuleCount      `json:"rules,omitempty"`    // what each filter of the rules file has decided
	BadRecords []BadRecord      `json:"bad_records"`        // the first hundred
	BadTotal   int64            `json:"bad_records_total"`  // all of them

	Failure    string      `json:"failure,omitempty"`    // why a run has failed that came to its end: not one request of all its processes had an answer
	Thresholds []Judgement `json:"thresholds,omitempty"` // of --fail-on, judged over all processes of the run; absent: it had not come to its end
	Processes  int         `json:"processes,omitempty"`  // that they were judged over: replicas, and earlier starts
	Unheard    int         `json:"unheard,omitempty"`    // of those, that ended without a last word: some of what they sent is not judged

	Limits    *Limits     `json:"limits,omitempty"` // what was to spare the target; absent: nothing was
	Speed     Speed       `json:"speed"`
	Profile   string      `json:"profile,omitempty"`  // how the speed was to change
	Commands  []Command   `json:"commands,omitempty"` // that changed it
	LimitedBy string      `json:"limited_by"`         // "nothing", "target …", "reading …", "replayer …"
	Lateness  Percentiles `json:"lateness_ms"`        // fire time - due time
	Answered  Percentiles `json:"target_ms"`          // from the due time to the answer's last byte
	Service   Percentiles `json:"service_ms"`         // from the fire time to the answer's last byte
	Recorded  Percentiles `json:"recorded_ms"`        // production's, request's first byte to answer's last

	Statuses    map[string]int64 `json:"statuses"`
	Answers     Answers          `json:"answers"`
	Baseline    *Baseline        `json:"baseline,omitempty"`  // absent: answers were compared with the recorded ones
	NoiseRun    string           `json:"noise_run,omitempty"` // the run that differences are held against (inspect report --noise)
	Routes      []Route          `json:"routes"`              // by number of answers, most first
	Differences []Difference     `json:"differences"`         // by count, most first
}

// Window is what was replayed: the capture times of what was sent, and in how many partitions it was recorded.
type Window struct {
	From       time.Time `json:"from"`
	To         time.Time `json:"to"`
	Partitions int       `json:"partitions"`
}

// RuleCount is how many exchanges a filter of the rules file has decided about.
type RuleCount struct {
	List    string `json:"list"` // "include" or "exclude"
	Rule    string `json:"rule"` // its name, else its place in the list, from 1
	Decided uint64 `json:"decided"`
}

// BadRecord is a record that could not be read.
type BadRecord struct {
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Reason    string `json:"reason"`
}

// Speed is replayed time to captured time.
type Speed struct {
	Asked     float64 `json:"asked"`      // in the mean, when it changes; 0: as fast as it can
	Achieved  float64 `json:"achieved"`   // 0: too few requests to tell
	PerSecond float64 `json:"per_second"` // requests sent a second
}

// Percentiles are in milliseconds; all zero when there is nothing to tell.
type Percentiles struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// Answers counts the verdicts.
type Answers struct {
	Same          int64 `json:"same"`
	StatusChanged int64 `json:"status_changed"`
	BodyChanged   int64 `json:"body_changed"`
	NoBaseline    int64 `json:"no_baseline"`
}

// Route is one method and path template.
type Route struct {
	Route         string      `json:"route"` // "GET /items/{id}"
	Fired         int64       `json:"fired"`
	Failed        int64       `json:"failed"`
	Compared      int64       `json:"compared"`
	StatusChanged int64       `json:"status_changed"`
	BodyChanged   int64       `json:"body_changed"`
	Service       Percentiles `json:"service_ms"`
	Recorded      Percentiles `json:"recorded_ms"`
}

// Difference is one place where a route's answers are not the recorded ones.
type Difference struct {
	Route    string  `json:"route"`
	Path     string  `json:"path"`
	Kind     string  `json:"kind"` // "value", "type", "missing", "extra"
	Count    int64   `json:"count"`
	Compared int64   `json:"compared"`         // answers of the route that could be compared
	Chance   string  `json:"chance,omitempty"` // is it more often than the old build differs from itself, or than in the run of --noise: "more", "chance" (no), "few" (too few to tell); absent: not asked
	Example  Example `json:"example"`
}

// Example is one difference with the exchange that showed it.
type Example struct {
	Recorded string `json:"recorded,omitempty"` // or the old build's
	Got      string `json:"got,omitempty"`
	Exchange string `json:"exchange"`
}

// Command is one that was given while the run went on.
type Command struct {
	At       time.Time `json:"at"` // when it was in force
	Verb     string    `json:"verb"`
	Argument string    `json:"argument,omitempty"`
	By       string    `json:"by"`
}

// Sessions is what became of what the target gave its sessions.
type Sessions struct {
	Extracted    uint64 `json:"extracted"`     // values taken from its answers
	Changed      uint64 `json:"changed"`       // requests that were sent with them, or with its cookies
	Missing      uint64 `json:"missing"`       // requests for which a value had not come
	TimedOut     uint64 `json:"timed_out"`     // of them those that waited for it
	Evicted      uint64 `json:"evicted"`       // sessions that were forgotten for want of room
	Lost         uint64 `json:"lost"`          // sessions that went to another replica, which knows nothing of them
	TakenUp      uint64 `json:"taken_up"`      // partitions that came in their middle, of whose sessions nothing was known
	Tokens       uint64 `json:"tokens"`        // got from where the rules say
	TokensFailed uint64 `json:"tokens_failed"` // times that this failed
}

// End is what only the end of a run tells.
type End struct {
	State     string
	StoppedBy string // empty: nothing, or somebody interrupted it
	LimitedBy string // empty: nothing
	Read      int64
	Reordered int64
	Gone      int64
	GivenUp   int64
	Sessions  *Sessions
	Rules     []RuleCount
	Time      time.Time
	Asked     float64 // the speed that the schedule asked for in the mean; 0: the run's
	Commands  []Command
	Loops     int           // that were begun, where there can be several
	Limits    *Limits       // nil: there were none
	Shortened time.Duration // captured time that the schedule left out, between what was sent
}

// Report returns what is known by now.
func (s *Summary) Report(end End) *Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.regroup()
	r := &Report{
		Run: s.run.Name, Generation: s.run.Generation, Live: s.run.Live, State: end.State, StoppedBy: end.StoppedBy, Target: s.run.Target,
		Started: s.started.UTC(), Ended: end.Time.UTC(),
		Clones: s.clones(), Loops: end.Loops,
		Window: Window{s.captured.first.UTC(), s.captured.last.UTC(), s.run.Partitions},
		Read:   end.Read, Fired: s.results[traffic.Fired],
		Skipped: s.why(traffic.Skipped), Refused: s.why(traffic.Refused), Failed: s.why(traffic.Failed),
		Late: s.results[traffic.Late], LateWhy: s.why(traffic.Late), SentLate: s.sentLate,
		Reordered: end.Reordered, Resumed: s.resumed, Gone: end.Gone, GivenUp: end.GivenUp, Sessions: end.Sessions, Rules: end.Rules,
		BadRecords: append([]BadRecord{}, s.bad...), BadTotal: s.results[traffic.BadRecord],
		Speed: s.speed(end.Shortened), LimitedBy: cmp.Or(end.LimitedBy, "nothing"),
		Lateness: percentiles(s.lateness), Answered: percentiles(s.intended),
		Service: percentiles(s.service), Recorded: percentiles(s.recorded),
		Statuses: make(map[string]int64, len(s.statuses)),
		Answers:  answers(&s.verdicts),
		Routes:   []Route{}, Differences: []Difference{}, Profile: s.run.Profile, Commands: end.Commands,
		Limits: end.Limits, Baseline: s.baseline(),
	}
	if end.Asked > 0 {
		r.Speed.Asked = end.Asked
	}
	for status, n := range s.statuses {
		r.Statuses[strconv.Itoa(status)] = n
	}
	for name, at := range s.byRoute {
		r.Routes = append(r.Routes, Route{
			name, at.fired, at.failed, at.compared, at.statusChanged, at.bodyChanged,
			percentiles(at.service), percentiles(at.recorded),
		})
		for p, d := range at.differences {
			r.Differences = append(r.Differences, Difference{
				name, p.path, p.kind.String(), d.count, at.compared, s.test(at, p.path),
				Example{d.recorded, d.got, d.exchange.String()},
			})
		}
	}
	slices.SortFunc(r.Routes, func(a, b Route) int {
		return cmp.Or(cmp.Compare(b.Fired, a.Fired), cmp.Compare(a.Route, b.Route))
	})
	slices.SortFunc(r.Differences, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Route, b.Route),
			cmp.Compare(a.Path, b.Path), cmp.Compare(a.Kind, b.Kind))
	})
	return r
}

func answers(by *[traffic.BodyChanged + 1]int64) Answers {
	return Answers{by[traffic.Same], by[traffic.StatusChanged], by[traffic.BodyChanged], by[traffic.NoBaseline]}
}

func (s *Summary) clones() int {
	if s.run.Clones == 1 {
		return 0
	}
	return s.run.Clones
}

// why returns the counts by reason; what has none counts as "other".
func (s *Summary) why(result traffic.Result) map[string]int64 {
	m := make(map[string]int64, len(s.reasons[result]))
	rest := s.results[result]
	for reason, n := range s.reasons[result] {
		m[reason] = n
		rest -= n
	}
	if rest > 0 {
		m["other"] += rest
	}
	return m
}

func (s *Summary) speed(shortened time.Duration) Speed {
	speed := Speed{Asked: s.run.Speed}
	if wall := s.fired.length().Seconds(); wall > 0 {
		speed.PerSecond = float64(s.results[traffic.Fired]+s.results[traffic.Failed]) / wall
	}
	if wall := s.pace.fired.length().Seconds(); wall > 0 {
		speed.Achieved = (s.pace.captured.length() - shortened).Seconds() / wall
	}
	return speed
}

func percentiles(h *hdrhistogram.Histogram) Percentiles {
	if h == nil || h.TotalCount() == 0 {
		return Percentiles{}
	}
	ms := func(us int64) float64 { return float64(us) / 1000 }
	return Percentiles{
		ms(h.ValueAtQuantile(50)), ms(h.ValueAtQuantile(99)), ms(h.ValueAtQuantile(99.9)), ms(h.Max()),
	}
}

// JSON returns the report as one line.
func (r *Report) JSON() []byte {
	b, err := json.Marshal(r)
	if err != nil {
		// Speeds are the only floats and are finite; nothing else can fail.
		return []byte(`{"run":` + strconv.Quote(r.Run) + `}`)
	}
	return b
}

// Parse reads what JSON wrote.
func Parse(b []byte) (*Report, error) {
	r := new(Report)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, err
	}
	return r, nil
}

// Total sums counts by reason.
func Total(byReason map[string]int64) int64 {
	var n int64
	for _, c := range byReason {
		n += c
	}
	return n
}
