package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-io/reprise/e2e/feed"
	"github.com/reprise-io/reprise/e2e/proc"
	"github.com/reprise-io/reprise/e2e/sink"
	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/redact"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

const (
	rate      = 1000 // arrivals a second at 1×
	benchKey  = "0123456789abcdef0123456789abcdef"
	seed      = 1
	keyEnv    = "BENCH_KEY"
	partition = 12
)

// timing measures when requests arrive at the target against when they were due: the recorded times, compressed.
func (b *bench) timing(ctx context.Context) error {
	names := topic.NamesOf("timing")
	progress("timing: writing %d exchanges", b.count)
	all, err := b.made(ctx, names, b.count, rate)
	if err != nil {
		return err
	}
	t := table{
		title: fmt.Sprintf("Replay timing: %d Poisson arrivals at %d/s from %d partitions, arrival at the target − due time", b.count, rate, partition),
		head:  []string{"", "speed", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "drift ms", "all, once", "p50 each round", "p99 each round"},
		notes: []string{
			"The reference pacer knows its schedule beforehand and does nothing else: no Kafka, no decoding, no order, no commits.",
			"Due times are absolute (the run's time base in the control topic); drift is the median of the last tenth − that of the first.",
		},
	}
	rows := make(map[string][]timed)
	for round := range b.rounds {
		for _, speed := range []float64{1, 2} {
			for _, who := range []string{"reference pacer", "replayer"} {
				progress("timing, round %d: %s at %g×", round+1, who, speed)
				var got timed
				if who == "replayer" {
					got, err = b.replayTimed(ctx, names, all, speed, round)
				} else {
					got, err = b.paceTimed(ctx, speed)
				}
				if err != nil {
					return fmt.Errorf("%s at %g×: %w", who, speed, err)
				}
				progress("  p50 %.3f p99 %.3f max %.3f ms", got.p50, got.p99, got.max)
				key := fmt.Sprintf("%s|%g×", who, speed)
				rows[key] = append(rows[key], got)
			}
		}
	}
	for _, speed := range []string{"1×", "2×"} {
		for _, who := range []string{"reference pacer", "replayer"} {
			t.rows = append(t.rows, timedRow(who, speed, rows[who+"|"+speed]))
		}
	}
	b.tables = append(b.tables, t)
	return nil
}

// made records exchanges that went through the same rules as the replayer's, as those of a tap with the same key have.
func (b *bench) made(ctx context.Context, names topic.Names, count int, rate float64) ([]feed.Recorded, error) {
	rules, err := redact.New(redact.Options{Key: []byte(benchKey)})
	if err != nil {
		return nil, err
	}
	return feed.Made{
		Count: count, Rate: rate, Seed: seed, Partitions: partition, Digest: rules.Digest(),
		Start: time.Now().Add(-time.Duration(float64(count)/rate*float64(time.Second)) - time.Minute),
	}.Write(ctx, b.broker.Addr(), names)
}

// timed is the error of one run, in ms.
type timed struct {
	p50, p99, p999, max float64
	drift               float64
	missing, repeated   int
}

func timedRow(who, speed string, rounds []timed) []string {
	of := func(f func(timed) float64) []float64 {
		v := make([]float64, len(rounds))
		for i, r := range rounds {
			v[i] = f(r)
		}
		return v
	}
	p50, p99 := of(func(r timed) float64 { return r.p50 }), of(func(r timed) float64 { return r.p99 })
	whole := "yes"
	for _, r := range rounds {
		if r.missing > 0 || r.repeated > 0 {
			whole = fmt.Sprintf("NO: %d missing, %d repeated", r.missing, r.repeated)
		}
	}
	f := func(v []float64) string { return fmt.Sprintf("%.2f", median(v)) }
	return []string{
		who, speed, f(p50), f(p99), f(of(func(r timed) float64 { return r.p999 })), f(of(func(r timed) float64 { return r.max })),
		f(of(func(r timed) float64 { return r.drift })), whole, each(p50, "%.2f"), each(p99, "%.2f"),
	}
}

// withSink runs f beside a sink and returns what arrived.
func withSink(ctx context.Context, f func(addr string) error) ([]sink.Arrival, error) {
	s, err := sink.New(sink.Options{})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	err = f(s.Addr())
	cancel()
	return s.Arrivals(), cmp.Or(err, <-done)
}

