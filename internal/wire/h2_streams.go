package wire

import (
	"time"

	"github.com/reprise-io/reprise/internal/traffic"
)

// h2Request begins an exchange with the head in Scratch.
func (r *Recorder) h2Request(d *Dialog, now time.Time) {
	c, s, h := d.h2, &d.h2.sides[fromClient], &r.scratch.Head
	h.Switch = string(h.Method.Of(h.Block)) == "CONNECT"
	switch {
	case h.Switch: // what follows is a tunnel's
		h.Length = 0
		h.Ambiguous = h.Ambiguous || !r.fields.protocol && (h.Target.To > 0 || h.Scheme.To > 0)
		if h.Target.To == 0 {
			h.Target = h.Authority
		}
	case r.fields.protocol, h.Scheme.To == 0:
		h.Ambiguous = true
	}
	if s.ends {
		h.Ambiguous = h.Ambiguous || h.Length > 0
		h.Length = 0
	}
	p := r.newRequest(d, s.start)
	p.switches, p.of = r.fields.protocol, c
	switch {
	case h.Method.From == h.Method.To, h.Target.From == h.Target.To:
		r.lose(p, LostMalformed)
	case len(c.streams) >= maxStreams && !c.sweep():
		r.lose(p, LostStreams)
	default:
		p.inDialog = true
		c.streams[s.stream] = p
		r.keepRequest(d, p, s.ends)
	}
	if p.slot == nil {
		p.reqWhole = true
		r.forget(c, s.stream, p)
		return
	}
	if h.Ambiguous || p.slot.exchange.Request.HostInDoubt() {
		p.slot.flag(traffic.AmbiguousFraming)
	}
	if s.ends || h.Switch {
		r.h2RequestEnd(d, s.stream, p, now)
	}
}

// sweep forgets the streams whose exchanges were handed over before they ended, and reports whether there were any.
func (c *h2) sweep() bool {
	before := len(c.streams)
	for stream, p := range c.streams {
		if p.slot == nil {
			delete(c.streams, stream)
		}
	}
	return len(c.streams) < before
}

// forget takes a stream out of those that are followed.
func (r *Recorder) forget(c *h2, stream uint32, p *pending) {
	delete(c.streams, stream)
	if len(c.streams) == 0 && stream > c.shrunk+maxStreams { // maps do not shrink
		c.streams, c.shrunk = make(map[uint32]*pending), stream
	}
	p.inDialog = false
	r.recycle(p)
}

// h2RequestTrailers reads a client's further header block.
func (r *Recorder) h2RequestTrailers(d *Dialog, now time.Time) {
	s, h := &d.h2.sides[fromClient], &r.scratch.Head
	p := d.h2.streams[s.stream]
	if p == nil || p.reqWhole {
		return
	}
	if h.Ambiguous || h.hasForbiddenTrailer() || !s.ends || h.length.seen || h.Method.To > 0 || h.Target.To > 0 || h.Scheme.To > 0 || h.Authority.To > 0 {
		p.slot.flag(traffic.AmbiguousFraming)
	}
	if len(h.Fields) > 0 {
		r.requestTrailers(p)
	}
	if s.ends {
		r.h2RequestEnd(d, s.stream, p, now)
	}
}

// h2Data keeps a part of a body.
func (r *Recorder) h2Data(c *h2, from int, stream uint32) {
	p := c.streams[stream]
	switch {
	case p == nil, p.slot == nil:
	case from == fromServer:
		if p.answered() && !p.resWhole {
			r.responseBody(p)
		}
	case !p.reqWhole:
		if r.requestBody(p); p.slot == nil {
			p.reqWhole = true
			r.forget(c, stream, p)
		}
	}
}

// h2End sees a side's last frame of a stream.
func (r *Recorder) h2End(d *Dialog, from int, stream uint32, now time.Time) {
	p := d.h2.streams[stream]
	switch {
	case p == nil:
	case from == fromServer:
		r.h2ResponseEnd(d, stream, p, now)
	case !p.reqWhole:
		r.h2RequestEnd(d, stream, p, now)
	}
}

// h2RequestEnd goes on to the answer, when the request's end was seen.
func (r *Recorder) h2RequestEnd(d *Dialog, stream uint32, p *pending, now time.Time) {
	if p.slot != nil && p.reqLength >= 0 && p.slot.exchange.Request.BodySize != p.reqLength {
		p.slot.flag(traffic.AmbiguousFraming)
	}
	r.h2RequestOver(d, stream, p, now)
}

