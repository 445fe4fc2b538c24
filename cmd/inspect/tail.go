package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/reprise-io/reprise/internal/inspect"
)

type tailOptions struct {
	reading
	choosing
	showing
	last int64
}

func newTailCommand() *cobra.Command {
	var o tailOptions
	c := &cobra.Command{
		Use:   "tail",
		Short: "Follow exchanges as they are stored",
		Long: `Show the last exchanges, then new ones as they are stored, until interrupted.

With --filter, -n counts what matches among the last N of every partition.`,
		Example: `  inspect tail
  inspect tail -n 0 --filter 'status >= 500'
  inspect tail -o ndjson | jq -c '[.time, .request.target]'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context()) },
	}
	fs := c.Flags()
	o.reading.addFlags(fs, inspect.Table, inspect.NDJSON, inspect.YAML)
	o.addFilter(fs)
	o.showing.addFlag(fs)
	fs.Int64VarP(&o.last, "last", "n", 10, "show this many that are there already")
	return c
}

func (o *tailOptions) run(ctx context.Context) error {
	q, err := o.query(time.Now())
	if err != nil {
		return err
	}
	if err := checkCount(o.last, 0); err != nil {
		return err
	}
	printer, err := o.printer(&o.showing, "tail", o.asked()...)
	if err != nil {
		return err
	}
	reader, err := o.reader()
	if err != nil {
		return err
	}
	defer reader.Close()
	return reader.Tail(ctx, q, o.last, printer.Print, printer.Flush)
}
