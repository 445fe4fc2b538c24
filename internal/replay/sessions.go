package replay

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/reprise-io/reprise/internal/credential"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/redact"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/rewrite"
	"github.com/reprise-io/reprise/internal/traffic"
)

// The reasons for which a request is refused here.
const (
	rewriteFailed    = "rewrite_failed"        // a rule could not be applied to it
	sessionValueLate = "session_value_missing" // what the target was to give has not come, and the rules refuse without
	credentialFailed = "credential_failed"     // there is no token
)

// SessionOptions say what goes from the target's answers into later requests, and who the replay is. The zero value: nothing.
type SessionOptions struct {
	rewrite.Options
	Wait        time.Duration // for an answer that brings a value; 0: Options.OrderWait
	Credentials []CredentialOptions
}

// CredentialOptions is a token, and what it is put into. Exchanges that were answered 401 or 403 never have it.
type CredentialOptions struct {
	credential.Config
	Into  rewrite.Place
	As    string // with ${} for the token; empty: "Bearer ${}" in Authorization, else the token
	Where rewrite.Matcher
}

// active reports whether there is anything that depends on answers.
func (o *SessionOptions) active() bool {
	return o.Jar || len(o.Extract)+len(o.Inject)+len(o.Credentials) > 0
}

// dresser makes of recorded requests those that the target is to get. It is safe for concurrent use.
type dresser struct {
	rules       rewrite.Rules
	clones      *clones
	sender      *fire.Sender
	caps        []*filter.Filter
	sessions    *rewrite.Sessions // nil: nothing depends on answers
	waits       *rewrite.Waits[*item]
	refuse      bool
	credentials []*minted
	count       *sessionCounters
}

// sessionCounters last for the whole run.
type sessionCounters struct {
	rewrite.Counters
	timedOut atomic.Uint64 // requests that waited for a value in vain
	takenUp  atomic.Uint64 // partitions that came to this process in their middle, so that it knows nothing of their sessions
}

// minted is a token on its way into requests.
type minted struct {
	CredentialOptions
	source *credential.Source
}

// newCredentials makes the sources; nothing is asked yet.
func newCredentials(o *Options) (all []*minted, err error) {
	for _, c := range o.Session.Credentials {
		m := &minted{CredentialOptions: c}
		if m.source, err = credential.New(c.Config); err != nil {
			closeCredentials(all)
			return nil, err
		}
		if m.As == "" && strings.EqualFold(c.Into.String(), "header Authorization") {
			m.As = "Bearer ${}"
		}
		all = append(all, m)
	}
	return all, nil
}

func closeCredentials(all []*minted) {
	for _, m := range all {
		m.source.Close()
	}
}

// rehearse gets every token once, so that a run that could not have them does not begin.
func rehearse(ctx context.Context, all []*minted) error {
	for _, m := range all {
		if _, err := m.source.Token(ctx); err != nil {
			return err
		}
	}
	return nil
}

// newDresser makes one for a loop: sessions begin anew in each.
func newDresser(o *Options, s *sieve, credentials []*minted, count *sessionCounters) *dresser {
	d := &dresser{
		rules: o.Rewrite, clones: &s.clones, sender: s.sender, caps: s.caps, refuse: o.Session.Refuse, credentials: credentials, count: count,
	}
	d.rules.Seed = s.clones.seed
	if o.Session.active() {
		wait := o.Session.Wait
		if wait <= 0 {
			wait = o.OrderWait
		}
		session := o.Session.Options
		session.Counters, session.SessionCookie = &count.Counters, redact.IsSessionCookie
		d.sessions = rewrite.NewSessions(session)
		d.waits = rewrite.NewWaits[*item](wait)
	}
	return d
}

