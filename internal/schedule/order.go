package schedule

import (
	"fmt"
	"time"
)

// OrderMode says what has to stay in order.
type OrderMode uint8

// The modes of --order.
const (
	OrderSession    OrderMode = iota // requests of one session; those without a session by connection
	OrderConnection                  // requests of one connection
	OrderNone
)

// ParseOrder reads the value of --order.
func ParseOrder(s string) (OrderMode, error) { return 0, fmt.Errorf("not yet") }

// String returns "session", "connection" or "none".
func (m OrderMode) String() string { return "" }

// OrderConfig says what an Order keeps and for how long.
type OrderConfig struct {
	Mode OrderMode
	// Wait is the longest that a request is held back after it was due. 0: 10 s.
	Wait time.Duration
	// Assumed stands for the duration of an exchange whose end was not recorded. 0: 1 s.
	Assumed time.Duration
}

// Step is the place of one request in the order. Embed it in what flows through the replay; it must not be copied
// between Admit and Done.
type Step[T any] struct {
	Value      T
	Session    []byte    // empty: none
	Connection []byte    // empty: none
	Capture    time.Time
	End        time.Time // when the recorded answer had ended; zero: not recorded
}

// Order holds a request back until those of its session whose recorded answer had ended before it was captured are done.
// It is safe for concurrent use.
type Order[T any] struct{ cfg OrderConfig }

// NewOrder returns an order without sessions.
func NewOrder[T any](cfg OrderConfig) *Order[T] { return &Order[T]{cfg: cfg} }

// Admit enters a step, in due order, at its due moment. true: it may be fired at once. false: it comes back from Done or
// Expire. Either way Done must be called for it when it has been fired or given up.
func (o *Order[T]) Admit(s *Step[T], now time.Time) bool { return true }

// Done takes a step out and appends to free the steps that may be fired now.
func (o *Order[T]) Done(s *Step[T], free []*Step[T]) []*Step[T] { return free }

// Expire appends to free the steps that have been held back for Wait, and returns when to call it again; zero: nothing is held.
func (o *Order[T]) Expire(now time.Time, free []*Step[T]) (out []*Step[T], next time.Time) { return free, next }

// Held returns how many steps are held back.
func (o *Order[T]) Held() int { return 0 }

// Expired returns how many steps were let go by Expire so far.
func (o *Order[T]) Expired() uint64 { return 0 }
