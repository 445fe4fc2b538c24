package topic

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// flight is a record on its way: what the client has of it, and what was true when the client got it. It is its record's
// context, which is how the client's callback finds it without a closure for each.
type flight struct {
	context.Context
	slot
	sends, unanswered uint64
	kr                kgo.Record
}

// launch hands records over to the client, which gives up when ctx ends. It does not block: the client has room for twice
// what we let it have.
func (w *Writer) launch(ctx context.Context, client *kgo.Client, slots []slot) {
	flights := make([]flight, len(slots))
	landed := w.landed // one closure for all
	for i, s := range slots {
		f := &flights[i]
		*f = flight{
			Context: ctx, slot: s, sends: w.sends.Load(), unanswered: w.unanswered.Load(),
			kr: kgo.Record{Key: s.rec.Key, Value: s.rec.Value, Headers: s.rec.Headers, Timestamp: s.rec.Time},
		}
		f.kr.Context = f
		client.TryProduce(ctx, &f.kr, landed)
	}
}

// landed is called by the client, once for each flight.
func (w *Writer) landed(kr *kgo.Record, err error) {
	f := kr.Context.(*flight)
	if err == nil {
		f.rec.Topic, f.rec.Partition, f.rec.Offset = kr.Topic, kr.Partition, kr.Offset
		w.acks.Add(1)
		w.cfg.OnDone(f.rec, Result{State: Acknowledged})
	} else {
		w.failed(f, err)
	}
	bytes := w.flyingBytes.Add(-f.size)
	left := w.flying.Add(-1)
	if left == 0 || bytes <= w.lowWater.Load() {
		if left == 0 && w.closing.Load() || w.wantRoom.CompareAndSwap(true, false) {
			poke(w.ring.wake)
		}
	}
}

func (w *Writer) failed(f *flight, err error) {
	v := judge(err, w.sends.Load() != f.sends, w.unanswered.Load() != f.unanswered)
	if w.closing.Load() {
		if v.again || v.State == Unknown {
			v.Reason = Shutdown
		}
		w.cfg.OnDone(f.rec, v.Result)
		return
	}
	if !v.again || !w.ring.giveBack(f.slot) {
		w.cfg.OnDone(f.rec, v.Result)
	}
	if v.Reason == TooLarge {
		w.large.Add(1)
	} else if !alwaysRefused(err) { // these say nothing of the link
		w.failures.add(err, v.heal)
		poke(w.ring.wake)
	}
}

// lifetimes end flights that take too long. Only time in which Kafka answers counts: a broker that is back after an hour
// still knows whether it has what was on its way, and the client asks it, while giving up would leave that unknown. The
// client's own RecordDeliveryTimeout is of no use: it counts from the record's timestamp, which is the capture time.
type lifetimes struct {
	timeout time.Duration
	clock   time.Duration // time that counted
	seen    time.Time     // up to which
	living  []*life       // oldest first, each shared by what is launched in a second
}

// life is a context that its lifetimes end.
type life struct {
	context.Context
	ended chan struct{}
	young time.Duration // until when it is shared
	due   time.Duration
}

func (l *life) Done() <-chan struct{} { return l.ended }

func (l *life) Err() error {
	select {
	case <-l.ended:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// pass notes what time it is and ends what is due.
func (l *lifetimes) pass(now time.Time, counts bool) {
	if counts && !l.seen.IsZero() {
		l.clock += now.Sub(l.seen)
	}
	l.seen = now
	for len(l.living) > 0 && l.living[0].due <= l.clock {
		close(l.living[0].ended)
		l.living = l.living[1:]
	}
}

// next is when something is due if all time from now on counts; zero: never.
func (l *lifetimes) next() time.Time {
	if len(l.living) == 0 {
		return time.Time{}
	}
	return l.seen.Add(l.living[0].due - l.clock)
}

// at returns a context for what is launched now.
func (l *lifetimes) at(ctx context.Context) context.Context {
	if n := len(l.living); n > 0 && l.clock < l.living[n-1].young {
		return l.living[n-1]
	}
	young := l.clock + time.Second
	l.living = append(l.living, &life{ctx, make(chan struct{}), young, young + l.timeout})
	return l.living[len(l.living)-1]
}

// failures is what the pump has yet to hear of.
type failures struct {
	mu   sync.Mutex
	last error
	heal bool
}

func (f *failures) add(err error, heal bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last, f.heal = err, f.heal || heal
}

func (f *failures) take() (heal bool, last error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	last, heal = f.last, f.heal
	f.last, f.heal = nil, false
	return heal, last
}

// encoder sees each batch on its way into a request, while the client holds it locked: a batch fails either before that,
// and then is in no request, or after, and then was counted. So what fails with the count at launch was never sent.
type encoder struct {
	inner kgo.Compressor // nil: no compression
	w     *Writer
}

// Compress is called by the client.
func (e encoder) Compress(dst *bytes.Buffer, src []byte, flags ...kgo.CompressFlag) ([]byte, kgo.CompressionCodecType) {
	e.w.sends.Add(1)
	if e.inner == nil {
		return src, kgo.CodecNone
	}
	return e.inner.Compress(dst, src, flags...)
}

// answers counts the produce requests without one, and tells the pump: the client sends what was in them again by itself,
// and would take more for as long as the pump waits for acknowledgements.
type answers struct{ w *Writer }

var _ kgo.HookBrokerE2E = answers{}

// OnBrokerE2E is called by the client when a request has ended.
func (a answers) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	if key != 0 || e2e.Err() == nil {
		return
	}
	if e2e.BytesWritten > 0 {
		a.w.unanswered.Add(1)
	}
	if !a.w.closing.Load() {
		a.w.failures.add(e2e.Err(), false)
		poke(a.w.ring.wake)
	}
}
