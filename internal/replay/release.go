package replay

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/traffic"
)

const (
	// How long before its time an exchange leaves the look-ahead: enough for the pacer to be awake, little enough to keep
	// the order open for late arrivals.
	leadRun  = 200 * time.Millisecond
	leadLive = 20 * time.Millisecond

	releaseBatch = 512
	siftAlone    = 32 // so few are not worth a second goroutine

	// A live replay that is more than backlogAfter behind catches up at backlogSpeed: never in a storm.
	backlogAfter = time.Second
	backlogSpeed = 2
)

// releaser moves exchanges from the look-ahead to the pacer as their time comes near, or straight to the volley when
// there is no schedule. On the way they are read, sifted and made ready to be sent.
type releaser struct {
	ahead  *lookAhead
	sieve  *sieve
	out    *outcomes
	items  *items
	volley *volley
	pacer  *schedule.Pacer[*item] // nil: as fast as possible
	clock  *clock
	live   bool
	lag    time.Duration
	rate   func() float64                   // most requests a second here; 0: no limit
	settle func(context.Context, []leaving) // at most once: commits what is leaving before it is fired; else nil
	limit  schedule.Limiter
	busy   atomic.Int64 // nanoseconds in which it read and sifted

	decoders []traffic.Decoder // one for each core
	leaving  []leaving         // reused
	room     int               // how many might leave at most, the last time

	behind              bool // live: it is catching up
	lastCapture, lastAt time.Time
}

// leaving is a record on its way out of the look-ahead.
type leaving struct {
	*pending
	due, at   time.Time // when it is due, and when it is sent; zero without a schedule
	held      bool      // its time comes after a pause
	item      *item
	judgement judgement
	unsettled bool // it could not be committed, and so must not be fired
}

// place says when the schedule wants what was captured at a moment. behind is about live, which may have to catch up.
func (r *releaser) place(capture, now time.Time) (l leaving, behind bool) {
	if r.live {
		l.due = r.clock.at(capture.Add(r.lag)) // the same delay for all
		l.at, behind = r.catchUp(capture, l.due, now)
		return l, behind
	}
	at, standing := r.clock.due(capture)
	switch standing {
	case schedule.Scheduled:
		l.due, l.at = at, at
	case schedule.Free:
		if l.at = at; l.at.Before(now) {
			l.at = now
		}
	case schedule.Held:
		l.held = true
	case schedule.Passed:
		l.judgement = judgement{result: traffic.Skipped, reason: soughtPast}
	}
	return l, false
}

// run releases until ctx ends.
func (r *releaser) run(ctx context.Context) error {
	r.decoders = make([]traffic.Decoder, runtime.GOMAXPROCS(0))
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		now := time.Now()
		r.limit.SetRate(r.rate())
		next := r.take(now)
		r.sift()
		r.busy.Add(int64(time.Since(now)))
		passed, err := r.pass(ctx)
		if err != nil {
			return nil //nolint:nilerr // ctx has ended
		}
		if n := len(r.leaving); n > 0 && (n >= r.room || n > passed) {
			continue // there may be more, and room for what was left out
		}
		timer.Reset(next)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-r.ahead.news:
		case <-r.volley.relief:
		}
		if r.settle != nil && r.pacer != nil { // a commit for many, not for each
			select {
			case <-ctx.Done():
			case <-time.After(settleEvery):
			}
		}
	}
	return nil
}

