package replay

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

const (
	// drainTimeout bounds how long what is being fired may hold up the end, or a rebalance.
	drainTimeout = 10 * time.Second

	// No more is fetched at once than the look-ahead can use soon: bytes are those on the wire, and recorded traffic
	// easily takes ten times as many in memory.
	fetchBytes          = 1 << 20
	fetchPartitionBytes = 128 << 10
	pollRecords         = 1 << 16

	enterWorkers = 2
)

// intake reads the assigned partitions, has their records sifted and puts what is to be fired into the look-ahead.
type intake struct {
	windows map[int32]topic.Range
	live    bool
	sieve   *sieve
	backlog *backlog
	ahead   *lookAhead
	out     *outcomes
	volley  *volley
	metrics *metrics
	items   *items
	log     *slog.Logger
	reader  *topic.GroupReader
	count   atomic.Int64 // records of the run that were read

	topic     string
	skipsGone bool         // what is gone is counted; else it ends the run
	gone      atomic.Int64 // offsets of the run that are gone

	commits  sync.Mutex // an older position must not overtake a newer one; taken before mu
	mu       sync.Mutex
	assigned map[int32]*partition
	bound    chan struct{} // closed when reader is set: callbacks come as soon as it is made
	first    chan struct{} // closed by the first assignment
	once     sync.Once
}

// read polls until ctx ends, while some workers look through what it brings.
func (t *intake) read(ctx context.Context) error {
	var wg sync.WaitGroup
	for range enterWorkers {
		wg.Go(func() {
			var d traffic.Decoder
			for {
				l, records := t.backlog.take()
				if l == nil {
					return
				}
				ended := t.enter(l.part, records, &d)
				t.backlog.give(l, records, ended)
			}
		})
	}
	defer wg.Wait()
	defer t.backlog.close()
	stop := context.AfterFunc(ctx, t.backlog.close)
	defer stop()
	for t.backlog.await() {
		batch, err := t.reader.Poll(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was asked to end
		}
		if err != nil {
			return err
		}
		t.backlog.add(batch)
		t.reader.AllowRebalance() // what is queued asks whether its partition is still ours
	}
	return nil
}

func (t *intake) partition(id int32) *partition {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.assigned[id]
}

// all returns the partitions that are assigned now.
func (t *intake) all() []*partition {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*partition, 0, len(t.assigned))
	for _, p := range t.assigned {
		all = append(all, p)
	}
	return all
}

// complete reports whether everything assigned is done, and whether others have partitions of the run: both at the same moment, as what
// is taken away may be back the next.
func (t *intake) complete() (done, others bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.assigned {
		if !p.complete() {
			return false, false
		}
	}
	for id := range t.windows {
		if t.assigned[id] == nil {
			return true, true
		}
	}
	return true, false
}

// begun reports whether something has come of every assigned partition, or nothing more can.
func (t *intake) begun() bool {
	return !slices.ContainsFunc(t.all(), func(p *partition) bool { return !p.begun() })
}

// enter takes the next records of a partition, leaves out what their headers tell, puts the rest into the look-ahead, and
// reports whether they were its last.
func (t *intake) enter(p *partition, records []topic.Record, d *traffic.Decoder) (ended bool) {
	now := time.Now()
	todo, resumed, ended := p.take(records)
	read := int64(len(todo)) + resumed
	t.count.Add(read)
	t.metrics.read.Add(float64(read))
	if resumed > 0 {
		t.metrics.resumed.Add(float64(resumed))
		t.out.summary.Resumed(resumed)
	}
	var upTo time.Time
	fit := make([]*pending, 0, len(todo))
	left := leftOvers{out: t.out}
	it := t.items.get()
	it.part, it.copies = p, int(t.sieve.clones.n)
	var shifts []time.Duration
	for i := range todo {
		r := &todo[i]
		it.offset = r.Offset
		g, j := t.sieve.glance(r, it, d, now)
		if g.capture.After(upTo) {
			upTo = g.capture
		}
		if j.result != 0 {
			left.add(it, j)
			continue
		}
		shifts = t.sieve.clones.shifts(shifts[:0], r.Key, g.id)
		latest := fit
		for clone, shift := range shifts {
			one := &pending{p, r.Offset, g.capture.Add(shift), g.id, r.Value, uint32(clone), pendingOverhead}
			fit = append(fit, one)
		}
		longest(fit[len(latest):]).bytes += len(r.Value) // which is held until that one has left
	}
	t.items.put(it)
	left.count()
	if t.live && !upTo.IsZero() {
		t.metrics.fetched.Observe(max(0, now.Sub(upTo).Seconds()))
	}
	t.ahead.add(p, fit, upTo, ended)
	return ended
}

// longest returns the one that leaves last.
func longest(copies []*pending) *pending {
	return slices.MaxFunc(copies, func(a, b *pending) int { return a.place.Compare(b.place) })
}

