package inspect

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/rules"
	"github.com/reprise-io/reprise/internal/traffic"
)

// ReplayFlags are what a replayer would be given beside the rules file. The zero value: nothing is known of the target.
type ReplayFlags struct {
	Target        *url.URL // nil: none is named
	AllowTarget   []string
	AllowPublic   bool
	Production    []fire.Address
	NotProduction []string
	AllowWrites   []string // filters
	MaxTotal      int64    // 0: no bound
}

// firing asks what a replayer asks, and sends nothing.
type firing struct {
	flags   ReplayFlags
	named   int // production addresses of file and flags
	refused *fault.Error
	host    *fault.Error // why rewrite.host cannot be sent
	guard   *fire.Guard
	sender  *fire.Sender
	allow   []string
	caps    []rules.Cap
	routes  []*filter.Filter // of caps
	total   int64
	sent    traffic.Request // as rewrite.Rules leave it
	unsent  bool            // it could not be rewritten
}

func newFiring(ctx context.Context, file *rules.File, flags ReplayFlags) (*firing, error) {
	f := &firing{flags: flags, allow: append(flags.AllowWrites, file.Writes.Filters()...), caps: file.Writes.Caps, total: flags.MaxTotal}
	if t := file.Writes.Total; t > 0 && (f.total == 0 || t < f.total) {
		f.total = t
	}
	var allow []fire.Matcher
	for _, src := range f.allow {
		m, err := filter.Compile(src)
		if err != nil {
			return nil, err
		}
		allow = append(allow, m)
	}
	for _, c := range f.caps {
		route, err := filter.Compile(c.Route)
		if err != nil {
			return nil, err
		}
		f.routes = append(f.routes, route)
	}
	production, err := file.Production.Addresses()
	if err != nil {
		return nil, err
	}
	production = append(production, flags.Production...)
	f.named = len(production)
	cfg := fire.GuardConfig{
		Target: flags.Target, Allow: flags.AllowTarget, AllowPublic: flags.AllowPublic, Production: production,
		NotProduction: flags.NotProduction, AllowWrites: allow,
	}
	if flags.Target != nil {
		if f.guard, err = fire.NewGuard(ctx, cfg); err != nil && !errors.As(err, &f.refused) {
			return nil, err
		}
	}
	if f.guard == nil { // a target on this machine that nobody listens at: the guard wants one, and nothing is dialled
		cfg.Target = &url.URL{Scheme: "http", Host: "127.0.0.1:1"}
		cfg.Allow, cfg.Production, cfg.NotProduction = []string{cfg.Target.Host}, nil, nil
		if f.guard, err = fire.NewGuard(ctx, cfg); err != nil {
			return nil, err
		}
		_ = f.guard.SetProduction(ctx, production) // that refuses the stand-in too where it means this machine; the names are known all the same
	}
	sender := fire.SenderConfig{Target: cfg.Target, Guard: f.guard, Run: "explain", Host: file.Rewrite.Host}
	if f.sender, err = fire.NewSender(sender); errors.As(err, &f.host) {
		sender.Host = ""
		f.sender, err = fire.NewSender(sender)
	}
	return f, err
}

// target says whether the target may be fired at at all, and this exchange.
func (f *firing) target(x *traffic.Exchange) (Step, error) {
	s := Step{Section: "target", Program: "replayer", Result: Passes}
	s.Why = fmt.Sprintf("allowed, and at none of %s of production named here; replayer plan asks for those of taps too", report.Count(int64(f.named), "place"))
	switch {
	case f.flags.Target == nil:
		s.Result, s.Why = Depends, fmt.Sprintf("on --target: it must be allowed (--allow-target), neither production (%s named here, and what taps report), "+
			"nor public nor a cloud's metadata service", report.Count(int64(f.named), "place"))
	case f.refused != nil:
		s.Result, s.Why = Stops, report.Printable(f.refused.Error())
		return s, nil
	}
	switch reason, ok := f.guard.Admit(x); {
	case reason == fire.BadFlags:
		s.Result, s.Why = Stops, "it is not known whole: "+strings.ToLower(x.Flags.Unreplayable().String())
	case reason == fire.AuthorityIsTarget:
		s.Result, s.Why = Stops, f.guard.Explain(reason)
	case !ok && f.flags.Target != nil:
		s.Result, s.Why = Stops, f.guard.Explain(reason)
	}
	return s, nil
}

