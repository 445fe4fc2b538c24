package packet

import (
	"slices"
	"time"
)

const (
	maxDatagram    = 1 << 16
	maxFragmented  = 256     // datagrams that wait for their rest
	fragmentsLimit = 4 << 20 // bytes of all of them
	fragmentsWait  = 30 * time.Second
)

// fragments puts IP packets together. The first copy of every byte counts. What waits is bounded in number, bytes and
// time; the oldest goes first.
type fragments struct {
	waiting map[fragmentKey]*datagram
	queue   []*datagram // oldest first; finished ones are left in it until they are at its head
	bytes   int
}

type fragmentKey struct {
	src, dst [16]byte
	id       uint32
	protocol byte
	v6       bool
}

type datagram struct {
	key    fragmentKey
	since  time.Time
	data   []byte
	spans  []span // of data that have come, in order, apart from each other
	length int    // -1: the last fragment has not come
	done   bool
}

type span struct{ from, to int }

// add takes a fragment and returns the whole payload when it was the last that was missing. Fragments that the capture
// cut are of no use, since what follows would have to be guessed.
func (f *fragments) add(key fragmentKey, offset int, p []byte, more, cut bool, at time.Time) []byte {
	f.expire(at)
	end := offset + len(p)
	if cut || end > maxDatagram || more && len(p) == 0 {
		return nil
	}
	g := f.waiting[key]
	if g == nil {
		if f.waiting == nil {
			f.waiting = make(map[fragmentKey]*datagram)
		}
		g = &datagram{key: key, since: at, length: -1}
		f.waiting[key] = g
		f.queue = append(f.queue, g)
		if len(f.waiting) > maxFragmented {
			f.dropOldest()
		}
	}
	if !more && g.length < 0 {
		g.length = end
	}
	f.bytes -= cap(g.data)
	g.put(offset, p)
	f.bytes += cap(g.data)
	if len(g.spans) == 1 && g.spans[0].from == 0 && g.length >= 0 && g.spans[0].to >= g.length {
		whole := g.data[:g.length]
		f.forget(g)
		return whole
	}
	for f.bytes > fragmentsLimit && len(f.waiting) > 0 {
		f.dropOldest()
	}
	return nil
}

// put copies what of p has not come yet.
func (g *datagram) put(offset int, p []byte) {
	end := offset + len(p)
	if end > len(g.data) {
		g.data = append(g.data, make([]byte, end-len(g.data))...)
	}
	merged := span{offset, end}
	kept := make([]span, 0, len(g.spans)+1)
	at := offset // up to where p is copied
	placed := false
	for _, s := range g.spans {
		switch {
		case s.to < merged.from:
			kept = append(kept, s)
			continue
		case s.from > merged.to:
			if !placed {
				kept, placed = append(kept, merged), true
			}
			kept = append(kept, s)
			continue
		}
		if s.from > at {
			copy(g.data[at:s.from], p[at-offset:])
		}
		at = max(at, s.to)
		merged = span{min(merged.from, s.from), max(merged.to, s.to)}
	}
	if at < end {
		copy(g.data[at:end], p[at-offset:])
	}
	if !placed {
		kept = append(kept, merged)
	}
	g.spans = kept
}

func (f *fragments) expire(at time.Time) {
	for len(f.queue) > 0 && (f.queue[0].done || at.Sub(f.queue[0].since) > fragmentsWait) {
		f.dropOldest()
	}
}

func (f *fragments) dropOldest() {
	for len(f.queue) > 0 {
		g := f.queue[0]
		f.queue[0] = nil
		f.queue = f.queue[1:]
		if !g.done {
			f.forget(g)
			return
		}
	}
}

func (f *fragments) forget(g *datagram) {
	g.done = true
	delete(f.waiting, g.key)
	f.bytes -= cap(g.data)
	g.data, g.spans = nil, nil
	if len(f.queue) > 2*maxFragmented { // an old one at the head holds finished ones up
		f.queue = slices.DeleteFunc(f.queue, func(g *datagram) bool { return g.done })
	}
}
