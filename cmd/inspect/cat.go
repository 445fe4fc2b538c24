package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/reprise-io/reprise/internal/inspect"
)

type catOptions struct {
	reading
	choosing
	showing
	limit   int64
	command string // that asks
}

func newCatCommand() *cobra.Command {
	o := catOptions{command: "cat"}
	c := &cobra.Command{
		Use:   "cat",
		Short: "List exchanges by capture time, up to what is in the topic now",
		Long: `List exchanges by the time of their capture, up to what is in the topic now.

Partitions are sorted into one another as they are read, within 128 MiB: an exchange that was stored long after
its capture comes late, and a line on stderr says so. Times are in UTC.`,
		Example: `  inspect cat --from now-10m
  inspect cat --filter 'GET /items/*' --filter 'duration_ms > 500' -n 20
  inspect cat --from yesterday --to today -o ndjson | jq -r .request.target`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context()) },
	}
	fs := c.Flags()
	o.reading.addFlags(fs, inspect.Table, inspect.NDJSON, inspect.JSON, inspect.YAML)
	o.addWindow(fs)
	o.addFilter(fs)
	o.showing.addFlag(fs)
	fs.Int64VarP(&o.limit, "limit", "n", 0, "stop after this many; 0: all")
	return c
}

func (o *catOptions) run(ctx context.Context) error {
	q, err := o.query(time.Now())
	if err != nil {
		return err
	}
	if err := checkCount(o.limit, 0); err != nil {
		return err
	}
	q.Limit = o.limit
	printer, err := o.printer(&o.showing, o.command, o.asked()...)
	if err != nil {
		return err
	}
	reader, err := o.reader()
	if err != nil {
		return err
	}
	defer reader.Close()
	err = reader.Cat(ctx, q, printer.Print)
	if !inspect.HasData(err) {
		return written(err, printer.Flush())
	}
	return written(err, printer.Close())
}