// plan makes the part of a request that is the same whatever the target answers, and its shot.
func (d *dresser) plan(it *item) judgement {
	it.sent = it.x.Request
	if !d.rules.Empty() {
		sent, err := d.rules.Apply(&it.x, d.clones.loop, it.clone)
		if err != nil {
			return judgement{result: traffic.Refused, reason: rewriteFailed, detail: err.Error()}
		}
		it.sent = sent
	}
	if d.sessions != nil {
		key := it.step.Session
		if len(key) == 0 {
			key = it.step.Connection
		}
		answer := it.x.Response
		if it.clone > 0 && answer != nil {
			var err error
			if answer, err = d.clones.rekeyer.Response(&it.x, it.clone, d.clones.loop); err != nil {
				return judgement{result: traffic.Refused, reason: identityFailed, detail: err.Error()}
			}
		}
		group := int32(-1)
		if it.part != nil { // nil in a plan
			group = it.part.id
		}
		trip, err := d.sessions.Plan(&it.x, key, group, answer)
		if err != nil {
			return judgement{result: traffic.Refused, reason: rewriteFailed, detail: err.Error()}
		}
		it.trip = trip
	}
	if d.sender == nil {
		it.caps = capsOf(d.caps, &it.x)
		return judgement{}
	}
	return d.prepare(it)
}

// prepare makes the shot of what is to be sent. Whether it may be sent, and what it counts for, is judged by that, and again whenever it has changed.
func (d *dresser) prepare(it *item) judgement {
	recorded := it.x.Request
	defer func() { it.x.Request = recorded }()
	it.x.Request = it.sent
	shot, reason := d.sender.Prepare(&it.x, fire.Mark{Loop: d.clones.loop, Clone: it.clone})
	if shot == nil {
		return judgement{result: traffic.Refused, reason: reason}
	}
	if it.shot != nil {
		d.sender.Recycle(it.shot)
	}
	it.shot, it.caps = shot, 0
	if len(d.caps) > 0 {
		fired := shot.AsFired(&it.x)
		it.caps = capsOf(d.caps, &fired)
	}
	return judgement{}
}

// enter says that a request is due: others may wait for its answer from now on.
func (d *dresser) enter(it *item) {
	if it.trip != nil {
		it.ticket = d.waits.Enter(it.trip)
	}
}

// ready reports whether nothing that a request needs is still to come; else it comes back from learn, forgo or expire.
func (d *dresser) ready(it *item, now time.Time) bool {
	return it.trip == nil || d.waits.Ready(it.trip, it.ticket, it, now)
}

// expire returns the requests that have waited for long enough.
func (d *dresser) expire(now time.Time) []*item {
	if d.waits == nil {
		return nil
	}
	free := d.waits.Expire(now, nil)
	for _, it := range free {
		it.waitedOut = true
	}
	d.count.timedOut.Add(uint64(len(free)))
	return free
}

// dress gives a request what its session and the credentials have, at the moment when it is sent. A result means that it is not.
func (d *dresser) dress(ctx context.Context, it *item) judgement {
	if it.trip == nil {
		return judgement{}
	}
	sent, changed, missing, err := d.sessions.Dress(it.trip, &it.x, it.sent, time.Now())
	if err != nil {
		return judgement{result: traffic.Refused, reason: rewriteFailed, detail: err.Error()}
	}
	if d.refuse && (missing || it.waitedOut) {
		return judgement{result: traffic.Refused, reason: sessionValueLate}
	}
	if !it.trip.Unauthenticated() {
		for _, m := range d.credentials {
			put, j := m.put(ctx, it, &sent)
			if j.result != 0 {
				return j
			}
			changed = changed || put
		}
	}
	if !changed {
		return judgement{}
	}
	it.sent = sent
	return d.prepare(it)
}

// put writes the token into a request that it is for.
func (m *minted) put(ctx context.Context, it *item, sent *traffic.Request) (done bool, j judgement) {
	if m.Where != nil {
		switch ok, err := m.Where.Match(&it.x); {
		case err != nil:
			return false, judgement{result: traffic.Refused, reason: rewriteFailed, detail: err.Error()}
		case !ok:
			return false, j
		}
	}
	token, err := m.source.Token(ctx)
	if err != nil {
		return false, judgement{result: traffic.Refused, reason: credentialFailed, detail: err.Error()}
	}
	if m.As != "" {
		token = bytes.ReplaceAll([]byte(m.As), []byte("${}"), token)
	}
	if _, err := rewrite.Put(sent, m.Into, token); err != nil {
		return false, judgement{result: traffic.Refused, reason: rewriteFailed, detail: err.Error()}
	}
	return true, j
}

