package rewrite

import (
	"bytes"
	"container/list"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reprise-io/reprise/internal/traffic"
)

// Bounds of what is remembered.
const (
	DefaultSessions     = 1 << 16
	DefaultSessionBytes = 32 << 20

	stateOverhead = 512
	maxValues     = 256 // of one session; the oldest are forgotten
	maxKeys       = 16  // names that one session had
	maxValue      = 8 << 10
	longValue     = 16 // bytes from which a value belongs to one session alone, wherever it is seen
)

// Options say what is carried over from the target's answers to later requests of a session.
type Options struct {
	Jar     bool // cookies as the target sets them
	Extract []Extract
	Inject  []Inject
	// Refuse leaves a request out whose value has not come; else it is sent with the recorded one.
	Refuse   bool
	Sessions int       // most that are remembered, the least recently used are forgotten; 0: DefaultSessions
	Bytes    int64     // most bytes that they take; 0: DefaultSessionBytes
	Counters *Counters // nil: nobody asks
	// SessionCookie tells from a name that a cookie names a session, so that one which gets another name goes on; nil: none does.
	SessionCookie func(name []byte) bool
}

// Extract takes a value out of the target's answers. Where the same place of the recorded answer has a value, that one is replaced
// wherever it stands as a whole in later requests of the session: a segment of the path, a parameter, a string or number of a JSON body, a field of
// a form, a header or what follows Bearer in it, a cookie. With a name an Inject can put it where it is wanted instead.
type Extract struct {
	Name  string  // may be empty
	From  Matcher // by the recorded exchange; nil: every answer
	Place Place   // of an answer
}

// Inject puts the value that was extracted last under a name into requests.
type Inject struct {
	Value string
	Into  Place
	As    string  // with ${} for the value; empty: the value
	Where Matcher // nil: every request
}

// Counters are what became of sessions so far. The zero value is ready.
type Counters struct {
	Extracted atomic.Uint64 // values taken from answers
	Changed   atomic.Uint64 // requests that were sent with values of the target
	Missing   atomic.Uint64 // requests for which a value had not come
	Evicted   atomic.Uint64 // sessions that were forgotten for want of room
	Lost      atomic.Uint64 // sessions that were forgotten as their partition went to another replica
}

// Sessions remember what the target gave each session. It is safe for concurrent use.
type Sessions struct {
	opts     Options
	injected map[string]bool // names that an Inject has

	mu     sync.Mutex
	states map[string]*state // by key; one state may have several
	index  map[string]*state // recorded tokens and session cookies → whose they are; nil: several have had the same
	used   list.List         // of *state, the last used in front
	bytes  int64
	count  *Counters
}

// state is one session.
type state struct {
	keys  []string
	group int32
	at    *list.Element
	bytes int64 // guarded by Sessions.mu
	index []string

	mu     sync.Mutex // of what follows
	jar    jar
	values map[string]string // recorded → the target's
	failed map[string]bool   // recorded values for which the target gave none
	order  []string          // of both, the oldest first
	named  map[string]string
}

// NewSessions returns sessions that know nothing yet.
func NewSessions(o Options) *Sessions {
	if o.Sessions <= 0 {
		o.Sessions = DefaultSessions
	}
	if o.Bytes <= 0 {
		o.Bytes = DefaultSessionBytes
	}
	s := &Sessions{opts: o, injected: make(map[string]bool), states: make(map[string]*state), index: make(map[string]*state)}
	if s.count = o.Counters; s.count == nil {
		s.count = new(Counters)
	}
	for _, i := range o.Inject {
		s.injected[i.Value] = true
	}
	return s
}

// Len returns how many sessions are remembered.
func (s *Sessions) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used.Len()
}

// Trip is what the sessions know of one exchange before it is sent.
type Trip struct {
	key   string
	group int32
	host  string
	made  []made   // what its answer brought when it was recorded, and so will bring
	parts []string // values in its request that an answer may have brought
	owner []string // of them those that only one session can have
	names []string // of its cookies
	named bool     // key is a session's, and not only a connection's
	open  bool     // it was answered 401 or 403: it stays without credentials

	capture, end time.Time // when it was recorded; end zero: not known
}