// take takes out what may leave now, and returns how long to wait for more when nothing else happens.
func (r *releaser) take(now time.Time) (next time.Duration) {
	next = time.Second
	r.leaving = r.leaving[:0]
	if _, paused := r.clock.timeline().Speed(now); paused {
		return next
	}
	lead := leadRun
	if r.live {
		lead = leadLive
	}
	room := min(releaseBatch, r.limit.Room(now.Add(lead)))
	if room == 0 {
		return lead / 4
	}
	if probes, few := r.volley.valve.Probes(); few {
		// What waits for the target waits here: in order, and Kafka is not read while there is enough.
		if probes == 0 {
			return next
		}
		if room = min(room, probes-int(r.volley.out.Load())); room <= 0 {
			return lead / 4
		}
	}
	r.ahead.mu.Lock()
	merge := r.ahead.merge
	r.room = room
	for len(r.leaving) < room {
		capture, ok := merge.Peek()
		if !ok || r.volley.full(len(r.leaving)) {
			break
		}
		l, behind := r.place(capture, now)
		if l.judgement.result == 0 && r.pacer != nil {
			if l.held {
				break
			}
			if wait := l.at.Sub(now) - lead; wait > 0 {
				next = min(next, wait)
				break
			}
		}
		e, ok := merge.Next(now.Add(leadLive - r.lag))
		if !ok {
			break // not certain yet that nothing earlier comes
		}
		if r.live {
			r.lastCapture, r.lastAt, r.behind = capture, l.at, behind
		}
		l.pending = e.Value
		r.leaving = append(r.leaving, l)
	}
	r.ahead.gate()
	r.ahead.mu.Unlock()
	return next
}

// sift reads and judges what is leaving: many on all cores.
func (r *releaser) sift() {
	share := max(siftAlone, (len(r.leaving)+len(r.decoders)-1)/len(r.decoders))
	if len(r.leaving) <= share {
		r.siftSome(r.leaving, &r.decoders[0])
		return
	}
	var wg sync.WaitGroup
	for i, from := 0, 0; from < len(r.leaving); i, from = i+1, from+share {
		part := r.leaving[from:min(from+share, len(r.leaving))]
		wg.Go(func() { r.siftSome(part, &r.decoders[i]) })
	}
	wg.Wait()
}

func (r *releaser) siftSome(some []leaving, d *traffic.Decoder) {
	for i := range some {
		l := &some[i]
		it := r.items.get()
		it.part, it.offset, it.due, it.clone, it.copies = l.part, l.offset, l.due, l.clone, 1
		l.item = it
		if l.judgement.result != 0 {
			continue
		}
		if l.judgement = r.sieve.read(l.value, l.id, it, d); l.judgement.result == 0 {
			l.judgement = r.sieve.safe(it)
		}
	}
}

// pass hands on what is to be fired, in order, and books the rest. It returns how many it handed on.
func (r *releaser) pass(ctx context.Context) (passed int, err error) {
	left := leftOvers{out: r.out}
	defer left.count()
	for i := range r.leaving {
		if l := &r.leaving[i]; l.judgement.result == 0 {
			r.volley.reserve(l.item)
		}
	}
	if r.settle != nil {
		r.settle(ctx, r.leaving)
	}
	items := make([]*item, 0, len(r.leaving))
	timed := make([]schedule.Timed[*item], 0, len(r.leaving))
	for i := range r.leaving {
		l := &r.leaving[i]
		if l.judgement.result != 0 {
			left.add(l.item, l.judgement)
			r.items.put(l.item)
			continue
		}
		if l.unsettled {
			r.volley.unload(l.item)
			continue
		}
		if r.pacer == nil {
			items = append(items, l.item)
		} else {
			timed = append(timed, schedule.Timed[*item]{Due: r.limit.Take(l.at), Value: l.item})
		}
	}
	r.volley.load(items)
	if len(timed) == 0 {
		return len(items), nil
	}
	passed, err = r.pacer.Push(ctx, timed...)
	for _, t := range timed[passed:] {
		r.volley.unload(t.Value)
	}
	return passed, err
}

// catchUp returns when to send what is due: at its time, or, once there is a backlog and until it is worked off,
// backlogSpeed times as fast as it was captured.
func (r *releaser) catchUp(capture, due, now time.Time) (at time.Time, behind bool) {
	if !r.behind {
		if now.Sub(due) < backlogAfter {
			return due, false
		}
		return now, true
	}
	at = r.lastAt
	if gap := capture.Sub(r.lastCapture); gap > 0 {
		at = at.Add(gap / backlogSpeed)
	}
	if at.Before(now.Add(-leadLive)) {
		at = now // there was a pause: it is not made up for
	}
	if !at.After(due) {
		return due, false
	}
	return at, true
}
