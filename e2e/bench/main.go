// Command bench measures Reprise against other programs, all in one run and in turns, so that the ratios mean something
// on a machine that is shared. `make bench` runs it and writes e2e/bench/RESULTS.md, a section for each of its parts:
//
//	edge    requests/s and cost of tap proxy against HAProxy, nginx, Envoy, and the mirrors of those two
//	rate    what each of them adds to an answer's time at a fixed rate
//	half    what the tap drops at half of its maximum
//	growth  how its cost grows with connections, size of answers and rate
//	idle    what idle connections take of its memory
//	sniff   what tap sniff keeps of what passes loopback, against GoReplay
//	timing  when the replayer's requests arrive, against a reference pacer
//	matrix  the same at 100, 1,000 and 5,000/s, 1×, 2× and 5×, with 1, 2 and 4 replayers, against vegeta and GoReplay
//	max     how many the replayer fires a second and what each costs, against wrk, vegeta and GoReplay
//	start   how long it takes to fire the first, against the same
//	backlog what the replayer's memory is with 10 million records before it
//	import  how fast a packet capture is read, against tshark
//	redact  how fast bodies are redacted, and what share of a core that takes
//
// `make bench ONLY=edge,rate` measures these again and leaves the other sections as they are; `make bench QUICK=1` is for
// trying it: everything is short, and RESULTS.md stays as it is.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/reprise-io/reprise/e2e/envoy"
	"github.com/reprise-io/reprise/e2e/kafka"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// bench is one run of everything.
type bench struct {
	bin   string
	jars  string
	envoy string
	gor   string
	// vegeta is its program.
	vegeta string
	out    string

	rounds    int
	turn      time.Duration // of each under wrk
	fixedFor  time.Duration // of each at a fixed rate
	warmUp    time.Duration
	count     int           // arrivals in the timing runs
	speeds    []float64     // of them
	paced     time.Duration // of each in the matrix
	behind    int           // records before a replayer whose memory is taken
	behindFor time.Duration // for how long
	max       int           // exchanges in the speed runs
	captured  int           // requests in the packet capture
	only      string
	quick     bool

	dir    string
	broker *kafka.Broker
	warmed bool    // the broker has compiled its own code
	tables []table // of the part under way
}

// part of the bench: a section of the results.
type part struct {
	name  string
	title string
	run   func(context.Context) error
}

