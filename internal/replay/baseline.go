package replay

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/reprise-io/reprise/internal/compare"
	"github.com/reprise-io/reprise/internal/fire"
)

// Bounds of what waits for the old build: what is over them is not sent to it.
const (
	maxBaselineBytes = 32 << 20
	maxBaselineLane  = 64 // that wait behind one that is on its way
)

// baseline sends what the target has answered to the old build as well, and has the two answers compared. Nothing waits for it but the
// outcome, and with it the offset: the target's schedule is what it would be without.
//
// What is of one session goes one after the other, in the order in which the target answered: the old build sees the session as it went
// there.
type baseline struct {
	old, again *second // again nil: the old build is not asked twice
	out        *outcomes
	noise      *compare.Noise // of the whole run
	lanes      []chan *pair
	seed       maphash.Seed
	next       atomic.Uint64
	bytes      atomic.Int64
}

// pair is an exchange that the target has answered, and the old build not yet.
type pair struct {
	it     *item
	answer fire.Answer
	key    []byte // of its session
	bytes  int64
}

func newBaseline(o *Options, all []*second, out *outcomes, noise *compare.Noise) *baseline {
	if len(all) == 0 {
		return nil
	}
	b := &baseline{old: all[0], out: out, noise: noise, lanes: make([]chan *pair, o.Concurrency), seed: maphash.MakeSeed()}
	if len(all) > 1 {
		b.again = all[1]
	}
	for i := range b.lanes {
		b.lanes[i] = make(chan *pair, maxBaselineLane)
	}
	return b
}

// take takes an exchange that the target has answered, and never blocks: what there is no room for is not compared. The item is not the
// caller's any more, but for its place in the order.
func (b *baseline) take(it *item, a *fire.Answer) {
	b.out.health(it, a)
	p := &pair{it: it, answer: *a, key: it.step.Session, bytes: int64(it.bytes + len(a.Response.Body))}
	if len(p.key) == 0 {
		p.key = it.step.Connection
	}
	lane := b.next.Add(1)
	if len(p.key) > 0 {
		lane = maphash.Bytes(b.seed, p.key)
	}
	if b.bytes.Add(p.bytes) <= maxBaselineBytes {
		select {
		case b.lanes[lane%uint64(len(b.lanes))] <- p:
			return
		default:
		}
	}
	b.bytes.Add(-p.bytes)
	b.out.beside(p, sent{reason: baselineBehind}, nil, b.noise)
}

// run sends until close; what is on its way when hard ends is not compared.
func (b *baseline) run(hard context.Context) {
	var wg sync.WaitGroup
	for _, lane := range b.lanes {
		wg.Go(func() {
			for p := range lane {
				b.one(hard, p)
				b.bytes.Add(-p.bytes)
			}
		})
	}
	wg.Wait()
}

// close says that nothing more is taken.
func (b *baseline) close() {
	for _, lane := range b.lanes {
		close(lane)
	}
}

func (b *baseline) one(hard context.Context, p *pair) {
	if p.it.part.isGone() { // it is not to wait for this
		b.out.beside(p, sent{reason: baselineMoved}, nil, b.noise)
		return
	}
	if b.again == nil {
		b.out.beside(p, b.old.fire(hard, p.it, p.key), nil, b.noise)
		return
	}
	var again sent
	var wg sync.WaitGroup
	wg.Go(func() { again = b.again.fire(hard, p.it, p.key) })
	old := b.old.fire(hard, p.it, p.key)
	wg.Wait()
	b.out.beside(p, old, &again, b.noise)
}

// forget drops the sessions of partitions that are another replica's now.
func (b *baseline) forget(parts []int32) {
	if b == nil {
		return
	}
	b.old.dresser.forget(parts)
	if b.again != nil {
		b.again.dresser.forget(parts)
	}
}
