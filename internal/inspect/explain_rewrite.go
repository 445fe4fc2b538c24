package inspect

import (
	"bytes"
	"fmt"

	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/rules"
	"github.com/reprise-io/reprise/internal/traffic"
)

// rewrite shows the request as a replayer changes it, whatever its target answers.
func (f *firing) rewrite(section *rules.Rewrite) (explainStage, error) {
	r, err := section.Rules()
	if err != nil {
		return nil, err
	}
	return func(x *traffic.Exchange) (Step, error) {
		s := Step{Section: "rewrite", Program: "replayer", Result: Passes, Why: "nothing to change"}
		if section.Host != "" {
			s.Details = append(s.Details, Detail{Where: "host", Now: section.Host})
		}
		sent, err := r.Apply(x, 0, 0)
		if f.sent, f.unsent = sent, err != nil; f.unsent {
			s.Result, s.Why = Stops, "it cannot be changed, so it is not sent: "+err.Error()
			return s, nil
		}
		s.Details = append(s.Details, differences(&x.Request, &sent)...)
		if f.host != nil {
			s.Result, s.Why = Stops, report.Printable(f.host.Error())
		} else if n := len(s.Details); n > 0 {
			s.Result, s.Why = Changes, report.Count(int64(n), "place")
		}
		return s, nil
	}, nil
}

func differences(was, is *traffic.Request) (all []Detail) {
	if !bytes.Equal(was.Target, is.Target) {
		all = append(all, Detail{Where: "target", Now: report.Printable(string(is.Target))})
	}
	for _, f := range is.Headers {
		if had, ok := traffic.Get(was.Headers, string(f.Name)); !ok || !bytes.Equal(had, f.Value) {
			all = append(all, Detail{Where: "header " + report.Printable(string(f.Name)), Now: report.Printable(string(f.Value))})
		}
	}
	for _, f := range was.Headers {
		if _, ok := traffic.Get(is.Headers, string(f.Name)); !ok {
			all = append(all, Detail{Where: "header " + report.Printable(string(f.Name)), Now: "(taken out)"})
		}
	}
	if !bytes.Equal(was.Body, is.Body) {
		all = append(all, Detail{Where: "body", Now: fmt.Sprintf("%d bytes, was %d", len(is.Body), len(was.Body))})
	}
	return all
}

// explainSession says what waits for answers of the target, which an exchange alone does not tell.
func explainSession(section *rules.Session) (explainStage, error) {
	o, err := section.Options()
	if err != nil {
		return nil, err
	}
	return func(x *traffic.Exchange) (Step, error) {
		s := Step{Section: "session", Program: "replayer", Result: Passes, Why: "nothing depends on answers"}
		for _, i := range o.Inject {
			where := true
			if i.Where != nil {
				if where, err = i.Where.Match(x); err != nil {
					return s, err
				}
			}
			if where {
				s.Details = append(s.Details, Detail{Where: i.Into.String(), Rule: i.Value, Now: "(the target's, when its answer has come)"})
			}
		}
		for _, e := range o.Extract {
			from := true
			if e.From != nil {
				if from, err = e.From.Match(x); err != nil {
					return s, err
				}
			}
			if from {
				s.Details = append(s.Details, Detail{Where: "answer " + e.Place.String(), Rule: e.Name, Now: "(kept for its session)"})
			}
		}
		if len(s.Details) > 0 || o.Jar {
			s.Result, s.Why = Depends, "on what the target answers in its session"
		}
		return s, nil
	}, nil
}
