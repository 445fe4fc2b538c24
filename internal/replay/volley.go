package replay

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/traffic"
)

const (
	// Most exchanges between the look-ahead and their answers. Those that wait for their time, for an earlier one of their
	// session or for a sender are among them.
	maxOutPaced     = 65536
	maxOutMax       = 2048
	maxOutPerSender = 8 // of more senders

	// Most of them that wait for a sender. Without a schedule few have to, and few are in the caches still when their turn comes.
	maxQueuedMax       = 384
	maxQueuedPerSender = 4 // of more senders

	// minItem is the least that an item takes, in bytes: what is leaving the look-ahead is not measured yet.
	minItem = 4 << 10

	// How late the pacing thread may be and still write requests itself.
	writeItself = time.Millisecond

	// How often held requests are looked at. --order-wait is seconds.
	expireEvery = 50 * time.Millisecond
)

// volley fires what is due: the order gate, the queue behind it and the senders.
type volley struct {
	opts    *Options
	sender  *fire.Sender
	valve   *fire.Valve // nil: nothing is held back from the target
	order   *schedule.Order[*item]
	outcome *outcomes
	metrics *metrics
	items   *items
	clock   *clock
	dresser *dresser
	beside  *baseline // nil: nothing else gets what the target gets
	quotas  *quotas
	done    <-chan struct{} // of the stages
	behind  func(late)      // with --late slow: something is late

	queue    chan *item // never full: it has room for all that may be out
	maxOut   int64
	most     int // in the queue
	maxBytes int64
	out      atomic.Int64 // exchanges that have left the look-ahead and are not answered
	outBytes atomic.Int64
	busy     atomic.Int64 // senders at work
	wanting  atomic.Bool  // the releaser waits for relief
	givenUp  atomic.Int64 // committed, and not fired
	relief   chan struct{}
	stopping atomic.Bool  // what is not being fired yet is given up
	stood    atomic.Int64 // nanoseconds that nothing could go: they do not count against --order-wait
}

func newVolley(o *Options, sender *fire.Sender, valve *fire.Valve, out *outcomes, m *metrics, pool *items, c *clock, d *dresser) *volley {
	v := &volley{
		opts: o, sender: sender, valve: valve, outcome: out, metrics: m, items: pool, clock: c, dresser: d,
		order:  schedule.NewOrder[*item](schedule.OrderConfig{Mode: o.Order, Wait: o.OrderWait}),
		maxOut: maxOutPaced, maxBytes: max(o.LookAhead/8, 1<<20), relief: make(chan struct{}, 1),
	}
	if !o.Live && o.Profile.IsMax() {
		v.maxOut = min(max(maxOutMax, maxOutPerSender*int64(o.Concurrency)), maxOutPaced)
	}
	// Steps that Expire let go may come back a second time from nowhere: every item is in the queue at most once.
	v.queue = make(chan *item, v.maxOut+releaseBatch)
	if v.most = cap(v.queue); v.maxOut < maxOutPaced {
		v.most = max(maxQueuedMax, maxQueuedPerSender*o.Concurrency)
	}
	return v
}

// full reports whether nothing more may leave the look-ahead, beside n that are leaving. Then relief gets a token when
// that has changed.
func (v *volley) full(n int) bool {
	if !v.over(n) {
		return false
	}
	v.wanting.Store(true)
	if v.over(n) { // asked again: the last answer may have come before wanting was set
		return true
	}
	v.wanting.Store(false)
	return false
}

func (v *volley) over(n int) bool {
	return v.out.Load()+int64(n) >= v.maxOut || len(v.queue)+n >= v.most || v.outBytes.Load()+int64(n)*minItem > v.maxBytes || v.outcome.behind()
}

// reserve counts an exchange that leaves the look-ahead; unload or its answer gives the room back.
func (v *volley) reserve(it *item) {
	v.out.Add(1)
	v.outBytes.Add(int64(it.bytes))
}

// unload gives up an exchange that was reserved. It is not done: who reads it next fires it.
func (v *volley) unload(it *item) {
	if it.begun {
		it.part.abandon(1)
		v.valve.Cancel(it.pass)
	}
	v.giveUp()
	v.release(it)
	v.sender.Recycle(it.shot)
	v.items.put(it)
}

func (v *volley) release(it *item) {
	v.out.Add(-1)
	v.outBytes.Add(-int64(it.bytes))
	v.relieve()
}

