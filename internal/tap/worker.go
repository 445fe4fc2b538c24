package tap

import (
	"log/slog"
	"slices"
	"time"

	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/wire"
)

// worker holds what one goroutine reuses from batch to batch.
type worker struct {
	p       *Pipeline
	kept    []*traffic.Exchange
	records []*topic.Record
}

// shareMost is what exchanges of a batch may hold that become records together, whose memory they share: all of it is held
// until the last of them is acknowledged.
const shareMost = 256 << 10

func (w *worker) handle(batch []wire.Captured) {
	for len(batch) > 0 {
		n, bytes := 1, batch[0].Bytes
		for n < len(batch) && bytes+batch[n].Bytes <= shareMost {
			bytes += batch[n].Bytes
			n++
		}
		w.handlePart(batch[:n])
		clear(batch[:n]) // it may take long to come to the last
		batch = batch[n:]
	}
}

func (w *worker) handlePart(batch []wire.Captured) {
	p := w.p
	settings := p.settings.Load()
	if closed := settings.closed(); closed != "" {
		p.leaveOut(batch, closed)
		return
	}
	if p.cfg.Budget.Shut() {
		p.giveUp(batch, reasonProtection)
		return
	}
	w.kept = w.kept[:0]
	for i := range batch {
		if w.choose(batch[i].Exchange, settings) {
			w.kept = append(w.kept, batch[i].Exchange)
		}
	}
	if len(w.kept) > 0 {
		w.write()
	}
	clear(w.kept)
	for i := range batch {
		p.cfg.Budget.Release(batch[i].Bytes)
	}
}

// choose filters, samples and redacts one exchange, and books it when it goes no further.
func (w *worker) choose(x *traffic.Exchange, s *inForce) bool {
	p := w.p
	if !s.keeps(x) { // the rule itself has paths in it: no label
		p.counters.filtered.add("rule", 1)
		return false
	}
	redactor := p.redactor(s)
	identify(x, s.sessionKey(), s.SampleBy, p.cfg.TapID, redactor)
	now := time.Now()
	if !s.samples(x, now) {
		p.counters.sampledOut.Add(1)
		return false
	}
	if !s.limit.allow(now) {
		p.counters.filtered.add("rate_limit", 1)
		return false
	}
	if redactor == nil {
		return true
	}
	if err := applyRedactor(x, redactor, p.cfg.Logger); err != nil {
		p.counters.dropped.add("redaction", 1)
		p.cfg.Logger.Debug("exchange dropped: it could not be redacted", "error", err)
		return false
	}
	return true
}

// applyRedactor also turns a panic of the redactor into an error: one odd exchange must not take the tap down, nor get by raw.
func applyRedactor(x *traffic.Exchange, r redactor, log *slog.Logger) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = errRedactorPanic
			log.Error("redactor failed; the exchange is dropped", "panic", v)
		}
	}()
	if err := r.Exchange(x); err != nil {
		return err
	}
	x.RulesDigest = r.Digest()
	return nil
}

// write numbers, encodes and puts what was kept.
func (w *worker) write() {
	p := w.p
	n := uint64(len(w.kept))
	seq := p.counters.lastSeq.Add(n) - n
	now := time.Now()
	w.records = slices.Grow(w.records[:0], len(w.kept))
	e := newEncoder(w.kept)
	for _, x := range w.kept {
		seq++
		x.ID = traffic.MakeID(p.cfg.TapID, seq)
		if x.CaptureTime.After(now) {
			x.CaptureTime, x.Flags = now.UTC(), x.Flags|traffic.ClockAhead
		}
		w.records = append(w.records, e.record(x, x.CaptureTime))
	}
	p.cfg.Writer.PutAll(w.records)
	clear(w.records)
}
