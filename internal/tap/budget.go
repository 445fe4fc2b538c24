package tap

import "sync/atomic"

// Budget counts the bytes that capture holds, from the first kept byte of a request until Kafka has acknowledged it or it
// was given up. Over shedAbove of it the oldest exchanges that wait are shed, until it is at shedUntil; what that cannot
// help against, as one huge body, is stopped by the limit, over which nothing more is kept. Capture is shed, traffic is not.
type Budget struct {
	limit int64
	used  atomic.Int64
}

// Shares of a budget's limit, in percent.
const (
	shedAbove = 80
	shedUntil = 70
)

// NewBudget returns a budget of limit bytes.
func NewBudget(limit int64) *Budget { return &Budget{limit: limit} }

// TryAcquire books n bytes, or nothing when they do not fit.
func (b *Budget) TryAcquire(n int64) bool {
	if b.used.Add(n) <= b.limit {
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

// excess returns how many bytes are to be shed now: none below shedAbove, and then all that is above shedUntil.
func (b *Budget) excess() int64 {
	used := b.used.Load()
	if used <= b.limit/100*shedAbove {
		return 0
	}
	return used - b.limit/100*shedUntil
}
