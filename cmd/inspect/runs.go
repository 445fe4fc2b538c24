package main

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/reprise-io/reprise/internal/inspect"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/topic"
)

type runsOptions struct{ reading }

func newRunsCommand() *cobra.Command {
	var o runsOptions
	c := &cobra.Command{
		Use:   "runs",
		Short: "List replays: how each stands, its target, speed and what it sent",
		Long: `List the runs that the control topic knows, the newest first, each by its newest start (--restart counts them).

States: waiting, running and paused while a replica is at work; finished, stopped or failed when it ended; unfinished when it has neither, as it was
killed: the same command resumes it.`,
		Example: `  inspect runs
  inspect runs -o json | jq '.[] | select(.state == "unfinished") | .run'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context()) },
	}
	o.addFlags(c.Flags(), inspect.Table, inspect.NDJSON, inspect.JSON, inspect.YAML)
	return c
}

func (o *runsOptions) run(ctx context.Context) error {
	form, err := o.form()
	if err != nil {
		return err
	}
	reader, err := o.reader()
	if err != nil {
		return err
	}
	defer reader.Close()
	infos, err := reader.Runs(ctx, topic.NamesOf(o.TopicPrefix).Control)
	if err != nil {
		return err
	}
	switch form {
	case inspect.Table:
		return inspect.WriteRuns(os.Stdout, infos)
	case inspect.JSON, inspect.YAML:
		return inspect.WriteJSON(os.Stdout, form, infos)
	}
	for _, info := range infos {
		err = errors.Join(err, inspect.WriteJSON(os.Stdout, form, info))
	}
	return err
}

// chosenRun holds the flag that says which start of a run is meant.
type chosenRun struct {
	generation uint32
	noise      string
}

func (c *chosenRun) addFlag(fs *pflag.FlagSet) {
	fs.StringVar(&c.noise, "noise", "", "another `RUN` of the same recording, at the build that was recorded: what differs there about as often is noise")
	fs.Uint32Var(&c.generation, "generation", 0, "which start of the run, as --restart counts them from 1; 0: the newest")
}

type reportOptions struct {
	reading
	chosenRun
	html, junit string
}

// Forms that only reports have.
const (
	formHTML  inspect.Form = "html"
	formJUnit inspect.Form = "junit"
)

func newReportCommand() *cobra.Command {
	var o reportOptions
	c := &cobra.Command{
		Use:   "report RUN",
		Short: "Tell what a replay came to: as text, JSON, HTML or JUnit",
		Long: `Tell what a replay came to: what was sent, late, refused and failed, how well its speed was kept, and where answers differ.

Of a run that one process has brought to its end this is the report that it gave; of others (several replicas, one that goes on or was killed)
it is added up from the outcomes that they have stored, and a line on stderr says so. --html and --junit write a file beside what goes to
stdout; - is stdout, and nothing else goes there then.`,
		Example: `  inspect report build-481
  inspect report build-481 --html report.html --junit report.xml
  inspect report build-481 --noise build-480
  inspect report build-481 -o json | jq '.differences[] | [.route, .path, .count]'`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return o.run(c.Context(), args[0]) },
	}
	fs := c.Flags()
	o.addFlags(fs, inspect.Table, inspect.JSON, inspect.NDJSON, inspect.YAML, formHTML, formJUnit)
	o.chosenRun.addFlag(fs)
	fs.StringVar(&o.html, "html", "", "write a page that needs nothing else to this `FILE`")
	fs.StringVar(&o.junit, "junit", "", "write XML as build servers read it to this `FILE`")
	return c
}

func (o *reportOptions) run(ctx context.Context, run string) error {
	form, err := o.form()
	if err != nil {
		return err
	}
	reader, err := o.reader()
	if err != nil {
		return err
	}
	defer reader.Close()
	rep, err := reader.Report(ctx, topic.NamesOf(o.TopicPrefix), inspect.RunQuery{Run: run, Generation: o.generation, Noise: o.noise})
	if rep == nil {
		return err
	}
	return written(err, o.write(rep, form))
}

func (o *reportOptions) write(rep *report.Report, form inspect.Form) error {
	for _, file := range []struct {
		name  string
		write func(io.Writer) error
	}{{o.html, rep.HTML}, {o.junit, rep.JUnit}} {
		if file.name == "" || file.name == "-" {
			continue
		}
		if err := writeFile(file.name, file.write); err != nil {
			return err
		}
	}
	switch {
	case o.html == "-" || form == formHTML:
		return rep.HTML(os.Stdout)
	case o.junit == "-" || form == formJUnit:
		return rep.JUnit(os.Stdout)
	case form == inspect.Table:
		return rep.Text(os.Stdout)
	}
	return inspect.WriteJSON(os.Stdout, form, rep)
}

func writeFile(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

type diffOptions struct {
	reading
	chosenRun
	limit int64
}

func newDiffCommand() *cobra.Command {
	var o diffOptions
	c := &cobra.Command{
		Use:   "diff RUN",
		Short: "List the exchanges of a replay whose answers are not the recorded ones",
		Long: `List the exchanges of a replay whose answers are not the recorded ones, or did not come: where each differs, what was recorded
there, and what came. They are the outcomes that were stored: with --results errors or none a run leaves no differences.

Exit code 0: none. 3: there are some. 4: not all could be read.`,
		Example: `  inspect diff build-481
  inspect diff build-481 -n 20
  inspect diff build-481 --noise build-480
  inspect diff build-481 -o ndjson | jq -c '[.route, .recorded_status, .status]'`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return o.run(c.Context(), args[0]) },
	}
	fs := c.Flags()
	o.addFlags(fs, inspect.Table, inspect.NDJSON, inspect.JSON, inspect.YAML)
	o.chosenRun.addFlag(fs)
	fs.Int64VarP(&o.limit, "limit", "n", 0, "show no more than this many; 0: all")
	return c
}

func (o *diffOptions) run(ctx context.Context, run string) error {
	form, err := o.form()
	if err != nil {
		return err
	}
	if err := checkCount(o.limit, 0); err != nil {
		return err
	}
	reader, err := o.reader()
	if err != nil {
		return err
	}
	defer reader.Close()
	printer := inspect.NewDiffPrinter(os.Stdout, form)
	err = reader.Diff(ctx, topic.NamesOf(o.TopicPrefix), inspect.DiffQuery{
		RunQuery: inspect.RunQuery{Run: run, Generation: o.generation, Noise: o.noise}, Limit: o.limit,
	}, printer.Print)
	if !inspect.HasData(err) && !inspect.IsFinding(err) {
		return err
	}
	return errors.Join(printer.Close(), err)
}
