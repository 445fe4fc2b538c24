package fire

import (
	"container/list"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"github.com/reprise-io/reprise/internal/traffic"
)

// ValveConfig says how much a target is asked for, and when it is left alone. What is nil or false is off.
type ValveConfig struct {
	Breaker      *Breaker
	Adaptive     bool       // fewer at a time while answers take longer than they did
	MaxErrorRate *ErrorRate // TooMany is called above it
	Concurrency  int        // most at a time, whatever the target can take
	Timeout      time.Duration
	Changed      func()           // the breaker has changed; called without locks
	TooMany      func(ErrorCount) // called once, without locks
	Logger       *slog.Logger
}

// Valve lets shots go to a target as long as it can take them. It holds them back and drops none. An error is what tells
// that the target is sick: it cannot be reached, does not answer or breaks off, or answers 429 or 5xx (gRPC: the like)
// where production did not.
//
// The breaker opens when there are too many errors, or when a 503 asks for it by Retry-After. Nothing goes then until its
// wait is over; then a few, the probes, and when they go well twice as many with each round trip. A 429 may be meant for
// one user only, so its Retry-After counts once the breaker has opened.
//
// A nil Valve lets everything through. A Valve is safe for concurrent use, and Close ends its timer.
type Valve struct {
	cfg     ValveConfig
	limiter adaptivelimiter.AdaptiveLimiter[any]
	errors  *errorWindow
	tooMany sync.Once

	// gate is twice the number of the breaker's state, since the start, plus 1 while that one lets everything through: it is
	// what the pacing thread looks at.
	gate atomic.Uint64

	mu      sync.Mutex
	breaker circuitbreaker.CircuitBreaker[any]
	width   int       // so many may be under way; not looked at while gate is odd
	inside  int       // of them, that came in under this state
	waiters list.List // of *waiter
	wait    time.Duration
	asked   time.Time // the target wants nothing before that
	until   time.Time // the breaker is open
	timer   *time.Timer
	closed  bool
	seen    valveSeen
}

const wide = 1

type waiter struct {
	ready chan Pass // has room for one
	since time.Time
}

// Pass is the leave to fire one shot. It is given back by Leave or Cancel; the zero Pass needs neither.
type Pass struct {
	gate    uint64
	counted bool
	permit  adaptivelimiter.Permit
}