// writes says what becomes of the request as it would be written: whether a rule allows it, and what it counts for.
func (f *firing) writes(x *traffic.Exchange) (Step, error) {
	s := Step{Section: "writes", Program: "replayer", Result: Passes, Why: "it reads only"}
	if len(x.Request.Method) == 0 || f.unsent {
		s.Why = "nothing is left of it"
		return s, nil
	}
	recorded := *x
	recorded.Request = f.sent
	shot, reason := f.sender.Prepare(&recorded, fire.Mark{})
	if shot == nil {
		s.Result, s.Why = Stops, f.guard.Explain(reason)
		if reason == fire.WriteNotAllowed {
			s.Why = "no rule allows this write"
			if len(f.allow) > 0 {
				s.Why += fmt.Sprintf(", as servers may read it (%d in writes.allow and --allow-writes)", len(f.allow))
			}
		}
		return s, nil
	}
	defer f.sender.Recycle(shot)
	fired := shot.AsFired(&recorded)
	if rule, _ := f.guard.AllowedBy(&fired); rule >= 0 {
		s.Why = "a rule allows this write: " + report.Printable(f.allow[rule])
	}
	for i, c := range f.caps {
		counts := false
		fire.EachReading(&fired, func(one *traffic.Exchange) bool {
			ok, err := f.routes[i].Match(one)
			counts = ok || err != nil
			return !counts
		})
		switch {
		case counts && c.Most == 0:
			s.Result, s.Why = Stops, "its cap is 0: "+report.Printable(c.Route)
		case counts:
			s.Details = append(s.Details, Detail{Where: "counts", Rule: "caps", Now: fmt.Sprintf("one of at most %d in a run: %s", c.Most, report.Printable(c.Route))})
		}
	}
	if f.total > 0 {
		s.Details = append(s.Details, Detail{Where: "counts", Rule: "total", Now: fmt.Sprintf("one of %d, after which the run stops", f.total)})
	}
	return s, nil
}

// explainLimits says what would hold it up.
func explainLimits(l *rules.Limits) (explainStage, error) {
	breaker, said, err := l.Breaker.Options()
	if err != nil {
		return nil, err
	}
	s := Step{Section: "limits", Program: "replayer", Result: Passes, Why: "none in the file; replayer live has the breaker on"}
	add := func(rule, now string) { s.Details = append(s.Details, Detail{Where: "waits", Rule: rule, Now: now}) }
	if l.Rate > 0 {
		add("rate", fmt.Sprintf("%v requests a second, of all replicas", l.Rate))
	}
	if l.Concurrency > 0 {
		add("concurrency", fmt.Sprintf("%d at a time, of each replica", l.Concurrency))
	}
	if l.Adaptive {
		add("adaptive", "fewer at a time while answers take longer than they did")
	}
	switch {
	case breaker != nil:
		add("breaker", "while more than "+breaker.ErrorRate.String()+" fail, or the target asks for it")
	case said:
		add("breaker", "off, also for live")
	}
	if l.MaxErrorRate != "" {
		s.Details = append(s.Details, Detail{Where: "stops", Rule: "max-error-rate", Now: "the run, above " + l.MaxErrorRate})
	}
	if len(s.Details) > 0 {
		s.Result, s.Why = Depends, "on how the target does, and the rest of the traffic"
	}
	return func(*traffic.Exchange) (Step, error) { return s, nil }, nil
}
