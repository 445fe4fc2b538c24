package packet

import (
	"cmp"
	"slices"
	"time"
)

// half is one direction of a connection. Positions are sequence numbers that do not wrap: their low 32 bits are those of
// the wire, and the first is above zero by more than any of them can step back.
type half struct {
	next   uint64 // of the next byte to be told
	acked  uint64 // what the other side has acknowledged; 0: nothing
	fin    uint64 // behind the last byte; 0: not known
	finAck uint64 // what its sender had received by then
	since  int64  // when it was noticed that acknowledged bytes are missing; 0: none are
	stuck  int64  // when the oldest of queue began to wait
	first  uint32 // sequence number of the first byte, where it begins
	held   int    // bytes of queue
	astray int    // segments in a row that are far from next

	seen   bool // a packet of it
	synced bool // next is known
	begins bool // from its first byte
	used   bool // something was told of it
	ended  bool
	queue  []piece // waits, by position, without overlaps
}

// piece is a part of a stream that came before it could be told.
type piece struct {
	from  uint64
	data  []byte
	ack   uint64 // what its sender had received of the other direction; 0: not known
	at    int64
	order int // among the pieces of its connection
}

func (p *piece) end() uint64 { return p.from + uint64(len(p.data)) }

const (
	base = 1 << 33 // before every position
	// farBytes is beyond every window: what is further away comes from nowhere, or the capture missed what was between.
	farBytes  = 16 << 20
	maxAstray = 4
	maxPieces = 4096
)

// start sets the first byte.
func (h *half) start(seq uint32) {
	h.first, h.next = seq, base|uint64(seq)
	h.synced, h.begins = true, true
}

// position turns a sequence number into a position, the nearest to next.
func (h *half) position(seq uint32) uint64 {
	return h.next + uint64(int64(int32(seq-uint32(h.next))))
}

func (h *half) far(seq uint32) bool {
	d := int32(seq - uint32(h.next))
	return d > farBytes || d < -farBytes
}

// ready reports that the head of the queue comes next.
func (h *half) ready() bool { return len(h.queue) > 0 && h.queue[0].from == h.next }

// lacks returns up to where bytes are missing that will not be sent again, because they arrived: next if none are.
func (h *half) lacks() uint64 {
	if len(h.queue) > 0 {
		return max(h.next, min(h.acked, h.queue[0].from))
	}
	return max(h.next, h.acked)
}

// told reports that nothing is to be waited for up to a position.
func (h *half) told(upTo uint64) bool { return upTo <= h.next || !h.ready() && h.lacks() == h.next }

// take sorts a segment in.
func (a *Assembler) take(c *Conn, from Side, s *Segment, at time.Time, now int64) {
	h, o := &c.half[from], &c.half[from.Other()]
	// The usual: the next bytes, and everything acknowledged was told.
	if s.Flags&(SYN|FIN|RST|ACK) == ACK && h.synced && o.synced && s.Seq == uint32(h.next) && s.Missing == 0 &&
		len(h.queue) == 0 && len(o.queue) == 0 && !c.blocked && h.fin == 0 {
		if ack := o.position(s.Ack); ack <= o.next {
			h.seen, o.acked = true, max(o.acked, ack)
			if len(s.Payload) > 0 {
				h.next += uint64(len(s.Payload))
				h.used, c.told = true, true
				a.listener.Data(c, from, s.Payload, at)
			}
			return
		}
	}
	h.seen = true
	if s.Flags&SYN != 0 {
		a.syn(c, from, s)
	}
	if s.Flags&RST != 0 {
		a.rst(c, from, now)
		return
	}
	seq := s.Seq
	if s.Flags&SYN != 0 {
		seq++
	}
	if !h.synced {
		h.synced, h.next = true, base|uint64(seq)
	}
	pos := h.position(seq)
	if !h.used && !h.begins && pos < h.next && h.next-pos < farBytes {
		h.next = pos // it was guessed from an acknowledgement, and more is there
	}
	if len(s.Payload) > 0 {
		if h.far(seq) {
			if h.astray++; h.astray < maxAstray {
				return
			}
			a.release(h)
			h.next, h.acked, h.fin, pos = base|uint64(seq), 0, 0, base|uint64(seq)
			a.lose(c, from, -1, now)
		}
		h.astray = 0
		c.reset = false // whoever was to believe it did not
	}
	p := piece{from: pos, data: s.Payload, ack: a.acknowledge(c, from, s), at: now}
	if s.Flags&FIN != 0 && h.fin == 0 && !c.premature(from) {
		h.fin, h.finAck = pos+uint64(len(s.Payload)+s.Missing), p.ack
	}
	if len(h.queue)+len(o.queue) == 0 && p.from == h.next && p.ack <= o.next && (h.fin == 0 || p.end() <= h.fin) {
		if len(p.data) > 0 {
			h.next = p.end()
			h.used, c.told = true, true
			a.listener.Data(c, from, p.data, at)
		}
	} else {
		a.insert(c, h, p)
	}
	a.deliver(c, now)
	a.review(c, now)
	if h.held > a.limits.PerSide || len(h.queue) > maxPieces {
		a.overflow(c, now)
	}
	a.relieve(now, func() bool { return a.held > a.limits.Total })
	a.relieve(now, func() bool { return !a.book() })
}

