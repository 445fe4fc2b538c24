package main

import (
	"context"
	"fmt"
)

// matrix measures the error at several rates and speeds, of several replayers and of others, in turns.
func (b *bench) matrix(ctx context.Context) error {
	names, missing := b.available([]string{reference, vegeta, goReplayFile, oneReplayer, replayers(2), replayers(4)})
	for _, rate := range []float64{100, 1000, 5000} {
		t := table{
			title: fmt.Sprintf("Recorded at %g/s: arrival at the target − due time", rate),
			head: []string{
				"", "speed", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms", "drift ms", "p99 ÷ pacer's", "arrived/s", "all, once", "CPU µs/request",
			},
		}
		for _, speed := range []float64{1, 2, 5} {
			l, err := b.record(ctx, fmt.Sprintf("matrix-%g-%g", rate, speed), int(rate*speed*b.paced.Seconds()), rate)
			if err != nil {
				return err
			}
			var pacer float64
			for _, who := range names {
				progress("matrix: %g/s at %g×: %s", rate, speed, who)
				got, s, err := b.aim(ctx, who, attempt{l, speed, fmt.Sprintf("by-%d", len(t.rows))})
				if err != nil {
					return fmt.Errorf("%s, %g/s at %g×: %w", who, rate, speed, err)
				}
				progress("  p50 %.3f p99 %.3f max %.3f ms, %.0f/s, %s", got.p50, got.p99, got.max, got.perSecond, got.whole())
				if who == reference {
					pacer = got.p99
				}
				t.rows = append(t.rows, matrixRow(who, speed, got, s, pacer))
			}
		}
		b.tables = append(b.tables, t)
	}
	last := &b.tables[len(b.tables)-1]
	last.notes = append([]string{
		fmt.Sprintf("Poisson arrivals from %d partitions, %s a turn, once each; vegeta sends at even intervals. p99 ÷ the reference pacer's of the", partition, b.paced),
		"same rate and speed. The replayers' due times are absolute; so are the pacer's. vegeta and GoReplay tell no beginning: theirs is where",
		"the median error of their first tenth is nothing. What GoReplay has not sent in 1.25 times its time + 4 s is missing. CPU: all processes",
		"of a row, from start to end. Arrived/s: where it is below rate × speed, a machine of that size cannot do more with that program.",
	}, missing...)
	return nil
}

func matrixRow(who string, speed float64, t timed, s shot, pacer float64) []string {
	f := func(v float64) string { return fmt.Sprintf("%.2f", v) }
	ratio := ""
	if pacer > 0 {
		ratio = f(t.p99 / pacer)
	}
	return []string{
		who, fmt.Sprintf("%g×", speed), f(t.p50), f(t.p90), f(t.p99), f(t.p999), f(t.max), f(t.drift), ratio,
		fmt.Sprintf("%.0f", t.perSecond), t.whole(), fmt.Sprintf("%.0f", s.each()),
	}
}
