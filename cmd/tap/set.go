package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/reprise-io/reprise/cmd/internal/cli"
	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/tap"
	"github.com/reprise-io/reprise/internal/topic"
)

// setOptions holds the flags of tap set.
type setOptions struct {
	cli.Shared
	output           cli.Output
	tap              string
	capture, sample  string
	include, exclude []string
	rateLimit        string
	reset, stored    bool
	wait             time.Duration
}

func newSetCommand() *cobra.Command {
	var o setOptions
	c := &cobra.Command{
		Use:   "set [--tap ID|NAME] [--sample P] …",
		Short: "Change what running taps capture",
		Long: `Change what running taps capture, through the control topic; without a change, show what is in force.

A command is stronger than the flags and the configuration file of the taps that it names, also of those that start
later, until a newer one for the same setting or --reset. It is known to all within a second. A tap that starts
records nothing before it knows what is in force; when Kafka does not tell it for 5 s, it goes by its flags. Traffic
is not touched. Raising --sample keeps the sessions that a smaller share kept.

The taps' answers are shown: what is in force (* by a command), and how long after the command that was known here.
When no such tap runs nothing is set, and the exit code is 1 (--stored sets it for taps that start later). It is 4
when a tap has not answered within --wait: the command stands, and the tap obeys when it reads it.`,
		Example: `  tap set --sample 10%                            # all taps
  tap set --tap gateway-2 --sample 25% --include 'GET /api/**' --exclude 'GET /api/health'
  tap set --capture off                           # nothing more is recorded, traffic passes
  tap set --include ''                            # no includes: everything
  tap set --reset                                 # back to flags and files
  tap set                                         # look`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context(), c.Flags()) },
	}
	fs := c.Flags()
	o.AddKafka(fs)
	o.AddLog(fs)
	o.LogLevel = "error" // what went wrong is said by the command itself
	fs.Lookup("log-level").DefValue = o.LogLevel
	o.output.Flag(fs, cli.Table, cli.NDJSON, cli.JSON, cli.YAML)
	fs.StringVar(&o.tap, "tap", control.AllTaps, "taps with this name, or the one whose id begins so; * is all")
	fs.StringVar(&o.capture, "capture", "", "on, or off: traffic passes and is counted, nothing is recorded")
	fs.StringVar(&o.sample, "sample", "", "share of the traffic to record; whole sessions are kept")
	fs.StringArrayVar(&o.include, "include", nil, "capture only what matches: 'GET /api/**' or an expression; repeatable")
	fs.StringArrayVar(&o.exclude, "exclude", nil, "leave out what matches; repeatable, and stronger than --include")
	fs.StringVar(&o.rateLimit, "rate-limit", "", "record at most this many exchanges a second; 0: no limit")
	fs.BoolVar(&o.reset, "reset", false, "forget the commands given before; other changes come on top")
	fs.BoolVar(&o.stored, "stored", false, "set it also when no such tap runs, for those that start later")
	fs.DurationVar(&o.wait, "wait", 3*time.Second, "how long to wait for the taps' answers")
	return c
}

// changes are what the flags ask for.
func (o *setOptions) changes(fs *pflag.FlagSet) (changes tap.Changes, err error) {
	for _, flag := range []struct{ name, value string }{
		{"capture", o.capture}, {"sample", o.sample}, {"rate-limit", o.rateLimit},
	} {
		if fs.Changed(flag.name) {
			if err := changes.Add(flag.name, flag.value); err != nil {
				return nil, err
			}
		}
	}
	for _, flag := range []struct {
		name    string
		filters []string
	}{{"include", o.include}, {"exclude", o.exclude}} {
		if fs.Changed(flag.name) {
			filters := slices.DeleteFunc(slices.Clone(flag.filters), func(f string) bool { return f == "" }) // '' alone: none
			if err := changes.AddFilters(flag.name, filters); err != nil {
				return nil, err
			}
		}
	}
	if o.reset {
		changes.Reset()
	}
	return changes, nil
}

func (o *setOptions) run(ctx context.Context, fs *pflag.FlagSet) error {
	mode, err := o.output.Resolve(os.Stdout)
	if err != nil {
		return err
	}
	changes, err := o.changes(fs)
	if err != nil {
		return err
	}
	log, err := o.Logger(os.Stderr)
	if err != nil {
		return err
	}
	states, err := tap.Set(ctx, tap.SetOptions{
		Topic: o.Topic("reprise-tap-set", log), Names: topic.NamesOf(o.TopicPrefix), Tap: o.tap, Changes: changes, Stored: o.stored,
		Wait: o.wait, Writer: cli.Person(),
	})
	if states == nil {
		return err
	}
	if writeErr := writeStates(os.Stdout, mode, states); writeErr != nil {
		return writeErr
	}
	if err == nil && len(states) == 0 {
		fmt.Fprintln(os.Stderr, "tap: stored; no such tap runs now, those that start later obey")
	}
	return err
}

func writeStates(w io.Writer, mode string, states []tap.Answer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	switch mode {
	case cli.JSON:
		enc.SetIndent("", "  ")
		return enc.Encode(states)
	case cli.NDJSON:
		for _, s := range states {
			if err := enc.Encode(s); err != nil {
				return err
			}
		}
		return nil
	case cli.YAML:
		b, err := json.Marshal(states)
		if err != nil {
			return err
		}
		return cli.Write(w, mode, b)
	}
	return writeStateTable(w, states)
}

func writeStateTable(w io.Writer, states []tap.Answer) error {
	if len(states) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "tap\tsource\thost\tcapture\tsample\tinclude\texclude\trate limit\tanswer")
	starred, protected := false, false
	for _, s := range states {
		cell := func(verb, value string) string {
			if slices.Contains(s.ByCommand, verb) {
				starred = true
				return value + " *"
			}
			return value
		}
		cells := []string{
			named(s), s.Source, s.Host, cell("capture", capturing(s)), cell("sample", s.Sample), cell("include", listed(s.Include, "all")),
			cell("exclude", listed(s.Exclude, "–")), cell("rate-limit", limit(s.RateLimit)), answer(s),
		}
		protected = protected || s.OffByItself != "" && s.OffByItself != tap.OffByRules
		for i, c := range cells {
			cells[i] = report.Printable(c)
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if protected {
		fmt.Fprintln(w, "OFF: by itself, as the tap uses more than --max-cpu or --max-rss allow; it comes back by itself when there is room")
	}
	for _, s := range states {
		if s.RulesFlaw != "" {
			fmt.Fprintf(w, "BAD RULES at %s: %s\n", report.Printable(named(s)), report.Printable(s.RulesFlaw))
		}
	}
	if starred {
		_, err := fmt.Fprintln(w, "* by a command; tap set --reset goes back to flags and files")
		return err
	}
	return nil
}

func capturing(s tap.Answer) string {
	if s.Capture && s.OffByItself != "" {
		return "OFF (" + s.OffByItself + ")"
	}
	return onOff(s.Capture)
}

func named(s tap.Answer) string {
	if s.Name == "" {
		return s.ID[:min(8, len(s.ID))]
	}
	return s.Name
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

func listed(filters []string, none string) string {
	if len(filters) == 0 {
		return none
	}
	return strings.Join(filters, ", ")
}

func limit(rate float64) string {
	if rate == 0 {
		return "–"
	}
	return strconv.FormatFloat(rate, 'g', -1, 64) + "/s"
}

func answer(s tap.Answer) string {
	switch {
	case !s.Obeys:
		return "NONE"
	case s.AfterMilli == nil:
		return "–"
	}
	return fmt.Sprintf("after %d ms", *s.AfterMilli)
}
