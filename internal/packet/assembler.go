package packet

import (
	"bytes"
	"time"
)

// Side is one of the two ends of a connection: an index into Conn.Ends.
type Side uint8

// Other returns the other end.
func (s Side) Other() Side { return 1 - s }

// Listener is told what connections carry: by one goroutine, in an order in which it may have happened. What a side sent
// is told after what it had acknowledged by then, so that an answer never comes before its question.
type Listener interface {
	// Data is what a side sent next: the payload of one segment, or what of it was new. It is valid during the call.
	Data(c *Conn, from Side, p []byte, at time.Time)
	// Gap tells that n bytes of what a side sent are missing and will not come; negative: nobody knows how many.
	Gap(c *Conn, from Side, n int64, at time.Time)
	// Ended tells that a side sends nothing more.
	Ended(c *Conn, from Side, at time.Time)
	// Closed is the last that is told of c; it is not told when nothing else was.
	Closed(c *Conn, why Closing, at time.Time)
}

// Closing is why a connection is over.
type Closing struct {
	Reset bool // broken off, by By
	By    Side
	Lost  bool // it only was not seen any more: forgotten for its silence or for lack of room, or the capture ended
}

// Conn is a TCP connection.
type Conn struct {
	Ends   [2]Endpoint
	User   any  // the Listener's
	Client Side // the one that opened it, where Opened
	Opened bool // its opening handshake was seen, at least in part

	key       connKey
	half      [2]half
	told      bool // the Listener knows it
	closed    bool // it is over; what still comes of it is left
	blocked   bool // in Assembler.blocked
	pieces    int  // that have waited so far
	reset     bool
	resetBy   Side
	resetAt   int64
	last      int64 // time of its last packet
	opening   opening
	use, wait links
}

// Begins reports that what the side sent was seen from its first byte.
func (c *Conn) Begins(s Side) bool { return c.half[s].begins }

// Seen reports that a packet of the side was seen.
func (c *Conn) Seen(s Side) bool { return c.half[s].seen }

// Over reports that the side has told that it sends nothing more.
func (c *Conn) Over(s Side) bool { return c.half[s].ended }

// opening is a SYN on a connection that goes on as far as is known: only what answers it shows whether it was meant.
type opening struct {
	is   bool
	from Side
	seq  uint32
}

type connKey struct{ low, high Endpoint }

// Limits bound an Assembler. Zero values are replaced by the defaults, which are meant for a machine's whole traffic.
type Limits struct {
	Connections int           // that are followed; the longest silent one is forgotten. 65,536
	PerSide     int           // bytes that wait behind a hole, of one direction. 4 MiB, in at most maxPieces pieces
	Total       int           // of all. 64 MiB
	Idle        time.Duration // after which a silent connection is forgotten. 5 min
	Budget      Budget        // what waits is booked with it too; nil: none
}

// Budget bounds bytes that several hold.
type Budget interface {
	TryAcquire(n int64) bool
	Release(n int64)
}

// Waits, in packet time.
const (
	reorder   = int64(100 * time.Millisecond) // for bytes that were acknowledged: the capture may have shuffled packets
	patience  = int64(10 * time.Second)       // for bytes that were not: they may be sent again
	resetWait = int64(time.Second)            // a reset that was forged or refused is followed by more
	linger    = int64(30 * time.Second)       // of closed connections, for what is sent again
	sweepStep = int64(20 * time.Millisecond)
)

// Stats are totals of an Assembler.
type Stats struct {
	Connections int64
	Gaps        int64
	GapBytes    int64 // of gaps whose size is known
	Forgotten   int64 // connections, for lack of room
	Overflows   int64 // connections whose holes were given up for lack of room
}

// Assembler puts TCP streams together and follows both of a connection. It belongs to one goroutine.
type Assembler struct {
	Stats Stats

	listener Listener
	limits   Limits
	conns    map[connKey]*Conn
	recent   *Conn // the one of the last packet
	open     list  // by last packet, oldest first
	closed   list
	blocked  list // of connections that wait for something, oldest first
	held     int  // bytes that wait
	booked   int  // of held, with limits.Budget
	now      int64
	swept    int64
}

// NewAssembler returns an Assembler without connections.
func NewAssembler(l Listener, limits Limits) *Assembler {
	if limits.Connections <= 0 {
		limits.Connections = 1 << 16
	}
	if limits.PerSide <= 0 {
		limits.PerSide = 4 << 20
	}
	if limits.Total <= 0 {
		limits.Total = 64 << 20
	}
	if limits.Idle <= 0 {
		limits.Idle = 5 * time.Minute
	}
	return &Assembler{
		listener: l, limits: limits, conns: make(map[connKey]*Conn),
		open: list{of: byUse}, closed: list{of: byUse}, blocked: list{of: byWait},
	}
}

// Held returns how many bytes wait for others before them.
func (a *Assembler) Held() int { return a.held }

// Following returns how many connections are followed.
func (a *Assembler) Following() int { return a.open.n }

// Segment takes the next segment, captured at that time. Times may go back a little.
func (a *Assembler) Segment(s *Segment, at time.Time) {
	now := at.UnixNano()
	a.Tick(at)
	c, from := a.conn(s, now)
	if c == nil {
		return
	}
	c.last = now
	if c.closed {
		return
	}
	a.open.toEnd(c)
	a.take(c, from, s, at, now)
}

