package schedule

import (
	"context"
	"time"
)

// Timed is a value with the moment at which it is due.
type Timed[T any] struct {
	Due   time.Time
	Value T
}

// Pacer hands values over at their due moment, from one locked OS thread.
type Pacer[T any] struct {
	max  int
	hand func(T)
}

// NewPacer returns a pacer that holds at most max values (0: 65,536) and gives each to hand when it is due, never before.
// hand runs on the pacing thread and must not block: every microsecond it takes delays what is due next.
func NewPacer[T any](max int, hand func(T)) *Pacer[T] { return &Pacer[T]{max: max, hand: hand} }

// Push adds values, waiting for room, and returns ctx's error if it ends before all were taken: then taken says how many
// were.
func (p *Pacer[T]) Push(ctx context.Context, items ...Timed[T]) (taken int, err error) { return 0, nil }

// Run paces until ctx ends. It is called once.
func (p *Pacer[T]) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Len returns how many values wait for their moment.
func (p *Pacer[T]) Len() int { return 0 }

// Drain takes out what is left after Run has returned.
func (p *Pacer[T]) Drain() []T { return nil }
