package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"github.com/reprise-io/reprise/cmd/internal/cli"
	"github.com/reprise-io/reprise/internal/admin"
	"github.com/reprise-io/reprise/internal/replay"
	"github.com/reprise-io/reprise/internal/report"
)

func newRunCommand() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:   "run --target URL --allow-target HOST[:PORT]",
		Short: "Replay a recorded window at its own, half, double or full speed",
		Long: `Replay a recorded window at its own, half, double or full speed.

The window, the options and the schedule are fixed in the run's record when it starts. The same command again resumes
a run that was stopped or killed: it keeps the old schedule, so what has become overdue is sent late (--late).
--speed makes the same users faster, --clone makes more of them, --loop makes them come again.
What a crash repeats was in flight or sent in the last 200 ms, and carries the same Reprise-Exchange-Id. Any number of
replicas share a run; partitions of one that died go to the others after 10 s, or back to it at once (--instance).

--fail-on is judged once, when the run has come to its end, over all its replicas and starts, and all that are there then say the
same: a replica waits up to 20 s for the last figures of the others. Above a threshold, or with nothing to measure it of, the exit code is 3.
A run that was interrupted (130), stopped or incomplete (4) keeps its code. Measures:
` + report.Measures(),
		Example: `  replayer run --target http://preprod:8080 --allow-target preprod:8080
  replayer run --run build-481 --target http://preprod:8080 --allow-target preprod:8080 --from yesterday --speed 2
  replayer run --target http://preprod:8080 --allow-target preprod:8080 --speed max --filter 'GET /api/**'
  replayer run --target http://preprod:8080 --allow-target preprod:8080 --clone 5 --clone-id header:X-User-Id
  replayer run --target http://preprod:8080 --allow-target preprod:8080 --from now-10m --loop 6
  replayer run --target http://preprod:8080 --allow-target preprod:8080 --sample 10% --fail-on 'error_rate > 1%' --fail-on 'p99_ratio > 1.2'
  replayer run --target http://new:8080 --baseline-target http://old:8080 --noise-target http://old:8080 --allow-target new:8080 --allow-target old:8080
  replayer run --target http://preprod:8080 --allow-target preprod:8080 --allow-writes 'POST /cart' --results diff
  replayer run --target http://preprod:8080 --allow-target preprod:8080 --rules rules.yaml --max-total 10000 --kill-file /run/reprise/kill`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.run == "" && !c.Flags().Changed("run") {
				o.run = newRunName(time.Now())
			}
			return o.play(c.Context(), false)
		},
	}
	fs := c.Flags()
	o.addTarget(fs)
	o.addWindow(fs)
	o.addFiring(fs)
	return c
}

// newRunName names a run that nobody has named. Two that begin within a second are two runs: under one name the second would join the
// first, and replay nothing of its own.
func newRunName(now time.Time) string {
	return "run-" + now.UTC().Format("20060102-150405") + "-" + strings.ToLower(rand.Text()[:4])
}

func newLiveCommand() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:   "live --target URL --allow-target HOST[:PORT]",
		Short: "Follow production at a fixed distance",
		Long: `Follow production at a fixed distance, until it is interrupted.

It begins now, or where it was stopped. What is older than --max-stale is counted and not sent; a shorter backlog is
worked off at twice the recorded speed, never in a storm. While the target is sick it is left alone (--breaker).
--fail-on is judged when --duration is over, by what this process has sent; its measures are those of replayer run.`,
		Example: `  replayer live --target http://preprod:8080 --allow-target preprod:8080
  replayer live --target http://preprod:8080 --allow-target '*.preprod.internal' --lag 10s --admin :9102
  replayer live --target http://preprod:8080 --allow-target preprod:8080 --duration 10m -o json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.play(c.Context(), true) },
	}
	fs := c.Flags()
	o.addTarget(fs)
	fs.DurationVar(&o.lag, "lag", replay.DefaultLag, "how far behind the capture; above the taps' --response-wait")
	fs.DurationVar(&o.maxStale, "max-stale", replay.DefaultMaxStale, "what is older is counted and not sent")
	fs.DurationVar(&o.duration, "duration", 0, "end by itself after that; 0: never")
	o.addFiring(fs)
	fs.Lookup("run").DefValue, fs.Lookup("breaker").DefValue = "live", "on"
	o.run, o.loops, o.breaker = "live", 1, "on"
	return c
}

func newPlanCommand() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:   "plan --target URL --allow-target HOST[:PORT]",
		Short: "Tell what a run would send and refuse; send nothing",
		Long: `Tell what a run with the same options would send, skip and refuse, how long it would take and how fast it would be.
