package wire

import (
	"bytes"
	"time"

	"github.com/reprise-io/reprise/internal/traffic"
)

// What is seen from outside by copies of packets may lack parts. A Framer whose place is lost reads on where a piece that
// is given to Requests or Responses begins like a message: sources of packets give one segment at a time, and clients
// and servers begin a message with one. Nothing is joined or paired across what is missing.

// StartMidway prepares d for a connection whose beginning was not seen: what comes is no message before one begins.
func (d *Dialog) StartMidway(id, client, server []byte) {
	d.Start(id, client, server)
	d.reqLost, d.resLost = true, true
}

// EnterTunnel prepares d for what goes through the tunnel that its last CONNECT opened, and reports whether there is one:
// what comes is no message before one begins.
func (d *Dialog) EnterTunnel() bool {
	if !d.tunnels || !d.Opaque() || d.first != nil {
		return false
	}
	seq, oneSided := d.seq, d.oneSided
	d.StartMidway(d.ID, d.Client, d.Server)
	d.seq, d.oneSided = seq, oneSided
	return true
}

// Lost reports that a request is being looked for.
func (d *Dialog) Lost() bool { return d.reqLost }

// OneSided tells that nothing of the server is seen: requests are flagged REQUEST_ONLY where they have no answer.
func (d *Dialog) OneSided(is bool) {
	d.oneSided = is
	if !is {
		for p := d.first; p != nil; p = p.next {
			p.oneSided = false
		}
		for _, f := range d.h2.inOrder() {
			f.oneSided = false
		}
	}
}

// RequestsGap tells that n bytes of what the client sent were not seen; negative: an unknown number.
func (r *Recorder) RequestsGap(d *Dialog, n int64, now time.Time) {
	if d.h2 != nil {
		defer r.survive(d)
		r.h2Gap(d, fromClient, n, now)
		return
	}
	if d.req.fault != 0 || d.reqLost {
		return
	}
	defer r.survive(d)
	if req := d.open; req != nil {
		req.slot.flag(traffic.Gap)
		req.reqFull = true
		if d.req.skip(n) {
			if req.slot != nil {
				req.slot.exchange.Request.BodySize += n
			}
			r.Requests(d, nil, now)
			return
		}
		req.slot.flag(traffic.TruncatedRequest)
		r.requestWhole(d, now)
	}
	switch d.req.state {
	case held, done: // nothing that is read comes there
		return
	}
	d.req = Requests()
	d.reqLost = true
	r.bookHeld(d)
}

// ResponsesGap tells that n bytes of what the server sent were not seen; negative: an unknown number.
func (r *Recorder) ResponsesGap(d *Dialog, n int64, now time.Time) {
	defer r.survive(d)
	if d.h2 != nil {
		r.h2Gap(d, fromServer, n, now)
		return
	}
	if d.serverDone {
		return
	}
	if !d.resLost && d.res.skip(n) {
		if p := d.answering; p != nil && p.answered() {
			p.slot.flag(traffic.Gap)
			p.resFull = true
			p.slot.response.BodySize += n
		}
		r.Responses(d, nil, now)
		return
	}
	for p := d.first; p != nil; p = p.next { // the answer to any of them may have been there
		p.slot.flag(traffic.Gap)
	}
	r.noMoreResponses(d, now)
	d.res, d.serverDone, d.interim, d.resLost = Responses(), false, false, true
	r.bookHeld(d)
}

// skip goes over n bytes of a body, where they are within it for sure.
func (f *Framer) skip(n int64) bool {
	switch f.state {
	case toClose:
		return n >= 0
	case inBody, chunkData:
		if n < 0 || n > f.left {
			return false
		}
		if f.left -= n; f.left == 0 {
			if f.state == chunkData {
				f.state, f.count = chunkCR, 0
			} else {
				f.state = atEnd
			}
		}
		return true
	}
	return false
}

