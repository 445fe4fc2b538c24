package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/reprise-io/reprise/internal/inspect"
)

type topicsOptions struct {
	reading
	all bool
}

func newTopicsCommand() *cobra.Command {
	var o topicsOptions
	c := &cobra.Command{
		Use:   "topics",
		Short: "List the topics: partitions, records, size, times",
		Long: `List the topics of Reprise, of whatever prefix: those named PREFIX.exchanges, PREFIX.control and PREFIX.results.

Times are those of the first and last records, by their Kafka timestamps.`,
		Example: `  inspect topics
  inspect topics --all -o json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context()) },
	}
	fs := c.Flags()
	o.addFlags(fs, inspect.Table, inspect.NDJSON, inspect.JSON, inspect.YAML)
	fs.BoolVar(&o.all, "all", false, "list the cluster's other topics too")
	return c
}

func (o *topicsOptions) run(ctx context.Context) error {
	form, err := o.form()
	if err != nil {
		return err
	}
	cfg, err := o.topicConfig()
	if err != nil {
		return err
	}
	infos, err := inspect.Topics(ctx, cfg, o.all, talk)
	if err != nil {
		return err
	}
	switch form {
	case inspect.Table:
		return inspect.WriteTopics(os.Stdout, infos)
	case inspect.JSON, inspect.YAML:
		return inspect.WriteJSON(os.Stdout, form, infos)
	}
	for _, info := range infos {
		if err := inspect.WriteJSON(os.Stdout, form, info); err != nil {
			return err
		}
	}
	return nil
}
