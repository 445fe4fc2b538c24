package tap

import "sync/atomic"

// Budget counts the bytes that capture holds, from the first kept byte of a request until Kafka has acknowledged it or it
// was given up. Over its limit nothing more is kept: capture is shed, traffic is not.
type Budget struct {
	limit int64
	used  atomic.Int64
}

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
