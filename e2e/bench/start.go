package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/reprise-io/reprise/e2e/proc"
)

// headStart is how long a run waits on purpose after its first partitions came, so that replicas which start with it join it.
const headStart = 2 * time.Second

// start measures how long it takes from the start of a program to the arrival of its first request.
func (b *bench) start(ctx context.Context) error {
	const requests = 2000
	progress("start: writing %d exchanges", requests)
	l, err := b.record(ctx, "start", requests, captureRate)
	if err != nil {
		return err
	}
	file, err := b.gorFile(l, false)
	if err != nil {
		return err
	}
	replaying := func(speed string) func(round int, addr string) ([]proc.Options, error) {
		return func(round int, addr string) ([]proc.Options, error) {
			return []proc.Options{b.replaying(l.prefix, addr, fmt.Sprintf("at-%s-%d", speed, round), speed)}, nil
		}
	}
	names, missing := b.available([]string{"replayer run", "replayer run --speed max", vegeta, goReplayFile})
	programs := map[string]func(round int, addr string) ([]proc.Options, error){
		"replayer run": replaying("1"), "replayer run --speed max": replaying("max"),
		goReplayFile: func(_ int, addr string) ([]proc.Options, error) { return b.goReplaying(file, 1, addr), nil },
		vegeta: func(_ int, addr string) ([]proc.Options, error) {
			targets, err := b.targetsFile(l, addr)
			return []proc.Options{{Path: b.vegeta, Args: []string{"attack", "-targets", targets, "-rate", fmt.Sprint(captureRate), "-duration", "1s", "-output", os.DevNull}}}, err
		},
	}
	took := make(map[string][]float64)
	for round := range max(3, b.rounds) {
		for _, who := range names {
			endless := 0
			if who == goReplayFile {
				endless = requests
			}
			s, err := b.fire(ctx, firing{within: time.Minute, endless: endless, programs: func(addr string) ([]proc.Options, error) {
				return programs[who](round, addr)
			}})
			if err == nil && s.requests == 0 {
				err = fmt.Errorf("nothing arrived of %s", who)
			}
			if err != nil {
				return err
			}
			took[who] = append(took[who], ms(first(s.began, s.arrivals)))
			progress("start, round %d: %s %.0f ms", round+1, who, took[who][round])
		}
	}
	t := table{
		title: "From the start of a program to the arrival of its first request",
		head:  []string{"", "ms", "of which on purpose", "each round"},
		notes: append([]string{
			"A run that keeps time is due to begin two seconds after its first partitions came, so that replicas that start with it are there. The",
			"others read a file and wait for nobody.",
		}, missing...),
	}
	for _, who := range names {
		purpose := ""
		if who == "replayer run" {
			purpose = fmt.Sprintf("%.0f", ms(headStart))
		}
		t.rows = append(t.rows, []string{who, fmt.Sprintf("%.0f", median(took[who])), purpose, each(took[who], "%.0f")})
	}
	b.tables = append(b.tables, t)
	return nil
}
