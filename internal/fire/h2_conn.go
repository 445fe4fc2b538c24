package fire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	streamsPerConn = 100       // at most, whatever the peer allows: one connection has one reader
	streamWindow   = 1 << 20   // bytes of one answer that may be on their way
	connWindow     = 16 << 20  // and of all; read at once, kept only as far as BodyMax
	defaultWindow  = 1<<16 - 1 // of both peers until they say otherwise
	maxWindow      = 1<<31 - 1
	readFrameMax   = 16 << 10
	answerHeadMax  = 64 << 10
	outMax         = 256 << 10 // bytes queued above which no more of a body is
	repliesMax     = 64 << 10  // bytes of replies to settings and pings that may wait
)

// h2Conn is one connection that carries many shots. Frames are queued in out under mu; whoever queues writes, unless
// somebody does already, who then writes that as well: nobody waits for a turn, and what came meanwhile goes at once. One
// goroutine reads.
type h2Conn struct {
	*conn
	timeout time.Duration // of a write
	bodyMax int
	tasks   *sync.WaitGroup // of the reader, and of writing aside
	ready   chan struct{}   // closed when the peer has said hello, or is not there

	framer *http2.Framer // writes to out; read only by the reader

	mu        sync.Mutex
	out       bytes.Buffer
	spare     bytes.Buffer // the other one, while it is written
	starting  []uint32     // streams whose first frame is in out
	replies   int          // bytes of out that the peer made us write
	writing   bool
	writeBy   time.Time // deadline of writes as set
	streams   map[uint32]*stream
	nextID    uint32
	window    int64 // bytes of bodies that the peer takes
	received  int   // bytes of answers for which no room was given again
	hello     bool  // the peer's settings came
	said      bool  // the dynamic table was given up
	leaving   bool  // takes no new streams
	gone      *goneAway
	broken    error // writing has failed
	err       error // ended
	lastRead  time.Time
	peer      peerSettings
	carried   bool // has brought a whole answer before
	idleSince time.Time
}

// peerSettings are what the target allows.
type peerSettings struct {
	streams  uint32
	window   int64 // of a new stream
	frameMax int
}

// newH2Conn says hello and starts reading; ready tells when the peer has done so too.
func newH2Conn(c *conn, timeout time.Duration, bodyMax int, tasks *sync.WaitGroup) *h2Conn {
	h := &h2Conn{
		conn: c, timeout: timeout, bodyMax: bodyMax, tasks: tasks, ready: make(chan struct{}),
		streams: make(map[uint32]*stream), nextID: 1, window: defaultWindow, idleSince: time.Now(),
		peer: peerSettings{streams: streamsPerConn, window: defaultWindow, frameMax: readFrameMax},
	}
	h.framer = http2.NewFramer(&h.out, bufio.NewReaderSize(c.Conn, readFrameMax+1024))
	h.framer.SetMaxReadFrameSize(readFrameMax)
	h.framer.SetReuseFrames()
	h.framer.ReadMetaHeaders = hpack.NewDecoder(4<<10, nil)
	h.framer.MaxHeaderListSize = answerHeadMax
	h.mu.Lock()
	h.out.WriteString(http2.ClientPreface)
	_ = h.framer.WriteSettings(
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: answerHeadMax},
	) // a buffer takes everything: writing to it does not fail
	_ = h.framer.WriteWindowUpdate(0, connWindow-defaultWindow)
	tasks.Go(h.read)
	h.flushAside()
	h.mu.Unlock()
	return h
}

// greeted waits for the peer's settings, before which nobody knows how many streams it takes, nor that it is HTTP/2.
func (c *h2Conn) greeted(ctx context.Context) error {
	select {
	case <-c.ready:
	case <-ctx.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		c.fail(ctx.Err())
		return ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.hello {
		return c.err
	}
	return nil
}

// read takes frames until the connection ends.
func (c *h2Conn) read() {
	for {
		frame, err := c.framer.ReadFrame()
		c.mu.Lock()
		if c.lastRead = time.Now(); err == nil {
			err = c.take(frame)
		}
		if bad, ok := errors.AsType[http2.StreamError](err); ok && c.hello {
			c.abort(bad)
			err = nil
		}
		if err != nil {
			c.hangUp(err)
			c.mu.Unlock()
			return
		}
		c.flushAside()
		c.mu.Unlock()
	}
}

// hangUp ends the connection after an error of reading. mu is held.
func (c *h2Conn) hangUp(err error) {
	switch {
	case c.broken != nil && timedOut(err):
		err = c.broken
	case !c.hello && c.err == nil:
		err = fmt.Errorf("%w: %w", errNotHTTP2, err)
	case c.gone != nil:
		err = &goneAway{c.gone.code, err}
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = io.EOF // inside a frame or between two: the target has closed
	}
	c.fail(err)
}

// fail ends the connection and all its streams, once. mu is held.
func (c *h2Conn) fail(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	for _, st := range c.streams {
		c.end(st, err, st.start.IsZero())
	}
	c.socket.Close() // not through TLS, which would wait to say so
	select {
	case <-c.ready:
	default:
		close(c.ready)
	}
}

// end takes a stream off the connection. refused: the peer has not looked at its request. mu is held.
func (c *h2Conn) end(st *stream, err error, refused bool) {
	if st.over {
		return
	}
	delete(c.streams, st.id)
	st.over, st.err, st.refused = true, err, refused && !st.started
	st.wake()
	if len(c.streams) > 0 {
		return
	}
	c.idleSince = time.Now()
	if c.leaving && c.err == nil {
		c.fail(errNoMoreStreams)
	}
}

// errNoMoreStreams is how a connection ends that takes no new streams once the last one is over.
var errNoMoreStreams = errors.New("no more streams on this connection")

// leave takes no new streams, and closes once those it has are over. mu is held.
func (c *h2Conn) leave() {
	c.leaving = true
	if len(c.streams) == 0 {
		c.fail(errNoMoreStreams)
	}
}

// room reports whether another stream may be opened, with a body that does not wait behind others' for the connection's
// window. mu is held.
func (c *h2Conn) room(body int) bool {
	return c.err == nil && !c.leaving && c.nextID <= maxWindow-2 && len(c.streams) < int(min(c.peer.streams, streamsPerConn)) &&
		(len(c.streams) == 0 || int64(body) <= c.window)
}

// cancel gives a stream up. A timeout without a frame on the whole connection meanwhile tells that nobody is there.
func (c *h2Conn) cancel(st *stream, silent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.over {
		return
	}
	_ = c.framer.WriteRSTStream(st.id, http2.ErrCodeCancel)
	if silent && c.lastRead.Before(st.start) {
		c.leaving = true
	}
	c.end(st, context.Canceled, false)
	c.flushAside()
}
