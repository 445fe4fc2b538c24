package replay

import (
	"sync"

	"github.com/reprise-io/reprise/internal/topic"
)

// partition is the progress of one assigned partition. It is safe for concurrent use.
type partition struct {
	id         int32
	first      int64 // the offset at which it was assigned
	start, end int64 // [start, end) belongs to the run; end -1: no end
	copies     int   // of each exchange, all of which must be done

	mu        sync.Mutex
	ledger    *topic.Ledger
	before    topic.Ranges // finished by an earlier start, beyond where it had committed
	next      int64        // offset after the last one read
	epoch     int32
	ended     bool // read to its end
	gone      bool // revoked or lost: nothing more of it is fired
	firing    int  // begun and not done
	idle      chan struct{}
	committed topic.Position
	some      map[int64]int // how many copies of an offset are done, where that is not all or none
}

func newPartition(id int32, window topic.Range, at topic.Position, copies int) (*partition, error) {
	before, err := topic.ParseRanges(at.Metadata)
	p := &partition{
		id: id, first: at.Offset, start: window.Start, end: window.End, before: before, copies: copies, some: make(map[int64]int),
		ledger: topic.NewLedger(at.Offset), next: at.Offset, committed: at,
	}
	p.ended = p.end >= 0 && at.Offset >= p.end
	return p, err
}

// take notes the records of one fetch as begun, in order, and returns those that have still to be dealt with, how many
// were finished by an earlier start, and whether the partition was read to its end.
func (p *partition) take(records []topic.Record) (todo []topic.Record, resumed int64, ended bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone || p.ended {
		return nil, 0, false
	}
	todo = records[:0]
	for i := range records {
		r := &records[i]
		if r.Offset < p.next {
			continue
		}
		if p.end >= 0 && r.Offset >= p.end {
			p.ended = true
			break
		}
		p.next, p.epoch = r.Offset+1, r.LeaderEpoch
		p.ledger.Begin(r.Offset)
		if p.before.Contains(r.Offset) {
			p.ledger.Done(r.Offset)
			resumed++
			continue
		}
		todo = append(todo, *r)
	}
	if p.end >= 0 && p.next >= p.end {
		p.ended = true
	}
	return todo, resumed, p.ended
}

// begun reports whether records of it have come, or none will.
func (p *partition) begun() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next > p.first || p.ended || p.gone
}

// begin reports whether an exchange of this partition may be fired; then done or abandon must follow.
func (p *partition) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return false
	}
	p.firing++
	return true
}

// done notes copies of an offset as finished, which it is when all are; firing says how many of them had been begun.
func (p *partition) done(firing, copies int, offset int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.some[offset] + copies; n >= p.copies {
		delete(p.some, offset)
		p.ledger.Done(offset)
	} else {
		p.some[offset] = n
	}
	p.release(firing)
}

// abandon gives up what had been begun without finishing it: it will be fired again by whoever reads it next.
func (p *partition) abandon(firing int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.release(firing)
}

func (p *partition) release(n int) {
	p.firing -= n
	if p.firing == 0 && p.idle != nil {
		close(p.idle)
		p.idle = nil
	}
}

// leave makes nothing more of the partition be fired, and returns a channel that is closed when nothing of it is being
// fired any more.
func (p *partition) leave() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
	c := make(chan struct{})
	if p.firing == 0 {
		close(c)
		return c
	}
	p.idle = c
	return c
}

// reading returns the next offset to read, and whether there is none.
func (p *partition) reading() (next int64, ended bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next, p.ended
}

// finish says that no record is left before the end.
func (p *partition) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
}

// isEnded reports whether it was read to its end.
func (p *partition) isEnded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// isGone reports whether the partition was taken away.
func (p *partition) isGone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gone
}

// position returns where to go on from, and whether that is news since committedAt was last called.
func (p *partition) position() (at topic.Position, news bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at = topic.Position{Offset: p.ledger.Watermark(), LeaderEpoch: p.epoch, Metadata: p.ledger.Ranges(p.before)}
	if p.ended && p.ledger.InFlight() == 0 {
		at.Offset, at.Metadata = max(at.Offset, p.end), ""
	}
	return at, at.Offset != p.committed.Offset || at.Metadata != p.committed.Metadata
}

func (p *partition) committedAt(at topic.Position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.committed = at
}

// complete reports whether everything of the partition is done and committed.
func (p *partition) complete() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.end >= 0 && p.ended && p.ledger.InFlight() == 0 && p.firing == 0 && p.committed.Offset >= p.end
}

// progress returns how many offsets of the window are behind the watermark, and how many there are.
func (p *partition) progress() (done, of int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.end < 0 {
		return 0, 0
	}
	at := min(p.ledger.Watermark(), p.end)
	if p.ended && p.ledger.InFlight() == 0 {
		at = p.end
	}
	return max(0, at-p.start), p.end - p.start
}
