package extproc

import (
	"bytes"
	"slices"
	"sync"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/wire"
)

// recording makes an exchange of the messages of one stream. It hands it over once, or sheds it once; whatever comes
// after is not looked at. Messages that Envoy would not send in that order are left out.
type recording struct {
	s       *Server
	gateway string

	mu        sync.Mutex        // the timer settles too
	x         *traffic.Exchange // nil: no request yet, or settled
	booked    int64             // of the budget
	start     time.Time         // the request's headers came
	reqLength int64             // of the bodies as announced; -1: not known
	resLength int64
	reqWhole  bool // its end was seen
	resFull   bool // no more of its body is kept
	settled   bool // handed over or shed
	wait      *time.Timer
}

func newRecording(s *Server, gateway string) *recording { return &recording{s: s, gateway: gateway} }

// exchangeSize is what an exchange costs beside its fields and bodies, as traffic.Exchange.Size counts it.
const exchangeSize = 512

// handle takes the next message over. It reports that nothing more is wanted.
func (r *recording) handle(m *extprocv3.ProcessingRequest, now time.Time) (over bool) {
	defer r.survive()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch part := m.GetRequest().(type) {
	case *extprocv3.ProcessingRequest_RequestHeaders:
		r.requestHead(part.RequestHeaders, attributesOf(m), now)
	case *extprocv3.ProcessingRequest_RequestBody:
		r.requestBody(part.RequestBody)
	case *extprocv3.ProcessingRequest_RequestTrailers:
		r.requestTrailers(part.RequestTrailers)
	case *extprocv3.ProcessingRequest_ResponseHeaders:
		r.responseHead(part.ResponseHeaders, attributesOf(m), now)
	case *extprocv3.ProcessingRequest_ResponseBody:
		r.responseBody(part.ResponseBody, now)
	case *extprocv3.ProcessingRequest_ResponseTrailers:
		r.responseTrailers(part.ResponseTrailers, now)
	}
	return r.settled
}

// survive gives the exchange up after a panic; its stream, and all others, go on.
func (r *recording) survive() {
	if p := recover(); p != nil {
		r.s.stats.panics.Add(1)
		r.s.cfg.Logger.Error("capture failed; the exchange is dropped", "panic", p)
		r.lose(wire.LostPanic.String())
	}
}

func (r *recording) requestHead(h *extprocv3.HttpHeaders, a attributes, now time.Time) {
	if r.settled || r.x != nil {
		return
	}
	parsed := parseHead(h.GetHeaders())
	if _, marked := traffic.Get(parsed.fields, r.s.cfg.MarkHeader); marked {
		r.shed(wire.LostMarked.String())
		return
	}
	if !r.book(exchangeSize + parsed.size) {
		r.shed(wire.LostMemory.String())
		return
	}
	x := &traffic.Exchange{Source: r.s.source(), Connection: a.connection(r.gateway)}
	x.CaptureTime, x.TimeSource, x.Flags = a.captureTime(now)
	x.Request = traffic.Request{
		Method: parsed.method, Scheme: parsed.scheme, Authority: parsed.authority, Target: parsed.target,
		Protocol: a.protocol(), Headers: parsed.fields,
	}
	if x.Request.HostInDoubt() {
		x.Flags |= traffic.AmbiguousFraming
	}
	if len(parsed.authority) > 0 && bytes.HasPrefix(x.Request.Protocol, []byte("HTTP/1.")) {
		// Envoy makes ":authority" of it. Its place is lost: first is where clients have it.
		host := traffic.Field{Name: []byte("host"), Value: parsed.authority}
		x.Request.Headers = slices.Insert(parsed.fields, 0, host)
	}
	if string(parsed.method) == "CONNECT" {
		x.Flags |= traffic.Connect
		if len(x.Request.Target) == 0 {
			x.Request.Target = x.Request.Authority
		}
	}
	r.x, r.start, r.reqLength, r.resLength = x, now, parsed.length, -1
	if h.GetEndOfStream() {
		r.requestEnd()
	}
}

func (r *recording) requestBody(b *extprocv3.HttpBody) {
	r.s.stats.requestBytes.Add(int64(len(b.GetBody())))
	if r.x == nil || r.reqWhole {
		return
	}
	req := &r.x.Request
	req.BodySize += int64(len(b.GetBody()))
	if !r.keep(&req.Body, b.GetBody(), r.reqLength) {
		r.shed(wire.LostMemory.String())
		return
	}
	if b.GetEndOfStream() {
		r.requestEnd()
	}
}

func (r *recording) requestTrailers(t *extprocv3.HttpTrailers) {
	if r.x == nil || r.reqWhole {
		return
	}
	parsed := parseHead(t.GetTrailers())
	if !r.book(parsed.size) {
		r.shed(wire.LostMemory.String())
		return
	}
	r.x.Request.Trailers = parsed.fields
	r.requestEnd()
}

// requestEnd starts the wait for the response.
func (r *recording) requestEnd() {
	r.reqWhole = true
	r.wait = time.AfterFunc(r.s.cfg.ResponseWait, r.expire)
}

