package replay

import (
	"sync"
	"time"

	"github.com/reprise-io/reprise/internal/schedule"
)

// lookAhead is what was read and has not left for the pacer yet, in order of capture over all partitions. It is safe for
// concurrent use.
type lookAhead struct {
	mu    sync.Mutex
	merge *schedule.Merge[*item]
	news  chan struct{} // a token when something was added
}

func newLookAhead(cfg schedule.MergeConfig) *lookAhead {
	return &lookAhead{merge: schedule.NewMerge[*item](cfg), news: make(chan struct{}, 1)}
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

// add takes what was read of a partition: items, up to when it was read, and whether that was its end. It reports false,
// and takes nothing, when the partition was taken away meanwhile.
func (l *lookAhead) add(p *partition, items []*item, upTo time.Time, ended bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.isGone() {
		return false
	}
	for _, it := range items {
		l.merge.Push(p.id, it.x.CaptureTime, it.bytes, it)
	}
	if !upTo.IsZero() {
		l.merge.Advance(p.id, upTo)
	}
	if ended {
		l.merge.Finish(p.id)
	}
	l.wake()
	return true
}

// remove forgets a partition that was taken away; each gets what it held.
func (l *lookAhead) remove(p *partition, each func(*item)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.merge.Remove(p.id, each)
	l.wake()
}

func (l *lookAhead) wake() {
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// bytes returns how much is held.
func (l *lookAhead) bytes() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.merge.Bytes()
}

// empty reports that nothing can leave for want of records, while there are more to be read.
func (l *lookAhead) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.merge.Len() == 0 && !l.merge.Finished()
}

// reordered returns how many left before their turn was certain.
func (l *lookAhead) reordered() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.merge.Reordered()
}
