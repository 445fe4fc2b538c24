package inspect

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/paths"
	"github.com/reprise-io/reprise/internal/redact"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/rewrite"
	"github.com/reprise-io/reprise/internal/rules"
	"github.com/reprise-io/reprise/internal/sample"
	"github.com/reprise-io/reprise/internal/traffic"
)

// Step is what one section of a rules file would do with an exchange.
type Step struct {
	Section string   `json:"section"`
	Program string   `json:"program"` // "tap" or "replayer"
	Result  string   `json:"result"`
	Why     string   `json:"why,omitempty"`
	Details []Detail `json:"details,omitempty"`
}

// The results of a Step.
const (
	Passes  = "passes"
	Stops   = "stops"   // it goes no further
	Changes = "changes" // it goes on as another
	Depends = "depends" // on what an exchange alone does not tell
)

// Detail is one change.
type Detail struct {
	Where string `json:"where"`
	Rule  string `json:"rule,omitempty"`
	Now   string `json:"now,omitempty"` // what stands there after it; never what stood there before
}

// Explanation is what a rules file would do with an exchange, section by section. All are asked, also behind one that stops it.
type Explanation struct {
	Exchange string `json:"exchange"` // method and target, redacted
	Steps    []Step `json:"steps"`
}

// explainStage does to x what a section does, and tells it.
type explainStage func(x *traffic.Exchange) (Step, error)

// Explainer runs exchanges through the stages that a rules file speaks of.
type Explainer struct{ stages []explainStage }

// NewExplainer makes the stages in the order in which exchanges come through them. key is that of pseudonyms; nil: a random one. flags are those
// of a replayer.
func NewExplainer(ctx context.Context, f *rules.File, key []byte, flags ReplayFlags) (*Explainer, error) {
	e := new(Explainer)
	redaction, err := f.Redact.Options(f.Version, key)
	if err != nil {
		return nil, err
	}
	redactor, err := redact.New(redaction)
	if err != nil {
		return nil, err
	}
	set, err := f.Filter.Set()
	if err != nil {
		return nil, err
	}
	by, err := f.Session.By()
	if err != nil {
		return nil, err
	}
	sampling, err := explainSample(&f.Sample, session{by, redactor, redaction.Key != nil})
	if err != nil {
		return nil, err
	}
	firing, err := newFiring(ctx, f, flags)
	if err != nil {
		return nil, err
	}
	rewriting, err := firing.rewrite(&f.Rewrite)
	if err != nil {
		return nil, err
	}
	sessions, err := explainSession(&f.Session)
	if err != nil {
		return nil, err
	}
	limits, err := explainLimits(&f.Limits)
	if err != nil {
		return nil, err
	}
	e.stages = append(e.stages, explainFilter(set), sampling, explainRedact(redactor), firing.target, rewriting, firing.writes, sessions, limits)
	return e, nil
}

// Explain says what becomes of x, which it changes.
func (e *Explainer) Explain(x *traffic.Exchange) (*Explanation, error) {
	var all Explanation
	for _, stage := range e.stages {
		step, err := stage(x)
		if err != nil {
			return nil, err
		}
		all.Steps = append(all.Steps, step)
	}
	all.Exchange = report.Printable(strings.TrimSpace(string(x.Request.Method) + " " + string(x.Request.Target)))
	return &all, nil
}

func explainFilter(set *filter.Set) explainStage {
	return func(x *traffic.Exchange) (Step, error) {
		s := Step{Section: "filter", Program: "tap", Result: Passes, Why: "no filters"}
		keep, by := set.Decide(x)
		if !keep {
			s.Result = Stops
		}
		switch {
		case by.List != "":
			s.Why = by.List + " " + by.Rule + ": " + report.Printable(by.Source)
		case !keep:
			s.Why = "no include matches"
		case set != nil:
			s.Why = "no exclude matches"
		}
		return s, nil
	}
}

// session tells whose an exchange is, as the taps do.
type session struct {
	by       rewrite.Key
	redactor *redact.Redactor
	keyed    bool // with the taps' key; else only what is recorded tells
}

func (s session) of(x *traffic.Exchange) (id []byte, known bool) {
	if len(x.Session) > 0 {
		return x.Session, true
	}
	value, ok := s.by.Of(x)
	if !ok {
		value, ok = redact.SessionCookie(x)
	}
	if !ok || !s.keyed {
		return nil, false
	}
	return s.redactor.Pseudonym("session", value), true
}

