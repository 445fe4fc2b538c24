package main

import (
	"context"
	"errors"
	"fmt"
)

// half sends the tap half of the most that it passes on, and counts what it drops.
func (b *bench) half(ctx context.Context) error {
	w, err := b.startWays(ctx, "half", tapProxy)
	if err != nil {
		return err
	}
	defer w.stop()
	if err := b.warm(ctx, w); err != nil {
		return err
	}
	t := table{
		title: "Half of the maximum: small GETs, 64 connections",
		head:  []string{"maximum, requests/s", "sent, requests/s", "requests", "captured %", "dropped (asked: 0)", "", "p50 ms", "p99 ms", "p99.9 ms", "max ms"},
		notes: []string{"The maximum is wrk's with the same connections, just before; half of it is sent in an open loop, whose thread shares the two cores."},
	}
	for round := range b.rounds {
		x := w.all[0]
		top, err := b.wrk(ctx, x.addr, small(64), b.turn)
		if err == nil && top.trouble != "" {
			err = errors.New(top.trouble)
		}
		if err != nil {
			return err
		}
		rate := top.perSecond / 2
		var q quantiles
		got, err := x.measure(ctx, func(addr string) (int, float64, error) {
			r, err := fixed(ctx, addr, small(64), rate, 2*b.fixedFor)
			if err != nil {
				return 0, 0, err
			}
			q = quantilesOf(r)
			return len(r.Answers), rate, nil
		})
		if err != nil {
			return err
		}
		progress("half, round %d: %.0f of %.0f/s, %.0f dropped", round+1, rate, top.perSecond, got.dropped)
		t.rows = append(t.rows, []string{
			fmt.Sprintf("%.0f", top.perSecond), fmt.Sprintf("%.0f", rate), fmt.Sprint(got.requests), fmt.Sprintf("%.2f", 100*got.captured),
			fmt.Sprintf("%.0f", got.dropped), held(got.dropped == 0),
			fmt.Sprintf("%.2f", q.p50), fmt.Sprintf("%.2f", q.p99), fmt.Sprintf("%.2f", q.p999), fmt.Sprintf("%.2f", q.max),
		})
	}
	b.tables = append(b.tables, t)
	return nil
}