func (b *bench) paceTimed(ctx context.Context, speed float64) (timed, error) {
	self, err := os.Executable()
	if err != nil {
		return timed{}, err
	}
	var base int64
	arrivals, err := withSink(ctx, func(addr string) error {
		got, err := b.program(ctx, self, "pace", "-target", addr, "-count", strconv.Itoa(b.count),
			"-rate", strconv.FormatFloat(rate*speed, 'g', -1, 64))
		if err == nil {
			base, err = strconv.ParseInt(strings.TrimSpace(got.Stdout), 10, 64)
		}
		return err
	})
	if err != nil {
		return timed{}, err
	}
	due := make(map[string]time.Time, b.count)
	for i, after := range schedule(b.count, rate*speed) {
		due[traffic.MakeID([16]byte{1}, uint64(i+1)).String()] = time.Unix(0, base).Add(after)
	}
	return judge(arrivals, due), nil
}

func (b *bench) replayTimed(ctx context.Context, names topic.Names, all []feed.Recorded, speed float64, round int) (timed, error) {
	run := fmt.Sprintf("at-%g-%d", speed, round)
	arrivals, err := withSink(ctx, func(addr string) error {
		_, err := b.replay(ctx, "timing", addr, run, strconv.FormatFloat(speed, 'g', -1, 64))
		return err
	})
	if err != nil {
		return timed{}, err
	}
	epoch, wall, err := b.timeBase(ctx, names, run)
	if err != nil {
		return timed{}, err
	}
	due := make(map[string]time.Time, len(all))
	for _, x := range all {
		due[x.ID.String()] = wall.Add(time.Duration(float64(x.Capture.Sub(epoch)) / speed))
	}
	return judge(arrivals, due), nil
}

// program runs a program to its end, which must be a good one.
func (b *bench) program(ctx context.Context, path string, args ...string) (proc.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	got, err := proc.Run(ctx, proc.Options{Path: path, Args: args, Env: []string{keyEnv + "=" + benchKey}})
	if err == nil && got.Code != 0 {
		err = fmt.Errorf("%s: exit code %d\n%s", filepath.Base(path), got.Code, got.Stderr)
	}
	return got, err
}

func (b *bench) replay(ctx context.Context, prefix, target, run, speed string) (proc.Result, error) {
	return b.program(ctx, filepath.Join(b.bin, "replayer"), "run", "--brokers", b.broker.Addr(), "--topic-prefix", prefix,
		"--target", "http://"+target, "--allow-target", target, "--run", run, "--speed", speed,
		"--redact-key", "env:"+keyEnv, "-o", "json")
}

// timeBase reads what the replayers of a run had agreed on.
func (b *bench) timeBase(ctx context.Context, names topic.Names, run string) (epoch, wall time.Time, err error) {
	err = feed.Records(ctx, b.broker.Addr(), names.Control, func(r *topic.Record) error {
		c, err := control.Unmarshal(r.Value)
		if err != nil {
			return err
		}
		if base := c.GetTimeBase(); base.GetRun() == run && wall.IsZero() { // the first one wins
			epoch, wall = time.Unix(0, int64(base.GetCaptureUnixNano())), time.Unix(0, int64(base.GetWallUnixNano()))
		}
		return nil
	})
	if err == nil && wall.IsZero() {
		err = fmt.Errorf("no time base of run %s in %s", run, names.Control)
	}
	return epoch, wall, err
}

// judge compares arrivals with due times.
func judge(arrivals []sink.Arrival, due map[string]time.Time) timed {
	type miss struct {
		due time.Time
		by  time.Duration
	}
	seen := make(map[string]bool, len(due))
	var t timed
	var misses []miss
	for _, a := range arrivals {
		d, ok := due[a.ID]
		if !ok || seen[a.ID] {
			t.repeated++
			continue
		}
		seen[a.ID] = true
		misses = append(misses, miss{d, a.At.Sub(d)})
	}
	t.missing = len(due) - len(seen)
	if len(misses) < 10 {
		return t
	}
	middle := func(part []miss) float64 {
		by := make([]time.Duration, len(part))
		for i, m := range part {
			by[i] = m.by
		}
		slices.Sort(by)
		return ms(by[len(by)/2])
	}
	slices.SortFunc(misses, func(a, b miss) int { return a.due.Compare(b.due) })
	tenth := len(misses) / 10
	t.drift = middle(misses[len(misses)-tenth:]) - middle(misses[:tenth])
	// Too early is as wrong as too late.
	slices.SortFunc(misses, func(a, b miss) int { return cmp.Compare(a.by.Abs(), b.by.Abs()) })
	at := func(q float64) float64 { return ms(misses[min(len(misses)-1, int(q*float64(len(misses))))].by.Abs()) }
	t.p50, t.p99, t.p999, t.max = at(0.5), at(0.99), at(0.999), at(1)
	return t
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
