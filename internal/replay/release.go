package replay

import (
	"context"
	"time"

	"github.com/reprise-io/reprise/internal/schedule"
)

const (
	// How long before its time an exchange leaves the look-ahead: enough for the pacer to be awake, little enough to keep
	// the order open for late arrivals.
	leadRun  = 200 * time.Millisecond
	leadLive = 20 * time.Millisecond

	releaseBatch = 512

	// A live replay that is more than backlogAfter behind catches up at backlogSpeed: never in a storm.
	backlogAfter = time.Second
	backlogSpeed = 2
)

// releaser moves exchanges from the look-ahead to the pacer as their time comes near, or straight to the volley when
// there is no schedule.
type releaser struct {
	ahead   *lookAhead
	backlog *backlog
	volley  *volley
	pacer   *schedule.Pacer[*item] // nil: as fast as possible
	base    schedule.Base
	live    bool
	lag     time.Duration

	behind              bool // live: it is catching up
	lastCapture, lastAt time.Time
}

// run releases until ctx ends.
func (r *releaser) run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	batch := make([]*item, 0, releaseBatch)
	timed := make([]schedule.Timed[*item], 0, releaseBatch)
	for ctx.Err() == nil {
		var next time.Duration
		batch, timed, next = r.take(batch[:0], timed[:0], time.Now())
		switch {
		case len(batch) == 0:
		case r.pacer == nil:
			r.volley.load(batch)
		default:
			if n, err := r.pacer.Push(ctx, timed...); err != nil {
				for _, t := range timed[n:] {
					r.volley.unload(t.Value)
				}
				return nil //nolint:nilerr // ctx has ended
			}
		}
		if len(batch) == releaseBatch {
			continue
		}
		timer.Reset(next)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-r.ahead.news:
		case <-r.volley.relief:
		}
	}
	return nil
}

// take takes out what may leave now, and returns how long to wait for more when nothing else happens.
func (r *releaser) take(batch []*item, timed []schedule.Timed[*item], now time.Time) ([]*item, []schedule.Timed[*item], time.Duration) {
	next := time.Second
	r.ahead.mu.Lock()
	merge := r.ahead.merge
	for len(batch) < releaseBatch {
		capture, ok := merge.Peek()
		if !ok || r.volley.full() {
			break
		}
		var due, at time.Time
		behind := false
		if r.pacer != nil {
			due = r.base.Due(capture)
			at = due
			lead := leadRun
			if r.live {
				at, behind = r.catchUp(capture, due, now)
				lead = leadLive
			}
			if wait := at.Sub(now) - lead; wait > 0 {
				next = min(next, wait)
				break
			}
		}
		e, ok := merge.Next(now.Add(leadLive - r.lag))
		if !ok {
			break // not certain yet that nothing earlier comes
		}
		it := e.Value
		it.due = due
		if r.live {
			r.lastCapture, r.lastAt, r.behind = capture, at, behind
		}
		r.volley.reserve(it)
		batch = append(batch, it)
		if r.pacer != nil {
			timed = append(timed, schedule.Timed[*item]{Due: at, Value: it})
		}
	}
	pause, resume := merge.Gates() // nobody else calls it: the slices stay as they are
	r.ahead.mu.Unlock()
	r.backlog.hold(pause, resume)
	return batch, timed, next
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