// regainRequests looks whether a request begins with p, so that reading goes on there.
func (r *Recorder) regainRequests(d *Dialog, p []byte) bool {
	if !BeginsRequest(p) {
		return false
	}
	d.reqLost = false
	if p[0] == preface[0] && bytes.HasPrefix(p, []byte(preface[:prefaceLine])) {
		d.resLost = false // frames, which begin like nothing
	}
	// A client that sends while it waits for answers pipelines: nobody knows how many requests are missing before this
	// one, so which answer will be its own is not known either.
	d.unpaired = d.unpaired || d.first != nil && d.seq > 0
	return true
}

// goesOn reports that a client sends another request on a connection that it said was to be closed. Where it had the
// answer to its last one, the server keeps the connection open and the request counts; else nobody knows whether the
// server reads it, and it is flagged AMBIGUOUS_FRAMING.
func (d *Dialog) goesOn(p []byte) bool {
	if d.req.state != done || d.serverDone || !BeginsRequest(p) {
		return false
	}
	d.doubtful = d.first != nil
	return true
}

// NotHTTP gives up a dialog whose server turns out to speak something else: nothing of it was a request.
func (r *Recorder) NotHTTP(d *Dialog, now time.Time) {
	defer r.survive(d)
	if d.open != nil {
		r.lose(d.open, LostMalformed)
		d.open.reqWhole, d.open = true, nil
	}
	for p := d.first; p != nil; p = p.next {
		r.lose(p, LostMalformed)
	}
	if d.req.fail(NotHTTP); !d.counted {
		d.counted = true
		r.Counts.Opaque[NotHTTP]++
	}
	r.noMoreResponses(d, now)
	r.bookHeld(d)
}

// regainResponses looks whether a response begins with p.
func (r *Recorder) regainResponses(d *Dialog, p []byte) bool {
	if !BeginsResponse(p) {
		return false
	}
	d.resLost = false
	return true
}

// BeginsRequest reports whether p begins like a request, or like HTTP/2 with prior knowledge. It is stricter than a Framer,
// for p may be a part of anything: the method is in capitals, and where the line is longer than p it is a usual one.
func BeginsRequest(p []byte) bool {
	n := 0
	for n < min(len(p), maxMethod) && ('A' <= p[n] && p[n] <= 'Z' || n > 0 && (p[n] == '-' || p[n] == '_')) {
		n++
	}
	if n < 3 || n+1 >= len(p) || p[n] != ' ' {
		return false
	}
	line := p
	end := bytes.IndexByte(p, '\n')
	if end >= 0 {
		line = bytes.TrimSuffix(p[:end], []byte{'\r'})
	}
	if string(line) == "PRI * HTTP/2.0" {
		return true
	}
	var h Head
	if end >= 0 {
		h.reset(p)
		return h.requestLine(line, len(line)) == 0
	}
	target := line[n+1:]
	switch {
	case hasControl(bytes.TrimSuffix(target, []byte{'\r'})), bytes.IndexByte(target, ' ') >= 0 && !bytes.Contains(target, []byte(" HTTP/1.")):
		return false
	case target[0] != '/' && target[0] != '*' && !bytes.HasPrefix(target, []byte("http")) && string(p[:n]) != "CONNECT":
		return false
	}
	return usualMethod(p[:n])
}

// UsualMethod reports whether p begins with a method that is registered, or may go on to one; so is that of the HTTP/2 preface.
func UsualMethod(p []byte) bool {
	n := tokenLength(p[:min(len(p), maxMethod)])
	return n == len(p) || usualMethod(p[:n])
}

func usualMethod(method []byte) bool {
	switch string(method) {
	case "PRI", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PROPFIND", "PROPPATCH", "MKCOL",
		"COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH", "PURGE":
		return true
	}
	return false
}

// BeginsResponse reports whether p begins like a response.
func BeginsResponse(p []byte) bool {
	const status = len("HTTP/1.1 200")
	line := p[:min(len(p), status+1)]
	if len(line) < status {
		return false
	}
	if len(line) > status && (line[status] == '\r' || line[status] == '\n') {
		line = line[:status]
	}
	var h Head
	return h.statusLine(line, len(line)) == 0
}