func explainSample(section *rules.Sample, whose session) (explainStage, error) {
	share, by := sample.All, sample.Unit(section.By)
	if section.Rate != "" {
		var err error
		if share, err = sample.ParseShare(section.Rate); err != nil {
			return nil, err
		}
	}
	if by == "" {
		by = sample.BySession
	}
	keep, err := sample.ParseKeep(section.Keep)
	if err != nil {
		return nil, err
	}
	var templates paths.Templates
	return func(x *traffic.Exchange) (Step, error) {
		s := Step{Section: "sample", Program: "tap", Result: Passes, Why: "everything is kept"}
		if share == sample.All {
			return s, nil
		}
		s.Result, s.Why = Depends, fmt.Sprintf("%s of all: each %s is kept whole or not at all", share, by)
		id, known := whose.of(x)
		switch {
		case by != sample.BySession:
		case !known && !whose.keyed:
			s.Why += "; which ones, the key of the taps tells (--redact-key)"
		case !known:
			s.Why += "; it has none, so its connection decides"
		case share.Keeps(sample.Hash(&traffic.Exchange{Session: id}, by, [16]byte{})):
			s.Result, s.Why = Passes, "its session is among the "+share.String()
		default:
			s.Result, s.Why = Stops, "its session is not among the "+share.String()
		}
		if keep.Given() && s.Result != Passes {
			s.Result = Depends
			s.Why += fmt.Sprintf("; but %s: kept if %s %s had fewer", keep, x.Request.Method, templates.Template(x.Request.Target))
		}
		return s, nil
	}, nil
}

func explainRedact(redactor *redact.Redactor) explainStage {
	return func(x *traffic.Exchange) (Step, error) {
		s := Step{Section: "redact", Program: "tap", Result: Passes, Why: "nothing to redact"}
		before, flags := len(x.Redactions), x.Flags
		if err := redactor.Exchange(x); err != nil {
			s.Result, s.Why = Stops, "it cannot be redacted, so it is not recorded: "+err.Error()
			*x = traffic.Exchange{} // nothing of it is shown
			return s, nil
		}
		if n := len(x.Redactions) - before; n > 0 {
			s.Result, s.Why = Changes, report.Count(int64(n), "value")
		}
		if before > 0 {
			s.Why += fmt.Sprintf("; %s were redacted when it was recorded", report.Count(int64(before), "value"))
		}
		if x.Flags&^flags&traffic.RedactionFailed != 0 {
			s.Result = Changes
			s.Why += "; a body cannot be read and is removed"
		}
		for _, r := range x.Redactions[before:] {
			s.Details = append(s.Details, Detail{Where: report.Printable(r.Location), Rule: r.Rule, Now: report.Printable(became(x, r.Location))})
		}
		return s, nil
	}
}

// widestNow is how much of a value is shown, in bytes.
const widestNow = 60

// became is what stands at a location after redaction, where that can be told in a few words.
func became(x *traffic.Exchange, location string) string {
	if strings.HasSuffix(location, "~-") {
		return "(taken out)"
	}
	message, rest, _ := strings.Cut(location, ".")
	place, _, _ := strings.Cut(rest, "~@")
	kind, name, _ := strings.Cut(place, ":")
	fields := x.Request.Headers
	if message == "response" && x.Response != nil {
		fields = x.Response.Headers
	}
	if strings.ContainsAny(name, "~") {
		return ""
	}
	name, _, _ = strings.Cut(name, "#")
	var value []byte
	switch kind {
	case "header", "set-cookie":
		value, _ = traffic.Get(fields, name)
	case "cookie":
		cookies, _ := traffic.Get(fields, "Cookie")
		value = pair(cookies, name, ";")
	case "query":
		_, query, _ := bytes.Cut(x.Request.Target, []byte("?"))
		value = pair(query, name, "&")
	case "form":
		if message == "request" {
			value = pair(x.Request.Body, name, "&")
		}
	}
	if len(value) > widestNow {
		value = append(slices.Clone(value[:widestNow]), "…"...)
	}
	return string(value)
}

// pair is the value of a name in a list of them.
func pair(list []byte, name, separator string) []byte {
	for one := range bytes.SplitSeq(list, []byte(separator)) {
		if key, value, ok := bytes.Cut(bytes.TrimSpace(one), []byte("=")); ok && string(key) == name {
			return value
		}
	}
	return nil
}
