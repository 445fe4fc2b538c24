package fire

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"
)

// h2Pool has the connections of HTTP/2 and gives out streams on them. The first connection with room is taken, so that
// there are no more than the target's limits and bodies on their way make needed.
type h2Pool struct {
	sender *Sender
	places chan struct{} // one for each stream there may be
	tasks  sync.WaitGroup

	mu      sync.Mutex
	conns   []*h2Conn
	dialing *h2Dial // the newest under way; nil: none
	closed  bool
	streams sync.Pool
}

// h2Dial is a connection being made, which others than its maker wait for.
type h2Dial struct {
	way     route
	done    chan struct{}
	err     error // after done
	waiting int
}

func newH2Pool(s *Sender) *h2Pool {
	return &h2Pool{sender: s, places: make(chan struct{}, s.cfg.Concurrency)}
}

// get opens a stream for a shot, dialling when no connection has room. errNoHTTP2: the target wants HTTP/1.1.
func (p *h2Pool) get(f *flight, deadline time.Time) (*stream, error) {
	if err := f.Err(); err != nil {
		return nil, err
	}
	f.setTimer(deadline)
	select {
	case p.places <- struct{}{}:
	default:
		if err := f.awaitPlace(p.places); err != nil {
			return nil, err
		}
	}
	st, err := p.find(f, deadline)
	if err != nil {
		<-p.places
		return nil, err
	}
	return st, nil
}

// tryGet opens a stream if that takes no waiting, and writes what can be written so.
func (p *h2Pool) tryGet(shot *Shot) *stream {
	if !p.mu.TryLock() {
		return nil
	}
	defer p.mu.Unlock()
	for _, c := range p.conns {
		if c.raw == nil || !c.mu.TryLock() {
			continue
		}
		if !c.room(len(shot.body())) || !p.usable(c) {
			c.mu.Unlock()
			continue
		}
		select {
		case p.places <- struct{}{}:
		default:
			c.mu.Unlock()
			return nil
		}
		st := p.stream()
		c.open(st, shot)
		c.flushNow()
		c.mu.Unlock()
		return st
	}
	return nil
}

// put gives a stream back that is over, with its place.
func (p *h2Pool) put(st *stream) {
	st.recycle()
	p.streams.Put(st)
	<-p.places
}

func (p *h2Pool) stream() *stream {
	if st, ok := p.streams.Get().(*stream); ok {
		return st
	}
	return &stream{news: make(chan struct{}, 1)}
}

func (p *h2Pool) find(f *flight, deadline time.Time) (*stream, error) {
	for {
		p.mu.Lock()
		if st := p.open(f.shot); st != nil {
			p.mu.Unlock()
			return st, nil
		}
		if p.closed {
			p.mu.Unlock()
			return nil, os.ErrClosed
		}
		d := p.dialing
		if d == nil || d.waiting >= streamsPerConn {
			d = &h2Dial{way: f.shot.route, done: make(chan struct{})}
			p.dialing = d
			p.mu.Unlock()
			return p.dial(f, deadline, d)
		}
		d.waiting++
		p.mu.Unlock()
		if err := f.awaitNews(d.done); err != nil {
			return nil, err
		}
		if d.err != nil && d.way == f.shot.route && !errors.Is(d.err, context.Canceled) { // its maker's context is not ours
			return nil, d.err
		}
	}
}

// open opens a stream on a connection that has room; nil: none has. mu is held.
func (p *h2Pool) open(shot *Shot) *stream {
	keep := p.conns[:0]
	var st *stream
	for _, c := range p.conns {
		c.mu.Lock()
		if c.err == nil {
			keep = append(keep, c)
		}
		if st == nil && c.room(len(shot.body())) && p.usable(c) {
			st = p.stream()
			c.open(st, shot)
		}
		c.mu.Unlock()
	}
	clear(p.conns[len(keep):])
	p.conns = keep
	return st
}

// usable reports whether the guard still admits a connection and it was not idle for too long; else it takes no more
// streams. Both mutexes are held.
func (p *h2Pool) usable(c *h2Conn) bool {
	if p.sender.admit(c.conn) && (len(c.streams) > 0 || time.Since(c.idleSince) < maxIdle) {
		return true
	}
	c.leave()
	return false
}

// dial makes a connection and opens the first stream on it.
func (p *h2Pool) dial(f *flight, deadline time.Time, d *h2Dial) (st *stream, err error) {
	c, err := p.connect(f.Context, f.shot.route, deadline)
	p.mu.Lock()
	if p.dialing == d {
		p.dialing = nil
	}
	if err == nil {
		c.mu.Lock()
		if c.room(len(f.shot.body())) {
			st = p.stream()
			c.open(st, f.shot)
			p.conns = append(p.conns, c)
		} else if err = c.err; err == nil {
			err = errors.New("the target allows no streams")
			c.fail(err)
		}
		c.mu.Unlock()
	}
	d.err = err
	close(d.done)
	p.mu.Unlock()
	return st, err
}

func (p *h2Pool) connect(ctx context.Context, way route, deadline time.Time) (*h2Conn, error) {
	s := p.sender
	generation := s.cfg.Guard.generation()
	c, err := s.dial(ctx, deadline, way)
	if err != nil {
		return nil, err
	}
	s.dialed.Add(1)
	c.generation = generation
	if !s.admit(c) { // what is production has changed while it was dialled
		c.Close()
		return nil, s.cfg.Guard.lastRefusal()
	}
	if !c.http2 {
		c.Close()
		if way == viaEither {
			s.noHTTP2.Store(true)
			return nil, errNoHTTP2
		}
		return nil, errNotHTTP2
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		c.Close()
		return nil, os.ErrClosed
	}
	h := newH2Conn(c, s.cfg.Timeout, s.cfg.BodyMax, &p.tasks)
	p.mu.Unlock()
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	if err := h.greeted(ctx); err != nil {
		return nil, err
	}
	return h, nil
}

// counts returns how many connections there are, and how many of them have no stream.
func (p *h2Pool) counts() (open, idle int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.mu.Lock()
		if c.err == nil {
			open++
			if len(c.streams) == 0 {
				idle++
			}
		}
		c.mu.Unlock()
	}
	return open, idle
}

// close ends the connections as soon as nothing is on its way over them, and waits for that.
func (p *h2Pool) close() {
	p.mu.Lock()
	p.closed = true
	for _, c := range p.conns {
		c.mu.Lock()
		if c.err == nil {
			c.leave()
		}
		c.mu.Unlock()
	}
	p.mu.Unlock()
	p.tasks.Wait()
}
