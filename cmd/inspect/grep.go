package main

import (
	"github.com/spf13/cobra"

	"github.com/reprise-io/reprise/internal/inspect"
)

func newGrepCommand() *cobra.Command {
	var o catOptions
	c := &cobra.Command{
		Use:   "grep EXPR...",
		Short: "List the exchanges that an expression matches",
		Long: `List the exchanges that an expression matches, by the time of their capture: what inspect cat --filter EXPR lists. With several
expressions all must match.

EXPR is METHOD and a path ('POST /api/**'), or an expression over method, path, host, status, header("Name") and what else a filter knows.
What methods, paths, status and flags decide is decided by Kafka headers, without decoding a record.`,
		Example: `  inspect grep 'POST /api/**'
  inspect grep 'status >= 500' --from now-1h
  inspect grep 'method == "POST" && path startsWith "/api"' -o ndjson | jq -r .request.target`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.command, o.filters = "grep", append(args, o.filters...)
			return o.run(c.Context())
		},
	}
	fs := c.Flags()
	o.reading.addFlags(fs, inspect.Table, inspect.NDJSON, inspect.JSON, inspect.YAML)
	o.addWindow(fs)
	o.addFilter(fs)
	o.showing.addFlag(fs)
	fs.Int64VarP(&o.limit, "limit", "n", 0, "stop after this many; 0: all")
	return c
}