// relieve gives up holes while there is too much, of the connection that has waited longest first.
func (a *Assembler) relieve(now int64, tooMuch func() bool) {
	for c := a.blocked.first; c != nil && tooMuch(); {
		next := c.wait.next
		if len(c.half[0].queue)+len(c.half[1].queue) > 0 {
			a.overflow(c, now)
		}
		c = next
	}
}

// book takes from the budget what waits, or gives back what does not any more. It reports whether the budget allowed it.
func (a *Assembler) book() bool {
	more := int64(a.held - a.booked)
	switch b := a.limits.Budget; {
	case b == nil, more == 0:
		return true
	case more < 0:
		b.Release(-more)
	case !b.TryAcquire(more):
		return false
	}
	a.booked = a.held
	return true
}

// premature reports that a side has not even answered the opening of its connection: what looks like its end is forged.
func (c *Conn) premature(from Side) bool {
	h, o := &c.half[from], &c.half[from.Other()]
	return c.Opened && o.begins && !h.begins && !o.used && !h.used
}

// overflow gives up all holes of a connection.
func (a *Assembler) overflow(c *Conn, now int64) {
	a.Stats.Overflows++
	for a.giveUp(c, now) {
		a.deliver(c, now)
	}
	a.review(c, now)
}

// release forgets what waits.
func (a *Assembler) release(h *half) {
	a.held -= h.held
	h.queue, h.held = nil, 0
}

func (a *Assembler) syn(c *Conn, from Side, s *Segment) {
	h := &c.half[from]
	if !h.used && !h.begins {
		h.start(s.Seq + 1)
	}
	if !c.Opened {
		c.Opened, c.Client = true, from
		if s.Flags&ACK != 0 {
			c.Client = from.Other()
			if o := &c.half[c.Client]; !o.synced {
				o.start(s.Ack)
			}
		}
	}
}

func (a *Assembler) rst(c *Conn, from Side, now int64) {
	if !c.reset {
		c.reset, c.resetBy, c.resetAt = true, from, now
	}
	a.block(c)
}

// acknowledge notes what a segment acknowledges, and returns it as a position of the other direction.
func (a *Assembler) acknowledge(c *Conn, from Side, s *Segment) uint64 {
	if s.Flags&ACK == 0 {
		return 0
	}
	o := &c.half[from.Other()]
	if !o.synced {
		o.synced, o.next = true, base|uint64(s.Ack)
	}
	ack := o.position(s.Ack)
	if ack > o.next && ack-o.next > farBytes && o.seen {
		return 0 // it acknowledges what nobody sends
	}
	if o.fin != 0 {
		ack = min(ack, o.fin) // the FIN counts as a byte
	}
	o.acked = max(o.acked, ack)
	return ack
}

// insert puts what is new of p into the queue.
func (a *Assembler) insert(c *Conn, h *half, p piece) {
	if h.fin != 0 && p.end() > h.fin {
		p.data = p.data[:max(0, int64(h.fin)-int64(p.from))]
	}
	if p.from < h.next {
		p.data = p.data[min(uint64(len(p.data)), h.next-p.from):]
		p.from = h.next
	}
	i, _ := slices.BinarySearchFunc(h.queue, p.from, func(q piece, at uint64) int { return cmp.Compare(q.end(), at+1) })
	for ; len(p.data) > 0 && i < len(h.queue); i++ {
		q := &h.queue[i]
		if p.end() <= q.from {
			break
		}
		if p.from < q.from { // before what is there
			n := q.from - p.from
			a.keep(c, h, i, piece{p.from, p.data[:n], p.ack, p.at, 0})
			i++
			q = &h.queue[i]
		}
		n := min(uint64(len(p.data)), q.end()-p.from)
		p.data, p.from = p.data[n:], p.from+n
	}
	if len(p.data) > 0 {
		a.keep(c, h, i, p)
	}
}

// pieceCost is what a piece takes beside its bytes.
const pieceCost = 64

func (a *Assembler) keep(c *Conn, h *half, i int, p piece) {
	p.data = append([]byte(nil), p.data...)
	c.pieces++
	p.order = c.pieces
	if len(h.queue) == 0 {
		h.stuck = p.at
	}
	h.queue = slices.Insert(h.queue, i, p)
	h.held += len(p.data) + pieceCost
	a.held += len(p.data) + pieceCost
}

