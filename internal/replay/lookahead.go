package replay

import (
	"sync"
	"time"

	"github.com/reprise-io/reprise/internal/schedule"
)

// lookAhead is what was read and has not left for the pacer yet, in order of capture over all partitions. It is safe for
// concurrent use.
type lookAhead struct {
	hold func(pause, resume []int32) // stops and continues what is put in, by partition; must not call back

	mu    sync.Mutex
	merge *schedule.Merge[*pending]
	news  chan struct{} // a token when something was added
}

func newLookAhead(cfg schedule.MergeConfig, hold func(pause, resume []int32)) *lookAhead {
	return &lookAhead{hold: hold, merge: schedule.NewMerge[*pending](cfg), news: make(chan struct{}, 1)}
}

// open makes the order wait for a partition.
func (l *lookAhead) open(p *partition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.merge.Open(p.id)
	if p.ended {
		l.merge.Finish(p.id)
	}
}

// add takes what was read of a partition: records, up to when it was read, and whether that was its end. Nothing is
// taken when the partition was taken away meanwhile.
func (l *lookAhead) add(p *partition, all []*pending, upTo time.Time, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.isGone() {
		return
	}
	for _, r := range all {
		if r.clone == 0 {
			l.merge.Push(p.id, r.place, r.bytes, r)
		} else {
			l.merge.Place(p.id, r.place, r.bytes, r)
		}
	}
	if !upTo.IsZero() {
		l.merge.Advance(p.id, upTo)
	}
	if ended {
		l.merge.Finish(p.id)
	}
	l.gate()
	l.wake()
}

// gate passes on what the merge wants more of, and what it has enough of. It is called with mu held, so that no decision
// overtakes another.
func (l *lookAhead) gate() { l.hold(l.merge.Gates()) }

// remove forgets a partition that was taken away, with what was held of it.
func (l *lookAhead) remove(p *partition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.merge.Remove(p.id, nil)
	l.gate()
	l.wake()
}

func (l *lookAhead) wake() {
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// poke makes who waits for news look again.
func (l *lookAhead) poke() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wake()
}

// bytes returns how much is held.
func (l *lookAhead) bytes() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.merge.Bytes()
}

// len returns how many are held.
func (l *lookAhead) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.merge.Len()
}

// empty reports that nothing can leave for want of records, while there are more to be read.
func (l *lookAhead) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.merge.Len() == 0 && !l.merge.Finished()
}

// awaited returns the partition that keeps the earliest from leaving, and when that was captured.
func (l *lookAhead) awaited() (partition int32, earliest time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	partition, ok = l.merge.Awaited()
	earliest, _ = l.merge.Peek()
	return partition, earliest, ok
}

// reordered returns how many left before their turn was certain.
func (l *lookAhead) reordered() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.merge.Reordered()
}
