package topic

import "sync"

// ring holds what waits to be sent, bounded in bytes; its oldest records make room for new ones. What the client gave back
// unsent is older than the rest and goes first, in both senses.
type ring struct {
	limit int64
	rouse int64         // bytes from which the pump need not linger
	wake  chan struct{} // capacity 1

	mu     sync.Mutex
	fresh  queue
	back   queue
	bytes  int64
	called bool // the pump was woken for size and has not come yet
	closed bool
}

type slot struct {
	rec  *Record
	size int64 // bytes it counts for
}

// slotOverhead stands for the structures around a record, here and in the client.
const slotOverhead = 256

func sizeOf(r *Record) int64 {
	n := slotOverhead + len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += 40 + len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return int64(n)
}

// put adds s and appends to evicted what had to go for it: possibly s itself, when it is larger than the ring. The second
// result is false when the ring is closed. Called locked.
func (r *ring) put(s slot, evicted []slot) ([]slot, bool) {
	if r.closed {
		return evicted, false
	}
	if s.size > r.limit {
		return append(evicted, s), true
	}
	for r.bytes+s.size > r.limit {
		evicted = append(evicted, r.pop())
	}
	r.fresh.push(s)
	r.bytes += s.size
	return evicted, true
}

// stir wakes the pump when there is something after there was nothing, or much. Called locked.
func (r *ring) stir(wasEmpty bool) {
	if wasEmpty || r.bytes >= r.rouse && !r.called {
		r.called = r.bytes >= r.rouse
		poke(r.wake)
	}
}

func (r *ring) pop() slot {
	from := &r.fresh
	if r.back.n > 0 {
		from = &r.back
	}
	s := from.pop()
	r.bytes -= s.size
	return s
}

// take moves records of up to room bytes to out, one in any case if force is set. moved is called for their bytes while
// the ring is locked, so that at no moment a record is in no one's books.
func (r *ring) take(out []slot, most int, room int64, force bool, moved func(records int, bytes int64)) []slot {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.called = false
	var bytes int64
	for len(out) < most && r.len() > 0 {
		next := r.peek().size
		if bytes+next > room && !(force && len(out) == 0) {
			break
		}
		out = append(out, r.pop())
		bytes += next
	}
	moved(len(out), bytes)
	return out
}

// giveBack returns a record that was not sent to the front; false: there is no room for the oldest.
func (r *ring) giveBack(s slot) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.bytes+s.size > r.limit {
		return false
	}
	r.back.push(s)
	r.bytes += s.size
	return true
}

// shed returns the oldest records, up to so many bytes.
func (r *ring) shed(bytes int64) (old []slot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.len() > 0 && r.peek().size <= bytes {
		s := r.pop()
		bytes -= s.size
		old = append(old, s)
	}
	return old
}

// close takes no more, and returns what is left.
func (r *ring) close() (left []slot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for r.len() > 0 {
		left = append(left, r.pop())
	}
	return left
}

func (r *ring) state() (records int, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.len(), r.bytes
}

func (r *ring) len() int { return r.fresh.n + r.back.n }

func (r *ring) peek() slot {
	if r.back.n > 0 {
		return r.back.peek()
	}
	return r.fresh.peek()
}

// queue is first in, first out; it grows, and gives memory back when it has run empty.
type queue struct {
	slots []slot // length is a power of two
	head  int
	n     int
}

const (
	queueMin  = 64
	queueKeep = 4096 // slots kept when empty
)

func (q *queue) push(s slot) {
	if q.n == len(q.slots) {
		slots := make([]slot, max(queueMin, 2*len(q.slots)))
		for i := range q.n {
			slots[i] = q.slots[(q.head+i)&(len(q.slots)-1)]
		}
		q.slots, q.head = slots, 0
	}
	q.slots[(q.head+q.n)&(len(q.slots)-1)] = s
	q.n++
}

func (q *queue) peek() slot { return q.slots[q.head] }

func (q *queue) pop() slot {
	s := q.slots[q.head]
	q.slots[q.head] = slot{}
	q.head = (q.head + 1) & (len(q.slots) - 1)
	q.n--
	if q.n == 0 && len(q.slots) > queueKeep {
		*q = queue{}
	}
	return s
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
