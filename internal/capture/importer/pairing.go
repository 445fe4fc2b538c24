package importer

import (
	"bytes"
	"time"

	"github.com/reprise-io/reprise/internal/traffic"
)

// pairingWindow bounds what waits for its other half, in bytes.
const pairingWindow = 64 << 20

// pairing joins requests and responses by their id and gives the exchanges out in the order of the requests. Ids repeat
// in files (some versions gave one id to a whole connection, and lost responses), so where more than one request waits
// under an id and none has the response's time, they all stay without: a wrong baseline is worse than none. A response
// may stand before its request, since GoReplay writes a message when it thinks it complete.
//
// What waits is bounded: the oldest goes out alone when the window is full.
type pairing struct {
	out      func(*traffic.Exchange) error
	queue    []*half
	requests map[string][]*half // that wait for a response, oldest first
	answers  map[string][]*half // that wait for a request, oldest first
	bytes    int
	window   int
	orphans  int64
}

// half is a request or a response in the queue.
type half struct {
	id   string
	x    *traffic.Exchange // nil: a response
	a    *answer
	size int
	done bool // nothing is waited for
}

// answer is a response payload before it is parsed, which needs its request's method.
type answer struct {
	id      string
	head    payloadHead
	message []byte
	at      payload
}

func newPairing(out func(*traffic.Exchange) error) *pairing {
	return &pairing{
		out: out, requests: make(map[string][]*half), answers: make(map[string][]*half), window: pairingWindow,
	}
}

// attacher joins the two and reports whether the response was the final one.
type attacher func(*traffic.Exchange, *answer) bool

// request queues an exchange; await tells that a response may come.
func (p *pairing) request(id string, x *traffic.Exchange, attach attacher, await bool) error {
	h := &half{id: id, x: x, size: x.Size(), done: !await}
	if await {
		if early := p.early(id, x.CaptureTime); early != nil {
			p.forget(p.answers, early)
			early.done = true
			h.done = attach(x, early.a)
			h.size = x.Size()
		}
	}
	if !h.done {
		p.requests[id] = append(p.requests[id], h)
	}
	return p.push(h)
}

// early returns the one response under id that can be for a request of that time. Those from before it are answers to
// something that the file does not have.
func (p *pairing) early(id string, request time.Time) *half {
	var found *half
	for _, h := range p.answers[id] {
		if timestamp(h.a.head.time).Before(request) {
			continue
		}
		if found != nil {
			return nil
		}
		found = h
	}
	return found
}

// response joins a response to its request, or queues it.
func (p *pairing) response(a *answer, attach attacher) error {
	waiting := p.requests[a.id]
	if len(waiting) == 0 {
		a.message = bytes.Clone(a.message)
		h := &half{id: a.id, a: a, size: len(a.message) + 256}
		p.answers[a.id] = append(p.answers[a.id], h)
		return p.push(h)
	}
	h := waiting[0]
	if len(waiting) > 1 {
		h = sameTime(waiting, a)
	}
	if h == nil {
		p.orphans++
		for _, h := range waiting {
			h.done = true
			h.x.Flags |= traffic.NoResponse
		}
		delete(p.requests, a.id)
	} else if attach(h.x, a) {
		h.done = true
		p.forget(p.requests, h)
		p.bytes -= h.size
		h.size = h.x.Size()
		p.bytes += h.size
	}
	return p.drain()
}

// sameTime returns the request whose time a response repeats, as some versions write it; nil when none or several do.
func sameTime(waiting []*half, a *answer) *half {
	var found *half
	for _, h := range waiting {
		if !h.x.CaptureTime.Equal(timestamp(a.head.time)) {
			continue
		}
		if found != nil {
			return nil
		}
		found = h
	}
	return found
}

func (p *pairing) push(h *half) error {
	p.queue = append(p.queue, h)
	p.bytes += h.size
	return p.drain()
}

// drain gives out what waits for nothing, and the oldest as long as the window is too full.
func (p *pairing) drain() error {
	for len(p.queue) > 0 && (p.queue[0].done || p.bytes > p.window) {
		if err := p.pop(); err != nil {
			return err
		}
	}
	return nil
}

// flush gives out everything and returns how many responses had no request.
func (p *pairing) flush() (orphans int64, err error) {
	for len(p.queue) > 0 {
		if err := p.pop(); err != nil {
			return p.orphans, err
		}
	}
	return p.orphans, nil
}

func (p *pairing) pop() error {
	h := p.queue[0]
	p.queue[0] = nil
	p.queue = p.queue[1:]
	p.bytes -= h.size
	if h.x == nil {
		if !h.done {
			p.forget(p.answers, h)
			p.orphans++
		}
		return nil
	}
	if !h.done {
		p.forget(p.requests, h)
		h.x.Flags |= traffic.NoResponse
	}
	return p.out(h.x)
}

// forget takes h out of those that wait under its id.
func (p *pairing) forget(waiting map[string][]*half, h *half) {
	list := waiting[h.id]
	for i, other := range list {
		if other == h {
			list = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	if len(list) == 0 {
		delete(waiting, h.id)
		return
	}
	waiting[h.id] = list
}
