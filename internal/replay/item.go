package replay

import (
	"sync"
	"time"

	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/traffic"
)

// itemOverhead is what an item costs beside what traffic.Exchange.Size counts, in bytes.
const itemOverhead = 1 << 10

// pending is a record that waits in the look-ahead: a third of what it takes once it is an item.
type pending struct {
	part    *partition
	offset  int64
	capture time.Time
	id      traffic.ID
	value   []byte // aliases the fetched batch
}

// pendingOverhead is what a pending record costs beside its value, in bytes.
const pendingOverhead = 256

// item is one exchange on its way from the topic to the target.
type item struct {
	step   schedule.Step[*item] // its place in the order; Value is the item itself
	x      traffic.Exchange     // aliases the fetched batch
	part   *partition
	offset int64
	shot   *fire.Shot // nil in a plan
	due    time.Time  // zero: as soon as possible
	bytes  int
	begun  bool   // the pacing thread has written it; it is counted by part as being fired
	conn   []byte // backs step.Connection
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
	it.part, it.shot, it.due, it.begun = nil, nil, time.Time{}, false
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
	if x.Response != nil && x.Response.Duration > 0 {
		it.step.End = x.CaptureTime.Add(x.Response.Duration)
	}
}
