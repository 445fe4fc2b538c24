package wire

import (
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/traffic"
)

// Captured is a finished exchange with the bytes of Budget that it holds: whoever takes it over releases exactly Bytes
// when done with it, however much its size has changed by then.
type Captured struct {
	Exchange *traffic.Exchange
	Bytes    int64
}

// Budget bounds the bytes that captures hold. Its methods must be quick and safe for several goroutines. It may be a Shedder.
type Budget interface {
	TryAcquire(n int64) bool
	Release(n int64)
}

// Loss is why an exchange that was seen is not kept.
type Loss uint8

// The losses.
const (
	LostMarked      Loss = iota // carries the mark of a replay: not captured by intent
	LostMemory                  // Budget refused
	LostMalformed               // no request could be read from it
	LostLargeHeader             // a header block of more than MaxHeader bytes or MaxFields lines
	LostPanic                   // the parser failed; the connection's capture was given up
	LostStreams                 // too many unfinished exchanges on one HTTP/2 connection
	LostProtection              // Budget is shut
	LostBehind                  // Budget is late
	Losses                      // how many there are
)

// String returns the name used as a metric label.
func (l Loss) String() string {
	return [...]string{"marked", "memory", "malformed", "header_too_large", "panic", "streams", "self_protection", "behind", "other"}[min(l, Losses)]
}

// Counts are totals. Every request seen is handed over by Take once, or lost once.
type Counts struct {
	Seen             int64
	Lost             [Losses]int64
	Opaque           [Faults]int64 // dialogs whose requests are no longer read, by Fault; 0: a panic
	ResponsesUnread  int64         // dialogs whose responses could not be read any further, while requests could
	ResponsesForeign int64         // responses that no request had asked for
}

// RecorderConfig says what a Recorder keeps.
type RecorderConfig struct {
	Source       traffic.Source
	Scheme       string             // of requests that do not say it themselves; "": http
	TimeSource   traffic.TimeSource // whose times the Recorder is given; 0: traffic.OwnClock
	BodyMax      int                // bytes kept of each body
	ResponseWait time.Duration      // from the last byte of the request
	MarkHeader   string             // requests with this field are only framed; "": none
	Budget       Budget             // nil: no bound
}

// Recorder pairs the two directions of any number of dialogs into exchanges. It belongs to one goroutine, as do its
// dialogs; what Take returns does not.
type Recorder struct {
	Counts Counts

	cfg     RecorderConfig
	scratch Scratch
	fields  fieldReader
	store   store
	out     []Captured
	free    *pending       // to be used again
	waiting chain[pending] // for the answer, by deadline
	scheme  []byte
	shedding
}

// NewRecorder returns a Recorder without dialogs.
func NewRecorder(cfg RecorderConfig) *Recorder {
	if cfg.Budget == nil {
		cfg.Budget = unbounded{}
	}
	if cfg.TimeSource == 0 {
		cfg.TimeSource = traffic.OwnClock
	}
	cfg.MarkHeader = strings.ToLower(cfg.MarkHeader)
	if cfg.Scheme == "" {
		cfg.Scheme = "http"
	}
	r := &Recorder{cfg: cfg, scheme: []byte(cfg.Scheme)}
	if s, ok := cfg.Budget.(Shedder); ok {
		r.shedder, r.place = s, s.Join()
	}
	return r
}

type unbounded struct{}

func (unbounded) TryAcquire(int64) bool { return true }
func (unbounded) Release(int64)         {}

// Take returns the exchanges finished since the last call. The slice is used again: it is valid until the Recorder is
// called next, the exchanges are the caller's.
func (r *Recorder) Take() []Captured {
	out := r.out
	r.out = r.out[:0]
	return out
}

// Ready is how many exchanges Take would return.
func (r *Recorder) Ready() int { return len(r.out) }

// Expire finishes the exchanges whose answer did not come, or did not end, within ResponseWait: the first as
// NO_RESPONSE, the second with what has come as TRUNCATED_RESPONSE. Then it gives up what a Shedder wants to have given up.
// It returns when to call it next; the zero time when nothing waits.
func (r *Recorder) Expire(now time.Time) time.Time {
	next := r.expire(now)
	if again := r.shed(now); next.IsZero() || !again.IsZero() && again.Before(next) {
		next = again
	}
	return next
}

func (r *Recorder) expire(now time.Time) time.Time {
	for p := r.waiting.first(); p != nil; p = r.waiting.first() {
		if p.deadline.After(now) {
			return p.deadline
		}
		if p.answered() {
			r.cutResponse(p, now)
		} else {
			p.slot.exchange.Flags |= p.silence()
		}
		r.finish(p)
	}
	return time.Time{}
}

