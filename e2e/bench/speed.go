package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/reprise-io/reprise/e2e/feed"
	"github.com/reprise-io/reprise/e2e/proc"
	"github.com/reprise-io/reprise/e2e/sink"
)

const (
	wrk     = "wrk"
	differs = "replayer, all answers differ"

	fastestBar = 30000 // requests/s of one replayer
	vegetaBar  = 2     // times vegeta's most

	warmRuns = 3
)

// fastest is what one of them did in a turn without a schedule.
type fastest struct {
	perSecond float64
	cpu       float64 // µs a request
	requests  int
}

// speed measures how many requests the replayer fires from Kafka at --speed max, against others at a sink of the same kind.
func (b *bench) speed(ctx context.Context) error {
	progress("max: writing %d exchanges", b.max)
	l, err := b.record(ctx, "max", b.max, 5000)
	if err != nil {
		return err
	}
	names, missing := b.available([]string{wrk, vegeta, goReplayFile, oneReplayer, differs})
	for i := range warmRuns { // the broker compiles its own code meanwhile
		if _, err := b.rush(ctx, oneReplayer, l, fmt.Sprintf("max-warm-up-%d", i)); err != nil {
			return err
		}
	}
	turns := make(map[string][]fastest)
	for round := range b.rounds {
		for _, who := range names {
			got, err := b.rush(ctx, who, l, fmt.Sprintf("max-%d-%d", round, len(who)))
			if err != nil {
				return fmt.Errorf("%s: %w", who, err)
			}
			progress("max, round %d: %s %.0f/s, %.1f µs a request", round+1, who, got.perSecond, got.cpu)
			turns[who] = append(turns[who], got)
		}
	}
	t := table{
		title: fmt.Sprintf("As fast as it can: %d exchanges from %d partitions, one replayer, to a sink", b.max, partition),
		head:  []string{"", "requests/s", "CPU µs/request", "requests", "replayer ÷ this", "each round"},
		notes: append([]string{
			"From the first arrival to the last; the replayer keeps the order of each session, reads Kafka, decodes, redacts again, compares and stores",
			"outcomes. wrk sends one request over 32 connections, vegeta one target with 64 workers (`-rate 0 -max-workers 64`), GoReplay the same",
			"requests from a file in which all have one time. CPU is the program's own, start and end included. The sink answers all of them as was",
			"recorded; the last row is the replayer at one whose answers all differ: each is redacted, compared by path and stored with its outcome.",
			fmt.Sprintf("%d runs of the replayer go before, which count for nobody: their outcomes make the broker's JVM compile what all others meet.", warmRuns),
		}, missing...),
	}
	of := func(who string, f func(fastest) float64) []float64 {
		v := make([]float64, 0, b.rounds)
		for _, got := range turns[who] {
			v = append(v, f(got))
		}
		return v
	}
	most := func(f fastest) float64 { return f.perSecond }
	ratio := func(who string) []float64 {
		v := of(oneReplayer, most)
		for i, under := range of(who, most) {
			v[i] /= under
		}
		return v
	}
	for _, who := range names {
		t.rows = append(t.rows, []string{
			who, fmt.Sprintf("%.0f", median(of(who, most))), fmt.Sprintf("%.1f", median(of(who, func(f fastest) float64 { return f.cpu }))),
			fmt.Sprintf("%.0f", median(of(who, func(f fastest) float64 { return float64(f.requests) }))),
			fmt.Sprintf("%.2f", median(ratio(who))), each(of(who, most), "%.0f"),
		})
	}
	b.tables = append(b.tables, speedAsked(of(oneReplayer, most), ratio(vegeta), len(turns[vegeta]) > 0), t)
	return nil
}

// speedAsked compares with what was asked.
func speedAsked(replayer, overVegeta []float64, vegeta bool) table {
	got := median(replayer)
	t := table{
		title: "What was asked: one replayer from Kafka, --speed max, at a target that answers as was recorded",
		head:  []string{"", "asked", "median", "", "each round"},
		rows:  [][]string{{"requests/s", fmt.Sprintf("≥ %d", fastestBar), fmt.Sprintf("%.0f", got), held(got >= fastestBar), each(replayer, "%.0f")}},
	}
	if vegeta {
		r := median(overVegeta)
		t.rows = append(t.rows, []string{"÷ vegeta's most", fmt.Sprintf("≥ %d", vegetaBar), fmt.Sprintf("%.2f", r), held(r >= vegetaBar), each(overVegeta, "%.2f")})
	}
	return t
}

// rush has one of them fire without a schedule.
func (b *bench) rush(ctx context.Context, who string, l *lot, run string) (f fastest, err error) {
	switch who {
	case wrk:
		var w wrkResult
		if err := beside(ctx, sink.Options{Count: true, AnswerTo: feed.AppendAnswer}, func(addr string) (err error) {
			w, err = b.wrk(ctx, addr, small(32), b.turn)
			if err == nil && w.trouble != "" {
				err = errors.New(w.trouble)
			}
			return err
		}); err != nil {
			return f, err
		}
		return fastest{w.perSecond, float64(w.cpu.Microseconds()) / float64(max(1, w.requests)), w.requests}, nil
	case vegeta:
		s, err := b.fire(ctx, firing{within: b.turn + time.Minute, sink: sink.Options{Count: true, AnswerTo: feed.AppendAnswer}, programs: func(addr string) ([]proc.Options, error) {
			targets, err := b.targetsFile(&lot{prefix: l.prefix, all: l.all[:1]}, addr)
			return []proc.Options{{Path: b.vegeta, Args: []string{
				"attack", "-targets", targets, "-rate", "0", "-max-workers", "64", "-duration", b.turn.String(), "-output", os.DevNull,
			}}}, err
		}})
		return fastest{float64(s.requests) / b.turn.Seconds(), s.each(), s.requests}, err
	}
	turn := firing{within: 3 * time.Minute, sink: sink.Options{AnswerTo: feed.AppendAnswer}, programs: func(addr string) ([]proc.Options, error) {
		return []proc.Options{b.replaying(l.prefix, addr, run, "max")}, nil
	}}
	switch who {
	case differs:
		turn.sink = sink.Options{}
	case goReplayFile:
		file, err := b.gorFile(l, true)
		if err != nil {
			return f, err
		}
		turn.within, turn.endless = 5*b.turn+10*time.Second, len(l.all)
		turn.programs = func(addr string) ([]proc.Options, error) { return b.goReplaying(file, 1, addr), nil }
	}
	s, err := b.fire(ctx, turn)
	if err != nil {
		return f, err
	}
	if who != goReplayFile && s.requests != len(l.all) {
		return f, fmt.Errorf("%d of %d arrived", s.requests, len(l.all))
	}
	if s.requests < 2 {
		return f, errors.New("nothing arrived")
	}
	took := s.arrivals[s.requests-1].At.Sub(s.arrivals[0].At)
	return fastest{float64(s.requests-1) / took.Seconds(), s.each(), s.requests}, nil
}

// beside runs f beside a sink.
func beside(ctx context.Context, o sink.Options, f func(addr string) error) error {
	s, err := sink.New(o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	err = f(s.Addr())
	cancel()
	return errors.Join(err, <-done)
}
