package tap

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/topic"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// Change is what a command says: a verb with its argument.
type Change struct{ Verb, Argument string }

// Changes collects commands for taps, each checked when it is added.
type Changes []Change

// Add adds a change of one of the Settings. Errors are *fault.Error with code Usage.
func (c *Changes) Add(verb, argument string) error {
	var s Settings
	if err := s.set(verb, argument); err != nil {
		return err
	}
	*c = append(*c, Change{verb, s.argument(verb)})
	return nil
}

// AddFilters adds a change of "include" or "exclude" to these filters; none takes all away.
func (c *Changes) AddFilters(verb string, filters []string) error {
	return c.Add(verb, listArgument(filters))
}

// Reset adds that all commands given before are forgotten. It counts before the others.
func (c *Changes) Reset() { *c = slices.Insert(*c, 0, Change{Verb: control.VerbReset}) }

// SetOptions say what is set, and where.
type SetOptions struct {
	Topic   topic.Config
	Names   topic.Names
	Tap     string  // a name, an id or the beginning of one, or control.AllTaps
	Changes Changes // none: only look
	Stored  bool    // also when no such tap is there: for those that start later
	Wait    time.Duration
	Writer  string // "host/user"
}

// Answer is what a tap says of itself.
type Answer struct {
	ID         string   `json:"tap"`
	Name       string   `json:"name,omitempty"`
	Source     string   `json:"source"`
	Host       string   `json:"host"`
	Capture    bool     `json:"capture"`
	Sample     string   `json:"sample"`
	Include    []string `json:"include"`
	Exclude    []string `json:"exclude"`
	RateLimit  float64  `json:"rate_limit"` // 0: no limit
	ByCommand  []string `json:"by_command"` // which of these a command has set
	Obeys      bool     `json:"obeys"`      // it has confirmed what was set, or nothing was
	AfterMilli *int64   `json:"after_ms,omitempty"`

	// OffByItself is why capture is off although Capture says on: "cpu" or "memory", or "rules": their file is bad.
	OffByItself string `json:"off_by_itself,omitempty"`
	RulesFlaw   string `json:"rules_flaw,omitempty"` // what is wrong with the rules file
}

// OffByRules is Answer.OffByItself of a tap without good rules: it records nothing.
const OffByRules = "rules"

// liveFor is how long after its last report a tap counts as running: it reports every 10 s.
const liveFor = 3 * reportEvery

// Set writes commands to taps and waits until those that run have confirmed them. It returns what the taps that it names
// say, also with an error. That is a *fault.Error: of code Failure when no such tap runs, and nothing is written then unless
// Stored is set; of code Incomplete when a tap has not confirmed in time, for which the command stands nevertheless.
func Set(ctx context.Context, o SetOptions) ([]Answer, error) {
	s := &setting{SetOptions: o, after: make(map[string]time.Duration)}
	err := topic.Ask(ctx, o.Topic, o.Names.Control, topic.Question{
		Each: func(r *topic.Record) { s.state.Apply(r.Offset, r.Time, r.Key, r.Value) },
		Put:  s.begin, Answered: s.confirmed, Wait: o.Wait,
	})
	if err != nil {
		return nil, err
	}
	return s.result()
}

// setting is a Set under way.
type setting struct {
	SetOptions
	state   control.State
	named   []*control.Tap // those that are set, as they reported when it began
	last    int64          // offset of the last command
	written time.Time
	after   map[string]time.Duration // when each has confirmed, by id
}

// begin finds the taps and writes the commands.
func (s *setting) begin(ctx context.Context) error {
	running := live(s.state.Taps(), time.Now())
	selector, named, err := choose(s.Tap, running)
	if err != nil {
		return err
	}
	if len(named) == 0 && !s.Stored {
		return nobody(s.Tap, s.state.Taps(), running)
	}
	s.named, s.written = named, time.Now()
	if len(s.Changes) == 0 {
		return nil
	}
	by := control.Author{Writer: s.Writer, Time: s.written}
	records := make([]*topic.Record, 0, len(s.Changes))
	for _, c := range s.Changes {
		r := by.Command(&reprisev1.Command{Tap: selector, Verb: c.Verb, Argument: c.Argument})
		records = append(records, &topic.Record{Key: []byte(r.Key), Value: r.Value, Time: s.written})
	}
	offsets, err := topic.Produce(ctx, s.Topic, s.Names.Control, records...)
	if err != nil {
		return err
	}
	s.last = slices.Max(offsets)
	return nil
}

// live returns the taps that run, as far as their reports tell. One whose place another one has taken since, listening on
// the same address of the same machine, is not among them.
func live(all []*control.Tap, now time.Time) []*control.Tap {
	var running []*control.Tap
	for _, t := range all {
		if t.Report.GetFinal() || now.Sub(t.Time) > liveFor {
			continue
		}
		replaced := slices.ContainsFunc(all, func(other *control.Tap) bool {
			return other.Report.GetStartedUnixNano() > t.Report.GetStartedUnixNano() &&
				other.Report.GetHostId() == t.Report.GetHostId() &&
				slices.ContainsFunc(other.Report.GetListen(), func(a string) bool { return slices.Contains(t.Report.GetListen(), a) })
		})
		if !replaced {
			running = append(running, t)
		}
	}
	return running
}

// minPrefix is how much of an id must be given.
const minPrefix = 4