// pending is a request on its way to become an exchange.
type pending struct {
	slot      *slot // nil: lost, or handed over already; then it is only framed
	booked    int64 // of Budget
	start     time.Time
	deadline  time.Time
	reqLength int64 // of the bodies as announced; -1: not known
	resLength int64
	method    Method
	switches  bool // it asked to switch protocols
	own       bool // its parts share no memory with others
	settled   bool // handed over or lost
	reqWhole  bool // its end was seen (or that it will not come)
	resWhole  bool
	reqFull   bool // no more of its body is kept
	resFull   bool
	oneSided  bool // its answer cannot be seen
	inDialog  bool // in Dialog's queue
	next      *pending
	waits     link[pending] // in Recorder.waiting
	aging     link[pending] // in Recorder.unfinished
	of        *h2           // its connection, where that is HTTP/2
}

// silence is what an exchange without answer is flagged with.
func (p *pending) silence() traffic.Flags {
	if p.oneSided {
		return traffic.RequestOnly
	}
	return traffic.NoResponse
}

func (p *pending) answered() bool { return p.slot != nil && p.slot.exchange.Response != nil }

func (r *Recorder) newPending() *pending {
	if p := r.free; p != nil {
		r.free = p.next
		*p = pending{}
		return p
	}
	return new(pending)
}

// recycle takes p back when nobody needs it for framing any more.
func (r *Recorder) recycle(p *pending) {
	if p.reqWhole && !p.inDialog && p.slot == nil {
		p.next, r.free = r.free, p
	}
}

// finish hands the exchange over.
func (r *Recorder) finish(p *pending) {
	r.waiting.remove(&p.waits)
	r.unfinished.remove(&p.aging)
	if p.slot == nil {
		return
	}
	x := &p.slot.exchange
	if int64(len(x.Request.Body)) < x.Request.BodySize {
		x.Flags |= traffic.TruncatedRequest
	}
	if res := x.Response; res != nil && int64(len(res.Body)) < res.BodySize {
		x.Flags |= traffic.TruncatedResponse
	}
	r.out = append(r.out, Captured{Exchange: x, Bytes: p.booked})
	p.of.release(p.booked)
	p.slot, p.booked, p.settled = nil, 0, true
}

// lose gives the exchange up; framing goes on.
func (r *Recorder) lose(p *pending, why Loss) {
	r.waiting.remove(&p.waits)
	r.unfinished.remove(&p.aging)
	if p.settled {
		return
	}
	r.Counts.Lost[why]++
	booked := p.booked
	p.of.release(booked)
	p.slot, p.booked, p.settled = nil, 0, true
	r.cfg.Budget.Release(booked)
}

// book takes n more bytes of the budget for p.
func (r *Recorder) book(p *pending, n int) bool {
	if !p.of.allows(int64(n)) {
		return false
	}
	for !r.cfg.Budget.TryAcquire(int64(n)) {
		if !r.makeRoom(p) {
			return false
		}
	}
	p.booked += int64(n)
	p.of.release(-int64(n))
	return true
}

// cutResponse marks an answer that was not seen to its end.
func (r *Recorder) cutResponse(p *pending, now time.Time) {
	x := &p.slot.exchange
	x.Flags |= traffic.TruncatedResponse
	x.Response.Duration = now.Sub(p.start)
	x.Response.BodySize = max(x.Response.BodySize, p.resLength)
}

// keep appends data to a body as far as BodyMax allows; announced is the length of the whole body or -1. It reports
// whether the budget allowed it. What is too large for a late budget is lost.
func (r *Recorder) keep(p *pending, body *[]byte, data []byte, announced int64) bool {
	data = data[:min(len(data), r.cfg.BodyMax-len(*body))]
	need := len(*body) + len(data)
	if need > cap(*body) {
		most, twice := r.cfg.BodyMax, 2*cap(*body)
		if announced >= 0 { // what is announced comes, mostly: the first part has room for as much again
			most, twice = int(min(int64(most), announced)), 2*need
		}
		room := max(need, min(twice, most))
		more := room - cap(*body)
		if r.late(p.booked, more) {
			r.lose(p, LostBehind)
			return false
		}
		if !r.book(p, more) {
			return false
		}
		var larger []byte
		if p.own {
			larger = make([]byte, 0, room)
		} else {
			larger = r.store.room(room)
		}
		*body = append(larger, *body...)
	}
	*body = append(*body, data...)
	return true
}