// made is a value of an answer.
type made struct {
	rule     int    // of Options.Extract; -1: a cookie
	cookie   string // its name
	recorded string // empty: not known
}

// Plan looks through an exchange. key is whose it is: its session, else its connection; empty: nobody's. group is forgotten together
// (a partition). recorded is its answer, nil when there is none; for a clone the one that the clone would have had.
func (s *Sessions) Plan(x *traffic.Exchange, key []byte, group int32, recorded *traffic.Response) (*Trip, error) {
	t := &Trip{key: string(key), group: group, host: hostOf(&x.Request), named: len(x.Session) > 0, capture: x.CaptureTime}
	if x.Response != nil && x.Response.Duration > 0 {
		t.end = x.CaptureTime.Add(x.Response.Duration)
	}
	if len(key) == 0 {
		t.key = "\x00" + string(x.ID[:])
	}
	if recorded != nil {
		t.open = recorded.Status == 401 || recorded.Status == 403
	}
	for i := range s.opts.Extract {
		e := &s.opts.Extract[i]
		ok, err := matches(e.From, x)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		m := made{rule: i}
		if recorded != nil {
			if v, ok := e.Place.OfAnswer(recorded); ok && len(v) <= maxValue {
				m.recorded = string(v)
			}
		}
		t.made = append(t.made, m)
	}
	if recorded != nil && s.opts.Jar {
		for i := range recorded.Headers {
			if !traffic.EqualName(recorded.Headers[i].Name, "Set-Cookie") {
				continue
			}
			if c, ok := parseSetCookie(recorded.Headers[i].Value); ok {
				t.made = append(t.made, made{-1, c.name, c.value})
			}
		}
	}
	s.credentials(t, x.Request.Headers)
	t.parts = parts(&draft{Request: &x.Request}, len(s.opts.Extract) > 0)
	return t, nil
}

// credentials notes the cookies of a request, and what names its session.
func (s *Sessions) credentials(t *Trip, fields []traffic.Field) {
	own := func(v []byte) {
		if len(v) >= longValue && len(v) <= maxValue {
			t.owner = append(t.owner, string(v))
		}
	}
	for i := range fields {
		switch f := &fields[i]; {
		case traffic.EqualName(f.Name, "Authorization"):
			own(word(f.Value))
		case traffic.EqualName(f.Name, "Cookie"):
			for name, v := range pairs(f.Value, ';') {
				t.names = append(t.names, string(name))
				if s.opts.SessionCookie != nil && s.opts.SessionCookie(name) {
					own(v)
				}
			}
		}
	}
}

// lookup returns the state of a trip: by a credential that only one session can have, else by its key. Called locked.
func (s *Sessions) lookup(t *Trip) *state {
	for _, p := range t.owner {
		st := s.index[p]
		if st == nil {
			continue
		}
		if t.named && s.states[t.key] == nil && len(st.keys) < maxKeys { // it goes on under this name, also without the credential
			s.states[t.key] = st
			st.keys = append(st.keys, t.key)
			s.grow(st, len(t.key)+64)
		}
		return s.touch(st)
	}
	if st := s.states[t.key]; st != nil {
		return s.touch(st)
	}
	return nil
}

func (s *Sessions) touch(st *state) *state {
	s.used.MoveToFront(st.at)
	return st
}

