package wire

import (
	"time"

	"github.com/reprise-io/reprise/internal/traffic"
)

// freeHeld is what a Framer may hold of an unfinished header block without asking Budget: with less, a short shortage of
// memory would cost the capture of every connection whose header comes in two parts.
const freeHeld = 4 << 10

// Dialog is the capture state of one connection: what its client sends is read by Requests, what its server sends by
// Responses, in the order in which it was seen. It is small, and holds bytes only of messages that are not finished.
type Dialog struct {
	ID     []byte // for Exchange.Connection; the three are kept by the exchanges
	Client []byte
	Server []byte

	req, res    Framer
	first, last *pending // not answered yet, oldest first
	open        *pending // its request is still coming
	answering   *pending // its response is coming; nil: nobody asked for it
	interim     bool     // the response coming is a 1xx
	clientDone  bool     // the client sends nothing more
	aborted     bool     // it broke the connection off
	serverDone  bool     // no response can be read any more
	tunnels     bool     // an answer opened a tunnel
	counted     bool     // as opaque
	seq         uint64
	reqStart    time.Time // first byte of the message coming
	resStart    time.Time
	held        int64 // of Budget, for the framers or h2
	h2          *h2   // it speaks HTTP/2; nil: it does not, or is not read any more

	heads     link[Dialog] // in Recorder.heads
	headSince int64        // in ns since 1970

	// Of dialogs that are seen as packets: see gap.go.
	reqLost, resLost bool // bytes are missing: what comes is left until a message begins
	unpaired         bool // requests that are sent from now on get no answer
	doubtful         bool // the next request was sent on a connection that was to be closed
	oneSided         bool // nothing of the server is seen
}

// Start prepares d for a new connection.
func (d *Dialog) Start(id, client, server []byte) {
	*d = Dialog{ID: id, Client: client, Server: server, req: Requests(), res: Responses()}
	d.req.simple = true
}

// Opaque reports that nothing more will be read from this connection: Requests and Responses need not be called.
func (d *Dialog) Opaque() bool {
	return d.req.fault != 0 && d.h2 == nil && (d.first == nil || d.serverDone)
}

// Idle reports that no message is under way in either direction, as far as it was read.
func (d *Dialog) Idle() bool {
	return d.req.fault == 0 && d.open == nil && d.first == nil && d.req.state != inHead && d.res.Idle() && d.h2.quiet()
}

// Requests reads p, which the client sent.
func (r *Recorder) Requests(d *Dialog, p []byte, now time.Time) {
	if d.req.fault != 0 || d.reqLost && !r.regainRequests(d, p) {
		return
	}
	if d.goesOn(p) {
		d.req.state = atStart
	}
	defer r.survive(d)
	if d.h2 != nil {
		r.h2Read(d, fromClient, p, now)
		return
	}
	for {
		midLine := d.req.state != atStart
		if !midLine {
			d.reqStart = now
		}
		n, ev := d.req.Next(&r.scratch, p, MethodOther)
		if ev == Failed && r.beginsH2(d, p, midLine, now) {
			return
		}
		p = p[n:]
		switch ev {
		case More:
			if !r.bookHeld(d) {
				d.req.fail(NoMemory)
				r.requestFailed(d, now)
				r.bookHeld(d)
			}
			return
		case HeadSeen:
			r.requestHead(d, len(p))
		case DataSeen:
			r.requestBody(d.open)
		case TrailersSeen:
			r.requestTrailers(d.open)
		case EndSeen:
			r.requestEnd(d, now)
		case Failed:
			r.requestFailed(d, now)
			r.bookHeld(d)
			return
		}
	}
}

// Responses reads p, which the server sent.
func (r *Recorder) Responses(d *Dialog, p []byte, now time.Time) {
	if d.serverDone || d.resLost && d.h2 == nil && !r.regainResponses(d, p) {
		return
	}
	defer r.survive(d)
	if d.h2 != nil || d.serverBeginsH2(p) {
		r.h2Read(d, fromServer, p, now)
		return
	}
	for {
		if d.res.state == atStart {
			d.resStart = now
		}
		to := MethodOther
		if d.first != nil {
			to = d.first.method
		}
		n, ev := d.res.Next(&r.scratch, p, to)
		p = p[n:]
		switch ev {
		case More:
			if !r.bookHeld(d) {
				d.res.fail(NoMemory)
				r.responseFailed(d, now)
				r.bookHeld(d)
			}
			return
		case HeadSeen:
			if r.upgradesToH2(d) {
				r.h2Read(d, fromServer, p, now)
				return
			}
			r.responseHead(d)
		case DataSeen:
			if res := d.answering; res != nil && res.answered() {
				r.responseBody(res)
			}
		case TrailersSeen:
			if res := d.answering; res != nil {
				r.responseTrailers(res)
			}
		case EndSeen:
			r.responseEnd(d, now)
		case Failed:
			r.responseFailed(d, now)
			r.bookHeld(d)
			return
		}
	}
}

// ClientDone tells that the client sends nothing more; it may still wait for answers.
func (r *Recorder) ClientDone(d *Dialog, now time.Time) {
	defer r.survive(d)
	d.clientDone = true
	r.h2RequestsCut(d, now)
	if d.req.EOF() == Failed && d.open != nil {
		d.open.slot.flag(traffic.TruncatedRequest)
		r.requestWhole(d, now)
	}
}

// ServerDone tells that the server sends nothing more.
func (r *Recorder) ServerDone(d *Dialog, now time.Time) {
	defer r.survive(d)
	if d.res.EOF() == EndSeen {
		r.responseEnd(d, now)
	}
	r.noMoreResponses(d, now)
}

// Close tells that the connection is over, and finishes everything of it. aborted: the client broke it off.
func (r *Recorder) Close(d *Dialog, aborted bool, now time.Time) {
	defer r.survive(d)
	d.clientDone, d.aborted = d.clientDone || aborted, aborted
	if d.open != nil {
		req := d.open
		req.slot.flag(traffic.TruncatedRequest)
		if aborted {
			req.slot.flag(traffic.ClientAborted)
		}
		r.requestWhole(d, now)
	}
	r.h2RequestsCut(d, now)
	r.noMoreResponses(d, now)
	d.h2 = nil
	d.req.fail(Cut)
	d.res.fail(Cut)
	r.bookHeld(d)
}

// survive gives up the capture of one dialog after a panic; its connection and all others go on.
func (r *Recorder) survive(d *Dialog) {
	if recover() == nil {
		return
	}
	r.Counts.Opaque[0]++
	d.req.fail(Cut)
	d.res.fail(Cut)
	if d.open != nil && !d.open.inDialog {
		r.lose(d.open, LostPanic)
	}
	for p := d.first; p != nil; p = p.next {
		r.lose(p, LostPanic)
	}
	for _, f := range d.h2.inOrder() {
		r.lose(f.pending, LostPanic)
	}
	d.first, d.last, d.open, d.answering, d.h2 = nil, nil, nil, nil, nil
	d.serverDone, d.counted = true, true
	held := d.held
	d.held = 0
	r.noteHead(d, false)
	r.cfg.Budget.Release(held)
}

// flag sets marks on an exchange that is still kept.
func (s *slot) flag(f traffic.Flags) {
	if s != nil {
		s.exchange.Flags |= f
	}
}
