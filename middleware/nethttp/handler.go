package nethttp

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// mark is what a replayer's requests carry, in the canonical form of header keys.
const mark = "Reprise-Replay"

// Handler returns next with copies of what it sees and answers going to the tap.
func (t *Tap) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !t.wants(r) {
			next.ServeHTTP(w, r)
			return
		}
		c := &exchange{tap: t, w: w, method: r.Method, start: time.Now()}
		c.begin(r)
		if r.Body != nil && r.Body != http.NoBody {
			c.body = r.Body
			r.Body = (*requestBody)(c) // in r itself: a copy would hide from others what the handler does to r
		}
		returned := false
		defer func() { c.end(r, returned) }() // a panic goes on: nothing recovers it here
		next.ServeHTTP(wrap(c, w), r)
		returned = true
	})
}

func (t *Tap) wants(r *http.Request) bool {
	t.counts.seen.Add(1)
	switch {
	case len(r.Header[mark]) > 0:
		t.counts.marked.Add(1)
	case !t.open.Load():
		t.counts.unreachable.Add(1)
	case t.options.Sample != nil && !t.options.Sample(r):
		t.counts.sampledOut.Add(1)
	case t.isFull():
		t.counts.full.Add(1)
	default:
		return true
	}
	return false
}

// exchange is a request on its way through the handler. It is not used again for another one: who keeps the writer or
// the body longer than he may must not reach into somebody else's.
type exchange struct {
	tap    *Tap
	w      http.ResponseWriter
	body   io.ReadCloser // nil: there is none
	method string
	start  time.Time

	mu       sync.Mutex // a body may be read, and a response written, by other goroutines
	s        *scratch   // nil: over
	read     int64      // bytes of the request's body
	readEnd  bool
	status   int
	ttfb     time.Duration
	sent     int64 // bytes of the response's body
	hijacked bool
}

// scratch is the memory of an exchange, to be used again.
type scratch struct {
	line   []byte // the request's head, as JSON
	answer []byte // the response's head, as JSON
	out    []byte
	req    []byte // bodies
	res    []byte
	keys   []string
	latin  bool // some value was no UTF-8
}

// maxScratch is the size above which memory is not kept.
const maxScratch = 256 << 10

// begin writes down the request's head before the handler can change it.
func (c *exchange) begin(r *http.Request) {
	c.s = c.tap.scratch.Get().(*scratch)
	c.s.head(r, c.start)
}

// requestBody is the body that the handler reads.
type requestBody exchange

// Read implements io.Reader.
func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	b.mu.Lock()
	if b.s != nil {
		b.read += int64(n)
		b.s.req = keep(b.s.req, p[:n], b.tap.options.BodyMax)
		b.readEnd = b.readEnd || errors.Is(err, io.EOF)
	}
	b.mu.Unlock()
	return n, err
}

// Close implements io.Closer.
func (b *requestBody) Close() error { return b.body.Close() }

// keep appends p to a body of at most most bytes.
func keep[T string | []byte](body []byte, p T, most int) []byte {
	return append(body, p[:min(len(p), most-len(body))]...)
}

// answered writes down the response's head when it is sent.
func (c *exchange) answered(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.s != nil && c.status == 0 {
		c.status, c.ttfb = status, time.Since(c.start)
		c.s.answerHead(status, c.w.Header())
	}
}

// wrote notes what was written of the response's body.
func wrote[T string | []byte](c *exchange, p T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.s != nil && c.method != http.MethodHead {
		c.sent += int64(len(p))
		c.s.res = keep(c.s.res, p, c.tap.options.BodyMax)
	}
}

// room is how much of the response's body is still copied.
func (c *exchange) room() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.s == nil || c.method == http.MethodHead {
		return 0
	}
	return c.tap.options.BodyMax - len(c.s.res)
}

// passed counts n bytes that went by uncopied.
func (c *exchange) passed(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.s != nil && c.method != http.MethodHead {
		c.sent += n
	}
}

// end makes the copy and queues it.
func (c *exchange) end(r *http.Request, returned bool) {
	c.mu.Lock()
	hijacked := c.hijacked
	c.mu.Unlock()
	if returned && !hijacked {
		c.answered(http.StatusOK) // as net/http does when the handler says nothing
	}
	c.mu.Lock()
	s := c.s
	c.s = nil // from here on nothing of c is written
	c.mu.Unlock()
	gone := errors.Is(r.Context().Err(), context.Canceled)
	c.tap.put(s.finish(c, r, returned, gone))
	if cap(s.out) <= maxScratch && cap(s.req) <= maxScratch && cap(s.res) <= maxScratch {
		*s = scratch{line: s.line[:0], answer: s.answer[:0], out: s.out[:0], req: s.req[:0], res: s.res[:0], keys: s.keys[:0]}
		c.tap.scratch.Put(s)
	}
}
