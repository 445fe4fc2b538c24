package replay

import (
	"sync"
	"time"

	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/redact"
	"github.com/reprise-io/reprise/internal/rewrite"
	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/traffic"
)

// itemOverhead is what an item costs beside what traffic.Exchange.Size counts, in bytes.
const itemOverhead = 1 << 10

// pending is a record that waits in the look-ahead: a third of what it takes once it is an item.
type pending struct {
	part   *partition
	offset int64
	place  time.Time // in captured time, where the look-ahead has it; a clone's is later than that of what was recorded
	id     traffic.ID
	value  []byte // aliases the fetched batch
	clone  uint32
	bytes  int // that it counts
}

// pendingOverhead is what a pending record costs beside its value, in bytes.
const pendingOverhead = 256

// item is one exchange on its way from the topic to the target.
type item struct {
	step      schedule.Step[*item] // its place in the order; Value is the item itself
	x         traffic.Exchange     // aliases the fetched batch
	part      *partition
	offset    int64
	clone     uint32
	copies    int        // of the offset that it stands for: all of them until they are told apart
	shot      *fire.Shot // nil in a plan
	due       time.Time  // zero: as soon as possible
	bytes     int
	begun     bool                  // the pacing thread has written it; it is counted by part as being fired
	caps      uint64                // that it falls under, a bit each
	pass      fire.Pass             // to fire it, once it has one
	swaps     []redact.Swap         // that made the clone's identity
	sent      traffic.Request       // what the target gets; the recorded one is in x
	trip      *rewrite.Trip         // what its session knows of it; nil: nothing depends on answers
	ticket    rewrite.Ticket[*item] // that others wait by
	waitedOut bool                  // it waited for a value that did not come
	conn      []byte                // backs step.Connection
	user      []byte                // backs step.Session of a clone
}

// items keeps used items, with the slices they hold, for the next ones. The zero value is ready.
type items struct{ pool sync.Pool }

func (p *items) get() *item {
	if it, ok := p.pool.Get().(*item); ok {
		return it
	}
	it := new(item)
	it.step.Value = it
	return it
}

func (p *items) put(it *item) {
	it.part, it.shot, it.due, it.begun, it.pass, it.clone, it.copies, it.swaps = nil, nil, time.Time{}, false, fire.Pass{}, 0, 0, nil
	it.sent, it.trip, it.ticket, it.waitedOut = traffic.Request{}, nil, rewrite.Ticket[*item]{}, false
	p.pool.Put(it)
}

// prepareStep says where the exchange stands in its session.
func (it *item) prepareStep() {
	x := &it.x
	it.step.Session, it.step.Connection, it.step.Capture, it.step.End = x.Session, nil, x.CaptureTime, time.Time{}
	if len(x.Connection.ID) > 0 {
		// Connections are numbered by each tap.
		it.conn = append(append(it.conn[:0], x.ID[:16]...), x.Connection.ID...)
		it.step.Connection = it.conn
	}
	if it.clone > 0 { // a user of its own, who waits for nobody else
		if len(x.Session) > 0 {
			it.user = cloneKey(it.user, x.Session, it.clone)
			it.step.Session = it.user
		}
		if len(it.step.Connection) > 0 {
			it.conn = cloneKey(it.conn, it.conn, it.clone)
			it.step.Connection = it.conn
		}
	}
	if x.Response != nil && x.Response.Duration > 0 {
		it.step.End = x.CaptureTime.Add(x.Response.Duration)
	}
}
