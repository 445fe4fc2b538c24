package main

import (
	"context"
	"time"
)

// turn is what one way did in its turn.
type turn struct {
	requests  int
	perSecond float64
	cpu       float64 // µs of the way's programs a request
	rss       int64   // bytes resident, at the end
	captured  float64 // exchanges put away a request; 0 for a way that records none
	dropped   float64
	unknown   float64
	trouble   string // what clients complained of; "": nothing
}

// measure has a load sent through a way and takes its cost, that of what it still owed then included.
func (x *way) measure(ctx context.Context, load func(addr string) (requests int, perSecond float64, err error)) (turn, error) {
	turns, err := measure(ctx, []*way{x}, func() (int, float64, error) { return load(x.addr) })
	if err != nil {
		return turn{}, err
	}
	return turns[0], nil
}

// measure does so for several that take part in the same load.
func measure(ctx context.Context, ways []*way, load func() (requests int, perSecond float64, err error)) ([]turn, error) {
	before, err := states(ctx, ways)
	if err != nil {
		return nil, err
	}
	requests, perSecond, err := load()
	if err != nil {
		return nil, err
	}
	after, err := states(ctx, ways)
	if err != nil {
		return nil, err
	}
	turns := make([]turn, len(ways))
	n := float64(max(1, requests))
	for i := range ways {
		had, has := before[i], after[i]
		turns[i] = turn{
			requests: requests, perSecond: perSecond,
			cpu: float64((has.cpu - had.cpu).Microseconds()) / n,
			rss: has.rss,
			// At its end wrk leaves requests on the way, one a connection, which count for those who saw them.
			captured: min(1, (has.stored-had.stored)/max(n, has.seen-had.seen)),
			dropped:  has.dropped - had.dropped,
			unknown:  has.unknown - had.unknown,
		}
	}
	return turns, nil
}

// state is what a way has taken and done so far.
type state struct {
	kept
	cpu time.Duration
	rss int64
}

func states(ctx context.Context, ways []*way) (all []state, err error) {
	all = make([]state, len(ways))
	for i, x := range ways {
		if x.kept != nil {
			if all[i].kept, err = x.kept(ctx); err != nil {
				return nil, err
			}
		}
	}
	for i, x := range ways {
		for _, p := range x.programs {
			cpu, rss, err := p.UsageNow()
			if err != nil {
				return nil, err
			}
			all[i].cpu, all[i].rss = all[i].cpu+cpu, all[i].rss+rss
		}
	}
	return all, nil
}
