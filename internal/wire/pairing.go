package wire

import (
	"time"

	"github.com/reprise-io/reprise/internal/traffic"
)

func (r *Recorder) requestHead(d *Dialog, behind int) {
	h := &r.scratch.Head
	p := r.newRequest(d, d.reqStart)
	d.open = p
	if !d.serverDone && !d.unpaired && !h.Ambiguous {
		p.inDialog = true
		if d.last != nil {
			d.last.next = p
		} else {
			d.first = p
		}
		d.last = p
	}
	r.keepRequest(d, p, h.Length >= 0 && h.Length <= int64(behind))
}

// newRequest counts a request, whose head is in Scratch.
func (r *Recorder) newRequest(d *Dialog, start time.Time) *pending {
	h := &r.scratch.Head
	r.Counts.Seen++
	d.seq++
	p := r.newPending()
	p.start, p.reqLength, p.resLength, p.switches = start, h.Length, -1, h.Switch
	p.method = MethodOf(h.Method.Of(h.Block))
	p.oneSided = d.oneSided
	return p
}

// keepRequest begins an exchange with the head in Scratch, or loses it. whole tells that the rest has come with it.
func (r *Recorder) keepRequest(d *Dialog, p *pending, whole bool) {
	h := &r.scratch.Head
	if r.cfg.MarkHeader != "" {
		if _, marked := h.Get(r.cfg.MarkHeader); marked {
			r.lose(p, LostMarked)
			return
		}
	}
	if r.shut() {
		r.lose(p, LostProtection)
		return
	}
	if !r.book(p, slotSize+len(h.Block)+len(h.Fields)*fieldSize) {
		r.lose(p, LostMemory)
		return
	}
	if r.shedder != nil {
		r.unfinished.add(p, &p.aging)
	}
	var block []byte
	var fields []traffic.Field
	if whole {
		p.slot, block, fields = r.store.slot(), r.store.copy(h.Block), r.store.fieldRoom(len(h.Fields))
	} else { // the rest may take long: it must not hold a block that it shares
		p.own = true
		p.slot, block, fields = new(slot), append([]byte(nil), h.Block...), make([]traffic.Field, 0, len(h.Fields))
	}
	x := &p.slot.exchange
	x.CaptureTime, x.TimeSource = p.start.UTC(), r.cfg.TimeSource
	x.Source = r.cfg.Source
	x.Connection = traffic.Connection{ID: d.ID, Sequence: d.seq, Client: d.Client, Server: d.Server}
	x.Request.Scheme = r.scheme
	h.Request(&x.Request, block, h.AppendFields(fields, block))
	if p.method == MethodConnect {
		x.Flags |= traffic.Connect
	}
	if d.doubtful || h.Doubtful {
		x.Flags |= traffic.AmbiguousFraming
		d.doubtful = false
	}
}

func (r *Recorder) requestBody(p *pending) {
	if p.slot == nil {
		return
	}
	req := &p.slot.exchange.Request
	req.BodySize += int64(len(r.scratch.Data))
	if !p.reqFull && !r.keep(p, &req.Body, r.scratch.Data, p.reqLength) {
		r.lose(p, LostMemory)
	}
}

func (r *Recorder) requestTrailers(p *pending) {
	if p.slot == nil {
		return
	}
	var ok bool
	if r.scratch.Head.Doubtful {
		p.slot.flag(traffic.AmbiguousFraming)
	}
	if p.slot.exchange.Request.Trailers, ok = r.trailers(p); !ok {
		r.lose(p, LostMemory)
	}
}

func (r *Recorder) responseTrailers(p *pending) {
	if !p.answered() {
		return
	}
	var ok bool
	if p.slot.response.Trailers, ok = r.trailers(p); !ok {
		p.slot.flag(traffic.TruncatedResponse)
	}
}

// trailers copies those in Scratch; false: the budget does not allow it.
func (r *Recorder) trailers(p *pending) ([]traffic.Field, bool) {
	h := &r.scratch.Head
	if !r.book(p, len(h.Block)+len(h.Fields)*fieldSize) {
		return nil, false
	}
	return h.AppendFields(r.store.fieldRoom(len(h.Fields)), r.store.copy(h.Block)), true
}

func (r *Recorder) requestEnd(d *Dialog, now time.Time) {
	d.open.reqLength = -1
	r.requestWhole(d, now)
}

// requestWhole goes on to the answer, when the request's end was seen or will not be.
func (r *Recorder) requestWhole(d *Dialog, now time.Time) {
	p := d.open
	d.open, p.reqWhole = nil, true
	if p.slot != nil {
		x := &p.slot.exchange
		x.Request.BodySize = max(x.Request.BodySize, p.reqLength)
		switch {
		case p.resWhole, !p.inDialog && x.Flags.Has(traffic.AmbiguousFraming):
			r.finish(p)
		case !p.inDialog:
			r.unanswered(d, p)
		default:
			p.deadline = now.Add(r.cfg.ResponseWait)
			r.waiting.add(p, &p.waits)
		}
	}
	r.recycle(p)
}

// unanswered finishes an exchange whose answer will not come, or not to its end.
func (r *Recorder) unanswered(d *Dialog, p *pending) {
	if p.slot != nil {
		x := &p.slot.exchange
		switch {
		case d.aborted, d.clientDone && x.Response == nil && !p.oneSided:
			x.Flags |= traffic.ClientAborted
		case x.Response == nil:
			x.Flags |= p.silence()
		}
	}
	r.finish(p)
}

