package rewrite

import (
	"slices"
	"sync"
	"time"
)

// Waits holds requests back until the answers are there that bring their values. It is for what the order within sessions does not
// see: a value that goes from one session, or connection, to another, or requests that are not kept in order at all. A request
// waits only for such as were entered before it, so two never wait for each other, and only for answers that had ended before it was
// recorded: what was parallel stays so. It reads no clock and is safe for concurrent use.
type Waits[T any] struct {
	bound time.Duration

	mu      sync.Mutex
	coming  map[string]*producer[T] // by value: the last one that brings it
	waiting []waiter[T]             // in the order of their deadlines
}

type producer[T any] struct {
	values  []string
	end     time.Time // of the recorded answer
	done    bool
	waiting int // how many wait for it
}

type waiter[T any] struct {
	value    T
	on       []*producer[T]
	deadline time.Time
}

// Ticket is one request's place among them. The zero value has none.
type Ticket[T any] struct{ p *producer[T] }

// NewWaits returns one in which nobody waits for longer than bound.
func NewWaits[T any](bound time.Duration) *Waits[T] {
	return &Waits[T]{bound: bound, coming: make(map[string]*producer[T])}
}

// Enter says what the answer to a request will bring. It is called in the order in which requests are due, before Ready.
func (w *Waits[T]) Enter(t *Trip) (k Ticket[T]) {
	if len(t.made) == 0 {
		return k
	}
	p := &producer[T]{end: t.end}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range t.made {
		v := m.recorded
		if v == "" || slices.Contains(t.parts, v) { // a cookie that is set again was there before
			continue
		}
		p.values = append(p.values, t.scoped(v))
		w.coming[t.scoped(v)] = p
	}
	if len(p.values) > 0 {
		k.p = p
	}
	return k
}

// scoped is what a value is known by: a long one is the same everywhere, a short one only within its session.
func (t *Trip) scoped(v string) string {
	if len(v) >= longValue {
		return v
	}
	return t.key + "\x00" + v
}

// Ready reports whether a request may be sent; else value comes back from Done or Expire. own is the request's own ticket: nobody
// waits for themselves.
func (w *Waits[T]) Ready(t *Trip, own Ticket[T], value T, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.coming) == 0 {
		return true
	}
	var on []*producer[T]
	for _, part := range t.parts {
		if p := w.coming[t.scoped(part)]; p != nil && p != own.p && !p.end.After(t.capture) {
			p.waiting++
			on = append(on, p)
		}
	}
	if len(on) == 0 {
		return true
	}
	w.waiting = append(w.waiting, waiter[T]{value, on, now.Add(w.bound)})
	return false
}

// Done says that the answer to a request is there, or will not come, and appends to free those that may be sent now.
func (w *Waits[T]) Done(k Ticket[T], free []T) []T {
	if k.p == nil {
		return free
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if k.p.done {
		return free
	}
	k.p.done = true
	for _, v := range k.p.values {
		if w.coming[v] == k.p {
			delete(w.coming, v)
		}
	}
	if k.p.waiting == 0 {
		return free
	}
	left := w.waiting[:0]
	for _, one := range w.waiting {
		ready := true
		for _, p := range one.on {
			ready = ready && p.done
		}
		if ready {
			free = append(free, one.value)
		} else {
			left = append(left, one)
		}
	}
	clear(w.waiting[len(left):])
	w.waiting = left
	return free
}

// Expire appends to free those that have waited for as long as they may.
func (w *Waits[T]) Expire(now time.Time, free []T) []T {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for n < len(w.waiting) && !now.Before(w.waiting[n].deadline) {
		free = append(free, w.waiting[n].value)
		n++
	}
	left := w.waiting[:copy(w.waiting, w.waiting[n:])]
	clear(w.waiting[len(left):])
	w.waiting = left
	return free
}
