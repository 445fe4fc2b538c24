package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/reprise-io/reprise/cmd/internal/cli"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/inspect"
	"github.com/reprise-io/reprise/internal/redact"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/rules"
)

type lintOptions struct {
	reading
	choosing
	secrets string
	all     bool
}

func newLintCommand() *cobra.Command {
	var o lintOptions
	c := &cobra.Command{
		Use:   "lint [FILE]",
		Short: "Search for what redaction should have caught",
		Long: `Search a topic, or a file, for what redaction should have caught: by name, by look, and known secrets.

Every exchange goes through the rules once more: the built-in ones, with what --rules adds. What its record lists as redacted is skipped, and nothing else.
The Kafka key and headers are searched too; the tap's own ids, times and hashes are known by their form. Findings are places, never values. FILE has exchanges as cat -o ndjson writes them, or the value of one record, as
get -o raw writes it; - is stdin.

--secrets FILE has secrets, one a line. They are looked for in all that a record has, its Kafka key and headers too:
as they are, percent-encoded, JSON-escaped, in base64 and hexadecimal, and in bodies without their content coding.

Exit code 0: nothing was found. 3: something was. 4: not all could be read.`,
		Example: `  inspect lint
  inspect lint --from now-1h --secrets leaked-tokens.txt -o ndjson
  inspect lint --all --filter 'POST /api/**'
  inspect lint --rules rules.yaml --from yesterday
  tap import yesterday.har --print | inspect lint -`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return o.run(c.Context(), args) },
	}
	fs := c.Flags()
	o.reading.addFlags(fs, inspect.Table, inspect.NDJSON, inspect.JSON, inspect.YAML)
	o.addWindow(fs)
	o.addFilter(fs)
	o.AddRules(fs)
	fs.StringVar(&o.secrets, "secrets", "", "file of known secrets, one a line")
	fs.BoolVar(&o.all, "all", false, "use the detectors that are off by default too")
	return c
}

func (o *lintOptions) run(ctx context.Context, args []string) error {
	q, err := o.query(time.Now())
	if err != nil {
		return err
	}
	form, err := o.form()
	if err != nil {
		return err
	}
	known, err := o.known()
	if err != nil {
		return err
	}
	set, err := o.rules()
	if err != nil {
		return err
	}
	screen, out := lintScreen()
	printer := inspect.NewLeakPrinter(out, form)
	linter, err := inspect.NewLinter(set, known, printer.Print)
	if err != nil {
		return err
	}
	if len(args) == 1 {
		err = lintFile(args[0], q, linter)
	} else {
		err = o.lintTopic(ctx, q, linter, screen, printer.Flush)
	}
	if closed := printer.Close(); !inspect.HasData(err) || closed != nil {
		return errors.Join(err, closed)
	}
	talk(linter.Sum().String())
	if found := linter.Sum().Verdict(); found != nil {
		if err != nil {
			talk(err.Error())
		}
		return found
	}
	return err
}

// rules are those that should have caught it.
func (o *lintOptions) rules() (*redact.Rules, error) {
	file := rules.Empty()
	if o.Rules != "" {
		var err error
		if file, err = rules.Load(o.Rules); err != nil {
			return nil, err
		}
	}
	set := file.Redact.Set(file.Version)
	if o.all {
		set.Detectors = redact.AllKinds()
	}
	return set, nil
}

func (o *lintOptions) known() (*inspect.Known, error) {
	if o.secrets == "" {
		return nil, nil //nolint:nilnil // none was asked for
	}
	f, err := os.Open(o.secrets)
	if err != nil {
		return nil, unreadable(err, "--secrets FILE, one secret a line")
	}
	defer f.Close()
	return inspect.ReadKnown(f, o.secrets)
}

func unreadable(err error, try string) error {
	return &fault.Error{What: err.Error(), Try: try, Code: fault.Usage, Err: err}
}

func lintFile(name string, q inspect.Query, l *inspect.Linter) error {
	in := os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return unreadable(err, "a file that inspect cat -o ndjson wrote, or none for the topic")
		}
		defer f.Close()
		in = f
	}
	return l.File(in, name, inspect.NewFileChoice(q), talk)
}

// redrawEvery is the time between two lines of progress.
const redrawEvery = 200 * time.Millisecond

// lintScreen returns the terminal on which to show how far the search is, nil for none, and where findings go: above that line when both
// are on the same one.
func lintScreen() (*cli.Screen, io.Writer) {
	if screen := cli.NewScreen(os.Stdout); screen != nil {
		return screen, screen
	}
	return cli.NewScreen(os.Stderr), os.Stdout
}

func (o *lintOptions) lintTopic(ctx context.Context, q inspect.Query, l *inspect.Linter, screen *cli.Screen, flush func() error) error {
	reader, err := o.reader()
	if err != nil {
		return err
	}
	defer reader.Close()
	var drawn time.Time
	err = reader.Lint(ctx, q, l, func(read, of int64) error {
		now := time.Now()
		if screen == nil || now.Sub(drawn) < redrawEvery {
			return nil
		}
		drawn = now
		screen.Draw([]string{fmt.Sprintf("%s of %s records, %s found", report.Number(read), report.Number(of), report.Number(l.Sum().Leaks))})
		return flush()
	})
	if screen != nil {
		screen.Draw(nil)
	}
	return err
}