// h2RequestOver goes on to the answer, when the request's end was seen or will not be.
func (r *Recorder) h2RequestOver(d *Dialog, stream uint32, p *pending, now time.Time) {
	p.reqWhole = true
	switch {
	case p.slot == nil && !p.resWhole && !d.serverDone:
		return
	case p.slot == nil, p.resWhole:
		r.finish(p)
	case d.serverDone:
		r.unanswered(d, p)
	default:
		p.deadline = now.Add(r.cfg.ResponseWait)
		r.waiting.add(p, &p.waits)
		return
	}
	r.forget(d.h2, stream, p)
}

// h2Response reads a server's header block: an interim answer, the head of the final one, or trailers.
func (r *Recorder) h2Response(d *Dialog, now time.Time) {
	c, s, h := d.h2, &d.h2.sides[fromServer], &r.scratch.Head
	p := c.streams[s.stream]
	if p == nil { // pushed, shed, or over
		return
	}
	switch {
	case p.slot == nil:
	case p.answered():
		if len(h.Fields) > 0 && !p.resWhole {
			r.responseTrailers(p)
		}
	case h.Status/100 == 1, h.Status == 0:
	default:
		tunnel := p.method == MethodConnect && h.Status/100 == 2
		if tunnel || p.method == MethodHead || h.Status == 204 || h.Status == 304 {
			h.Length = 0
		}
		if !r.keepResponse(p, s.start) {
			break
		}
		if tunnel {
			if p.switches {
				p.slot.flag(traffic.Upgraded)
			}
			r.h2ResponseEnd(d, s.stream, p, now)
			return
		}
	}
	if s.ends {
		r.h2ResponseEnd(d, s.stream, p, now)
	}
}

// h2ResponseEnd sees the end of an answer.
func (r *Recorder) h2ResponseEnd(d *Dialog, stream uint32, p *pending, now time.Time) {
	switch {
	case p.resWhole:
		return
	case p.slot != nil && !p.answered(): // it ended without having begun
		r.h2Broken(d, stream, p, now)
		return
	case p.slot != nil:
		p.slot.response.Duration = now.Sub(p.start)
	}
	if p.resWhole = true; p.reqWhole {
		r.finish(p)
		r.forget(d.h2, stream, p)
	}
}

// h2Reset sees a side break a stream off.
func (r *Recorder) h2Reset(d *Dialog, from int, stream uint32, now time.Time) {
	p := d.h2.streams[stream]
	if p == nil {
		return
	}
	if from == fromClient {
		p.slot.flag(traffic.ClientAborted)
	}
	r.h2Broken(d, stream, p, now)
}

// h2Broken finishes an exchange with what has come of it.
func (r *Recorder) h2Broken(d *Dialog, stream uint32, p *pending, now time.Time) {
	if p.slot != nil {
		x := &p.slot.exchange
		if !p.reqWhole {
			x.Flags |= traffic.TruncatedRequest
			x.Request.BodySize = max(x.Request.BodySize, p.reqLength)
		}
		switch {
		case p.resWhole:
		case p.answered():
			r.cutResponse(p, now)
		case !x.Flags.Has(traffic.ClientAborted):
			x.Flags |= traffic.NoResponse
		}
	}
	p.reqWhole, p.resWhole = true, true
	r.finish(p)
	r.forget(d.h2, stream, p)
}

// h2GoAway finishes the exchanges that the server says it will not serve.
func (r *Recorder) h2GoAway(d *Dialog, last uint32, now time.Time) {
	for _, f := range d.h2.inOrder() {
		if f.stream > last {
			r.h2Broken(d, f.stream, f.pending, now)
		}
	}
}

// h2RequestsCut ends the requests that are still coming, because nothing more of them is read.
func (r *Recorder) h2RequestsCut(d *Dialog, now time.Time) {
	for _, f := range d.h2.inOrder() {
		p := f.pending
		if p.reqWhole {
			continue
		}
		if p.slot != nil {
			x := &p.slot.exchange
			x.Flags |= traffic.TruncatedRequest
			if d.aborted {
				x.Flags |= traffic.ClientAborted
			}
			x.Request.BodySize = max(x.Request.BodySize, p.reqLength)
		}
		r.h2RequestOver(d, f.stream, p, now)
	}
}

// h2NoMoreResponses finishes what waits for an answer. Requests that are still coming are finished as they end.
func (r *Recorder) h2NoMoreResponses(d *Dialog, now time.Time) {
	for _, f := range d.h2.inOrder() {
		p := f.pending
		if p.answered() && !p.resWhole {
			r.cutResponse(p, now)
			p.resWhole = true
		}
		if p.reqWhole || p.slot == nil {
			r.unanswered(d, p)
			p.reqWhole = true
			r.forget(d.h2, f.stream, p)
		}
	}
}