func (r *recording) responseHead(h *extprocv3.HttpHeaders, a attributes, now time.Time) {
	if r.settled || r.x != nil && r.x.Response != nil {
		return
	}
	if r.x == nil {
		r.shed(LostNoRequest)
		return
	}
	parsed := parseHead(h.GetHeaders())
	if status := parsed.status(); status/100 == 1 && status != 101 {
		return // the answer is still to come
	}
	if !r.book(parsed.size) {
		r.shed(wire.LostMemory.String())
		return
	}
	r.resLength = parsed.length
	r.x.Response = &traffic.Response{Status: parsed.status(), Headers: parsed.fields, TTFB: now.Sub(r.start)}
	if a.local() {
		r.x.Flags |= traffic.LocalReply
	}
	switch status := r.x.Response.Status; {
	case status == 101:
		r.x.Flags |= traffic.Upgraded
		r.reqWhole = true // what follows is no body
		r.responseEnd(now)
	case r.x.Flags.Has(traffic.Connect) && status/100 == 2:
		r.reqWhole = true
		r.responseEnd(now)
	case h.GetEndOfStream():
		r.responseEnd(now)
	}
}

func (r *recording) responseBody(b *extprocv3.HttpBody, now time.Time) {
	r.s.stats.responseBytes.Add(int64(len(b.GetBody())))
	if r.x == nil || r.x.Response == nil {
		return
	}
	res := r.x.Response
	res.BodySize += int64(len(b.GetBody()))
	if !r.resFull {
		r.resFull = !r.keep(&res.Body, b.GetBody(), r.resLength)
	}
	if b.GetEndOfStream() {
		r.responseEnd(now)
	}
}

func (r *recording) responseTrailers(t *extprocv3.HttpTrailers, now time.Time) {
	if r.x == nil || r.x.Response == nil {
		return
	}
	if parsed := parseHead(t.GetTrailers()); r.book(parsed.size) {
		r.x.Response.Trailers = parsed.fields
	} else {
		r.x.Flags |= traffic.TruncatedResponse
	}
	r.responseEnd(now)
}

func (r *recording) responseEnd(now time.Time) {
	r.x.Response.Duration = now.Sub(r.start)
	r.offer()
}

// end tells that no more messages come. whole: Envoy ended the stream itself.
func (r *recording) end(whole bool, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.settled || r.x == nil {
		return
	}
	r.s.stats.unanswered.Add(1)
	switch {
	case r.x.Response != nil:
		r.cutResponse(now)
	case whole: // Envoy answers every client that waits for it, if need be by itself
		r.x.Flags |= traffic.ClientAborted
	default:
		r.x.Flags |= traffic.NoResponse
	}
	r.offer()
}

// expire hands over what has come when the response takes too long.
func (r *recording) expire() {
	defer r.survive()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.settled {
		return
	}
	r.s.stats.unanswered.Add(1)
	if r.x.Response != nil {
		r.cutResponse(time.Now())
	} else {
		r.x.Flags |= traffic.NoResponse
	}
	r.offer()
}

// cutResponse marks a response that was not seen to its end.
func (r *recording) cutResponse(now time.Time) {
	res := r.x.Response
	r.x.Flags |= traffic.TruncatedResponse
	res.Duration = now.Sub(r.start)
	res.BodySize = max(res.BodySize, r.resLength)
}

// offer hands the exchange over.
func (r *recording) offer() {
	x := r.x
	if !r.reqWhole {
		x.Flags |= traffic.TruncatedRequest
		x.Request.BodySize = max(x.Request.BodySize, r.reqLength)
	}
	if int64(len(x.Request.Body)) < x.Request.BodySize {
		x.Flags |= traffic.TruncatedRequest
	}
	if res := x.Response; res != nil && int64(len(res.Body)) < res.BodySize {
		x.Flags |= traffic.TruncatedResponse
	}
	booked := r.booked
	r.settle()
	r.s.cfg.Sink.Offer([]wire.Captured{{Exchange: x, Bytes: booked}})
}

// lose gives the exchange up, unless it was handed over.
func (r *recording) lose(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.settled {
		r.shed(reason)
	}
}

func (r *recording) shed(reason string) {
	r.s.cfg.Budget.Release(r.booked)
	r.settle()
	r.s.cfg.Sink.Shed(reason, 1)
}

// settle forgets the exchange, so that it is handed over or shed once.
func (r *recording) settle() {
	r.x, r.booked, r.settled = nil, 0, true
	if r.wait != nil {
		r.wait.Stop()
	}
}

// book takes n more bytes of the budget.
func (r *recording) book(n int) bool {
	if !r.s.cfg.Budget.TryAcquire(int64(n)) {
		return false
	}
	r.booked += int64(n)
	return true
}

// keep appends data to a body as far as BodyMax allows; announced is the length of the whole body or -1. It reports
// whether the budget allowed it.
func (r *recording) keep(body *[]byte, data []byte, announced int64) bool {
	data = data[:min(len(data), r.s.cfg.BodyMax-len(*body))]
	if need := len(*body) + len(data); need > cap(*body) {
		most := int64(r.s.cfg.BodyMax)
		if announced >= 0 {
			most = min(most, announced)
		}
		room := max(need, min(2*cap(*body), int(most)))
		if !r.book(room - cap(*body)) {
			return false
		}
		*body = append(make([]byte, 0, room), *body...)
	}
	*body = append(*body, data...)
	return true
}
