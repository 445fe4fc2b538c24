package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/reprise-io/reprise/cmd/internal/cli"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/inspect"
	"github.com/reprise-io/reprise/internal/topic"
)

// reading holds the flags of every command that reads exchanges.
type reading struct {
	cli.Shared
	output cli.Output
}

func (o *reading) addFlags(fs *pflag.FlagSet, forms ...inspect.Form) {
	o.AddKafka(fs)
	o.AddLog(fs)
	o.LogLevel = "error" // what went wrong is said by the command itself
	fs.Lookup("log-level").DefValue = o.LogLevel
	names := make([]string, len(forms))
	for i, f := range forms {
		names[i] = string(f)
	}
	o.output.Flag(fs, names...)
}

func (o *reading) form() (inspect.Form, error) {
	mode, err := o.output.Resolve(os.Stdout)
	return inspect.Form(mode), err
}

func (o *reading) topicConfig() (topic.Config, error) {
	log, err := o.Logger(os.Stderr)
	if err != nil {
		return topic.Config{}, err
	}
	return o.Topic("reprise-inspect", log), nil
}

func (o *reading) reader() (*inspect.Reader, error) {
	cfg, err := o.topicConfig()
	if err != nil {
		return nil, err
	}
	return inspect.NewReader(cfg, topic.NamesOf(o.TopicPrefix).Exchanges, talk)
}

// written chooses between what reading and what writing ended with: data that could not be written outweighs records
// that could not be read.
func written(reading, writing error) error {
	if writing != nil && inspect.HasData(reading) {
		return writing
	}
	return reading
}

// talk writes a line for a person.
func talk(line string) { fmt.Fprintln(os.Stderr, "inspect: "+line) }

// printer writes exchanges to stdout, for a command that was asked for some.
func (o *reading) printer(s *showing, command string, what ...any) (*inspect.Printer, error) {
	form, err := o.form()
	if err != nil {
		return nil, err
	}
	bodies, err := s.bodies(o, form, command, what...)
	if err != nil {
		return nil, err
	}
	return inspect.NewPrinter(os.Stdout, form, terminalWidth(), bodies), nil
}

// terminalWidth is 0 where stdout is no terminal.
func terminalWidth() int {
	width, _, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// choosing holds the flags that say which exchanges are wanted.
type choosing struct {
	from, to  string
	filters   []string
	partition int32
}

func (c *choosing) addWindow(fs *pflag.FlagSet) {
	fs.StringVar(&c.from, "from", "", "captured at this time or later: RFC 3339, a date, now-1h, today, yesterday")
	fs.StringVar(&c.to, "to", "", "captured before this time")
}

func (c *choosing) addFilter(fs *pflag.FlagSet) {
	fs.StringArrayVar(&c.filters, "filter", nil,
		`an expression (method == "POST" && status >= 500) or METHOD and path ('POST /api/**'); given again, all must match`)
	fs.Int32Var(&c.partition, "partition", inspect.AllPartitions, "only this partition; -1: all")
}

func (c *choosing) query(now time.Time) (inspect.Query, error) {
	q := inspect.Query{Partition: c.partition}
	for _, at := range []struct {
		text string
		to   *time.Time
	}{{c.from, &q.From}, {c.to, &q.To}} {
		if at.text == "" {
			continue
		}
		t, err := cli.ParseTime(at.text, now)
		if err != nil {
			return q, err
		}
		*at.to = t
	}
	if !q.To.IsZero() && !q.From.Before(q.To) {
		return q, fault.BadUsage(fmt.Sprintf("--from %s is not before --to %s", c.from, c.to), "", "--from now-1h --to now")
	}
	for _, source := range c.filters {
		f, err := filter.Compile(source)
		if err != nil {
			return q, err
		}
		q.Filters = append(q.Filters, f)
	}
	return q, nil
}

// checkCount refuses counts below least.
func checkCount(n, least int64) error {
	if n < least {
		return fault.BadUsage(fmt.Sprintf("bad -n %d", n), "", fmt.Sprintf("a number from %d on", least))
	}
	return nil
}
