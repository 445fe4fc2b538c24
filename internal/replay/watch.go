package replay

import (
	"context"
	"time"
)

const (
	// commitEvery, with the time an outcome takes to be stored, bounds what a crash repeats beside what was in flight.
	commitEvery = 100 * time.Millisecond

	askOthersEvery = time.Second     // how far the partitions of other replicas are
	guardEvery     = 5 * time.Second // whether taps report the target as production by now, and whether it answers
)

// watch commits, and looks after the run until it has finished (nil) or cannot go on.
func (r *run) watch(ctx context.Context) error {
	commit := time.NewTicker(commitEvery)
	defer commit.Stop()
	guard := time.NewTicker(guardEvery)
	defer guard.Stop()
	every := talkEvery
	if r.opts.Draw != nil {
		every = redrawEvery
	}
	talk := time.NewTicker(every)
	defer talk.Stop()
	var over <-chan time.Time
	if r.opts.Duration > 0 {
		over = time.After(r.opts.Duration)
	}
	var asked time.Time
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-over:
			return nil
		case <-r.quotas.over:
			return r.opts.maxTotal()
		case count := <-r.tooMany:
			return r.tooManyErrors(count)
		case now := <-talk.C:
			if r.opts.Draw != nil {
				r.opts.Draw(r.draw(now))
			} else {
				r.tell(now)
			}
		case <-guard.C:
			r.listen()
			if err := r.lookForProduction(ctx); err != nil {
				return err
			}
		case now := <-commit.C:
			if r.overtaken() {
				return nil
			}
			r.sample(now)
			if r.starvation.due(r.intake.wanting(), r.intake.count.Load(), now) {
				if err := r.skipHoles(ctx); err != nil {
					return err
				}
			}
			if r.guard.AuthorityIsTargetShare() > maxRecordedAtTarget {
				r.suspend(ctx)
			}
			if err := r.intake.commit(ctx, r.intake.all()); err != nil && ctx.Err() == nil {
				r.opts.Logger.Warn("commit failed and is tried again", "error", err)
				continue
			}
			done, others := r.mineDone()
			if !done || r.clock.held.Load() { // who is held up does not pass for done: somebody is to look
				continue
			}
			if others && now.Sub(asked) < askOthersEvery {
				continue
			}
			asked = now
			if !others || r.othersDone(ctx) {
				select {
				case count := <-r.tooMany: // with the last answers
					return r.tooManyErrors(count)
				default:
					return nil
				}
			}
		}
	}
}

// mineDone reports whether everything assigned is done, and whether others have partitions of the run.
func (r *run) mineDone() (done, others bool) {
	if r.opts.Live {
		return false, false
	}
	if r.opts.Delivery == AtMostOnce && r.volley.out.Load() > 0 {
		return false, false // committed, and still to be fired
	}
	return r.intake.complete()
}

// othersDone reports whether the partitions that other replicas have are done as well. It asks of all: what another had may have
// become this one's meanwhile.
func (r *run) othersDone(ctx context.Context) bool {
	at, err := r.admin.Committed(ctx, r.group, r.names.Exchanges)
	if err != nil {
		r.opts.Logger.Warn("cannot see how far the other replicas are", "error", err)
		return false
	}
	for id, w := range r.intake.windows {
		if w.Start < w.End && at[id].Offset < w.End {
			return false
		}
	}
	return true
}

// lookForProduction refuses to go on when a tap has reported the target since the start.
func (r *run) lookForProduction(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, closingTimeout)
	defer cancel()
	if err := r.registry.catchUp(ctx); err != nil {
		if ctx.Err() == nil {
			r.opts.Logger.Warn("cannot read what taps report; going on with what is known", "error", err)
		}
		return nil
	}
	for _, g := range r.guards() {
		if err := g.SetProduction(ctx, r.production()); err != nil {
			return err
		}
	}
	return nil
}