// deliver tells everything that can be told, the two directions in an order in which it may have happened.
func (a *Assembler) deliver(c *Conn, now int64) {
	for {
		from, ok := c.turn()
		if !ok {
			break
		}
		h := &c.half[from]
		p := h.queue[0]
		h.queue[0] = piece{}
		if h.queue = h.queue[1:]; len(h.queue) == 0 {
			h.queue = nil
		}
		h.held -= len(p.data) + pieceCost
		a.held -= len(p.data) + pieceCost
		h.next, h.stuck, h.since = p.end(), now, 0
		h.used, c.told = true, true
		a.listener.Data(c, from, p.data, time.Unix(0, p.at))
	}
	for side := range c.half {
		h := &c.half[side]
		if h.fin != 0 && h.next >= h.fin && !h.ended && c.half[1-side].told(h.finAck) {
			h.ended, c.told = true, true
			a.listener.Ended(c, Side(side), time.Unix(0, now))
		}
	}
}

// turn returns the side whose head is to be told now. A head waits for the other direction to be told as far as its
// sender had received it. Where both heads wait for each other, which only retransmissions bring about, the order of
// the packets decides.
func (c *Conn) turn() (Side, bool) {
	ready := [2]bool{c.half[0].ready(), c.half[1].ready()}
	free := [2]bool{ready[0] && c.half[1].told(c.half[0].queue[0].ack), ready[1] && c.half[0].told(c.half[1].queue[0].ack)}
	switch {
	case free[0] != free[1]:
		return Side(b2i(free[1])), true
	case !free[0] && ready[0] != ready[1], !ready[0]:
		return 0, false
	}
	return Side(b2i(c.half[1].queue[0].order < c.half[0].queue[0].order)), true
}

func b2i(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// review looks at what a connection waits for, and gives up what has waited long enough.
func (a *Assembler) review(c *Conn, now int64) {
	if c.closed {
		return
	}
	for again := true; again; {
		again = false
		for side := range c.half {
			h := &c.half[side]
			if h.ready() {
				continue
			}
			upTo := h.lacks()
			switch {
			case upTo == h.next:
				h.since = 0
				if len(h.queue) > 0 && now-h.stuck > patience {
					upTo = h.queue[0].from
				} else {
					continue
				}
			case h.since == 0:
				h.since = now
				if h.seen {
					continue
				}
			case now-h.since < reorder:
				continue
			}
			a.gap(c, Side(side), upTo, now)
			a.deliver(c, now)
			again = true
		}
	}
	a.settle(c, now)
}

// settle closes a connection that is over, and keeps the list of those that wait.
func (a *Assembler) settle(c *Conn, now int64) {
	x, y := &c.half[0], &c.half[1]
	idle := len(x.queue)+len(y.queue) == 0 && x.lacks() == x.next && y.lacks() == y.next
	switch {
	case idle && x.ended && y.ended:
		a.close(c, Closing{}, now)
	case c.reset && now-c.resetAt > resetWait:
		a.close(c, Closing{Reset: true, By: c.resetBy}, now)
	case idle && !c.reset:
		a.unblock(c)
	default:
		a.block(c)
	}
}

// giveUp turns the next hole into a gap, whichever side it is on; false when there is none.
func (a *Assembler) giveUp(c *Conn, now int64) bool {
	best, found := Side(0), false
	for side := range c.half {
		h := &c.half[side]
		if h.ready() || len(h.queue) == 0 && h.lacks() == h.next {
			continue
		}
		if !found || len(c.half[best].queue) == 0 ||
			len(h.queue) > 0 && h.queue[0].order < c.half[best].queue[0].order {
			best, found = Side(side), true
		}
	}
	if found {
		h := &c.half[best]
		upTo := h.lacks()
		if upTo == h.next {
			upTo = h.queue[0].from
		}
		a.gap(c, best, upTo, now)
	}
	return found
}

// gap gives up the bytes before a position.
func (a *Assembler) gap(c *Conn, from Side, upTo uint64, now int64) {
	h := &c.half[from]
	n := int64(upTo - h.next)
	h.next, h.since, h.stuck = upTo, 0, now
	a.lose(c, from, n, now)
}

func (a *Assembler) lose(c *Conn, from Side, n int64, now int64) {
	a.Stats.Gaps++
	a.Stats.GapBytes += max(n, 0)
	c.half[from].used, c.told = true, true
	a.listener.Gap(c, from, n, time.Unix(0, now))
}

func (a *Assembler) block(c *Conn) {
	if !c.blocked {
		c.blocked = true
		a.blocked.add(c)
	}
}

func (a *Assembler) unblock(c *Conn) {
	if c.blocked {
		c.blocked = false
		a.blocked.remove(c)
	}
}
