// Command bench measures Reprise against other programs, all in one run and in turns, so that the ratios mean something
// on a machine that is shared: tap proxy against HAProxy, nginx and nginx's mirror; the replayer's timing against a
// reference pacer; its speed limit against wrk; reading a packet capture against tshark. `make bench` runs it and writes e2e/bench/RESULTS.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

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
	bin    string
	jars   string
	out    string
	rounds int
	wrkFor time.Duration // of each turn
	count  int           // arrivals in the timing runs
	max    int           // exchanges in the speed runs
	only   string

	captured int // requests in the packet capture

	dir    string
	broker *kafka.Broker
	tables []table
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "pace" {
		return runPace(args[1:])
	}
	var b bench
	fs := flag.NewFlagSet("bench", flag.ExitOnError)
	fs.StringVar(&b.bin, "bin", "bin", "folder with tap and replayer")
	fs.StringVar(&b.jars, "kafka", ".cache/kafka", "folder with Kafka's jars")
	fs.StringVar(&b.out, "out", "", "file for the results; empty: stdout only")
	fs.IntVar(&b.rounds, "rounds", 3, "how often everyone has a turn")
	fs.DurationVar(&b.wrkFor, "wrk", 4*time.Second, "length of a turn under wrk")
	fs.IntVar(&b.count, "arrivals", 20000, "requests of a timing run, at 1,000/s")
	fs.IntVar(&b.max, "max", 200000, "requests of a run at --speed max")
	fs.IntVar(&b.captured, "captured", 254670, "requests in the packet capture that is imported")
	fs.StringVar(&b.only, "only", "edge,timing,max,import", "what to measure")
	if err := fs.Parse(args); err != nil {
		return err
	}
	return b.run(ctx)
}

func (b *bench) run(ctx context.Context) (err error) {
	if b.dir, err = os.MkdirTemp("", "reprise-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := os.Chmod(b.dir, 0o755); err != nil { // nginx's workers are another user
		return err
	}
	if b.only != "import" {
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

	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{{"edge", b.edge}, {"timing", b.timing}, {"max", b.speed}, {"import", b.importing}} {
		if !slices.Contains(strings.Split(b.only, ","), part.name) {
			continue
		}
		if err := part.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return b.write(ctx)
}

// progress tells on stderr what is being measured.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