func (b *bench) parts() []part {
	return []part{
		{"edge", "At the edge: as fast as it goes", b.edge},
		{"rate", "At the edge: a fixed rate", b.rate},
		{"half", "At the edge: half of the maximum", b.half},
		{"growth", "How the tap's cost grows", b.growth},
		{"idle", "Idle connections", b.idle},
		{"sniff", "Packets, beside GoReplay", b.sniff},
		{"timing", "Replay: when requests arrive", b.timing},
		{"matrix", "Replay: when requests arrive, beside others", b.matrix},
		{"max", "Replay: as fast as it can", b.speed},
		{"start", "Replay: from the start to the first request", b.start},
		{"backlog", "Replay: memory by what is to be replayed", b.backlog},
		{"import", "Reading a packet capture", b.importing},
		{"redact", "Redaction", b.redaction},
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "pace" {
		return runPace(args[1:])
	}
	var b bench
	fs := flag.NewFlagSet("bench", flag.ExitOnError)
	fs.StringVar(&b.bin, "bin", "bin", "folder with tap and replayer")
	fs.StringVar(&b.jars, "kafka", ".cache/kafka", "folder with Kafka's jars")
	fs.StringVar(&b.envoy, "envoy", filepath.Join(".cache/envoy", envoy.Binary), "Envoy's program")
	fs.StringVar(&b.gor, "goreplay", ".cache/bin/goreplay", "GoReplay's program; tables say so when it is not there")
	fs.StringVar(&b.vegeta, "vegeta", ".cache/bin/vegeta", "vegeta's program; tables say so when it is not there")
	fs.StringVar(&b.out, "out", "", "file for the results; empty: stdout only")
	fs.IntVar(&b.rounds, "rounds", 2, "how often everyone has a turn")
	fs.DurationVar(&b.turn, "turn", 3*time.Second, "length of a turn under wrk, in whole seconds")
	fs.DurationVar(&b.fixedFor, "fixed", 5*time.Second, "length of a turn at a fixed rate")
	fs.DurationVar(&b.warmUp, "warm-up", 12*time.Second, "how long the tap captures before anything is measured")
	fs.IntVar(&b.count, "arrivals", 20000, "requests of a timing run, at 1,000/s")
	b.speeds = []float64{1, 2, 5}
	fs.Func("speeds", "of the timing runs, with commas between (default 1,2,5)", b.setSpeeds)
	fs.DurationVar(&b.paced, "paced", 8*time.Second, "length of a turn of the matrix")
	fs.IntVar(&b.behind, "behind", 10_000_000, "records before the replayer whose memory is taken")
	fs.DurationVar(&b.behindFor, "behind-for", 20*time.Second, "for how long it is taken")
	fs.IntVar(&b.max, "max", 200000, "requests of a run at --speed max")
	fs.IntVar(&b.captured, "captured", 254670, "requests in the packet capture that is imported")
	fs.StringVar(&b.only, "only", "", "parts to measure, with commas between; empty: all")
	fs.BoolVar(&b.quick, "quick", false, "for trying: one round, everything short, and nothing is written")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if b.quick {
		b.rounds, b.turn, b.fixedFor, b.warmUp, b.count, b.max, b.captured = 1, 2*time.Second, 2*time.Second, 3*time.Second, 2000, 20000, 25000
		b.paced, b.behind, b.behindFor = 500*time.Millisecond, 100000, 4*time.Second
		b.out = ""
	}
	return b.run(ctx)
}

func (b *bench) setSpeeds(s string) error {
	b.speeds = nil
	for one := range strings.SplitSeq(s, ",") {
		speed, err := strconv.ParseFloat(one, 64)
		if err != nil || speed <= 0 {
			return fmt.Errorf("%q is no speed", one)
		}
		b.speeds = append(b.speeds, speed)
	}
	return nil
}

func (b *bench) run(ctx context.Context) (err error) {
	parts, err := b.chosen()
	if err != nil {
		return err
	}
	moreFiles()
	runtime.GOMAXPROCS(runtime.NumCPU() + 2) // a woken thread of ours, a sink's or an open loop's, still needs a processor
	if b.dir, err = os.MkdirTemp("", "reprise-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := os.Chmod(b.dir, 0o755); err != nil { // nginx's workers are another user
		return err
	}
	if slices.ContainsFunc(parts, func(p part) bool { return p.name != "import" && p.name != "redact" }) {
		data := filepath.Join(b.dir, "kafka")
		if err := os.Mkdir(data, 0o755); err != nil {
			return err
		}
		if b.broker, err = kafka.New(ctx, kafka.Options{Jars: b.jars, Dir: data, HeapMB: 1024}); err != nil {
			return err
		}
		if err := b.broker.Start(ctx); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.broker.Stop()) }()
	}
	machine := machine(ctx, b.jars, b.envoy)
	for _, p := range parts {
		b.tables = nil
		if err := p.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if err := b.write(p, machine); err != nil { // now: what comes later may fail
			return err
		}
	}
	return nil
}

// chosen are the parts to measure.
func (b *bench) chosen() ([]part, error) {
	all := b.parts()
	if b.only == "" {
		return all, nil
	}
	var parts []part
	for name := range strings.SplitSeq(b.only, ",") {
		at := slices.IndexFunc(all, func(p part) bool { return p.name == name })
		if at < 0 {
			return nil, fmt.Errorf("there is no part %q; there are %s", name, partNames(all))
		}
		parts = append(parts, all[at])
	}
	return parts, nil
}

func partNames(parts []part) string {
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = p.name
	}
	return strings.Join(names, ", ")
}

// progress tells on stderr what is being measured.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
