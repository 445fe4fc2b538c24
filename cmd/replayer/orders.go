package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/reprise-io/reprise/cmd/internal/cli"
	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/replay"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/schedule"
)

// orders are the flags of the commands that change a run which is under way.
type orders struct {
	cli.Shared
	output cli.Output
	wait   time.Duration

	notProduction string
}

// aboutOrders is what they have in common.
const aboutOrders = `

All replicas of the run obey at the same moment, 0.8 s after the broker took the order, and say so; what they say is
shown. ` + aboutAnswers

// aboutStop is that of stop, which waits for no moment.
const aboutStop = `

Each replica of the run obeys as soon as it reads the order, and says so; what they say is shown. ` + aboutAnswers

const aboutAnswers = `Nothing is changed
when no replica runs (exit code 1). It is 4 when one has not answered within --wait: the order stands, and the
replica obeys when it reads it.`

func newOrderCommands() []*cobra.Command {
	return []*cobra.Command{
		newOrderCommand(control.VerbPause, "pause RUN", "Let a run or live stand still",
			"Let a run or live stand still. What is in flight is seen through; captured time does not go on until resume.",
			"  replayer pause build-481", nil),
		newOrderCommand(control.VerbResume, "resume RUN", "Go on after a pause",
			"Go on after a pause, where it began: nothing has become overdue meanwhile. Live catches up with production at twice\nits speed; what is older than its --max-stale is counted and not sent.\nA run that a guard holds (authority_is_target) goes on only when --not-production says that its target is none.",
			"  replayer resume build-481\n  replayer resume build-481 --not-production preprod:8080", nil),
		newOrderCommand(control.VerbStop, "stop RUN", "End a run or live, to be resumed later",
			"End all replicas of a run, or of live: the kill switch. What is in flight is seen through, the rest is not sent.\nThe command that started the run resumes it where it was stopped.",
			"  replayer stop build-481", nil),
		newOrderCommand(control.VerbSpeed, "speed RUN X", "Change how fast a run goes",
			"Change how fast a run goes, from now to its end; in a pause, how fast it goes on. It replaces the rest of a --speed\nthat changes by itself. Nothing leads back from max, which has no schedule to go on from.",
			"  replayer speed build-481 5\n  replayer speed build-481 max", func(s string, _ time.Time) (string, error) {
				if _, err := schedule.ParseSpeed(s); err != nil {
					return "", fault.BadUsage(fmt.Sprintf("bad speed %q", s), "want a number above 0, such as 0.5 or 2, or max; a ramp is for --speed of a run",
						"replayer speed RUN 2")
				}
				return s, nil
			}),
		newOrderCommand(control.VerbSeek, "seek RUN TIME", "Go on at a later moment of the recording",
			"Go on at a later moment of the recording. What was captured before it and is not sent yet is counted as skipped\n(seek).",
			"  replayer seek build-481 2026-11-22T12:10:00Z", func(s string, now time.Time) (string, error) {
				t, err := cli.ParseTime(s, now)
				return t.UTC().Format(time.RFC3339Nano), err
			}),
	}
}

func newOrderCommand(verb, use, short, long, example string, argument func(string, time.Time) (string, error)) *cobra.Command {
	var o orders
	about := aboutOrders
	if verb == control.VerbStop {
		about = aboutStop
	}
	c := &cobra.Command{
		Use: use, Short: short, Long: long + about, Example: example, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			arg := ""
			if argument != nil {
				if arg, err = argument(args[1], time.Now()); err != nil {
					return err
				}
			}
			return o.give(c.Context(), verb, args[0], cmp.Or(arg, o.notProduction))
		},
	}
	if argument != nil {
		c.Args = cobra.ExactArgs(2)
	}
	fs := c.Flags()
	o.AddKafka(fs)
	o.AddLog(fs)
	o.LogLevel = "error" // what went wrong is said by the command itself
	fs.Lookup("log-level").DefValue = o.LogLevel
	o.output.Flag(fs, cli.Table, cli.JSON, cli.NDJSON, cli.YAML)
	if verb == control.VerbResume {
		fs.StringVar(&o.notProduction, "not-production", "", "HOST:PORT of the target, which is not production though traffic was recorded at it")
	}
	fs.DurationVar(&o.wait, "wait", 3*time.Second, "how long to wait for the replicas' word")
	return c
}

func (o *orders) give(ctx context.Context, verb, run, argument string) error {
	mode, err := o.output.Resolve(os.Stdout)
	if err != nil {
		return err
	}
	log, err := o.Logger(os.Stderr)
	if err != nil {
		return err
	}
	done, err := replay.Give(ctx, replay.OrderOptions{
		Kafka: o.Topic("reprise-replayer-"+verb, log), Prefix: o.TopicPrefix, Run: run, Verb: verb, Argument: argument,
		Wait: o.wait, Writer: cli.Person(),
	})
	if done == nil {
		return err
	}
	if werr := writeObedience(os.Stdout, mode, done); werr != nil {
		return werr
	}
	return err
}

func writeObedience(w io.Writer, mode string, o *replay.Obedience) error {
	if mode != cli.Table {
		b, err := json.Marshal(o)
		if err != nil {
			return err
		}
		return cli.Write(w, mode, b)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "replica\tstate\tpartitions\tsent\tclock\tobeys")
	for _, r := range o.Replicas {
		clock, obeys := "not known", "not yet"
		if r.ClockAheadMs != nil {
			clock = fmt.Sprintf("%+.1f ms", *r.ClockAheadMs)
		}
		if r.AfterMs != nil {
			obeys = fmt.Sprintf("after %d ms", *r.AfterMs)
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\n", report.Printable(r.Replica), r.State, r.Partitions, report.Number(int64(r.Sent)), clock, obeys)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if !o.InForce.IsZero() && o.Verb != control.VerbStop { // which is obeyed when it is read
		fmt.Fprintf(os.Stderr, "%s %s %sfrom %s on\n", o.Run, o.Verb, spaced(o.Argument), o.InForce.Local().Format("15:04:05.000"))
	}
	return nil
}

func spaced(s string) string {
	if s == "" {
		return ""
	}
	return s + " "
}