It sends nothing, writes nothing and joins no group. It ends with code 0 also when the target would be refused.`,
		Example: `  replayer plan --target http://preprod:8080 --allow-target preprod:8080
  replayer plan --target http://preprod:8080 --allow-target preprod:8080 --from now-1h --speed 5 -o json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.plan(c.Context()) },
	}
	fs := c.Flags()
	o.addTarget(fs)
	o.addWindow(fs)
	o.output.Flag(fs, cli.Table, cli.JSON, cli.NDJSON, cli.YAML)
	return c
}

// bound lets the heap grow freely up to what the look-ahead and everything beside it may take, and no further. The program itself,
// of which most is read soon, is resident too, and the limit does not know of it; nor does the limit always hold to the megabyte.
func bound(lookAhead int64) {
	const beside, program, slack = 128 << 20, 20 << 20, 8 << 20
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(beside - program - slack + lookAhead)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(300)
	}
}

// play is run and live.
func (o *options) play(ctx context.Context, live bool) error {
	screen := cli.NewScreen(os.Stderr)
	talk := io.Writer(os.Stderr)
	if screen != nil {
		talk = screen
	}
	r, err := o.resolve(talk)
	if err != nil {
		return err
	}
	if screen != nil {
		r.Draw = screen.Draw
	}
	mode, err := o.output.Resolve(os.Stdout)
	if err != nil {
		return err
	}
	bound(r.LookAhead)
	if !live && r.Profile.IsMax() && r.RateLimit == 0 {
		untune()
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	var ready atomic.Bool
	r.Live, r.Registerer, r.Kafka.Registerer, r.Ready = live, reg, reg, func() { ready.Store(true) }
	if o.Admin != "" {
		srv, err := admin.Listen(admin.Options{Listen: o.Admin, Pprof: o.Pprof, Gatherer: reg, Ready: ready.Load, Logger: r.Logger})
		if err != nil {
			return err
		}
		// Served until the last figures are told.
		serving, stop := context.WithCancel(context.WithoutCancel(ctx))
		ended := make(chan error, 1)
		go func() { ended <- srv.Run(serving) }()
		defer func() {
			stop()
			if err := <-ended; err != nil {
				r.Logger.Warn("admin server", "error", err)
			}
		}()
	}
	kill, disarm := killSignal()
	defer disarm()
	r.Kill = kill
	rep, err := replay.Run(ctx, r)
	if screen != nil {
		screen.Close()
	}
	if rep != nil {
		if werr := writeReport(rep, mode); err == nil {
			err = werr
		}
		if resumable(rep, err) && !live {
			fmt.Fprintf(os.Stderr, "the same command with --run %s resumes it\n", r.Run)
		}
	}
	return err
}

// resumable reports whether the same command goes on with a run: not when it has sent as many as it may.
func resumable(rep *report.Report, err error) bool {
	return rep.State != "finished" && !errors.Is(err, replay.ErrMaxTotal)
}

// killSignal brings a word when the process gets SIGUSR1.
func killSignal() (kill <-chan string, disarm func()) {
	signals, words := make(chan os.Signal, 1), make(chan string, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-signals:
			words <- "SIGUSR1"
		case <-done:
		}
	})
	return words, func() {
		signal.Stop(signals)
		close(done)
		wg.Wait()
	}
}

func writeReport(rep *report.Report, mode string) error {
	if mode != cli.Table {
		return cli.Write(os.Stdout, mode, rep.JSON())
	}
	return rep.Text(os.Stdout)
}

func (o *options) plan(ctx context.Context) error {
	r, err := o.resolve(os.Stderr)
	if err != nil {
		return err
	}
	mode, err := o.output.Resolve(os.Stdout)
	if err != nil {
		return err
	}
	plan, err := replay.MakePlan(ctx, r)
	if err != nil {
		return err
	}
	if mode != cli.Table {
		return cli.Write(os.Stdout, mode, plan.JSON())
	}
	return plan.Text(os.Stdout)
}
