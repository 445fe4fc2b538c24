package main

import (
	"context"
	"fmt"
	"math"
)

const captureRate = 1000 // arrivals a second at 1×, of what was asked

// timing measures when requests arrive at the target against when they were due: the recorded times, compressed.
func (b *bench) timing(ctx context.Context) error {
	if err := b.warmAlone(ctx, "timing-warm"); err != nil {
		return err
	}
	progress("timing: writing %d exchanges", b.count)
	l, err := b.record(ctx, "timing", b.count, captureRate)
	if err != nil {
		return err
	}
	bars := table{
		title: "What was asked: 1,000/s Poisson, one replayer",
		head:  []string{"", "speed", "asked", "median", "", "each round"},
	}
	t := table{
		title: fmt.Sprintf("Replay timing: %d Poisson arrivals at %d/s from %d partitions, arrival at the target − due time", b.count, captureRate, partition),
		head:  []string{"", "speed", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms", "the worst due at s", "drift ms", "all, once", "p50 each round", "p99 each round", "the same at the socket"},
		notes: []string{
			"The reference pacer knows its schedule beforehand and does nothing else: no Kafka, no decoding, no order, no commits.",
			"An error counts until the target has read the request, and so holds its waiting for a core too; at the socket it is by the kernel's stamp.",
			"The broker has taken a tap's records and one run before, which count for nobody: its JVM compiles its code meanwhile.",
			"Due times are absolute (the run's time base in the control topic); drift is the median of the last tenth − that of the first.",
		},
	}
	if _, err := b.rush(ctx, oneReplayer, l, "timing-warm-up"); err != nil { // and what reads and commits in the broker
		return err
	}
	turns := make(map[string][]timed)
	for round := range b.rounds {
		for _, speed := range b.speeds {
			for _, who := range []string{reference, oneReplayer} {
				progress("timing, round %d: %s at %g×", round+1, who, speed)
				got, _, err := b.aim(ctx, who, attempt{l, speed, fmt.Sprintf("at-%g-%d", speed, round)})
				if err != nil {
					return fmt.Errorf("%s at %g×: %w", who, speed, err)
				}
				progress("  p50 %.3f p99 %.3f max %.3f ms, %.1f s after the first; at the socket p99 %.3f", got.p50, got.p99, got.max, got.maxAfter, got.came99)
				turns[at(who, speed)] = append(turns[at(who, speed)], got)
			}
		}
	}
	for _, speed := range b.speeds {
		bars.rows = append(bars.rows, timingAsked(speed, turns[at(reference, speed)], turns[at(oneReplayer, speed)])...)
		for _, who := range []string{reference, oneReplayer} {
			t.rows = append(t.rows, timedRow(who, speed, turns[at(who, speed)]))
		}
	}
	b.tables = append(b.tables, bars, t)
	return nil
}

func at(who string, speed float64) string { return fmt.Sprintf("%s|%g", who, speed) }

// timingAsked compares rounds with what was asked of them.
func timingAsked(speed float64, pacer, replayer []timed) [][]string {
	row := func(what string, bar, got float64, rounds []float64) []string {
		return []string{what, fmt.Sprintf("%g×", speed), fmt.Sprintf("≤ %.2f", bar), fmt.Sprintf("%.3f", got), held(got <= bar), each(rounds, "%.3f")}
	}
	p50, p99, drift := figures(replayer, p50Of), figures(replayer, p99Of), figures(replayer, driftOf)
	rows := [][]string{
		row("p50, ms", 0.2, median(p50), p50),
		row("p99, ms: 1, or twice the pacer's", max(1, 2*median(figures(pacer, p99Of))), median(p99), p99),
		row("drift, ms", 1, math.Abs(median(drift)), drift),
	}
	missing, repeated := 0, 0
	for _, t := range replayer {
		missing, repeated = missing+t.missing, repeated+t.repeated
	}
	return append(rows, []string{
		"missing, repeated", fmt.Sprintf("%g×", speed), "0, 0", fmt.Sprintf("%d, %d", missing, repeated), held(missing+repeated == 0), "",
	})
}

func timedRow(who string, speed float64, rounds []timed) []string {
	f := func(of func(timed) float64) string { return fmt.Sprintf("%.2f", median(figures(rounds, of))) }
	whole := "yes"
	for _, r := range rounds {
		if w := r.whole(); w != whole {
			whole = w
			break
		}
	}
	return []string{
		who, fmt.Sprintf("%g×", speed), f(p50Of), f(func(t timed) float64 { return t.p90 }), f(p99Of), f(func(t timed) float64 { return t.p999 }),
		f(func(t timed) float64 { return t.max }), each(figures(rounds, func(t timed) float64 { return t.maxAfter }), "%.1f"), f(driftOf), whole, each(figures(rounds, p50Of), "%.2f"), each(figures(rounds, p99Of), "%.2f"),
		each(figures(rounds, func(t timed) float64 { return t.came99 }), "%.2f"),
	}
}
