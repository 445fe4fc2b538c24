package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/reprise-io/reprise/internal/inspect"
)

type getOptions struct {
	reading
	showing
}

func newGetCommand() *cobra.Command {
	var o getOptions
	c := &cobra.Command{
		Use:   "get ID",
		Short: "Show one exchange in full",
		Long: `Show one exchange in full: headers as they stood on the wire, and bodies when asked for.

ID is the whole id, the short form that cat shows, or the last digits of an id, if only one exchange has them.
With -o raw the protobuf value of the record goes to stdout, for protoc --decode.`,
		Example: `  inspect get 9f3c…:18a3
  inspect get 9f3c110000000000000000000000000000000000000018a3 --show-bodies
  inspect get 18a3 -o json | jq .response.headers
  inspect get 18a3 -o raw | protoc --decode reprise.v1.Exchange -I proto reprise/v1/exchange.proto`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return o.run(c.Context(), args[0]) },
	}
	fs := c.Flags()
	o.reading.addFlags(fs, inspect.Table, inspect.NDJSON, inspect.JSON, inspect.YAML, inspect.Raw)
	o.showing.addFlag(fs)
	return c
}

func (o *getOptions) run(ctx context.Context, id string) error {
	name, err := inspect.ParseName(id)
	if err != nil {
		return err
	}
	form, err := o.form()
	if err != nil {
		return err
	}
	bodies, err := o.bodies(&o.reading, form, "get", slog.String("id", id))
	if err != nil {
		return err
	}
	reader, err := o.reader()
	if err != nil {
		return err
	}
	defer reader.Close()
	return reader.Get(ctx, name, func(e inspect.Entry) error {
		return inspect.PrintOne(os.Stdout, form, bodies, e)
	})
}
