// Package tap joins a source with Kafka: captured exchanges are filtered, sampled, redacted, numbered, encoded and handed
// to the topic's writer. Nothing here ever makes the source wait: what does not fit is shed and counted.
package tap

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reprise-io/reprise/internal/meter"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/wire"
)

// redactor makes an exchange fit to be stored.
type redactor interface {
	// Exchange redacts in place; an error means that the exchange must not be stored.
	Exchange(*traffic.Exchange) error
	Digest() []byte
	Pseudonym(domain string, value []byte) []byte
}

// writer takes records over without blocking, and tells what became of each through Pipeline.Done.
type writer interface {
	PutAll([]*topic.Record)
}

// PipelineConfig is what a Pipeline is made of.
type PipelineConfig struct {
	TapID    [16]byte
	Redactor redactor // where no rules file names another; nil: stored as captured (--redact off)
	Writer   writer
	Budget   *Budget
	Workers  int           // default 1
	Hold     time.Duration // for how long at most the workers wait for release; 0: not at all
	Logger   *slog.Logger
}

// Pipeline is the sink of all sources of a tap.
type Pipeline struct {
	cfg      PipelineConfig
	counters Counters
	settings atomic.Pointer[inForce] // read anew for every batch

	courtesy courtesy

	mu     sync.Mutex
	queue  [][]wire.Captured // bounded by the budget that its exchanges hold, as parked is
	parked []wire.Captured   // large ones that wait for the traffic
	queued int64             // bytes in both
	aside  int64             // of these, in parked
	closed bool
	wake   chan struct{}

	ready   chan struct{} // closed by release
	release func(why string)
}

// NewPipeline returns a pipeline that works in Run. It captures nothing until apply.
func NewPipeline(cfg PipelineConfig) *Pipeline {
	if cfg.Workers <= 0 {
		cfg.Workers = 1
	}
	p := &Pipeline{cfg: cfg, wake: make(chan struct{}, cfg.Workers)}
	p.courtesy.cpu, p.courtesy.goes.prefer = meter.CPU, meter.PreferThread
	if idle, err := meter.FindIdle(); err == nil {
		p.courtesy.idle = idle.Read
	}
	p.apply(new(inForce))
	p.hold()
	return p
}

// hold makes the workers wait until the settings in force are known, so that nothing is recorded that a command has forbidden;
// what is captured meanwhile waits in the queue. They wait for release, for a time, or until that takes too much memory; then
// they go by what the tap was started with.
func (p *Pipeline) hold() {
	var once sync.Once
	p.ready = make(chan struct{})
	p.release = func(why string) {
		once.Do(func() {
			close(p.ready)
			if why != "" {
				p.cfg.Logger.Warn("commands (tap set) are not known yet: exchanges are chosen by flags until they are", "cause", why)
			}
		})
	}
	if p.cfg.Hold <= 0 {
		p.release("")
	}
}

func (p *Pipeline) held() bool {
	select {
	case <-p.ready:
		return false
	default:
		return true
	}
}

// wanted reports whether the settings say that capture is on.
func (p *Pipeline) wanted() bool { return p.settings.Load().closed() == "" }

// redactor returns the one in force; nil: everything is stored as captured.
func (p *Pipeline) redactor(s *inForce) redactor {
	if s.Rules != nil {
		return s.Rules.Redactor
	}
	return p.cfg.Redactor
}

// digest identifies what records are redacted by; nil: they are not.
func (p *Pipeline) digest() []byte {
	if r := p.redactor(p.settings.Load()); r != nil {
		return r.Digest()
	}
	return nil
}

// apply makes the workers go by other settings, from their next batches on.
func (p *Pipeline) apply(s *inForce) { p.settings.Store(s) }

// Counters are the tap's books.
func (p *Pipeline) Counters() *Counters { return &p.counters }

// Offer takes a batch of exchanges over and returns at once. Their bytes are given back to the budget when they are
// encoded or given up.
func (p *Pipeline) Offer(batch []wire.Captured) {
	if len(batch) == 0 {
		return
	}
	p.counters.seen.Add(uint64(len(batch)))
	switch held := p.held(); {
	case held && p.cfg.Budget.halfUsed():
		p.release("half of the memory for what is being captured is used")
	case !held && !p.wanted():
		p.leaveOut(batch, p.settings.Load().closed())
		return
	}
	if p.cfg.Budget.Shut() {
		p.giveUp(batch, reasonProtection)
		return
	}
	batch = slices.Clone(batch) // the slice stays the source's
	var old [][]wire.Captured
	p.mu.Lock()
	closed := p.closed
	if !closed {
		old = p.shedOldest()
		p.queue = append(p.queue, batch)
		p.queued += sizeOf(batch)
		p.judge()
	}
	p.mu.Unlock()
	for _, b := range old {
		p.giveUp(b, "memory")
	}
	if closed {
		p.giveUp(batch, "shutdown")
		return
	}
	select {
	case p.wake <- struct{}{}:
	default: // every worker has been told already
	}
}

// While the traffic is behind, nothing more becomes large from the first part of the budget in the queue on, or when large ones
// would wait for too long, until it is the second part: what would not be worked on in time is not copied either.
const (
	lateAbove = 2
	lateUntil = 4
)

// judge tells the budget whether the workers are late. Called locked.
func (p *Pipeline) judge() {
	late, limit := &p.cfg.Budget.late, p.cfg.Budget.limit
	most := p.courtesy.queueMost()
	switch behind := p.courtesy.behind.Load(); {
	case behind && (p.queued > limit/lateAbove || p.aside > most):
		late.Store(true)
	case late.Load() && (!behind || p.queued < limit/lateUntil && p.aside < most/lateAbove):
		late.Store(false)
	}
}