// relieve wakes the releaser if it waits, may go on, and the senders have not much left: for each it would be woken for one more.
func (v *volley) relieve() {
	if v.wanting.Load() && len(v.queue) <= v.most/4 && !v.over(0) && v.wanting.CompareAndSwap(true, false) {
		select {
		case v.relief <- struct{}{}:
		default:
		}
	}
}

// hand takes an exchange whose moment has come. It runs on the pacing thread and never blocks. Where it can, it writes
// the request itself: waking a sender to do so would be most of the delay. When it is behind already, it leaves that
// to the senders, of which there are more.
func (v *volley) hand(it *item) {
	now := time.Now()
	patience := v.patience(now)
	v.dresser.enter(it)
	if !v.order.Admit(&it.step, patience) || !v.dresser.ready(it, patience) {
		return
	}
	// What depends on answers is written by a sender, when it is known.
	if it.trip == nil && now.Sub(it.due) < writeItself && !v.stopping.Load() && !v.clock.shut.Load() {
		v.begin(it)
	}
	v.queue <- it
}

// begin writes a request if nothing stands in its way.
func (v *volley) begin(it *item) {
	pass, ok := v.valve.TryEnter()
	if !ok {
		return
	}
	if v.quotas.try(it.caps) == granted {
		if it.part.begin() {
			if it.begun = v.sender.Begin(it.shot); it.begun {
				it.pass = pass
				return
			}
			it.part.abandon(1)
		}
		v.quotas.giveBack(it.caps)
	}
	v.valve.Cancel(pass)
}

// patience is the time by which the waits for an earlier request and for a value of its answer count: it stands still while nothing can go.
func (v *volley) patience(now time.Time) time.Time { return now.Add(-time.Duration(v.stood.Load())) }

// load takes exchanges that have no moment of their own.
func (v *volley) load(batch []*item) {
	now := v.patience(time.Now())
	for _, it := range batch {
		v.dresser.enter(it)
		if v.order.Admit(&it.step, now) {
			v.line(it, now)
		}
	}
}

// line puts an exchange whose turn in its session has come into the queue, unless it waits for an answer that brings a value.
func (v *volley) line(it *item, now time.Time) {
	if v.dresser.ready(it, now) {
		v.queue <- it
	}
}

// run fires until ctx ends; what is being fired then goes on until hard ends.
func (v *volley) run(ctx, hard context.Context) {
	v.done = ctx.Done()
	defer context.AfterFunc(ctx, func() { v.stopping.Store(true) })() // at once, whoever watches the run
	var wg sync.WaitGroup
	for range v.opts.Concurrency {
		wg.Go(func() { v.serve(ctx, hard) })
	}
	tick := time.NewTicker(expireEvery)
	defer tick.Stop()
	var free []*schedule.Step[*item]
	last := time.Now()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			now := time.Now()
			if _, few := v.valve.Probes(); few || v.clock.shut.Load() {
				v.stood.Add(int64(now.Sub(last)))
			}
			last = now
			now = v.patience(now)
			free, _ = v.order.Expire(now, free[:0])
			for _, s := range free {
				v.line(s.Value, now)
			}
			for _, it := range v.dresser.expire(now) {
				v.queue <- it
			}
		}
	}
	wg.Wait()
}

func (v *volley) serve(ctx, hard context.Context) {
	var free []*schedule.Step[*item]
	for {
		it := v.next(ctx)
		if it == nil {
			v.drain(hard)
			return
		}
		if !it.begun && !v.admit(ctx, it) {
			v.queue <- it // to be given up with the others
			continue
		}
		free = v.answer(hard, it, free[:0])
		for _, s := range free {
			v.line(s.Value, v.patience(time.Now()))
		}
	}
}

// next takes the next exchange out of the queue; nil: ctx has ended.
func (v *volley) next(ctx context.Context) *item {
	if !v.stopping.Load() {
		select { // alone it costs a fifth of one among several
		case it := <-v.queue:
			return it
		default:
		}
	}
	select {
	case <-ctx.Done():
		return nil
	case it := <-v.queue:
		return it
	}
}