// leftOvers are exchanges of one batch that are not fired.
type leftOvers struct {
	out     *outcomes
	counted map[judgement]int64
}

// add takes one: refused and bad ones have an outcome of their own, the others are counted, each clone. That a record is bad
// is said once.
func (l *leftOvers) add(it *item, j judgement) {
	if j.result == traffic.BadRecord && it.clone > 0 {
		it.part.done(0, it.copies, it.offset)
		return
	}
	if j.result == traffic.Refused || j.result == traffic.BadRecord {
		if it.part.begin() {
			l.out.leftOut(it, j, 1)
		}
		return
	}
	if l.counted == nil {
		l.counted = make(map[judgement]int64)
	}
	l.counted[j] += int64(it.copies)
	it.part.done(0, it.copies, it.offset)
}

func (l *leftOvers) count() {
	for j, n := range l.counted {
		l.out.counted(j.result, j.reason, n)
	}
}

// onAssigned opens partitions before their first records come.
func (t *intake) onAssigned(_ context.Context, parts map[int32]topic.Position) {
	for id, at := range parts {
		window, ok := t.windows[id]
		switch {
		case ok:
		case t.live:
			window.End = -1 // created since: all of it is live
		default:
			window = topic.Range{Start: at.Offset, End: at.Offset} // no part of the run
		}
		if ok && at.Offset > window.Start && t.sieve.dresser.takeUp() {
			t.log.Warn("a partition is taken up in its middle: its sessions go on as recorded until they log in again", "partition", id, "offset", at.Offset,
				"try", "--instance NAME keeps partitions where they are over a restart, but not what is known of their sessions")
		}
		p, err := newPartition(id, window, at, int(t.sieve.clones.n))
		if err != nil {
			t.log.Warn("the committed metadata cannot be read: some exchanges may be fired again", "partition", id, "error", err)
		}
		t.ahead.open(p)
		t.backlog.open(p)
		t.mu.Lock()
		t.assigned[id] = p
		t.mu.Unlock()
		t.log.Debug("partition assigned", "partition", id, "offset", at.Offset, "end", window.End)
	}
	t.once.Do(func() { close(t.first) })
}

// onRevoked lets what is being fired end, commits and gives the partitions up.
func (t *intake) onRevoked(ctx context.Context, ids []int32) {
	<-t.bound
	ctx, cancel := context.WithTimeout(ctx, 2*drainTimeout)
	defer cancel()
	parts := t.giveUp(ids)
	drained := time.After(drainTimeout)
	for _, p := range parts {
		select {
		case <-p.leave():
		case <-drained:
			t.log.Warn("partition revoked with requests in flight: they will be fired again", "partition", p.id)
		case <-ctx.Done():
		}
	}
	if err := t.commit(ctx, parts); err != nil {
		t.log.Warn("commit on revoke failed: some exchanges may be fired again", "error", err)
	}
	t.forget(ids)
}

// onLost gives the partitions up without a commit: they are someone else's already.
func (t *intake) onLost(ids []int32) {
	t.giveUp(ids)
	t.forget(ids)
	t.log.Warn("partitions lost: what was in flight of them will be fired again", "partitions", fmt.Sprint(ids))
}

// giveUp makes nothing more of the partitions be fired.
func (t *intake) giveUp(ids []int32) []*partition {
	parts := make([]*partition, 0, len(ids))
	for _, id := range ids {
		if p := t.partition(id); p != nil {
			p.leave()
			t.backlog.remove(p.id)
			t.ahead.remove(p)
			parts = append(parts, p)
		}
	}
	return parts
}

// forget waits for a commit that is on its way: of a partition that has gone nothing may be committed, as somebody else has got further.
func (t *intake) forget(ids []int32) {
	t.commits.Lock()
	defer t.commits.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range ids {
		delete(t.assigned, id)
	}
	if !t.volley.stopping.Load() { // the others go on with them, without what is known here
		t.sieve.dresser.forget(ids)
		t.volley.beside.forget(ids)
	}
}

// commit stores how far the partitions are, where that is news and they have not been taken away since they were looked up: they may be
// here again, and further.
func (t *intake) commit(ctx context.Context, parts []*partition) error {
	t.commits.Lock()
	defer t.commits.Unlock()
	at := make(map[int32]topic.Position, len(parts))
	for _, p := range parts {
		if pos, news := p.position(); news && t.partition(p.id) == p {
			at[p.id] = pos
		}
	}
	if len(at) == 0 {
		return nil
	}
	if err := t.reader.Commit(ctx, at); err != nil {
		return err
	}
	for _, p := range parts {
		if pos, ok := at[p.id]; ok {
			p.committedAt(pos)
		}
	}
	return nil
}

// progress returns how much of the assigned windows is behind the watermarks.
func (t *intake) progress() (done, of int64) {
	for _, p := range t.all() {
		d, n := p.progress()
		done, of = done+d, of+n
	}
	return done, of
}
