package schedule

import (
	"strconv"
	"sync"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
)

const (
	defaultOrderWait = 10 * time.Second
	defaultAssumed   = time.Second
	maxSpareGates    = 1024
)

// OrderMode says what has to stay in order.
type OrderMode uint8

// The modes of --order.
const (
	OrderSession    OrderMode = iota // requests of one session; those without a session by connection
	OrderConnection                  // requests of one connection
	OrderNone
)

// ParseOrder reads the value of --order: "session", "connection" or "none".
func ParseOrder(s string) (OrderMode, error) {
	for m := OrderSession; m <= OrderNone; m++ {
		if s == m.String() {
			return m, nil
		}
	}
	return 0, fault.BadUsage("bad --order "+strconv.Quote(s), "want session, connection or none", "--order session")
}

// String returns "session", "connection" or "none".
func (m OrderMode) String() string {
	switch m {
	case OrderSession:
		return "session"
	case OrderConnection:
		return "connection"
	}
	return "none"
}

// OrderConfig says what an Order keeps and for how long.
type OrderConfig struct {
	Mode OrderMode
	// Wait is the longest that a request is held back after it was admitted. 0: 10 s.
	Wait time.Duration
	// Assumed stands for the duration of an exchange of a session whose end was not recorded: a request captured
	// sooner counts as parallel. 0: 1 s. On one connection such an exchange is taken as ended when the next request
	// came, for HTTP/1 carries one at a time.
	Assumed time.Duration
}

// Step is the place of one request in the order. Embed it in what flows through the replay; it must stay where it is, and
// its exported fields unchanged, from Admit to Done.
type Step[T any] struct {
	Value      T
	Session    []byte // empty: none
	Connection []byte // empty: none
	Capture    time.Time
	End        time.Time // when the recorded answer had ended; zero: not recorded

	gate         *gate[T] // nil: not entered, or done
	seq          uint64
	capture, end int64 // Unix nanoseconds
	deadline     time.Time
	open, held   int      // places in the gate's heaps; held is -1 when not held back
	older, newer *Step[T] // among all that are held back
}

// Order holds a request back until those of its session whose recorded answer had ended before it was captured are
// done: requests that were parallel stay parallel. Equal times count in the order of Admit. A session with nothing
// outstanding is forgotten. Order reads no clock and is safe for concurrent use; each call costs O(log n) in the
// outstanding requests of the session.
type Order[T any] struct {
	cfg OrderConfig

	mu          sync.Mutex
	sessions    map[string]*gate[T]
	connections map[string]*gate[T]
	spare       []*gate[T]
	seq         uint64
	oldest      *Step[T] // held back, in the order of Admit
	newest      *Step[T]
	held        int
	expired     uint64
}

// gate is one session, or one connection, with outstanding requests. A step may go when no outstanding one has an (end,
// seq) before its (capture, seq); as a step's end is never before its capture, two never wait for each other.
type gate[T any] struct {
	of   map[string]*gate[T] // the map it is in
	key  string
	open heap[*Step[T]] // by (end, seq): admitted and not done, held back ones too
	held heap[*Step[T]] // by (capture, seq): held back
}

// NewOrder returns an order without sessions.
func NewOrder[T any](cfg OrderConfig) *Order[T] {
	if cfg.Wait <= 0 {
		cfg.Wait = defaultOrderWait
	}
	if cfg.Assumed <= 0 {
		cfg.Assumed = defaultAssumed
	}
	return &Order[T]{cfg: cfg, sessions: make(map[string]*gate[T]), connections: make(map[string]*gate[T])}
}

