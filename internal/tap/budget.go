package tap

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/reprise-io/reprise/internal/wire"
)

// Budget counts the bytes that capture holds, from the first kept byte of a request until Kafka has acknowledged it or it
// was given up. Over shedAbove of it the oldest exchanges are shed, until it is at shedUntil: those that are not finished by
// the Recorders that hold them (see wire.Shedder), those that wait for a worker by the Pipeline. What neither helps against
// is stopped by the limit, over which nothing more is kept. Capture is shed, traffic is not.
type Budget struct {
	limit, high, low int64
	used             atomic.Int64
	short            atomic.Bool // it was over high, and is not at low yet
	shut             atomic.Bool
	late             atomic.Bool

	mu     sync.Mutex
	places atomic.Pointer[[]*wire.Place]
}

var _ wire.Shedder = (*Budget)(nil)

// Shares of a budget's limit, in percent.
const (
	shedAbove = 80
	shedUntil = 70
)

// together is how far apart two exchanges may have begun that count as equally old.
const together = int64(100 * time.Millisecond)

// NewBudget returns a budget of limit bytes.
func NewBudget(limit int64) *Budget {
	b := &Budget{limit: limit, high: limit / 100 * shedAbove, low: limit / 100 * shedUntil}
	b.places.Store(new([]*wire.Place))
	return b
}

// TryAcquire books n bytes, or nothing when they do not fit.
func (b *Budget) TryAcquire(n int64) bool {
	used := b.used.Add(n)
	if used > b.high && !b.short.Load() {
		b.short.Store(true)
	}
	if used <= b.limit {
		return true
	}
	b.used.Add(-n)
	return false
}

// Release gives n bytes back.
func (b *Budget) Release(n int64) { b.used.Add(-n) }

// Used returns the bytes now booked.
func (b *Budget) Used() int64 { return b.used.Load() }

func (b *Budget) halfUsed() bool { return b.used.Load() > b.limit/2 }

// Join implements wire.Shedder.
func (b *Budget) Join() *wire.Place {
	p := new(wire.Place)
	b.mu.Lock()
	defer b.mu.Unlock()
	all := append([]*wire.Place{p}, *b.places.Load()...)
	b.places.Store(&all)
	return p
}

// Shut implements wire.Shedder: capture is off by itself.
func (b *Budget) Shut() bool { return b.shut.Load() }

// Late implements wire.Shedder: the workers have more than they get done beside the traffic.
func (b *Budget) Late() bool { return b.late.Load() }

// Sheds implements wire.Shedder: the oldest of all go first.
func (b *Budget) Sheds(place *wire.Place, start int64) bool {
	if !b.short.Load() {
		return false
	}
	if b.used.Load() <= b.low {
		b.short.Store(false)
		return false
	}
	for _, other := range *b.places.Load() {
		if other != place && other.Oldest() < start-together {
			return false
		}
	}
	return true
}

// oldest returns when the oldest exchange began that is not finished, in ns since 1970.
func (b *Budget) oldest() int64 {
	oldest := int64(wire.Never)
	for _, p := range *b.places.Load() {
		oldest = min(oldest, p.Oldest())
	}
	return oldest
}

// excess returns how many bytes are to be shed now: none below shedAbove, and then all that is above shedUntil.
func (b *Budget) excess() int64 {
	used := b.used.Load()
	if used <= b.high {
		return 0
	}
	return used - b.low
}
