package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/reprise-io/reprise/e2e/sink"
	"github.com/reprise-io/reprise/internal/topic"
)

// speed measures how many requests a second one replayer fires from Kafka at --speed max, against wrk at the same sink.
func (b *bench) speed(ctx context.Context) error {
	names := topic.NamesOf("max")
	progress("max: writing %d exchanges", b.max)
	if _, err := b.made(ctx, names, b.max, 5000); err != nil {
		return err
	}
	var replayer, plain, ratio []float64
	for round := range b.rounds {
		var w wrkResult
		if _, err := withSinkCounting(ctx, func(addr string) (err error) {
			w, err = b.wrk(ctx, addr, small(32), b.turn)
			if err == nil && w.trouble != "" {
				err = errors.New(w.trouble)
			}
			return err
		}); err != nil {
			return err
		}
		arrivals, err := withSink(ctx, func(addr string) error {
			_, err := b.replay(ctx, "max", addr, fmt.Sprintf("max-%d", round), "max")
			return err
		})
		if err != nil {
			return err
		}
		if len(arrivals) != b.max {
			return fmt.Errorf("%d of %d arrived", len(arrivals), b.max)
		}
		took := arrivals[len(arrivals)-1].At.Sub(arrivals[0].At)
		fired := float64(len(arrivals)) / took.Seconds()
		replayer, plain, ratio = append(replayer, fired), append(plain, w.perSecond), append(ratio, fired/w.perSecond)
		progress("max, round %d: replayer %.0f/s, wrk %.0f/s", round+1, fired, w.perSecond)
	}
	b.tables = append(b.tables, table{
		title: fmt.Sprintf("As fast as it can: %d exchanges from %d partitions, one replayer, to a sink", b.max, partition),
		head:  []string{"", "requests/s", "each round"},
		rows: [][]string{
			{"replayer run --speed max", fmt.Sprintf("%.0f", median(replayer)), each(replayer, "%.0f")},
			{"wrk, 32 connections", fmt.Sprintf("%.0f", median(plain)), each(plain, "%.0f")},
		},
		notes: []string{fmt.Sprintf("Replayer ÷ wrk in each round: %s; median **%.2f**. From the first arrival to the last; order kept per session.",
			each(ratio, "%.2f"), median(ratio))},
	})
	return nil
}

// withSinkCounting is withSink for more requests than one wants to keep.
func withSinkCounting(ctx context.Context, f func(addr string) error) (requests int, err error) {
	s, err := sink.New(sink.Options{Count: true})
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	err = f(s.Addr())
	cancel()
	return s.Requests(), errors.Join(err, <-done)
}