// admit returns when an exchange may be fired, or when ctx ends: false.
func (v *volley) admit(ctx context.Context, it *item) (ok bool) {
	for {
		if !v.clock.wait(ctx.Done()) {
			return false
		}
		if it.pass, ok = v.valve.Enter(ctx); !ok {
			return false
		}
		if !v.clock.shut.Load() {
			return true
		}
		v.valve.Cancel(it.pass) // a pause has begun meanwhile
	}
}

// answer sees one exchange through, and appends to free the steps that may follow it.
func (v *volley) answer(hard context.Context, it *item, free []*schedule.Step[*item]) []*schedule.Step[*item] {
	kept := v.one(hard, it)
	for _, waited := range v.dresser.settled(it) {
		v.queue <- waited
	}
	free = v.order.Done(&it.step, free)
	v.release(it)
	if !kept {
		v.items.put(it)
	}
	return free
}

// drain sees through what in the queue was written already, and gives up the rest.
func (v *volley) drain(hard context.Context) {
	for {
		select {
		case it := <-v.queue:
			if it.begun {
				v.answer(hard, it, nil)
			} else {
				v.unload(it)
			}
		default:
			return
		}
	}
}

// one fires one exchange, unless it may not be any more. kept: its outcome is still to come, and the item with it.
func (v *volley) one(hard context.Context, it *item) (kept bool) {
	defer func() { v.sender.Recycle(it.shot) }()
	if !it.begun {
		if v.stopping.Load() || !it.part.begin() {
			v.valve.Cancel(it.pass)
			v.giveUp()
			return false
		}
		now := time.Now()
		if v.opts.Late == SlowLate && !it.due.IsZero() && now.Sub(it.due) > v.opts.LateAfter {
			v.behind(late{it.due, now.Sub(it.due)})
		}
		if reason := v.late(it, now); reason != "" {
			v.valve.Cancel(it.pass)
			v.dresser.learn(it, nil)
			v.outcome.leftOut(it, judgement{result: traffic.Late, reason: reason}, 1)
			return false
		}
		if j := v.dresser.dress(hard, it); j.result != 0 {
			v.valve.Cancel(it.pass)
			v.dresser.learn(it, nil)
			v.outcome.leftOut(it, j, 1)
			return false
		}
		switch v.grant(it) {
		case granted:
		case capped:
			v.valve.Cancel(it.pass)
			v.dresser.learn(it, nil)
			v.outcome.leftOut(it, judgement{result: traffic.Refused, reason: routeCap}, 1)
			return false
		default: // who resumes the run sends it, if it may be
			v.valve.Cancel(it.pass)
			it.part.abandon(1)
			v.giveUp()
			return false
		}
	}
	v.busy.Add(1)
	answer := v.sender.Fire(hard, it.shot)
	v.busy.Add(-1)
	v.valve.Leave(it.pass, &answer, it.x.Response)
	if answer.Response == nil && (hard.Err() != nil || answer.Reason == fire.Canceled) {
		it.part.abandon(1)
		v.giveUp()
		return false
	}
	v.dresser.learn(it, answer.Response)
	if v.beside != nil && answer.Response != nil {
		v.beside.take(it, &answer)
		return true
	}
	v.outcome.answered(it, &answer)
	return false
}

// grant takes what an exchange takes of the quotas, and returns when it may be sent: a pause may have begun while Kafka was asked for that, or
// somebody for a token. waiting: it is not to be sent here any more.
func (v *volley) grant(it *item) verdict {
	said := v.quotas.take(v.done, it.caps)
	if said != granted || !v.clock.shut.Load() {
		return said
	}
	if v.clock.wait(v.done) && !it.part.isGone() {
		return granted
	}
	v.quotas.giveBack(it.caps)
	return waiting
}

// giveUp counts an exchange of which there will be no outcome, and that nobody will read again.
func (v *volley) giveUp() {
	if v.opts.Delivery == AtMostOnce {
		v.givenUp.Add(1)
		v.metrics.givenUp.Inc()
	}
}

// late returns why it is too late for an exchange; empty: it is not.
func (v *volley) late(it *item, now time.Time) string {
	switch {
	case v.opts.Live && now.Sub(it.x.CaptureTime) > v.opts.MaxStale:
		return stale
	case v.opts.Late == DropLate && !it.due.IsZero() && now.Sub(it.due) > v.opts.LateAfter:
		return tooLate
	}
	return ""
}

// saturated reports whether every sender is at work.
func (v *volley) saturated() bool { return v.busy.Load() >= int64(v.opts.Concurrency) }
