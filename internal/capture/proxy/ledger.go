package proxy

import (
	"time"

	"github.com/reprise-io/reprise/internal/wire"
)

// Finished exchanges leave when there are this many or the oldest has waited this long.
const (
	offerCount = 64
	offerAfter = 5 * time.Millisecond
)

// ledger is a Recorder, and what the sink and the stats have been told of it. One goroutine at a time may use it.
type ledger struct {
	p        *Proxy
	recorder *wire.Recorder
	told     wire.Counts
	offered  time.Time
}

func newLedger(p *Proxy) ledger {
	return ledger{p: p, recorder: wire.NewRecorder(wire.RecorderConfig{
		Source: p.source(), Scheme: p.scheme(), BodyMax: p.cfg.BodyMax, ResponseWait: p.cfg.ResponseWait,
		MarkHeader: p.cfg.MarkHeader, Budget: p.cfg.Budget,
	})}
}

// hand offers what is finished when it is time to.
func (l *ledger) hand(now time.Time) {
	ready := l.recorder.Ready()
	switch {
	case ready == 0:
		l.offered = now
		l.tell()
	case ready >= offerCount, now.Sub(l.offered) >= offerAfter:
		l.offer(now)
	}
}

func (l *ledger) offer(now time.Time) {
	l.offered = now
	if l.recorder.Ready() > 0 {
		l.p.cfg.Sink.Offer(l.recorder.Take())
	}
	l.tell()
}

// tell tells what was not kept, and what became of connections.
func (l *ledger) tell() {
	now, told, stats := &l.recorder.Counts, &l.told, &l.p.stats
	if *now == *told {
		return
	}
	for loss, n := range now.Lost {
		if more := n - told.Lost[loss]; more > 0 {
			l.p.cfg.Sink.Shed(wire.Loss(loss).String(), int(more))
		}
	}
	for fault, n := range now.Opaque {
		stats.opaque[fault].Add(n - told.Opaque[fault])
	}
	stats.seen.Add(now.Seen - told.Seen)
	stats.unanswered.Add(now.ResponsesUnread - told.ResponsesUnread)
	*told = *now
}

// read reads what was seen of a dialog.
func (l *ledger) read(d *wire.Dialog, k kind, data []byte, at time.Time) {
	switch r := l.recorder; k {
	case clientData:
		r.Requests(d, data, at)
	case serverData:
		r.Responses(d, data, at)
	case clientEnd:
		r.ClientDone(d, at)
	case serverEnd:
		r.ServerDone(d, at)
	case over:
		r.Close(d, false, at)
	case abortedByClient:
		r.Close(d, true, at)
	}
}
