package fire

import (
	"context"
	"os"
	"slices"
	"sync"
	"time"
)

// pool holds the connections that wait for work, the last used on top, and counts the places: one for each connection
// that is idle, in use or being dialled.
type pool struct {
	max int

	mu      sync.Mutex
	idle    []*conn
	all     map[*conn]struct{}
	open    int
	waiting []chan *conn
	closed  bool
}

func newPool(limit int) *pool { return &pool{max: limit, all: make(map[*conn]struct{})} }

// get returns an idle connection, or nil when the caller has got a place to dial one. It waits while all places are taken.
func (p *pool) get(ctx context.Context, deadline time.Time) (*conn, error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return c, nil
	}
	if p.open < p.max {
		p.open++
		p.mu.Unlock()
		return nil, nil
	}
	place := make(chan *conn, 1)
	p.waiting = append(p.waiting, place)
	p.mu.Unlock()

	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	var err error
	select {
	case c := <-place:
		return c, nil
	case <-timer.C:
		err = os.ErrDeadlineExceeded
	case <-ctx.Done():
		err = ctx.Err()
	}
	p.mu.Lock()
	i := slices.Index(p.waiting, place)
	if i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
	}
	p.mu.Unlock()
	if i < 0 { // it was given one meanwhile
		if c := <-place; c != nil {
			p.put(c)
		} else {
			p.leave(nil)
		}
	}
	return nil, err
}

// reserve takes a place to dial a connection on that nobody waits for, unless n places are taken.
func (p *pool) reserve(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.open >= min(n, p.max) {
		return false
	}
	p.open++
	return true
}

// tryGet returns an idle connection if there is one and nobody is at the pool.
func (p *pool) tryGet() *conn {
	if !p.mu.TryLock() {
		return nil
	}
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	c := p.idle[n-1]
	p.idle = p.idle[:n-1]
	return c
}

// add makes a dialled connection known.
func (p *pool) add(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all[c] = struct{}{}
}

// put gives a connection back for others.
func (p *pool) put(c *conn) {
	p.mu.Lock()
	if p.closed || c.ended {
		p.mu.Unlock()
		p.leave(c)
		return
	}
	if len(p.waiting) > 0 {
		p.next() <- c
	} else {
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
}

// leave gives a place back; c, which may be nil, is closed.
func (p *pool) leave(c *conn) {
	p.drop(c)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) > 0 {
		p.next() <- nil
	} else {
		p.open--
	}
}

// drop closes a connection whose place is kept for another.
func (p *pool) drop(c *conn) {
	if c == nil {
		return
	}
	p.mu.Lock()
	delete(p.all, c)
	p.mu.Unlock()
	c.Close()
}

func (p *pool) next() chan *conn {
	place := p.waiting[0]
	p.waiting = slices.Delete(p.waiting, 0, 1)
	return place
}

// flush closes the idle connections.
func (p *pool) flush() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range idle {
		p.leave(c)
	}
}

// each calls f for every connection. f must not use the pool.
func (p *pool) each(f func(*conn)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.all {
		f(c)
	}
}

// close closes the idle connections, and the others when they are given back.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.flush()
}

// counts returns how many connections are open or being dialled, and how many of them are idle.
func (p *pool) counts() (open, idle int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open, len(p.idle)
}