// NewValve returns a valve that is open, nil when there is nothing to limit by, or a *fault.Error.
func NewValve(cfg ValveConfig) (*Valve, error) {
	if cfg.Breaker == nil && !cfg.Adaptive && cfg.MaxErrorRate == nil {
		return nil, nil //nolint:nilnil // a nil Valve is one
	}
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = defaultConcurrency
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Changed == nil {
		cfg.Changed = func() {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	v := &Valve{cfg: cfg}
	v.gate.Store(wide)
	if r := cfg.MaxErrorRate; r != nil {
		if err := r.Check(); err != nil {
			return nil, err
		}
		v.errors = newErrorWindow(*r)
	}
	if b := cfg.Breaker; b != nil {
		if err := b.Check(); err != nil {
			return nil, err
		}
		v.breaker, v.wait = b.build(), b.Wait
	}
	if cfg.Adaptive {
		v.limiter = v.newLimiter()
	}
	return v, nil
}

// TryEnter returns a pass if that takes no waiting. It is meant for the pacing thread.
func (v *Valve) TryEnter() (Pass, bool) {
	if v == nil {
		return Pass{}, true
	}
	p := Pass{gate: v.gate.Load()}
	if p.gate&wide == 0 {
		v.mu.Lock()
		var ok bool
		p, ok = v.admit()
		v.mu.Unlock()
		if !ok {
			return Pass{}, false
		}
	}
	if v.limiter == nil {
		return p, true
	}
	var ok bool
	if p.permit, ok = v.limiter.TryAcquirePermit(); !ok {
		v.Cancel(p)
		return Pass{}, false
	}
	return p, true
}

// Enter returns a pass as soon as there is one, to those who wait longest first; false: ctx has ended.
func (v *Valve) Enter(ctx context.Context) (Pass, bool) {
	if v == nil {
		return Pass{}, true
	}
	for {
		p, ok := v.await(ctx)
		if !ok || v.limiter == nil {
			return p, ok
		}
		permit, err := v.limiter.AcquirePermit(ctx)
		if err != nil {
			v.Cancel(p)
			return Pass{}, false
		}
		p.permit = permit
		if v.gate.Load()/2 == p.gate/2 {
			return p, true
		}
		v.Cancel(p) // the breaker has opened meanwhile
	}
}

func (v *Valve) await(ctx context.Context) (Pass, bool) {
	if gate := v.gate.Load(); gate&wide != 0 {
		return Pass{gate: gate}, true
	}
	v.mu.Lock()
	if p, ok := v.admit(); ok {
		v.mu.Unlock()
		return p, true
	}
	w := &waiter{make(chan Pass, 1), time.Now()}
	place := v.waiters.PushBack(w)
	v.mu.Unlock()
	select {
	case p := <-w.ready:
		return p, true
	case <-ctx.Done():
	}
	v.mu.Lock()
	select {
	case p := <-w.ready:
		v.leave(p)
	default:
		v.waiters.Remove(place)
	}
	v.mu.Unlock()
	return Pass{}, false
}

// admit gives a pass to who has not waited. It is called with mu held, as what follows.
func (v *Valve) admit() (Pass, bool) {
	if v.waiters.Len() > 0 {
		return Pass{}, false
	}
	return v.pass()
}

func (v *Valve) pass() (Pass, bool) {
	gate := v.gate.Load()
	if gate&wide != 0 {
		return Pass{gate: gate}, true
	}
	if v.inside >= v.width {
		return Pass{}, false
	}
	v.inside++
	if v.breaker.IsHalfOpen() {
		v.seen.probes++
	}
	return Pass{gate: gate, counted: true}, true
}

// letIn gives passes to those who wait.
func (v *Valve) letIn() {
	for first := v.waiters.Front(); first != nil; first = v.waiters.Front() {
		p, ok := v.pass()
		if !ok {
			return
		}
		v.waiters.Remove(first)
		w, _ := first.Value.(*waiter)
		v.seen.held(time.Since(w.since))
		w.ready <- p
	}
}

// leave gives a pass back that told nothing.
func (v *Valve) leave(p Pass) {
	if p.counted && p.gate/2 == v.gate.Load()/2 {
		v.inside--
		v.letIn()
	}
}

// Cancel gives back a pass under which nothing was fired.
func (v *Valve) Cancel(p Pass) {
	if p.permit != nil {
		p.permit.Drop()
	}
	if v == nil || !p.counted {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.leave(p)
}

// Leave gives back a pass with what came of it; recorded is production's answer, nil if there is none.
func (v *Valve) Leave(p Pass, a *Answer, recorded *traffic.Response) {
	if v == nil {
		return
	}
	h := judge(a, recorded, v.cfg.Timeout)
	if p.permit != nil {
		if h == sick {
			p.permit.Drop() // how long it took to fail says nothing
		} else {
			p.permit.Record()
		}
	}
	if v.errors != nil && h != unknown {
		if count, over := v.errors.add(h == sick); over && v.cfg.TooMany != nil {
			v.tooMany.Do(func() { v.cfg.TooMany(count) })
		}
	}
	if v.breaker != nil && v.note(p, a, h) {
		v.cfg.Changed()
	}
}

// Close ends what the valve has begun. Who waits goes on waiting for the end of its context.
func (v *Valve) Close() {
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	if v.timer != nil {
		v.timer.Stop()
	}
}

// Probes returns how many may go until the breaker knows more: 0 while it is open; all, which is false, while it is
// closed.
func (v *Valve) Probes() (n int, few bool) {
	if v == nil || v.gate.Load()&wide != 0 {
		return 0, false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.breaker.IsClosed() {
		return 0, false
	}
	return v.width, true
}
