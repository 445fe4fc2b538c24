package wire

import (
	"math"
	"sync/atomic"
	"time"
)

// Shedder is a Budget that also says what has to go before it is finished. A Recorder whose Budget is one gives its exchanges,
// and heads that are not whole, up by itself, the oldest first, in Expire.
type Shedder interface {
	Budget
	// Join returns the place of a Recorder among all holders.
	Join() *Place
	// Shut reports that nothing is to be kept at all: messages are framed and counted only.
	Shut() bool
	// Late reports that more of what is Large is kept already than can be worked on in time: what becomes so now is given up,
	// then framed and counted only.
	Late() bool
	// Sheds reports whether what began at start (ns since 1970), the oldest that place holds, is to be given up now.
	Sheds(place *Place, start int64) bool
}

// Large is what an exchange may hold, in bytes, before it is large: up to here it takes less work than it took to pass it on.
const Large = 8 << 10

// Place is where a Recorder tells how old its oldest unfinished exchange is, so that of all holders' the oldest go first.
type Place struct{ oldest atomic.Int64 }

// Never is the Oldest of a place that holds nothing.
const Never = math.MaxInt64

// Oldest returns when the oldest began, in ns since 1970; Never: there is none.
func (p *Place) Oldest() int64 {
	if at := p.oldest.Load(); at != 0 {
		return at
	}
	return Never
}

func (p *Place) tell(at int64) {
	if p.oldest.Load() != at { // a plain look is cheaper
		p.oldest.Store(at)
	}
}

// shedEvery is how often a Recorder looks whether something has to go, while it has something that could.
const shedEvery = 200 * time.Millisecond

// shedding is a Recorder's part in it.
type shedding struct {
	shedder    Shedder // nil: the Budget is none
	place      *Place
	unfinished chain[pending] // exchanges, in the order in which they began
	heads      chain[Dialog]  // those that hold more of a head than is free, in the order in which those began
}

// shut reports whether nothing that begins now is to be kept.
func (s *shedding) shut() bool { return s.shedder != nil && s.shedder.Shut() }

// late reports whether what holds so many bytes must not become larger by n.
func (s *shedding) late(booked int64, n int) bool {
	return booked <= Large && booked+int64(n) > Large && s.shedder != nil && s.shedder.Late()
}

// shed gives up what has to go, and returns when to look again; the zero time when there is nothing.
func (r *Recorder) shed(now time.Time) time.Time {
	if r.shedder == nil {
		return time.Time{}
	}
	for p := r.unfinished.first(); p != nil && r.shedder.Shut(); p = r.unfinished.first() {
		r.lose(p, LostProtection)
	}
	for {
		p, d, oldest := r.unfinished.first(), r.heads.first(), int64(Never)
		if p != nil {
			oldest = p.start.UnixNano()
		}
		if d != nil {
			oldest = min(oldest, d.headSince)
		}
		r.place.tell(oldest)
		switch {
		case oldest == Never:
			return time.Time{}
		case !r.shedder.Sheds(r.place, oldest):
			return now.Add(shedEvery)
		case d != nil && oldest == d.headSince:
			r.dropHead(d, now)
		default:
			r.lose(p, LostMemory)
		}
	}
}

// makeRoom gives up the oldest exchange for the sake of p, which is being read: where many come at once, the oldest are to go
// and not those that come last. It reports whether it did.
func (r *Recorder) makeRoom(p *pending) bool {
	oldest := r.unfinished.first()
	if oldest == nil || oldest == p || !r.shedder.Sheds(r.place, oldest.start.UnixNano()) {
		return false
	}
	r.lose(oldest, LostMemory)
	return true
}

// dropHead gives up what d holds of heads that are not whole, and with it the reading of that direction.
func (r *Recorder) dropHead(d *Dialog, now time.Time) {
	defer r.survive(d)
	if d.req.Held() > freeHeld {
		d.req.fail(NoMemory)
		r.requestFailed(d, now)
	}
	if d.res.Held() > freeHeld {
		d.res.fail(NoMemory)
		r.responseFailed(d, now)
	}
	r.bookHeld(d)
}

// noteHead tells that d holds more of a head than is free, or no more.
func (r *Recorder) noteHead(d *Dialog, holds bool) {
	switch listed := d.heads.item != nil; {
	case holds == listed:
	case listed:
		r.heads.remove(&d.heads)
	default:
		began := d.reqStart
		if d.req.Held() <= freeHeld {
			began = d.resStart
		}
		d.headSince = began.UnixNano()
		r.heads.add(d, &d.heads)
	}
}
