package wire

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/reprise-io/reprise/internal/traffic"
)

// maxStreams is how many exchanges of one HTTP/2 connection can be unfinished; further ones are lost, and counted.
const maxStreams = 1000

// beginsH2 reads on as HTTP/2 where a request's first line was the beginning of the preface. p are the bytes in which that
// line ended, midLine tells that it began before them.
func (r *Recorder) beginsH2(d *Dialog, p []byte, midLine bool, now time.Time) bool {
	if d.req.fault != HTTP2 || d.seq > 0 {
		return false
	}
	if !midLine {
		p = p[emptyLines(p):]
	}
	p = p[bytes.IndexByte(p, '\n')+1:]
	d.req, d.res, d.h2 = Requests(), Responses(), newH2(prefaceLine)
	r.h2Read(d, fromClient, p, now)
	return true
}

// serverBeginsH2 tells that p, the first that a server says, is not HTTP/1 but may be HTTP/2's SETTINGS: servers need not
// wait for the preface with them.
func (d *Dialog) serverBeginsH2(p []byte) bool {
	if d.h2 != nil || d.seq > 0 || len(p) == 0 || p[0] != 0 || d.res.state != atStart || d.req.fault != 0 {
		return false
	}
	said := len(d.req.buf)
	if d.req.state != atStart && (said > prefaceLine || string(d.req.buf) != preface[:said]) {
		return false
	}
	d.req, d.h2 = Requests(), newH2(said)
	return true
}

// upgradesToH2 reads on as HTTP/2 behind the 101 to a request that asked for it. That request is stream 1.
func (r *Recorder) upgradesToH2(d *Dialog) bool {
	p, h := d.first, &r.scratch.Head
	if p == nil || p.next != nil || d.open != nil || h.Status != 101 || !p.switches || p.method == MethodConnect {
		return false
	}
	if to, ok := h.Get("upgrade"); !ok || !equalFold(to, "h2c") {
		return false
	}
	d.req, d.res, d.h2 = Requests(), Responses(), newH2(0)
	d.h2.last = 1
	d.first, d.last, d.answering, d.interim = nil, nil, nil, false
	if p.slot == nil {
		p.inDialog = false
		r.recycle(p)
		return true
	}
	d.h2.streams[1] = p
	if settings, ok := traffic.Get(p.slot.exchange.Request.Headers, "HTTP2-Settings"); ok {
		d.h2.upgraded(settings)
	}
	return true
}

// h2Read reads p, which came from one side.
func (r *Recorder) h2Read(d *Dialog, from int, p []byte, now time.Time) {
	c := d.h2
	s, other := &c.sides[from], &c.sides[1-from]
	c.wire += int64(len(p))
	for ev := framePassed; ev != frameMore; {
		if s.between() {
			s.start = now
		}
		var n int
		n, ev = s.next(p)
		p = p[n:]
		switch ev {
		case blockSeen:
			ev = r.h2Block(d, from, now)
		case dataSeen:
			r.scratch.Data = s.data
			r.h2Data(c, from, s.stream)
		case streamEnded:
			r.h2End(d, from, s.stream, now)
		case streamReset:
			r.h2Reset(d, from, s.stream, now)
		case settingsSeen:
			ev = s.announced()
		case settingsTaken:
			s.acknowledged(other)
		case goingAway:
			if from == fromServer && s.last < c.served { // which may be said any number of times
				c.served = s.last
				r.h2GoAway(d, s.last, now)
			}
		case frameMore:
			if !r.bookHeld(d) {
				ev = s.fail(NoMemory)
			}
		}
		if ev == framesFailed {
			r.h2Failed(d, from, now)
			return
		}
	}
	r.h2Settle(d)
}

// h2Block reads a header block: of a request, of an answer, of trailers, or of a promise, which only the table is for.
func (r *Recorder) h2Block(d *Dialog, from int, now time.Time) frameEvent {
	c, s := d.h2, &d.h2.sides[from]
	stream, fresh := s.stream, from == fromClient && !s.pushed && s.stream > d.h2.last
	tooLarge, fault := s.decode(&r.fields, &r.scratch.Head, from == fromServer)
	if fault == 0 && from == fromClient && (s.pushed || fresh && stream%2 == 0) {
		fault, fresh = HTTP2, false
	}
	switch {
	case fresh && (fault != 0 || tooLarge):
		c.last = stream
		r.h2Unread(d, fault, tooLarge)
	case fresh:
		c.last = stream
	}
	if fault != 0 {
		return s.fail(fault)
	}
	p := c.streams[stream]
	switch {
	case s.pushed:
	case fresh && !tooLarge:
		r.h2Request(d, now)
	case fresh, tooLarge && p == nil:
	case tooLarge: // an answer's head, or trailers
		r.h2Broken(d, stream, p, now)
	case from == fromClient:
		r.h2RequestTrailers(d, now)
	default:
		r.h2Response(d, now)
	}
	return framePassed
}

