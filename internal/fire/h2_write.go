package fire

import (
	"time"

	"golang.org/x/net/http2"
)

// writeRounds is how often a sender writes what others have queued meanwhile, before it goes on with its own work.
const writeRounds = 8

// lastWordsWait is how long what the target has said is read after writing failed.
const lastWordsWait = time.Second

// open queues a shot on a stream of its own. mu is held, and there is room.
func (c *h2Conn) open(st *stream, shot *Shot) {
	st.conn, st.id, st.kept = c, c.nextID, c.carried
	c.nextID += 2
	st.window, st.rest, st.trailers = c.peer.window, shot.body(), shot.trailers
	c.streams[st.id] = st
	c.starting = append(c.starting, st.id)
	st.sent = len(st.rest) == 0 && len(st.trailers) == 0
	c.queueBlock(st.id, shot.block, st.sent)
	c.push(st)
}

// queueBlock queues a header block in as many frames as it needs. mu is held.
func (c *h2Conn) queueBlock(id uint32, block []byte, last bool) {
	if !c.said {
		c.said = true
		block = append([]byte{firstOnConnection}, block...)
	}
	part := block[:min(len(block), c.peer.frameMax)]
	block = block[len(part):]
	_ = c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: part, EndStream: last, EndHeaders: len(block) == 0,
	})
	for len(block) > 0 {
		part = block[:min(len(block), c.peer.frameMax)]
		block = block[len(part):]
		_ = c.framer.WriteContinuation(id, len(block) == 0, part)
	}
}

// push queues as much of a body as both windows allow and may wait in memory. mu is held.
func (c *h2Conn) push(st *stream) {
	for !st.sent && c.out.Len() < outMax {
		n := int(min(int64(len(st.rest)), int64(c.peer.frameMax), st.window, c.window))
		if n <= 0 && len(st.rest) > 0 {
			return
		}
		part := st.rest[:n]
		st.rest = st.rest[n:]
		st.window -= int64(n)
		c.window -= int64(n)
		st.sent = len(st.rest) == 0
		if n > 0 {
			_ = c.framer.WriteData(st.id, st.sent && len(st.trailers) == 0, part)
		}
		if st.sent && len(st.trailers) > 0 {
			c.queueBlock(st.id, st.trailers, true)
		}
	}
}

// stamp notes when the streams began whose first frame is about to be written. mu is held.
func (c *h2Conn) stamp(now time.Time) {
	for _, id := range c.starting {
		if st := c.streams[id]; st != nil {
			st.start = now
		}
	}
	c.starting = c.starting[:0]
	c.replies = 0
}

// flush writes what is queued, unless somebody does so already. mu is held, but not while it writes.
func (c *h2Conn) flush() {
	if c.claim() {
		c.write(writeRounds)
	}
}

// flushAside has a goroutine write what is queued: the reader must not wait, or both ends could wait for each other.
func (c *h2Conn) flushAside() {
	if c.claim() {
		c.tasks.Go(c.writeAside)
	}
}

// claim makes the caller the one who writes, if there is something to write and nobody does. mu is held.
func (c *h2Conn) claim() bool {
	if c.writing || c.out.Len() == 0 || c.err != nil || c.broken != nil {
		return false
	}
	c.writing = true
	return true
}

func (c *h2Conn) writeAside() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.write(0)
}

// write writes all that is queued, for so many rounds (0: any number); what is left then is written aside. mu is held, but
// not while it writes.
func (c *h2Conn) write(rounds int) {
	for round := 1; c.out.Len() > 0 && c.err == nil; round++ {
		if round > rounds && rounds > 0 {
			c.tasks.Go(c.writeAside)
			return
		}
		now := time.Now()
		if by := now.Add(c.timeout); c.writeBy.Before(by) {
			c.writeBy = by.Add(c.timeout / 16) // seldom: setting it costs more than looking
			_ = c.SetWriteDeadline(c.writeBy)  // fails when it is closed; so does writing
		}
		c.stamp(now)
		full := c.out.Len() >= outMax
		c.out, c.spare = c.spare, c.out
		c.mu.Unlock()
		_, err := c.Write(c.spare.Bytes())
		c.spare.Reset()
		c.mu.Lock()
		if err != nil {
			c.breakOff(err)
			break
		}
		if full {
			c.wakeAll()
		}
	}
	c.writing = false
}

// breakOff is for a connection that cannot be written to any more. What the target has said before it closed is still to
// be read, if it has. mu is held.
func (c *h2Conn) breakOff(err error) {
	c.broken = err
	c.out.Reset()
	if timedOut(err) {
		c.hangUp(err)
		return
	}
	c.leaving = true
	_ = c.SetReadDeadline(time.Now().Add(lastWordsWait)) // fails when it is closed; so does reading
}

// wakeAll tells the streams that have more to send to look again. mu is held.
func (c *h2Conn) wakeAll() {
	for _, st := range c.streams {
		if !st.sent {
			st.wake()
		}
	}
}

// flushNow writes what the socket takes at once, and has the rest written aside. mu is held all the time.
func (c *h2Conn) flushNow() {
	if !c.claim() {
		return
	}
	c.writing = false
	n := 0
	_ = c.raw.Control(func(fd uintptr) { // of an error the writer aside will see more
		n, _ = writeNow(int(fd), c.out.Bytes())
	})
	if n > 0 {
		c.stamp(time.Now())
		c.out.Next(n)
	}
	c.flushAside()
}