// choose returns the taps that a selector names, and the selector in full. None is no error.
func choose(selector string, running []*control.Tap) (full string, named []*control.Tap, err error) {
	if selector != control.AllTaps && (selector == "" || !control.CheckTapName(selector)) {
		return "", nil, fault.BadUsage(fmt.Sprintf("bad --tap %q", selector), "", "a tap's name or id, or * for all")
	}
	for _, t := range running {
		if control.Selects(selector, idOf(t), t.Report.GetName()) {
			named = append(named, t)
		}
	}
	if len(named) > 0 || len(selector) < minPrefix {
		return selector, named, nil
	}
	for _, t := range running {
		if strings.HasPrefix(idOf(t), selector) {
			full, named = idOf(t), append(named, t)
		}
	}
	switch len(named) {
	case 0:
		return selector, nil, nil
	case 1:
		return full, named, nil
	}
	return "", nil, fault.BadUsage(fmt.Sprintf("--tap %s begins the ids of %d taps", selector, len(named)), "", "more of the id")
}

func idOf(t *control.Tap) string { return hex.EncodeToString(t.Report.GetTapId()) }

// nobody is the error for a selector that names no tap that runs.
func nobody(selector string, known, running []*control.Tap) error {
	what := fmt.Sprintf("no tap named %s runs; nothing was set", selector)
	if selector == control.AllTaps {
		what = "no tap runs; nothing was set"
	}
	f := fault.New(what, "no tap has reported yet", "--stored to set it for taps that start later")
	if len(known) > 0 {
		f.Cause = fmt.Sprintf("none has reported within %s", liveFor)
		if newest := slices.MaxFunc(known, func(a, b *control.Tap) int { return a.Time.Compare(b.Time) }); len(running) == 0 {
			f.Cause += fmt.Sprintf("; the last was %s at %s", display(newest), newest.Time.Local().Format(time.DateTime))
		}
	}
	if len(running) > 0 {
		var there, names []string
		for i, t := range running {
			if i < 10 {
				there = append(there, display(t)+" on "+t.Report.GetHost())
			}
			names = append(names, strings.ToLower(t.Report.GetName()))
		}
		f.Cause = "taps there: " + strings.Join(there, ", ")
		if len(running) > len(there) {
			f.Cause += fmt.Sprintf(" and %d more", len(running)-len(there))
		}
		if near, ok := fault.Nearest(selector, names); ok {
			f.Try = "--tap " + near + ", or " + f.Try
		}
	}
	return f
}

// display is how people know a tap: by its name, else by the beginning of its id.
func display(t *control.Tap) string {
	if name := t.Report.GetName(); name != "" {
		return name
	}
	return fmt.Sprintf("%.4x", t.Report.GetTapId())
}

// confirmed notes which taps have obeyed, and reports whether all have.
func (s *setting) confirmed() bool {
	if len(s.Changes) == 0 {
		return true
	}
	reports := make(map[string]*control.Tap)
	for _, t := range s.state.Taps() {
		reports[idOf(t)] = t
	}
	all := true
	for _, t := range s.named {
		if _, known := s.after[idOf(t)]; known {
			continue
		}
		if now := reports[idOf(t)]; now != nil && now.Report.GetSettings().GetObeyedBelow() > s.last {
			s.after[idOf(t)] = time.Since(s.written)
		} else {
			all = false
		}
	}
	return all
}

// result is what the taps say in the end.
func (s *setting) result() ([]Answer, error) {
	states := []Answer{}
	var silent []string
	for _, t := range s.state.Taps() {
		if !slices.ContainsFunc(s.named, func(n *control.Tap) bool { return idOf(n) == idOf(t) }) {
			continue
		}
		state := answerOf(t)
		after, obeys := s.after[idOf(t)]
		if obeys {
			milli := after.Milliseconds()
			state.AfterMilli = &milli
		}
		state.Obeys = obeys || len(s.Changes) == 0
		if !state.Obeys {
			silent = append(silent, display(t)+" on "+t.Report.GetHost())
		}
		states = append(states, state)
	}
	if len(silent) > 0 {
		return states, &fault.Error{
			What:  fmt.Sprintf("%d of %d taps did not confirm within %s", len(silent), len(states), s.Wait),
			Cause: strings.Join(silent, ", ") + ": stopped without a word, cut off from Kafka, or of an older version",
			Try:   "tap set to look again: the command stands, and a tap obeys as soon as it reads it", Code: fault.Incomplete,
		}
	}
	return states, nil
}

func answerOf(t *control.Tap) Answer {
	r, s := t.Report, t.Report.GetSettings()
	state := Answer{
		ID: idOf(t), Name: r.GetName(), Source: r.GetSource(), Host: r.GetHost(), Capture: s.GetCapture(), Sample: s.GetSample(),
		Include: append([]string{}, s.GetInclude()...), Exclude: append([]string{}, s.GetExclude()...), RateLimit: s.GetRateLimit(),
		ByCommand: []string{}, OffByItself: r.GetSelfProtection().GetCause(),
		RulesFlaw: r.GetRules().GetFlaw(),
	}
	if r.GetRules().GetUnknown() {
		state.OffByItself = OffByRules
	}
	for _, c := range s.GetByCommand() {
		state.ByCommand = append(state.ByCommand, c.GetCommand().GetVerb())
	}
	return state
}
