package mirror

import (
	"bytes"

	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/wire"
)

// The answers. A body, be it of three bytes, would make nginx throw its kept connections away.
const (
	noContent      = "HTTP/1.1 204 No Content\r\n\r\n"
	noContentKeep  = "HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n" // to HTTP/1.0
	noContentClose = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
	goOn           = "HTTP/1.1 100 Continue\r\n\r\n"
	badRequest     = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
	tooLarge       = "HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)

// bodySize is what is read at once while a body comes that fills the connection's own buffer.
const bodySize = 64 << 10

// http1 reads HTTP/1.x. Nothing of it waits for anything but the connection.
type http1 struct {
	c       *conn
	framer  wire.Framer
	scratch wire.Scratch
	in      arrival
	open    bool // in is under way
	old     bool // in is HTTP/1.0
	closes  bool // the connection ends with in
	first   bool // no request came yet
	err     error
}

func newHTTP1(c *conn) *http1 {
	h := &http1{c: c, framer: wire.Requests(), first: true}
	c.busy = func() bool { return !h.framer.Idle() }
	return h
}

// run reads buf[:n], which came with err, and all that follows.
func (h *http1) run(buf []byte, n int, err error) {
	from := buf
	var large *[bodySize]byte
	defer func() { h.c.m.giveBack(large) }()
	for {
		if n > 0 && !h.feed(from[:n]) {
			return
		}
		if h.err = err; err != nil {
			return
		}
		switch {
		case large != nil && !h.open:
			h.c.m.giveBack(large)
			from, large = buf, nil
		case large == nil && h.open && n == len(buf):
			large = h.c.m.lend()
			from = large[:]
		}
		n, err = h.c.Read(from)
	}
}

// feed reads p and reports whether the connection goes on.
func (h *http1) feed(p []byte) bool {
	for {
		if h.framer.Idle() {
			h.in.start = h.c.at
		}
		n, ev := h.framer.Next(&h.scratch, p, wire.MethodOther)
		p = p[n:]
		switch ev {
		case wire.More:
			return true
		case wire.HeadSeen:
			h.head(len(p))
		case wire.DataSeen:
			h.in.body(h.scratch.Data)
		case wire.TrailersSeen:
			h.trailers()
		case wire.EndSeen:
			if h.end(); h.closes {
				return false
			}
		case wire.Failed:
			h.failed()
			return false
		}
	}
}

func (h *http1) head(behind int) {
	head := &h.scratch.Head
	h.first, h.open, h.closes = false, true, head.Close
	h.in = arrival{c: h.c, start: h.in.start, expected: head.Length}
	protocol := head.Protocol.Of(head.Block)
	h.old = protocol[len(protocol)-1] == '0'
	if expect, ok := head.Get("expect"); ok && behind == 0 && head.Length != 0 && !h.old && traffic.EqualName(expect, "100-continue") {
		h.c.out = append(h.c.out, goOn...)
	}
	if _, marked := head.Get(h.c.m.cfg.MarkHeader); marked {
		h.in.lost = lostMarked
		return
	}
	if !h.in.room(exchangeSize + len(head.Block) + len(head.Fields)*fieldSize) {
		return
	}
	x := new(traffic.Exchange)
	block := bytes.Clone(head.Block)
	head.Request(&x.Request, block, head.AppendFields(make([]traffic.Field, 0, len(head.Fields)), block))
	h.in.exchange = x
	h.doubt()
	if head.Switch {
		h.switches(x)
	}
}

// switches treats a request that wants another protocol. What became of that is not seen: one for h2c is an ordinary
// request with an offer that servers decline, any other is not to be sent again as it is.
func (h *http1) switches(x *traffic.Exchange) {
	switch upgrade, _ := traffic.Get(x.Request.Headers, "Upgrade"); {
	case wire.MethodOf(x.Request.Method) == wire.MethodConnect:
		x.Flags |= traffic.Connect
		h.closes = true // 204 to CONNECT would open a tunnel
	case !traffic.EqualName(upgrade, "h2c"):
		x.Flags |= traffic.Upgraded
	}
}

// doubt flags what others may read otherwise.
func (h *http1) doubt() {
	if h.scratch.Head.Doubtful {
		h.in.exchange.Flags |= traffic.AmbiguousFraming
	}
}

func (h *http1) trailers() {
	head := &h.scratch.Head
	if h.in.exchange != nil && h.in.room(len(head.Block)+len(head.Fields)*fieldSize) {
		h.doubt()
		h.in.exchange.Request.Trailers = head.AppendFields(nil, bytes.Clone(head.Block))
	}
}

func (h *http1) end() {
	h.closes = h.closes || h.framer.Doubtful() || h.c.m.draining.Load()
	answer := noContent
	switch {
	case h.closes:
		answer = noContentClose
	case h.old:
		answer = noContentKeep
	}
	h.c.out = append(h.c.out, answer...)
	h.in.whole()
	h.open = false
	h.framer.Resume() // behind a request that wanted another protocol
}

// failed ends a connection on which the next request cannot be told from the rest.
func (h *http1) failed() {
	c, answer, why := h.c, badRequest, lostMalformed
	switch h.framer.Fault() {
	case wire.TooLarge:
		answer, why = tooLarge, lostLargeHeader
	case wire.Ambiguous:
		why = lostAmbiguous
	case wire.TLS, wire.NotHTTP, wire.HTTP2:
		if h.first {
			c.m.stats.unreadable.Add(1)
			c.m.complain("a connection brings no HTTP: the gateway has to send plain HTTP/1.x or HTTP/2 with prior knowledge",
				"it_is", h.framer.Fault().String(), "from", string(c.gateway))
			return
		}
	}
	if h.open {
		h.open = false
		h.in.lose(why)
	}
	c.lost[why]++
	c.out = append(c.out, answer...)
}

// close books what did not arrive whole.
func (h *http1) close() {
	switch {
	case h.open && h.err == nil: // only a fault of ours leaves one open
		h.in.lose(lostPanic)
		h.c.lost[lostPanic]++
	case h.open:
		h.in.cut(ending(h.err))
	case h.err != nil && h.framer.Fault() == 0 && h.framer.EOF() == wire.Failed: // within a header block
		h.c.incomplete(ending(h.err))
	}
}