// Dress makes the request that is to be sent: the one given with the values of its session. missing: a value has not come. With an
// error it must not be sent.
func (s *Sessions) Dress(t *Trip, x *traffic.Exchange, r traffic.Request, now time.Time) (out traffic.Request, changed, missing bool, err error) {
	s.mu.Lock()
	st := s.lookup(t)
	s.mu.Unlock()
	d := &draft{Request: &r}
	if st == nil {
		st = new(state) // knows nothing, and nobody else knows it
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if s.opts.Jar && !t.open {
		path, _, _ := cutQuery(r.Target)
		st.jar.dress(d, t.host, string(path[pathStart(path):]), now)
	}
	if len(st.values)+len(st.failed) > 0 {
		missing = st.replace(d, t.open)
	}
	for i := range s.opts.Inject {
		in := &s.opts.Inject[i]
		ok, err := matches(in.Where, x)
		if err != nil {
			return r, false, false, err
		}
		if !ok || t.open && in.Into.credential() {
			continue
		}
		value, known := st.named[in.Value]
		if !known {
			missing = true
			continue
		}
		if in.As != "" {
			value = replaceHole(in.As, value)
		}
		missing = !in.Into.put(d, []byte(value)) || missing
	}
	if missing {
		s.count.Missing.Add(1)
	}
	if d.changed {
		s.count.Changed.Add(1)
	}
	return r, d.changed, missing, d.close()
}

func replaceHole(as, value string) string {
	return string(bytes.ReplaceAll([]byte(as), []byte("${}"), []byte(value)))
}

// Learn takes what the target answered; nil: nothing, so that its values will not come.
func (s *Sessions) Learn(t *Trip, sent *traffic.Request, answer *traffic.Response, now time.Time) {
	if len(t.made) == 0 && (!s.opts.Jar || answer == nil || !setsCookies(answer)) {
		return
	}
	s.mu.Lock()
	st := s.lookup(t)
	if st == nil {
		st = &state{keys: []string{t.key}, group: t.group}
		st.at = s.used.PushFront(st)
		s.states[t.key] = st
		s.grow(st, stateOverhead+len(t.key))
	}
	for _, m := range t.made {
		s.claim(st, m)
	}
	s.mu.Unlock()

	st.mu.Lock()
	grown := 0
	for _, m := range t.made {
		if m.rule >= 0 {
			grown += s.take(st, m, answer)
		}
	}
	if s.opts.Jar && answer != nil {
		grown += st.cookies(t, sent, answer, now)
	}
	st.mu.Unlock()

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.states[st.keys[0]] == st {
		s.grow(st, grown)
	}
	for s.bytes > s.opts.Bytes || s.used.Len() > s.opts.Sessions {
		oldest, ok := s.used.Back().Value.(*state)
		if !ok || oldest == st { // one session alone may be over
			break
		}
		s.forget(oldest)
		s.count.Evicted.Add(1)
	}
}

// claim notes that whoever has a token or a session cookie is this session: unless another one was given the same, which then tells
// nothing. Called locked.
func (s *Sessions) claim(st *state, m made) {
	v := m.recorded
	if len(v) < longValue || m.rule < 0 && (s.opts.SessionCookie == nil || !s.opts.SessionCookie([]byte(m.cookie))) {
		return
	}
	switch whose, known := s.index[v]; {
	case !known && len(st.index) < maxValues:
		s.index[v] = st
		st.index = append(st.index, v)
		s.grow(st, len(v)+64)
	case known && whose != st:
		s.index[v] = nil
	}
}

// take extracts one value. Called with the state locked.
func (s *Sessions) take(st *state, m made, answer *traffic.Response) (grown int) {
	e := &s.opts.Extract[m.rule]
	var value []byte
	ok := false
	if answer != nil {
		value, ok = e.Place.OfAnswer(answer)
		ok = ok && len(value) <= maxValue
	}
	if ok {
		s.count.Extracted.Add(1)
		if e.Name != "" {
			if st.named == nil {
				st.named = make(map[string]string)
			}
			grown += len(value) - len(st.named[e.Name])
			st.named[e.Name] = string(value)
		}
	}
	if m.recorded == "" || s.injected[e.Name] {
		return grown
	}
	return grown + st.note(m.recorded, string(value), ok)
}

// note remembers what stands for a recorded value.
func (st *state) note(recorded, value string, ok bool) (grown int) {
	if st.values == nil {
		st.values, st.failed = make(map[string]string), make(map[string]bool)
	}
	if was, known := st.values[recorded]; known || st.failed[recorded] {
		grown -= len(was)
	} else {
		if len(st.order) >= maxValues {
			oldest := st.order[0]
			grown -= len(oldest) + len(st.values[oldest]) + 64
			delete(st.values, oldest)
			delete(st.failed, oldest)
			st.order = st.order[1:]
		}
		st.order = append(st.order, recorded)
		grown += len(recorded) + 64
	}
	if !ok {
		if _, known := st.values[recorded]; !known {
			st.failed[recorded] = true
		}
		return max(grown, 0)
	}
	delete(st.failed, recorded)
	st.values[recorded] = value
	return grown + len(value)
}

// cookies takes the cookies of an answer. Called locked.
func (st *state) cookies(t *Trip, sent *traffic.Request, answer *traffic.Response, now time.Time) (grown int) {
	path, _, _ := cutQuery(sent.Target)
	path = path[pathStart(path):]
	if len(path) == 0 || path[0] != '/' {
		path = []byte("/")
	}
	for i := range answer.Headers {
		if !traffic.EqualName(answer.Headers[i].Name, "Set-Cookie") {
			continue
		}
		if c, ok := parseSetCookie(answer.Headers[i].Value); ok {
			grown += st.jar.set(c, t.host, string(path), t.setBefore(c.name), now)
		}
	}
	return grown
}

// setBefore reports whether the recorded answer set a cookie of that name, or the recorded request had it.
func (t *Trip) setBefore(name string) bool {
	for _, m := range t.made {
		if m.rule < 0 && m.cookie == name {
			return true
		}
	}
	return slices.Contains(t.names, name)
}

func setsCookies(a *traffic.Response) bool {
	_, ok := traffic.Get(a.Headers, "Set-Cookie")
	return ok
}

// Value is a recorded value and the target's in its place.
type Value struct{ Recorded, Now []byte }

// Values returns what the target gave in the place of recorded values: those that this answer brought, which may have been redacted
// since, and those that its session has. An answer that differs from the recorded one in them alone is the same.
func (s *Sessions) Values(t *Trip, answer *traffic.Response) (all []Value) {
	for _, m := range t.made {
		if m.rule < 0 || m.recorded == "" {
			continue
		}
		if v, ok := s.opts.Extract[m.rule].Place.OfAnswer(answer); ok {
			all = append(all, Value{[]byte(m.recorded), bytes.Clone(v)})
		}
	}
	s.mu.Lock()
	st := s.lookup(t)
	s.mu.Unlock()
	if st == nil {
		return all
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	for recorded, now := range st.values {
		all = append(all, Value{[]byte(recorded), []byte(now)})
	}
	return all
}

// Put writes a value into a request, and reports whether it could.
func Put(r *traffic.Request, p Place, value []byte) (ok bool, err error) {
	d := &draft{Request: r}
	ok = p.put(d, value)
	return ok, d.close()
}

// Unauthenticated reports whether an exchange was answered 401 or 403 when it was recorded: it is to have no credentials now either.
func (t *Trip) Unauthenticated() bool { return t.open }

// grow books bytes. Called locked.
func (s *Sessions) grow(st *state, by int) {
	st.bytes += int64(by)
	s.bytes += int64(by)
}

// forget drops a state. Called locked.
func (s *Sessions) forget(st *state) {
	for _, key := range st.keys {
		delete(s.states, key)
	}
	for _, v := range st.index {
		delete(s.index, v)
	}
	s.used.Remove(st.at)
	s.bytes -= st.bytes
}

// Forget drops the sessions of a group: another replica has them from now on, and begins with none.
func (s *Sessions) Forget(group int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.states {
		if st.group == group { // one with several keys is met once: the others are gone by then
			s.forget(st)
			s.count.Lost.Add(1)
		}
	}
}

// hostOf returns the host that a request was recorded at.
func hostOf(r *traffic.Request) string {
	host := r.Authority
	if len(host) == 0 {
		host, _ = traffic.Get(r.Headers, "host")
	}
	if u, err := url.Parse("//" + string(host)); err == nil {
		return u.Hostname()
	}
	return string(host)
}