// learn takes what the target answered; nil: nothing.
func (d *dresser) learn(it *item, answer *traffic.Response) {
	if it.trip != nil {
		d.sessions.Learn(it.trip, &it.sent, answer, time.Now())
	}
}

// settled says that no more will come of a request, and returns those that waited for it.
func (d *dresser) settled(it *item) []*item {
	if it.trip == nil {
		return nil
	}
	return d.waits.Done(it.ticket, nil)
}

// mask takes the tokens that were minted here out of an answer, which may echo them. They are nowhere in the recording, so that
// redaction need not know them.
func (d *dresser) mask(res *traffic.Response) {
	for _, m := range d.credentials {
		for _, token := range m.source.Tokens() {
			rewrite.Mask(res, token)
		}
	}
}

// ownValues is the part of differences that is not there because the target gave values of its own; unsure: what is left could be
// more of the same.
func (d *dresser) ownValues(it *item, res *traffic.Response, all []traffic.Difference) (left []traffic.Difference, unsure bool) {
	values := d.values(it, res)
	if len(values) == 0 {
		return all, false
	}
	swaps := make([]redact.Swap, 0, len(values))
	for _, v := range values {
		swaps = append(swaps, redact.Swap{Was: v.Recorded, Is: v.Now})
	}
	return ownValues(all, swaps)
}

// values returns what the target gave in the place of recorded values, in this answer and before.
func (d *dresser) values(it *item, res *traffic.Response) []rewrite.Value {
	if it == nil || it.trip == nil {
		return nil
	}
	return d.sessions.Values(it.trip, res)
}

// forget drops the sessions of partitions that are another replica's now.
func (d *dresser) forget(parts []int32) {
	if d.sessions == nil {
		return
	}
	for _, id := range parts {
		d.sessions.Forget(id)
	}
}

// takeUp says that a partition has come in its middle, from another replica or an earlier start: what the target gave its sessions is not known.
func (d *dresser) takeUp() (matters bool) {
	if d.sessions == nil {
		return false
	}
	d.count.takenUp.Add(1)
	return true
}

// known returns how many sessions are remembered.
func (d *dresser) known() int {
	if d.sessions == nil {
		return 0
	}
	return d.sessions.Len()
}

// sessionReport returns what became of sessions; nil: nothing depends on answers.
func (r *run) sessionReport() *report.Sessions {
	if !r.opts.Session.active() {
		return nil
	}
	c := &r.sessions
	s := &report.Sessions{
		Extracted: c.Extracted.Load(), Changed: c.Changed.Load(), Missing: c.Missing.Load(), TimedOut: c.timedOut.Load(),
		Evicted: c.Evicted.Load(), Lost: c.Lost.Load(),
		TakenUp: c.takenUp.Load(),
	}
	for _, m := range r.credentials {
		got, failed := m.source.Counts()
		s.Tokens, s.TokensFailed = s.Tokens+got, s.TokensFailed+failed
	}
	return s
}

// checkSession is the part of check about rewriting and sessions.
func (o *Options) checkSession() error {
	names := make(map[string]bool)
	for _, e := range o.Session.Extract {
		names[e.Name] = true
		if err := e.Place.InAnswer(); err != nil {
			return fault.BadUsage("bad session.extract", err.Error(), "")
		}
	}
	for _, i := range o.Session.Inject {
		if !names[i.Value] || i.Value == "" {
			return fault.BadUsage(fmt.Sprintf("session.inject: no value %q is extracted", i.Value), "", "session.extract with that name")
		}
		if err := i.Into.InRequest(); err != nil {
			return fault.BadUsage("bad session.inject", err.Error(), "")
		}
	}
	for _, c := range o.Session.Credentials {
		if !c.Into.Given() {
			return fault.BadUsage(fmt.Sprintf("credential %q has no place to go", c.Name), "", "into: header Authorization")
		}
		if err := c.Into.InRequest(); err != nil {
			return fault.BadUsage(fmt.Sprintf("credential %q has no place to go", c.Name), err.Error(), "into: header Authorization")
		}
	}
	return nil
}