// h2Unread counts a request whose header block could not be read.
func (r *Recorder) h2Unread(d *Dialog, fault Fault, tooLarge bool) {
	why := LostMalformed
	switch {
	case tooLarge, fault == TooLarge:
		why = LostLargeHeader
	case fault == NoMemory:
		why = LostMemory
	}
	r.Counts.Seen++
	d.seq++
	r.Counts.Lost[why]++
}

// h2Failed gives up reading one direction: the other one is read on as long as that brings something.
func (r *Recorder) h2Failed(d *Dialog, from int, now time.Time) {
	s, client := &d.h2.sides[from], &d.h2.sides[fromClient]
	fault := s.fault
	s.decoder, s.filled, s.sizes = nil, 0, nil
	if from == fromServer && !s.begun && client.state == inPreface {
		fault = NotHTTP // nobody said it was HTTP/2
	}
	if from == fromServer && d.seq > 0 {
		r.Counts.ResponsesUnread++
		r.noMoreResponses(d, now)
	} else {
		if from == fromClient && s.open && !s.pushed && s.stream > d.h2.last {
			r.h2Unread(d, fault, false)
		}
		if d.counted = true; d.req.fault == 0 {
			r.Counts.Opaque[fault]++
		}
		d.req.fail(fault)
		r.h2RequestsCut(d, now)
	}
	r.h2Settle(d)
}

// h2Settle lets go of what is not needed any more.
func (r *Recorder) h2Settle(d *Dialog) {
	if d.req.fault != 0 && d.h2 != nil && len(d.h2.streams) == 0 {
		d.h2, d.serverDone = nil, true
	}
	r.bookHeld(d)
}

// h2Gap tells that n bytes of what one side of an HTTP/2 connection sent were not seen; negative: an unknown number.
// Within a body that costs its stream. Anywhere else frames may be missing, and header blocks depend on all before them:
// nothing further can be read, and what is unfinished is handed over as it is.
func (r *Recorder) h2Gap(d *Dialog, from int, n int64, now time.Time) {
	c, s := d.h2, &d.h2.sides[from]
	if s.fault != 0 { // nothing of that side is read any more
		return
	}
	if s.kind == frameData && s.state == inPayload && 0 <= n && n <= int64(s.left) {
		if p := c.streams[s.stream]; p != nil {
			p.slot.flag(traffic.Gap)
			r.h2Broken(d, s.stream, p, now)
		}
		if s.left -= uint32(n); s.left == 0 {
			s.state = inPadding
		}
		r.h2Read(d, from, nil, now)
		return
	}
	for _, f := range c.inOrder() {
		f.slot.flag(traffic.Gap)
	}
	if d.req.fault == 0 {
		d.counted = true
		r.Counts.Opaque[HTTP2]++
		d.req.fail(HTTP2)
	}
	r.h2RequestsCut(d, now)
	r.noMoreResponses(d, now)
	r.h2Settle(d)
}

// streamed is an exchange with its stream.
type streamed struct {
	*pending
	stream uint32
}

// inOrder returns the exchanges by stream, for what ends several of them.
func (c *h2) inOrder() []streamed {
	if c == nil {
		return nil
	}
	all := make([]streamed, 0, len(c.streams))
	for _, stream := range slices.Sorted(maps.Keys(c.streams)) {
		all = append(all, streamed{c.streams[stream], stream})
	}
	return all
}

// bookH2 keeps the books of what the connection holds. What an idle connection takes is booked when there is room: a
// short shortage of memory must not cost the capture of connections that last for days.
func (r *Recorder) bookH2(d *Dialog) bool {
	all, strict := d.h2.held()
	held := int64(all)
	switch {
	case held <= d.held:
		r.cfg.Budget.Release(d.held - held)
	case !r.cfg.Budget.TryAcquire(held - d.held):
		return strict == 0
	}
	d.held = held
	return true
}
