package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// edge measures requests a second through each way to the same nginx, as fast as wrk gets them answered. The tap records
// all of it in Kafka; mirrors and shadows send a copy of each request somewhere; the others only pass it on.
func (b *bench) edge(ctx context.Context) error {
	w, err := b.startWays(ctx, "edge",
		direct, haproxyTCP, tapProxy, nginxProxy, nginxMirror, docsMirror, mirrorToTap, envoyTCP, envoyHTTP, envoyShadow)
	if err != nil {
		return err
	}
	defer w.stop()
	if err := b.warm(ctx, w); err != nil {
		return err
	}
	var first map[string][]turn // of the load that the bars are for
	var most int64              // memory of the tap, at the end of a turn
	for _, makeLoad := range []func(int) load{small, postOneKiB, largeAnswer} {
		for _, connections := range []int{32, 1000} {
			l := makeLoad(connections)
			turns, err := b.inTurns(ctx, w, l)
			if err != nil {
				return fmt.Errorf("%s, %d connections: %w", l.name, connections, err)
			}
			if first == nil {
				first = turns
			}
			for _, t := range turns[tapProxy] {
				most = max(most, t.rss)
			}
			b.tables = append(b.tables, b.edgeTable(w, l, turns))
		}
	}
	b.tables = slices.Insert(b.tables, 0, asked(first, most))
	return nil
}

// warm gives a broker that has just started its fill, once: until it has compiled its own code, it takes the cores that
// are measured.
func (b *bench) warm(ctx context.Context, w *ways) error {
	if b.warmed {
		return nil
	}
	b.warmed = true
	progress("warming up for %s", b.warmUp)
	x := w.by(tapProxy)
	_, err := b.wrk(ctx, x.addr, small(32), b.warmUp)
	if err == nil {
		_, err = x.kept(ctx)
	}
	return err
}

// warmAlone does that for what needs no ways in.
func (b *bench) warmAlone(ctx context.Context, name string) error {
	if b.warmed {
		return nil
	}
	w, err := b.startWays(ctx, name, tapProxy)
	if err != nil {
		return err
	}
	defer w.stop()
	return b.warm(ctx, w)
}

// inTurns has every way take its turn in each round.
func (b *bench) inTurns(ctx context.Context, w *ways, l load) (map[string][]turn, error) {
	turns := make(map[string][]turn)
	for round := range b.rounds {
		for i := range w.all {
			x := w.all[(i+round)%len(w.all)] // nobody has always the same predecessor
			var got wrkResult
			t, err := x.measure(ctx, func(addr string) (n int, perSecond float64, err error) {
				got, err = b.wrk(ctx, addr, l, b.turn)
				return got.requests, got.perSecond, err
			})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", x.name, err)
			}
			t.trouble = got.trouble
			turns[x.name] = append(turns[x.name], t)
			progress("%s, %d connections, round %d: %-34s %7.0f/s, %5.1f µs, captured %.4f", l.name, l.connections, round+1, x.name, t.perSecond, t.cpu, t.captured)
		}
		pause(ctx, 500*time.Millisecond) // what Kafka was given is on its way to the disk
	}
	return turns, nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// column takes one figure of each turn.
func column(turns []turn, f func(turn) float64) []float64 {
	v := make([]float64, len(turns))
	for i, t := range turns {
		v[i] = f(t)
	}
	return v
}

func perSecond(t turn) float64 { return t.perSecond }

// ratios of two ways, round by round.
func ratios(turns map[string][]turn, over, under string) []float64 {
	v := make([]float64, len(turns[over]))
	for i := range v {
		v[i] = turns[over][i].perSecond / turns[under][i].perSecond
	}
	return v
}

func (b *bench) edgeTable(w *ways, l load, turns map[string][]turn) table {
	t := table{
		title: fmt.Sprintf("%s, %d keep-alive connections", l.name, l.connections),
		head:  []string{"through", "requests/s", "÷ direct", "÷ HAProxy", "CPU µs/request", "RSS MiB", "captured %", "dropped", "each round"},
	}
	for _, x := range w.all {
		all := turns[x.name]
		cells := []string{
			x.name, fmt.Sprintf("%.0f", median(column(all, perSecond))), fmt.Sprintf("%.2f", median(ratios(turns, x.name, direct))),
			fmt.Sprintf("%.2f", median(ratios(turns, x.name, haproxyTCP))), "", "", "", "", each(column(all, perSecond), "%.0f"),
		}
		if len(x.programs) > 0 {
			cells[4] = fmt.Sprintf("%.1f", median(column(all, func(t turn) float64 { return t.cpu })))
			cells[5] = fmt.Sprintf("%d", all[len(all)-1].rss>>20)
		}
		if x.kept != nil {
			cells[6] = each(column(all, func(t turn) float64 { return 100 * t.captured }), "%.2f")
			cells[7] = each(column(all, func(t turn) float64 { return t.dropped }), "%.0f")
		}
		t.rows = append(t.rows, cells)
		for i, turn := range all {
			if turn.trouble != "" {
				t.notes = append(t.notes, fmt.Sprintf("%s, round %d: %s.", x.name, i+1, turn.trouble))
			}
		}
	}
	return t
}

// asked compares with the bars, which are for small GETs on 32 connections; memory is of all loads.
func asked(turns map[string][]turn, memory int64) table {
	t := table{
		title: "What was asked: small GETs, 32 connections",
		head:  []string{"", "asked", "median", "", "each round"},
		notes: []string{
			"In the tables below CPU and memory are those of the programs on the way, master and workers together (not of the origin, Kafka, wrk or",
			"a sink), and what they do after the last answer until all is stored counts. \"Captured\" of a mirror is how many copies came to its sink.",
			"The sinks answer an empty 204 at once and store nothing. nginx mirrors over kept connections, which takes configuration; by the lines of",
			"its documentation (a connection for each request and each copy); and over kept ones to `tap mirror`, which stores requests in Kafka.",
			"Memory is what is resident at the end of the last turn, after all loads above it. The tap's event loop has nice value -10, and",
			"-5 at full speed, when root runs this, as by default (`--forward-nice`); all others have 0.",
		},
	}
	row := func(what string, bar float64, format string, v []float64) {
		t.rows = append(t.rows, []string{what, "≥ " + fmt.Sprintf(format, bar), fmt.Sprintf(format, median(v)), held(median(v) >= bar), each(v, format)})
	}
	row("tap ÷ HAProxy TCP, requests/s", 0.8, "%.2f", ratios(turns, tapProxy, haproxyTCP))
	row("tap ÷ "+docsMirror, 3, "%.2f", ratios(turns, tapProxy, docsMirror))
	row("tap ÷ "+nginxMirror, 3, "%.2f", ratios(turns, tapProxy, nginxMirror))
	row("tap ÷ "+envoyShadow, 2.5, "%.2f", ratios(turns, tapProxy, envoyShadow))
	row("captured by the tap, %", 99, "%.2f", column(turns[tapProxy], func(t turn) float64 { return 100 * t.captured }))
	t.rows = append(t.rows, []string{
		"most memory of the tap after a turn of any load below, MiB", fmt.Sprintf("≤ %d", memoryBar>>20), fmt.Sprint(memory >> 20), held(memory <= memoryBar), "",
	})
	return t
}

// memoryBar is what a tap may take: its --memory-max, 64 MiB unless told otherwise, and as much again.
const memoryBar = 128 << 20

func held(yes bool) string {
	if yes {
		return "held"
	}
	return "**missed**"
}
