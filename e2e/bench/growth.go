package main

import (
	"context"
	"fmt"
	"time"

	"github.com/reprise-io/reprise/e2e/proc"
)

// growth measures how the tap's cost grows with connections, the size of answers and the rate: one of them at a time, each
// with a tap that has just started.
func (b *bench) growth(ctx context.Context) error {
	w, err := b.startWays(ctx, "growth", tapProxy) // for its origin, and to warm the broker up
	if err != nil {
		return err
	}
	defer w.stop()
	if err := b.warm(ctx, w); err != nil {
		return err
	}
	type point struct {
		label string
		load  load
		rate  float64
	}
	get := func(path string, connections int) load { return load{path: path, connections: connections} }
	for _, grown := range []struct {
		title, what string
		points      []point
	}{
		{"Connections, at 2,000/s, small answers", "connections", []point{
			{"32", small(32), 2000}, {"320", small(320), 2000}, {"1,000", small(1000), 2000},
		}},
		{"Size of the answer, at 200/s on 32 connections", "body", []point{
			{"0", get("/empty", 32), 200}, {"1 KiB", get("/body/1k", 32), 200}, {"64 KiB", get("/body/64k", 32), 200}, {"256 KiB", get("/body/256k", 32), 200},
		}},
		{"Rate, small answers on 32 connections", "requests/s", []point{
			{"500", small(32), 500}, {"2,000", small(32), 2000}, {"8,000", small(32), 8000},
		}},
	} {
		t := table{title: grown.title, head: []string{grown.what, "CPU µs/request", "RSS MiB", "captured %", "dropped", "unknown", "p50 ms", "p99 ms", "p99.9 ms"}}
		for _, p := range grown.points {
			got, q, err := b.grow(ctx, w.origin, p.load, p.rate)
			if err != nil {
				return fmt.Errorf("%s %s: %w", grown.what, p.label, err)
			}
			progress("growth, %s %s: %.1f µs, %d MiB, p99 %.2f ms", grown.what, p.label, got.cpu, got.rss>>20, q.p99)
			t.rows = append(t.rows, []string{
				p.label, fmt.Sprintf("%.1f", got.cpu), fmt.Sprint(got.rss >> 20), fmt.Sprintf("%.2f", 100*got.captured), fmt.Sprintf("%.0f", got.dropped), fmt.Sprintf("%.0f", got.unknown),
				fmt.Sprintf("%.2f", q.p50), fmt.Sprintf("%.2f", q.p99), fmt.Sprintf("%.2f", q.p999),
			})
		}
		b.tables = append(b.tables, t)
	}
	last := &b.tables[len(b.tables)-1]
	last.notes = []string{
		"Each row is a tap of its own, with a second of the same load before. At low rates what a tap does anyway (batches every 200 ms, its",
		"timers, reports) is divided among few requests: CPU a request falls as the rate grows. Bodies are JSON, redacted, and stored whole.",
	}
	return nil
}

func (b *bench) grow(ctx context.Context, origin string, l load, rate float64) (t turn, q quantiles, err error) {
	tap, err := b.startTap(ctx, "proxy", "growth", "--upstream", origin)
	if err != nil {
		return t, q, err
	}
	defer tap.Kill()
	x := &way{addr: tap.addr, programs: []*proc.Process{tap.Process}, kept: tap.kept}
	if _, err := fixed(ctx, tap.addr, l, rate, time.Second); err != nil {
		return t, q, err
	}
	t, err = x.measure(ctx, func(addr string) (int, float64, error) {
		r, err := fixed(ctx, addr, l, rate, b.fixedFor)
		if err != nil {
			return 0, 0, err
		}
		q = quantilesOf(r)
		return len(r.Answers), rate, nil
	})
	return t, q, err
}
