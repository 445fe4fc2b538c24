package replay

import (
	"sync"

	"github.com/reprise-io/reprise/internal/topic"
)

const (
	// recordOverhead is what a fetched record costs beside its value, in bytes.
	recordOverhead = 256

	// siftRecords is how many records of a partition are sifted in one go.
	siftRecords = 128
)

// gates stops and continues fetching; a topic.GroupReader is one.
type gates interface {
	Pause(partitions ...int32)
	Resume(partitions ...int32)
}

// backlog is what was fetched and not looked at yet, by partition. Fetches come as large as brokers make them: so records
// wait here, and of each partition only as many go on as the look-ahead wants. It is safe for concurrent use.
type backlog struct {
	reader gates // set before await is called
	high   int64 // bytes of one partition above which its fetching is stopped while others starve
	limit  int64 // bytes of all above which nothing is fetched while nobody starves
	most   int   // records that are sifted in one go

	gating sync.Mutex // taken before mu

	mu      sync.Mutex
	changed *sync.Cond // for fetching: room, or somebody starves
	ready   *sync.Cond // for workers: a partition can be sifted
	parts   map[int32]*lane
	order   []*lane // takes turns
	next    int
	bytes   int64
	closed  bool
}

// lane is the part of the backlog of one partition.
type lane struct {
	part   *partition
	chunks [][]topic.Record
	bytes  int64
	busy   bool  // a worker sifts it
	taken  int64 // bytes of what the worker has
	held   bool  // the look-ahead has enough of it
	ended  bool
	paused bool // its fetching is stopped
}

// newBacklog returns an empty one. copies is how many entries of the look-ahead a record becomes.
func newBacklog(lookAhead int64, partitions, copies int) *backlog {
	b := &backlog{limit: lookAhead / 8, most: max(1, siftRecords/copies), parts: make(map[int32]*lane)}
	b.high = max(b.limit/int64(max(partitions, 1)), 64<<10)
	b.changed, b.ready = sync.NewCond(&b.mu), sync.NewCond(&b.mu)
	return b
}

func (b *backlog) open(p *partition) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := &lane{part: p, ended: p.isEnded()}
	b.parts[p.id] = l
	b.order = append(b.order, l)
	b.changed.Broadcast()
}

// remove forgets a partition that was taken away. It waits for a decision that is being carried out, which else could stop the fetching of
// a partition that is back meanwhile, and nobody would know.
func (b *backlog) remove(id int32) {
	b.gating.Lock()
	defer b.gating.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.parts[id]
	if l == nil {
		return
	}
	delete(b.parts, id)
	b.bytes -= l.bytes
	for i, o := range b.order {
		if o == l {
			b.order = append(b.order[:i:i], b.order[i+1:]...)
			break
		}
	}
	b.changed.Broadcast()
}

// finish says that nothing of a partition is left to be fetched, unless it was taken away meanwhile.
func (b *backlog) finish(p *partition) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.parts[p.id]; l != nil && l.part == p {
		l.ended = true
	}
}

// end puts the end of a partition behind what was fetched of it and is not looked at yet, unless it was taken away meanwhile.
func (b *backlog) end(p *partition) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.parts[p.id]; l != nil && l.part == p {
		b.put(l, []topic.Record{{Offset: p.end}})
	}
}

// add takes what was fetched.
func (b *backlog) add(batch *topic.Batch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range batch.Partitions {
		if l := b.parts[p.Partition]; l != nil {
			b.put(l, p.Records)
		}
	}
}

// put is called with mu held.
func (b *backlog) put(l *lane, records []topic.Record) {
	if l.ended || len(records) == 0 {
		return
	}
	n := int64(0)
	for i := range records {
		n += int64(len(records[i].Value) + recordOverhead)
	}
	l.chunks = append(l.chunks, records)
	l.bytes += n
	b.bytes += n
	b.ready.Broadcast()
}

