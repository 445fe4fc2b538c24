// Package cli is what the three commands share: flags, times, output modes, signals, and how an error is shown.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/reprise-io/reprise/internal/fault"
)

// Version is set by the linker; "dev" in a plain go build.
var Version = "dev" //nolint:gochecknoglobals // the linker can set nothing else

// ExitCodes closes every root command's help.
const ExitCodes = `Exit codes:
  0 ok   1 failure   2 usage or configuration   3 threshold, difference or lint finding
  4 incomplete (some records lost, or only a part could be read)   130 interrupted after a clean drain`

// helpTemplate starts with what most people came for.
const helpTemplate = `{{if .HasExample}}Examples:
{{.Example}}

{{end}}{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}

{{end}}{{.UsageString}}`

const usageTemplate = `Usage:
  {{if .HasAvailableSubCommands}}{{.CommandPath}} COMMAND{{else}}{{.UseLine}}{{end}}
{{if .HasAvailableSubCommands}}
Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}
{{end}}{{if .HasAvailableLocalFlags}}
Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}
{{end}}{{if .HasAvailableSubCommands}}
{{.CommandPath}} COMMAND --help tells more about a command.
{{end}}`

// ErrInterrupted is the cause of the context's end when a signal asked for it.
var ErrInterrupted = errors.New("interrupted")

// Main runs root with the process's arguments and returns the exit code. The first SIGINT or SIGTERM ends the context
// with cause ErrInterrupted, so that the command drains; another one, a second later or more, ends the process at once. So do the
// signals in also, unless whoever started the process had them ignored, as nohup does.
func Main(root *cobra.Command, also ...os.Signal) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, append(slices.DeleteFunc(also, signal.Ignored), os.Interrupt, syscall.SIGTERM)...)
	done := make(chan struct{})
	defer close(done)
	go obey(signals, done, func() { cancel(ErrInterrupted) }, func() {
		fmt.Fprintln(os.Stderr, root.Name()+": a second signal: ended at once, what was under way is given up")
		os.Exit(fault.Failure)
	})
	// A reader that went away (inspect cat | head) is no error: writes then fail with EPIPE, which Run reports.
	signal.Ignore(syscall.SIGPIPE)

	prepare(root)
	err := root.ExecuteContext(ctx)
	interrupted := errors.Is(context.Cause(ctx), ErrInterrupted)
	switch {
	case errors.Is(err, syscall.EPIPE):
		return fault.OK
	case interrupted && (err == nil || errors.Is(err, context.Canceled) || errors.Is(err, ErrInterrupted)):
		return fault.Interrupted
	case err == nil:
		return fault.OK
	}
	PrintError(os.Stderr, root.Name(), err)
	return fault.Code(err)
}

// sameSignal is how far apart two signals may be to be one that came twice, as from timeout(1) or a wrapper that passes on what the
// terminal has sent to the whole group. Taken for impatience, they would cut off what was to drain.
const sameSignal = time.Second

// obey drains at the first signal and quits at a later one, until done.
func obey(signals <-chan os.Signal, done <-chan struct{}, drain, quit func()) {
	var first time.Time
	for {
		select {
		case <-done:
			return
		case <-signals:
		}
		switch {
		case first.IsZero():
			first = time.Now()
			drain()
		case time.Since(first) >= sameSignal:
			quit()
			return
		}
	}
}

// prepare sets what every command of a tree needs: silence for our own error printing, and usage errors with code 2.
func prepare(root *cobra.Command) {
	root.SilenceUsage, root.SilenceErrors = true, true
	root.Version = Version
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newManCommand(root))
	root.SetHelpTemplate(helpTemplate)
	root.SetUsageTemplate(usageTemplate)
	root.SetFlagErrorFunc(badFlag)
	walk(root, func(c *cobra.Command) {
		if c.Args != nil {
			check := c.Args
			c.Args = func(c *cobra.Command, args []string) error {
				if err := swallowed(c); err != nil {
					return err
				}
				if err := check(c, args); err != nil {
					return fault.BadUsage(err.Error(), "", c.UseLine()+"\n"+c.CommandPath()+" --help")
				}
				return missing(c)
			}
		}
		if c.HasSubCommands() && c.RunE == nil {
			c.Args = cobra.ArbitraryArgs
			c.RunE = unknownCommand
		}
	})
}

