package replay

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/fire"
)

// The reasons for which an answer is not compared with the old build's, beside those of fire and those for which a request is refused.
const (
	baselineBehind = "behind"         // so many waited for the old build that this one was not sent to it
	baselineSick   = "breaker"        // it was left alone
	notComparable  = "not_comparable" // a body could not be redacted, or what differs may be values of its own
	statusIsNoise  = "status_is_noise"
	baselineMoved  = "moved" // its partition went to another replica while it waited
)

// secondTimeout is the longest that an answer of the old build is waited for: less than drainTimeout, so that a slow one has nothing
// fired again at the target when partitions move.
const secondTimeout = 8 * time.Second

// second is a target beside the one that is tested: the old build, or another copy of it. It has the same guards, and sessions of its own.
type second struct {
	name    string // of the flag, without what is behind it: "baseline", "noise"
	target  *url.URL
	guard   *fire.Guard
	sender  *fire.Sender
	valve   *fire.Valve // nil: it is not spared
	dresser *dresser    // of the loop under way
	log     *slog.Logger
}

// seconds returns where else requests go, by the flags.
func (o *Options) seconds() (all []*second) {
	if o.Baseline != nil {
		all = append(all, &second{name: "baseline", target: o.Baseline})
	}
	if o.Noise != nil {
		all = append(all, &second{name: "noise", target: o.Noise})
	}
	return all
}

// admit makes the guard.
func (s *second) admit(ctx context.Context, o *Options, cfg fire.GuardConfig) (err error) {
	cfg.Target = s.target
	s.log = o.Logger.With("target", s.name+" "+s.target.Host)
	cfg.Logger = s.log
	if s.guard, err = fire.NewGuard(ctx, cfg); err == nil {
		err = s.guard.Greet(ctx)
	}
	return s.named(err)
}

// named is a guard's refusal with this target's flag in the place of --target.
func (s *second) named(err error) error {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return err
	}
	ours := *f
	ours.Try = strings.ReplaceAll(f.Try, "--target", "--"+s.name+"-target")
	return &ours
}

// equip makes what sends.
func (s *second) equip(o *Options) (err error) {
	cfg := o.sender(s.target, s.guard)
	cfg.Timeout, cfg.Retries = min(o.Timeout, secondTimeout), 0
	if s.sender, err = fire.NewSender(cfg); err != nil {
		return err
	}
	s.valve, err = fire.NewValve(fire.ValveConfig{
		Breaker: o.Breaker, Concurrency: o.Concurrency, Timeout: cfg.Timeout, Logger: s.log, Changed: func() {},
	})
	return err
}

func (s *second) close() {
	s.valve.Close()
	if s.sender != nil {
		_ = s.sender.Close() // it cannot fail
	}
}

// arm makes what is of one loop: sessions begin anew.
func (s *second) arm(o *Options, by *sieve, credentials []*minted) {
	mine := *by
	mine.sender, mine.caps = s.sender, nil
	s.dresser = newDresser(o, &mine, credentials, new(sessionCounters))
}

// sent is what one of them got, and answered.
type sent struct {
	by     *dresser
	trip   *item // the request as this target had it; nil: it was not sent
	answer fire.Answer
	reason string // empty: a whole answer came
}

// fire sends what was sent to the target that is tested. key is whose it is.
func (s *second) fire(ctx context.Context, it *item, key []byte) (r sent) {
	mine := &item{x: it.x, clone: it.clone, part: it.part}
	mine.step.Session = key
	if reason, ok := s.guard.Admit(&mine.x); !ok {
		return sent{reason: reason}
	}
	if s.guard.AuthorityIsTargetShare() > maxRecordedAtTarget && !s.guard.Exempt() {
		return sent{reason: fire.AuthorityIsTarget} // it looks like production
	}
	if j := s.dresser.plan(mine); j.result != 0 {
		return sent{reason: j.reason}
	}
	defer func() { s.sender.Recycle(mine.shot) }()
	defer func() { s.dresser.learn(mine, r.answer.Response) }()
	if j := s.dresser.dress(ctx, mine); j.result != 0 {
		return sent{reason: j.reason}
	}
	pass, ok := s.valve.TryEnter()
	if !ok {
		return sent{reason: baselineSick}
	}
	r.by, r.trip, r.answer = s.dresser, mine, s.sender.Fire(ctx, mine.shot)
	s.valve.Leave(pass, &r.answer, mine.x.Response)
	r.reason = r.answer.Reason
	return r
}

// sender is what requests to a target are made and sent by.
func (o *Options) sender(target *url.URL, guard *fire.Guard) fire.SenderConfig {
	return fire.SenderConfig{
		Target: target, Guard: guard, Run: o.Run, Host: o.Host, SetHeaders: o.SetHeaders, RemoveHeaders: o.RemoveHeaders,
		Timeout: o.Timeout, Concurrency: o.Concurrency, Retries: o.Retries, Protocol: o.Protocol, TLS: o.TLS,
	}
}

// guards returns those of all targets.
func (r *run) guards() []*fire.Guard {
	all := []*fire.Guard{r.guard}
	for _, s := range r.seconds {
		all = append(all, s.guard)
	}
	return all
}

// addressOf is host:port; empty: there is none.
func addressOf(u *url.URL) string {
	if u == nil {
		return ""
	}
	return hostPort(u)
}

// checkBaseline is the part of check about the old build.
func (o *Options) checkBaseline() error {
	for _, s := range o.seconds() {
		flag := "--" + s.name + "-target"
		if s.target.Host == "" || s.target.Scheme != "http" && s.target.Scheme != "https" {
			return fault.BadUsage("bad "+flag+" "+strconv.Quote(s.target.Redacted()), "want http://HOST:PORT or https://HOST:PORT", flag+" http://old.preprod:8080")
		}
		if strings.EqualFold(hostPort(s.target), o.address()) {
			return fault.BadUsage(flag+" is the target itself", "an answer cannot be compared with another one of the same build", flag+" http://HOST:PORT of the old build")
		}
	}
	if o.Noise != nil && o.Baseline == nil {
		return fault.BadUsage("--noise-target needs --baseline-target", "noise is where two answers of the old build differ",
			"--baseline-target "+o.Noise.String()+" too: both may be the same")
	}
	return nil
}