// hold stops and continues the sifting of partitions, as the look-ahead wants it.
func (b *backlog) hold(pause, resume []int32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range pause {
		if l := b.parts[id]; l != nil {
			l.held = true
		}
	}
	for _, id := range resume {
		if l := b.parts[id]; l != nil {
			l.held = false
		}
	}
	if len(resume) > 0 {
		b.ready.Broadcast()
		b.changed.Broadcast() // it may starve
	}
}

// take waits for a partition that can be sifted and returns its next records; give must follow. Nil: closed.
func (b *backlog) take() (*lane, []topic.Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for !b.closed {
		for range b.order {
			l := b.order[b.next%len(b.order)]
			b.next = (b.next + 1) % len(b.order)
			if l.busy || l.held || len(l.chunks) == 0 {
				continue
			}
			l.busy = true
			return l, l.cut(b.most)
		}
		b.ready.Wait()
	}
	return nil, nil
}

// cut takes the next records out of a lane.
func (l *lane) cut(most int) []topic.Record {
	first := l.chunks[0]
	n := min(len(first), most)
	if n == len(first) {
		l.chunks[0] = nil
		l.chunks = l.chunks[1:]
	} else {
		l.chunks[0] = first[n:]
	}
	l.taken = 0
	for i := range n {
		l.taken += int64(len(first[i].Value) + recordOverhead)
	}
	return first[:n:n]
}

// give returns a lane after its records were sifted; ended says that the partition has no more.
func (b *backlog) give(l *lane, sifted []topic.Record, ended bool) {
	clear(sifted) // the fetched batch can go once the exchanges made of it have gone
	b.mu.Lock()
	l.busy = false
	if b.parts[l.part.id] != l {
		b.mu.Unlock()
		return
	}
	l.bytes -= l.taken
	b.bytes -= l.taken
	if ended {
		b.bytes -= l.bytes
		l.ended, l.chunks, l.bytes = true, nil, 0
	}
	if len(l.chunks) > 0 && !l.held {
		b.ready.Signal()
	}
	if b.bytes <= b.limit || l.bytes == 0 {
		b.changed.Broadcast()
	}
	gate := ended || l.drained(b.high)
	b.mu.Unlock()
	if gate {
		b.gate(false) // now: fetching may be waiting for nothing else
	}
}

// await waits until something should be fetched, and reports whether it should. A partition of which nothing is left,
// though the look-ahead wants more, while others are full, has theirs stopped: stopping throws away what the client has fetched of them already, so it is
// the last resort. When all have enough, it is enough not to fetch.
func (b *backlog) await() bool {
	b.mu.Lock()
	for !b.closed && b.bytes > b.limit && !b.starving() {
		b.changed.Wait()
	}
	closed, full := b.closed, b.bytes > b.limit
	b.mu.Unlock()
	if !closed {
		b.gate(full)
	}
	return !closed
}

func (b *backlog) starving() bool {
	for _, l := range b.order {
		if !l.ended && !l.held && l.bytes == 0 {
			return true
		}
	}
	return false
}

// gate stops what is full, if that is wanted, and what has ended, and continues what is no longer full.
func (b *backlog) gate(full bool) {
	b.gating.Lock() // else an older decision could be carried out after a newer one
	defer b.gating.Unlock()
	var pause, resume []int32
	b.mu.Lock()
	for _, l := range b.order {
		switch stop := l.ended || full && l.bytes > b.high; {
		case stop && !l.paused:
			l.paused = true
			pause = append(pause, l.part.id)
		case l.drained(b.high):
			l.paused = false
			resume = append(resume, l.part.id)
		}
	}
	b.mu.Unlock() // the reader has locks of its own, and callbacks that need ours
	if len(pause) > 0 {
		b.reader.Pause(pause...)
	}
	if len(resume) > 0 {
		b.reader.Resume(resume...)
	}
}

// drained reports whether a stopped lane should be fetched again.
func (l *lane) drained(high int64) bool { return l.paused && !l.ended && l.bytes <= high/2 }

func (b *backlog) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.changed.Broadcast()
	b.ready.Broadcast()
}

// size returns how many bytes wait.
func (b *backlog) size() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes
}