// swallowed is a usage error when a flag was given without its value and has taken the next flag for that.
func swallowed(c *cobra.Command) (err error) {
	c.Flags().Visit(func(f *pflag.Flag) {
		name, _, _ := strings.Cut(strings.Trim(f.Value.String(), "[]"), "=")
		if name, ok := strings.CutPrefix(name, "--"); ok && c.Flags().Lookup(name) != nil && err == nil {
			err = fault.BadUsage(fmt.Sprintf("--%s needs a value", f.Name), fmt.Sprintf("what follows it is --%s", name), c.CommandPath()+" --help")
		}
	})
	return err
}

// missing is a usage error that names the required flags that were not given. cobra has no hook for these: it comes after the arguments.
func missing(c *cobra.Command) error {
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if _, required := f.Annotations[cobra.BashCompOneRequiredFlag]; required && !f.Changed {
			names = append(names, "--"+f.Name)
		}
	})
	if names == nil {
		return nil
	}
	return fault.BadUsage("no "+strings.Join(names, " and no ")+" given", "", c.UseLine()+"\n"+c.CommandPath()+" --help")
}

// badFlag is a usage error, with what its value has to be, or the flag that was probably meant.
func badFlag(c *cobra.Command, err error) error {
	try := c.CommandPath() + " --help"
	if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return fault.BadUsage(fmt.Sprintf("bad --%s %q", bad.GetFlag().Name, bad.GetValue()), wanted(bad), try)
	}
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok && unknown.GetSpecifiedShortnames() == "" {
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near, ok := fault.Nearest(unknown.GetSpecifiedName(), names); ok {
			try = "--" + near + "\n" + try
		}
	}
	return fault.BadUsage(err.Error(), "", try)
}

// wanted says what is wrong with a flag's value, in words that are not the parser's of a number or a time.
func wanted(bad *pflag.InvalidValueError) string {
	kind := bad.GetFlag().Value.Type()
	switch {
	case errors.Is(bad, strconv.ErrRange):
		return "the number is too large or too small"
	case kind == "duration":
		return "want a time with its unit, such as 500ms, 10s or 1m"
	case kind == "bool":
		return "want true or false"
	case errors.Is(bad, strconv.ErrSyntax):
		return "want a number"
	}
	return bad.Unwrap().Error()
}

// unknownCommand shows help when nothing was asked for, and an error with the nearest names otherwise.
func unknownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return c.Help()
	}
	try := c.CommandPath() + " --help"
	c.SuggestionsMinimumDistance = 2
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		try = c.CommandPath() + " " + near[0]
	}
	return fault.BadUsage(fmt.Sprintf("unknown command %q for %q", args[0], c.CommandPath()), "", try)
}

func walk(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, sub := range c.Commands() {
		walk(sub, f)
	}
}

// PrintError writes err as people read it: program and what, then cause and what to try on lines of their own.
func PrintError(w io.Writer, program string, err error) {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		fmt.Fprintf(w, "%s: %s\n", program, oneLine(err.Error()))
		return
	}
	fmt.Fprintf(w, "%s: %s\n", program, e.What)
	for _, line := range []struct{ label, text string }{{"cause", e.Cause}, {"try", e.Try}} {
		if line.text != "" {
			fmt.Fprintf(w, "  %-5s  %s\n", line.label, strings.ReplaceAll(line.text, "\n", "\n         "))
		}
	}
}

func oneLine(s string) string { return strings.ReplaceAll(s, "\n", "; ") }
