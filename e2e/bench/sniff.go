package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/reprise-io/reprise/e2e/proc"
	"github.com/reprise-io/reprise/e2e/sink"
)

// sniffRate is what GoReplay has been seen to keep whole on a machine of two cores.
const sniffRate = 11700

// sniff lets tap sniff and GoReplay listen to the same packets, together and alone, and counts what each has kept.
func (b *bench) sniff(ctx context.Context) error {
	if err := b.warmAlone(ctx, "sniff-warm"); err != nil {
		return err
	}
	t := table{
		title: fmt.Sprintf("Packets: GETs on loopback at %d/s, 32 connections", sniffRate),
		head:  []string{"listening", "sent", "GoReplay kept", "tap kept", "tap ÷ GoReplay (asked: ≥ 1)", "tap's kernel drops", "CPU µs/request: GoReplay", "tap", "RSS MiB: GoReplay", "tap"},
		notes: []string{
			"GoReplay 1.3.2 writes requests to a file (`--input-raw 127.0.0.1:PORT --output-file`); `tap sniff` records requests with their answers, redacted,",
			"in Kafka. Both with their defaults, and together on one port of one machine. Kept: whole requests in the file; acknowledged by Kafka.",
		},
	}
	sets := [][]string{{goReplay, tapSniff}, {goReplay}, {tapSniff}}
	if _, err := os.Stat(b.gor); err != nil {
		sets = sets[2:]
		t.notes = append(t.notes, "GoReplay could not be built here (it takes a C compiler and libpcap): nothing to compare with.")
	}
	for range b.rounds {
		for _, set := range sets {
			row, err := b.listening(ctx, set)
			if err != nil {
				return fmt.Errorf("%s: %w", strings.Join(set, " and "), err)
			}
			progress("sniff: %s", strings.Join(row, " | "))
			t.rows = append(t.rows, row)
		}
	}
	b.tables = append(b.tables, t)
	return nil
}

const (
	goReplay = "GoReplay"
	tapSniff = "tap sniff"
)

// listening sends the load while those of a set listen, and returns the row.
func (b *bench) listening(ctx context.Context, set []string) (row []string, err error) {
	s, err := sink.New(sink.Options{Count: true})
	if err != nil {
		return nil, err
	}
	sinkCtx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(sinkCtx) }()
	defer func() {
		cancel()
		err = errors.Join(err, <-done)
	}()
	var ways []*way
	var recorder *replayRecorder
	drops := func() (string, error) { return "", nil }
	for _, name := range set {
		x := &way{name: name}
		if name == goReplay {
			if recorder, err = b.startGoReplay(ctx, s.Addr()); err != nil {
				return nil, err
			}
			defer recorder.Kill()
			x.programs, x.kept = []*proc.Process{recorder.Process}, recorder.written
		} else {
			_, port, err := net.SplitHostPort(s.Addr())
			if err != nil {
				return nil, err
			}
			t, err := b.startTap(ctx, "sniff", "sniff", "--interface", "lo", "--port", port)
			if err != nil {
				return nil, err
			}
			defer t.Kill()
			x.programs, x.kept = []*proc.Process{t.Process}, t.kept
			drops = func() (string, error) {
				m, err := proc.Scrape(ctx, t.admin)
				return fmt.Sprintf("%.0f", m.Sum("reprise_tap_kernel_drops_total")), err
			}
		}
		ways = append(ways, x)
	}
	turns, err := measure(ctx, ways, func() (int, float64, error) {
		r, err := fixed(ctx, s.Addr(), small(32), sniffRate, b.fixedFor)
		if err != nil {
			return 0, 0, err
		}
		return len(r.Answers), sniffRate, nil
	})
	if err != nil {
		return nil, err
	}
	row = []string{strings.Join(set, " and "), fmt.Sprint(turns[0].requests), "", "", "", "", "", "", "", ""}
	of := make(map[string]turn)
	for i, x := range ways {
		if x.name == goReplay { // it keeps the last ones back until it ends
			n, err := recorder.end()
			if err != nil {
				return nil, err
			}
			turns[i].captured = float64(n) / float64(turns[i].requests)
		}
		of[x.name] = turns[i]
		column := map[string]int{goReplay: 2, tapSniff: 3}[x.name]
		row[column] = fmt.Sprintf("%.2f %%", 100*turns[i].captured)
		row[column+4] = fmt.Sprintf("%.1f", turns[i].cpu)
		row[column+6] = fmt.Sprint(turns[i].rss >> 20)
	}
	if len(set) == 2 {
		row[4] = fmt.Sprintf("%.3f %s", of[tapSniff].captured/of[goReplay].captured, held(of[tapSniff].captured >= of[goReplay].captured))
	}
	row[5], err = drops()
	return row, err
}