// conn finds the connection of a segment, or makes one where the segment can begin one.
func (a *Assembler) conn(s *Segment, now int64) (*Conn, Side) {
	if c := a.recent; c != nil {
		if c.Ends[0] == s.Src && c.Ends[1] == s.Dst {
			return a.current(c, 0, s, now)
		}
		if c.Ends[1] == s.Src && c.Ends[0] == s.Dst {
			return a.current(c, 1, s, now)
		}
	}
	key, from := connKey{s.Src, s.Dst}, Side(0)
	if order := bytes.Compare(s.Src.Addr[:], s.Dst.Addr[:]); order > 0 || order == 0 && s.Src.Port > s.Dst.Port {
		key, from = connKey{s.Dst, s.Src}, 1
	}
	c := a.conns[key]
	if c == nil {
		c = a.begin(key, s)
		a.recent = c
		return c, from
	}
	a.recent = c
	return a.current(c, from, s, now)
}

// begin follows a new connection; nil where there is nothing to follow.
func (a *Assembler) begin(key connKey, s *Segment) *Conn {
	if s.Flags&RST != 0 {
		return nil
	}
	for a.open.n+a.closed.n >= a.limits.Connections {
		if oldest := a.closed.first; oldest != nil {
			a.forget(oldest)
			continue
		}
		a.Stats.Forgotten++
		a.drop(a.open.first, a.now)
	}
	c := &Conn{key: key, Ends: [2]Endpoint{key.low, key.high}}
	a.conns[key] = c
	a.open.add(c)
	a.Stats.Connections++
	return c
}

// current sees whether a segment still belongs to the connection that is known under its addresses.
func (a *Assembler) current(c *Conn, from Side, s *Segment, now int64) (*Conn, Side) {
	syn := s.Flags&(SYN|ACK|RST) == SYN
	if s.Flags&RST != 0 {
		return c, from
	}
	switch h := &c.half[from]; {
	case syn && h.synced && s.Seq+1 == h.first && !c.refused(from):
		return c, from // sent again
	case syn && c.over():
		return a.replace(c, s, now), from
	case syn && h.synced:
		c.opening = opening{true, from, s.Seq}
		return c, from
	case !c.opening.is && !c.closed:
		return c, from
	case c.opening.is && from == c.opening.from && s.Seq == c.opening.seq+1,
		c.opening.is && from != c.opening.from && s.Flags&(SYN|ACK) == SYN|ACK && s.Ack == c.opening.seq+1:
		o := c.opening
		c = a.replace(c, s, now)
		c.Client, c.Opened = o.from, true
		c.half[o.from].start(o.seq + 1)
		c.half[o.from].seen = true
	case c.closed && h.synced && len(s.Payload) > 0 && h.far(s.Seq):
		return a.replace(c, s, now), from
	}
	return c, from
}

// refused reports that a side's SYN was never answered by another and the connection broken off. The same SYN again is a new attempt:
// the first met what was left of an earlier connection between the same ports.
func (c *Conn) refused(from Side) bool {
	return (c.closed || c.reset) && !c.half[from.Other()].begins
}

// over reports that a connection is or may well be over, so that a SYN begins another.
func (c *Conn) over() bool {
	x, y := &c.half[0], &c.half[1]
	return c.closed || c.reset || x.ended || y.ended || !x.used && !y.used
}

// replace ends a connection whose addresses are used again.
func (a *Assembler) replace(c *Conn, s *Segment, now int64) *Conn {
	key := c.key
	if !c.closed {
		a.drop(c, now)
	} else {
		a.forget(c)
	}
	a.recent = a.begin(key, s)
	return a.recent
}

// Tick tells the time when there are no packets; at is the time of packets, not of clocks.
func (a *Assembler) Tick(at time.Time) {
	now := at.UnixNano()
	if a.now = max(a.now, now); now-a.swept < sweepStep && now >= a.swept {
		return
	}
	a.swept = now
	for c := a.blocked.first; c != nil; {
		next := c.wait.next
		a.review(c, now)
		c = next
	}
	for c := a.open.first; c != nil && now-c.last > int64(a.limits.Idle); c = a.open.first {
		a.drop(c, now)
	}
	for c := a.closed.first; c != nil && now-c.last > linger; c = a.closed.first {
		a.forget(c)
	}
	a.book()
}

// Finish tells what still waits and closes all connections: the capture is over.
func (a *Assembler) Finish() {
	for c := a.open.first; c != nil; c = a.open.first {
		a.drop(c, max(c.last, a.now))
	}
	for c := a.closed.first; c != nil; c = a.closed.first {
		a.forget(c)
	}
	a.book()
}

// drop closes a connection that is not known to be over, and forgets it.
func (a *Assembler) drop(c *Conn, now int64) {
	why := Closing{Lost: true}
	if c.reset {
		why = Closing{Reset: true, By: c.resetBy}
	}
	a.close(c, why, now)
	a.forget(c)
}

// close tells everything that still waits, holes as gaps, and that the connection is over.
func (a *Assembler) close(c *Conn, why Closing, now int64) {
	for a.giveUp(c, now) {
		a.deliver(c, now)
	}
	if c.told {
		a.listener.Closed(c, why, time.Unix(0, now))
	}
	a.unblock(c)
	a.open.remove(c)
	c.closed, c.User = true, nil
	c.half[0].queue, c.half[1].queue = nil, nil
	a.closed.add(c)
}

// forget takes a closed connection out of the table.
func (a *Assembler) forget(c *Conn) {
	a.closed.remove(c)
	delete(a.conns, c.key)
	if a.recent == c {
		a.recent = nil
	}
}
