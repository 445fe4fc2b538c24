package schedule

import (
	"context"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultPacerItems = 65536
	inboxItems        = 256                   // pushed with one hold of the lock
	dueBatch          = 64                    // handed over before the inbox is looked at again
	longestSleep      = 10 * time.Millisecond // keeps sysmon from taking the thread's P away, which it does after that
	lockedSleep       = 20 * time.Microsecond // until the inbox is tried again
)

// Timed is a value with the moment at which it is due.
type Timed[T any] struct {
	Due   time.Time
	Value T
}

// Pacer hands values over at their due moments, from one OS thread that sleeps to absolute deadlines: Go's own timers
// are ten times as late. A due time with a monotonic reading is kept by the monotonic clock; one without is
// compared with the wall clock once, when the pacer is made. So nothing moves when somebody sets the clock.
//
// Whatever the hand-over wakes needs a P as well as a thread: run with GOMAXPROCS one above the cores.
type Pacer[T any] struct {
	hand  func(T)
	max   int64
	start time.Time
	sleep sleeper

	count   atomic.Int64  // inbox and queue
	stopped atomic.Bool   // Run's context has ended
	waiting atomic.Int32  // Pushes without room
	room    chan struct{} // a token for one of them
	asleep  atomic.Int64  // until when the pacing thread sleeps, since start; 0: awake

	mu     sync.Mutex
	inbox  []timed[T]
	pushed atomic.Bool // the inbox is not empty

	queue heap[timed[T]] // the pacing thread's
	seq   uint64
}

type timed[T any] struct {
	due   time.Duration // since start
	seq   uint64
	value T
}

// sleeper waits on the pacing thread. wake may be called from anywhere, and cuts the present or the next wait short.
type sleeper interface {
	enter() // on the pacing thread, before the first wait
	until(due time.Duration)
	wake()
}

// NewPacer returns a pacer that holds at most limit values (0: 65,536) and gives each to hand when it is due, never
// before. hand runs on the pacing thread and must not block: every microsecond it takes delays what is due next.
func NewPacer[T any](limit int, hand func(T)) *Pacer[T] {
	start := time.Now()
	return newPacer(limit, hand, start, newSleeper(start))
}

// NewTimerPacer returns one that waits with Go's timers: in a test's fake time nothing may wait in the kernel.
func NewTimerPacer[T any](limit int, hand func(T)) *Pacer[T] {
	start := time.Now()
	return newPacer(limit, hand, start, newTimerSleeper(start))
}

func newPacer[T any](limit int, hand func(T), start time.Time, sleep sleeper) *Pacer[T] {
	if limit <= 0 {
		limit = defaultPacerItems
	}
	return &Pacer[T]{
		hand: hand, max: int64(limit), start: start, sleep: sleep,
		room:  make(chan struct{}, 1),
		inbox: make([]timed[T], 0, inboxItems),
		queue: heap[timed[T]]{less: func(a, b *timed[T]) bool {
			return a.due < b.due || a.due == b.due && a.seq < b.seq
		}},
	}
}

// Push adds values, waiting for room. When ctx ends before all were taken it returns ctx's error and how many were.
// Values that are due together are handed over in the order of Push.
func (p *Pacer[T]) Push(ctx context.Context, items ...Timed[T]) (taken int, err error) {
	for taken < len(items) {
		n := int(min(int64(len(items)-taken), inboxItems))
		n = p.reserve(n)
		if n == 0 {
			if err := p.await(ctx); err != nil {
				return taken, err
			}
			continue
		}
		p.put(items[taken : taken+n])
		taken += n
		p.offerRoom(p.max - 1)
	}
	return taken, nil
}

// reserve takes room for up to n values.
func (p *Pacer[T]) reserve(n int) int {
	for {
		held := p.count.Load()
		n = int(min(int64(n), p.max-held))
		if n <= 0 {
			return 0
		}
		if p.count.CompareAndSwap(held, held+int64(n)) {
			return n
		}
	}
}

func (p *Pacer[T]) put(items []Timed[T]) {
	earliest := time.Duration(math.MaxInt64)
	p.mu.Lock()
	for i := range items {
		due := items[i].Due.Sub(p.start)
		earliest = min(earliest, due)
		p.inbox = append(p.inbox, timed[T]{due: due, value: items[i].Value})
	}
	p.pushed.Store(true)
	p.mu.Unlock()
	if int64(earliest) < p.asleep.Load() {
		p.sleep.wake()
	}
}

// await waits until there may be room.
func (p *Pacer[T]) await(ctx context.Context) error {
	p.waiting.Add(1)
	defer p.waiting.Add(-1)
	if p.count.Load() < p.max {
		return nil
	}
	select {
	case <-p.room:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run paces until ctx ends, and returns nil then. It is called once.
func (p *Pacer[T]) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		p.stopped.Store(true)
		p.sleep.wake()
	})
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with what enter has set on it
		p.pace()
	}()
	<-done
	return nil
}

func (p *Pacer[T]) pace() {
	p.sleep.enter()
	spare := make([]timed[T], 0, inboxItems)
	for !p.stopped.Load() {
		var looked bool
		spare, looked = p.takeInbox(spare)
		now := time.Since(p.start)
		if p.handDue(now) > 0 {
			continue
		}
		until := now + longestSleep
		if p.queue.len() > 0 {
			until = min(until, p.queue.items[0].due)
		}
		if !looked {
			until = min(until, now+lockedSleep)
		}
		p.asleep.Store(int64(until))
		if !looked || !p.pushed.Load() { // what is pushed from here on sees asleep
			p.sleep.until(until)
		}
		p.asleep.Store(0)
	}
}

// takeInbox moves what was pushed into the queue. It reports false when a Push was holding the lock: the holder may have
// been put off its core, so that waiting for it could take milliseconds.
func (p *Pacer[T]) takeInbox(spare []timed[T]) (_ []timed[T], looked bool) {
	if !p.pushed.Load() {
		return spare, true
	}
	if !p.mu.TryLock() {
		return spare, false
	}
	pushed := p.inbox
	p.inbox = spare
	p.pushed.Store(false)
	p.mu.Unlock()
	for i := range pushed {
		p.seq++
		pushed[i].seq = p.seq
		p.queue.push(pushed[i])
	}
	clear(pushed)
	return pushed[:0], true
}

// handDue hands over what is due by now, at most dueBatch values.
func (p *Pacer[T]) handDue(now time.Duration) (handed int) {
	for handed < dueBatch && p.queue.len() > 0 && p.queue.items[0].due <= now {
		p.hand(p.queue.removeAt(0).value)
		handed++
	}
	if handed == 0 {
		return 0
	}
	p.count.Add(-int64(handed))
	p.offerRoom(p.max - p.max/4) // not for each single one
	return handed
}

// offerRoom lets one waiting Push go on when no more than so many are held.
func (p *Pacer[T]) offerRoom(held int64) {
	if p.waiting.Load() == 0 || p.count.Load() > held {
		return
	}
	select {
	case p.room <- struct{}{}:
	default:
	}
}

// Drain takes out what is left, once Run has returned.
func (p *Pacer[T]) Drain() []T {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := make([]T, 0, p.queue.len()+len(p.inbox))
	for p.queue.len() > 0 {
		left = append(left, p.queue.removeAt(0).value)
	}
	for i := range p.inbox {
		left = append(left, p.inbox[i].value)
	}
	p.inbox = nil
	p.count.Store(0)
	return left
}