// Admit enters a step, in due order, at its due moment. true: it may be fired at once. false: it comes back from Done
// or Expire. Either way Done must be called for it when it has been fired or given up.
func (o *Order[T]) Admit(s *Step[T], now time.Time) bool {
	gates, key, assumed := o.sessions, s.Session, o.cfg.Assumed
	if o.cfg.Mode == OrderConnection || len(key) == 0 {
		gates, key, assumed = o.connections, s.Connection, 0
	}
	if o.cfg.Mode == OrderNone || len(key) == 0 {
		return true
	}
	s.capture = s.Capture.UnixNano()
	s.end = s.capture + int64(assumed)
	if !s.End.IsZero() {
		s.end = max(s.capture, s.End.UnixNano())
	}

	o.mu.Lock()
	defer o.mu.Unlock()
	g, ok := gates[string(key)]
	if !ok {
		g = o.newGate(gates, string(key))
	}
	o.seq++
	s.gate, s.seq, s.held = g, o.seq, -1
	g.open.push(s)
	if g.free(s) {
		return true
	}
	s.deadline = now.Add(o.cfg.Wait)
	g.held.push(s)
	o.link(s)
	return false
}

// Done takes a step out and appends to free the steps that may be fired now. A second call for the same step does nothing.
func (o *Order[T]) Done(s *Step[T], free []*Step[T]) []*Step[T] {
	o.mu.Lock()
	defer o.mu.Unlock()
	g := s.gate
	if g == nil {
		return free
	}
	s.gate = nil
	if s.held >= 0 {
		o.release(s, g)
	}
	g.open.removeAt(s.open)
	for g.held.len() > 0 && g.free(g.held.items[0]) {
		next := g.held.items[0]
		o.release(next, g)
		free = append(free, next)
	}
	if g.open.len() == 0 {
		delete(g.of, g.key)
		if len(o.spare) < maxSpareGates {
			g.of, g.key = nil, ""
			o.spare = append(o.spare, g)
		}
	}
	return free
}

// Expire appends to free the steps that have been held back for Wait, and returns when to call it again; zero: nothing is
// held back.
func (o *Order[T]) Expire(now time.Time, free []*Step[T]) (out []*Step[T], next time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.oldest != nil {
		s := o.oldest
		if now.Before(s.deadline) {
			return free, s.deadline
		}
		o.release(s, s.gate)
		o.expired++
		free = append(free, s)
	}
	return free, time.Time{}
}

// Held returns how many steps are held back.
func (o *Order[T]) Held() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.held
}

// Expired returns how many steps Expire has let go so far.
func (o *Order[T]) Expired() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.expired
}

func (g *gate[T]) free(s *Step[T]) bool {
	first := g.open.items[0]
	return first.end > s.capture || first.end == s.capture && first.seq >= s.seq
}

func (o *Order[T]) newGate(of map[string]*gate[T], key string) *gate[T] {
	var g *gate[T]
	if n := len(o.spare); n > 0 {
		g, o.spare = o.spare[n-1], o.spare[:n-1]
	} else {
		g = &gate[T]{
			open: heap[*Step[T]]{
				less:  func(a, b **Step[T]) bool { return before((*a).end, (*a).seq, (*b).end, (*b).seq) },
				moved: func(s **Step[T], i int) { (*s).open = i },
			},
			held: heap[*Step[T]]{
				less:  func(a, b **Step[T]) bool { return before((*a).capture, (*a).seq, (*b).capture, (*b).seq) },
				moved: func(s **Step[T], i int) { (*s).held = i },
			},
		}
	}
	g.of, g.key = of, key
	of[key] = g
	return g
}

func before(t1 int64, seq1 uint64, t2 int64, seq2 uint64) bool {
	return t1 < t2 || t1 == t2 && seq1 < seq2
}

// release takes a step out of those held back.
func (o *Order[T]) release(s *Step[T], g *gate[T]) {
	g.held.removeAt(s.held)
	s.held = -1
	o.unlink(s)
}

func (o *Order[T]) link(s *Step[T]) {
	s.older = o.newest
	if o.newest != nil {
		o.newest.newer = s
	} else {
		o.oldest = s
	}
	o.newest = s
	o.held++
}

func (o *Order[T]) unlink(s *Step[T]) {
	if s.older != nil {
		s.older.newer = s.newer
	} else {
		o.oldest = s.newer
	}
	if s.newer != nil {
		s.newer.older = s.older
	} else {
		o.newest = s.older
	}
	s.older, s.newer = nil, nil
	o.held--
}