// requestFailed books what could not be read. Answers to the requests before it are still read.
func (r *Recorder) requestFailed(d *Dialog, now time.Time) {
	fault := d.req.fault
	if !d.counted {
		d.counted = true
		r.Counts.Opaque[fault]++
	}
	if d.open != nil {
		if fault == Ambiguous {
			d.open.slot.flag(traffic.AmbiguousFraming)
		} else {
			d.open.slot.flag(traffic.TruncatedRequest)
		}
		r.leave(d, d.open, now)
		r.requestWhole(d, now)
		return
	}
	switch {
	case fault == TooLarge:
		r.Counts.Seen++
		r.Counts.Lost[LostLargeHeader]++
	case fault == Malformed, fault == NotHTTP && d.seq > 0:
		r.Counts.Seen++
		r.Counts.Lost[LostMalformed]++
	case fault == NoMemory:
		r.Counts.Seen++
		r.Counts.Lost[LostMemory]++
	}
}

// leave takes a request out of the queue of those that wait for answers.
func (r *Recorder) leave(d *Dialog, p *pending, now time.Time) {
	if !p.inDialog {
		return
	}
	p.inDialog = false
	var before *pending
	for q := d.first; q != p; q = q.next {
		before = q
	}
	if before == nil {
		d.first = p.next
	} else {
		before.next = p.next
	}
	if d.last == p {
		d.last = before
	}
	if d.answering == p {
		d.answering = nil
		if p.answered() {
			r.cutResponse(p, now)
		}
	}
	p.next = nil
}

func (r *Recorder) responseHead(d *Dialog) {
	h := &r.scratch.Head
	if d.interim = h.Status/100 == 1 && !h.Switch; d.interim {
		return
	}
	p := d.first
	if d.answering = p; p == nil {
		r.Counts.ResponsesForeign++
		return
	}
	if p.switches && !h.Switch {
		d.req.Resume()
	}
	d.tunnels = d.tunnels || h.Switch && p.method == MethodConnect
	r.keepResponse(p, d.resStart)
}

// keepResponse begins an answer with the head in Scratch. It reports whether the exchange is still kept.
func (r *Recorder) keepResponse(p *pending, start time.Time) bool {
	h := &r.scratch.Head
	p.resLength = h.Length
	if p.slot == nil {
		return false
	}
	if !r.book(p, len(h.Block)+len(h.Fields)*fieldSize) {
		r.lose(p, LostMemory)
		return false
	}
	x, res := &p.slot.exchange, &p.slot.response
	block := r.store.copy(h.Block)
	res.Status, res.Protocol = h.Status, h.Protocol.Of(block)
	res.Headers = h.AppendFields(r.store.fieldRoom(len(h.Fields)), block)
	res.TTFB = start.Sub(p.start)
	x.Response = res
	if h.Switch && p.method != MethodConnect {
		x.Flags |= traffic.Upgraded
	}
	return true
}

func (r *Recorder) responseBody(p *pending) {
	res := &p.slot.response
	res.BodySize += int64(len(r.scratch.Data))
	if !p.resFull {
		p.resFull = !r.keep(p, &res.Body, r.scratch.Data, p.resLength)
	}
}

func (r *Recorder) responseEnd(d *Dialog, now time.Time) {
	p := d.answering
	if d.interim || p == nil {
		d.interim = false
		return
	}
	d.first, d.answering = p.next, nil
	if d.first == nil {
		d.last = nil
	}
	p.next, p.inDialog, p.resWhole = nil, false, true
	if p.slot != nil {
		p.slot.response.Duration = now.Sub(p.start)
		if p.reqWhole {
			r.finish(p)
		}
	}
	r.recycle(p)
}

// responseFailed gives up reading answers, where they cannot be framed or another protocol begins.
func (r *Recorder) responseFailed(d *Dialog, now time.Time) {
	switch fault := d.res.fault; {
	case d.serverDone:
		return
	case fault == Switched, d.seq == 0 && d.req.Idle(): // or the server of another protocol spoke first
		if d.req.fault == 0 {
			d.req.fail(fault)
			r.requestFailed(d, now)
		}
	default:
		r.Counts.ResponsesUnread++
	}
	r.noMoreResponses(d, now)
}

// noMoreResponses finishes what waits for an answer. Requests that follow are finished as they end.
func (r *Recorder) noMoreResponses(d *Dialog, now time.Time) {
	d.serverDone = true
	r.h2NoMoreResponses(d, now)
	for p := d.first; p != nil; {
		next := p.next
		p.next, p.inDialog = nil, false
		if p.answered() {
			r.cutResponse(p, now)
		}
		p.resWhole = p.answered()
		if p.reqWhole {
			r.unanswered(d, p)
		}
		r.recycle(p)
		p = next
	}
	d.first, d.last, d.answering = nil, nil, nil
}

// bookHeld keeps the books of what the framers hold. It reports whether the budget allowed it.
func (r *Recorder) bookHeld(d *Dialog) bool {
	if d.h2 != nil {
		r.noteHead(d, false)
		return r.bookH2(d)
	}
	held := int64(max(d.req.Held()-freeHeld, 0) + max(d.res.Held()-freeHeld, 0))
	switch {
	case held > d.held:
		if !r.cfg.Budget.TryAcquire(held - d.held) {
			return false
		}
	case held < d.held:
		r.cfg.Budget.Release(d.held - held)
	}
	if d.held = held; r.shedder != nil {
		r.noteHead(d, held > 0)
	}
	return true
}