func sizeOf(batch []wire.Captured) (bytes int64) {
	for i := range batch {
		bytes += batch[i].Bytes
	}
	return bytes
}

// Why nothing is recorded.
const (
	reasonCaptureOff = "capture_off" // it is switched off
	reasonBadRules   = "bad_rules"   // the rules file was bad from the start
)

// leaveOut books a batch that came while nothing is recorded.
func (p *Pipeline) leaveOut(batch []wire.Captured, reason string) {
	p.counters.filtered.add(reason, uint64(len(batch)))
	for i := range batch {
		p.cfg.Budget.Release(batch[i].Bytes)
	}
}

// Shed books n exchanges that the source saw but did not keep: marked ones are filtered, all others dropped, unless capture
// is off and they would not have been kept in any case.
func (p *Pipeline) Shed(reason string, n int) {
	p.counters.seen.Add(uint64(n))
	closed := p.settings.Load().closed()
	switch {
	case reason == reasonMarked:
		p.counters.filtered.add(reason, uint64(n))
	case closed != "":
		p.counters.filtered.add(closed, uint64(n))
	default:
		p.counters.dropped.add(reason, uint64(n))
	}
}

// reasonMarked names requests that a replayer fired: they pass and are never captured.
const reasonMarked = "marked"

// Run works until ctx ends, then through what is queued. Offer gives everything up afterwards.
func (p *Pipeline) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for range p.cfg.Workers {
		wg.Go(func() { p.work(ctx) })
	}
	wg.Wait()
	p.mu.Lock()
	p.closed = true
	parked, left := p.parked, p.queue
	p.queue, p.parked, p.queued, p.aside = nil, nil, 0, 0
	p.mu.Unlock()
	w := worker{p: p}
	w.handle(parked)
	for _, batch := range left {
		w.handle(batch)
	}
	return nil
}

func (p *Pipeline) work(ctx context.Context) {
	timer := time.NewTimer(p.cfg.Hold)
	select {
	case <-ctx.Done():
	case <-p.ready:
	case <-timer.C:
		p.release("Kafka did not tell within " + p.cfg.Hold.String())
	}
	timer.Stop()
	w := worker{p: p}
	again := time.NewTimer(0) // for what is put aside
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-again.C:
		}
		for {
			batch, waits := p.take()
			if batch == nil {
				if waits {
					again.Reset(courtesyEvery)
				}
				break
			}
			w.handle(batch)
		}
	}
}

// take returns what to work on next, nil: nothing. While large exchanges have to wait for the traffic they are put aside, and
// small ones go on; waits tells that there are some.
func (p *Pipeline) take() (batch []wire.Captured, waits bool) {
	wait := p.courtesy.pauses()
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.judge()
	if !wait && len(p.parked) > 0 {
		batch = p.parked[:1:1]
		p.aside -= batch[0].Bytes
		if p.parked = p.parked[1:]; len(p.parked) == 0 {
			p.parked = nil
		}
	}
	for len(p.queue) > 0 && len(batch) == 0 {
		batch = p.queue[0]
		p.queue[0] = nil
		if p.queue = p.queue[1:]; len(p.queue) == 0 {
			p.queue = nil
		}
		if wait {
			batch = p.park(batch)
		}
	}
	if len(batch) == 0 {
		return nil, len(p.parked) > 0
	}
	p.queued -= sizeOf(batch)
	p.courtesy.begins(batch)
	return batch, false
}

// park puts the large exchanges of a batch aside and returns the others. Called locked.
func (p *Pipeline) park(batch []wire.Captured) []wire.Captured {
	small := batch[:0]
	for _, c := range batch {
		if c.Bytes > wire.Large {
			p.parked = append(p.parked, c)
			p.aside += c.Bytes
		} else {
			small = append(small, c)
		}
	}
	clear(batch[len(small):])
	return small
}

// shedOldest takes the oldest exchanges out of the queue when the budget is nearly used up, unless older ones are not
// finished: their holders shed those. Called locked.
func (p *Pipeline) shedOldest() (old [][]wire.Captured) {
	excess := p.cfg.Budget.excess()
	if excess == 0 {
		return nil
	}
	unfinished := p.cfg.Budget.oldest()
	older := func(c wire.Captured) bool { return c.Exchange.CaptureTime.UnixNano()-together <= unfinished }
	shed := func(batch []wire.Captured) {
		bytes := sizeOf(batch)
		excess, p.queued = excess-bytes, p.queued-bytes
		old = append(old, batch)
	}
	for excess > 0 && len(p.parked) > 0 && older(p.parked[0]) { // they wait for the longest
		shed([]wire.Captured{p.parked[0]})
		p.aside -= p.parked[0].Bytes
		p.parked[0] = wire.Captured{}
		p.parked = p.parked[1:]
	}
	for excess > 0 && len(p.queue) > 0 && older(p.queue[0][0]) {
		shed(p.queue[0])
		p.queue[0] = nil
		p.queue = p.queue[1:]
	}
	return old
}

func (p *Pipeline) giveUp(batch []wire.Captured, reason string) {
	p.counters.dropped.add(reason, uint64(len(batch)))
	for i := range batch {
		p.cfg.Budget.Release(batch[i].Bytes)
	}
}

// Done books what became of a record; it is the writer's OnDone.
func (p *Pipeline) Done(_ *topic.Record, result topic.Result) {
	switch result.State {
	case topic.Acknowledged:
		p.counters.produced.Add(1)
	case topic.Unknown:
		p.counters.unknown.add(string(result.Reason), 1)
	default:
		p.counters.dropped.add(string(result.Reason), 1)
	}
}
