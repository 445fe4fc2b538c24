package main

import (
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/reprise-io/reprise/internal/inspect"
)

type statsOptions struct {
	reading
	choosing
}

func newStatsCommand() *cobra.Command {
	var o statsOptions
	c := &cobra.Command{
		Use:   "stats",
		Short: "Count exchanges by time, route, status and flag",
		Long: `Count exchanges by time, route, status and flag.

Routes are learned: parts of a path that look like values, or take very many values, become {id}. Latencies are
those that production had. "missing by sequence" counts exchanges that a tap gave a number and that are
certainly not in the topic; it is left out where a filter or a partition is chosen.`,
		Example: `  inspect stats
  inspect stats --from now-1h --filter 'host == "shop.example.com"'
  inspect stats -o json | jq '.routes[] | select(.status_5xx > 0)'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context()) },
	}
	fs := c.Flags()
	o.reading.addFlags(fs, inspect.Table, inspect.NDJSON, inspect.JSON, inspect.YAML)
	o.addWindow(fs)
	o.addFilter(fs)
	return c
}

func (o *statsOptions) run(ctx context.Context) error {
	q, err := o.query(time.Now())
	if err != nil {
		return err
	}
	form, err := o.form()
	if err != nil {
		return err
	}
	reader, err := o.reader()
	if err != nil {
		return err
	}
	defer reader.Close()
	stats, err := reader.Stats(ctx, q)
	if stats == nil {
		return err
	}
	if form == inspect.Table {
		return written(err, inspect.WriteStats(os.Stdout, stats))
	}
	return written(err, inspect.WriteJSON(os.Stdout, form, stats))
}
