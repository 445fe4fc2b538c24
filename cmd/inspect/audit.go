package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/reprise-io/reprise/internal/inspect"
	"github.com/reprise-io/reprise/internal/topic"
)

type auditOptions struct {
	reading
	choosing
	taps []string
}

func newAuditCommand() *cobra.Command {
	var o auditOptions
	c := &cobra.Command{
		Use:   "audit",
		Short: "Check that nothing is missing that no tap has accounted for",
		Long: `Check that nothing is missing that no tap has accounted for.

Taps report their counters every 10 s and at their end, and number what they write without a gap. For each tap this
checks that seen + recovered = produced + filtered + sampled out + dropped + unknown + pending + spooled, and that the
numbers that are not in the topic are no more than those counters say. What a killed tap did after its last report cannot
be known: numbers above it are named, and explained by that. So are duplicates, which a kill may leave.

Exit code 0: the sum closes, also when exchanges were dropped and counted. 4: it does not, or not all could be read.
Records are not decoded. With --from and --to only numbers between the first and the last found are looked for.`,
		Example: `  inspect audit
  inspect audit --tap gateway-2 --from now-1h
  inspect audit -o json | jq '.taps[] | {name, state, missing, unexplained}'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context()) },
	}
	fs := c.Flags()
	o.reading.addFlags(fs, inspect.Table, inspect.NDJSON, inspect.JSON, inspect.YAML)
	o.addWindow(fs)
	fs.StringArrayVar(&o.taps, "tap", nil, "only this tap: its name, or the beginning of its id; repeatable")
	return c
}

func (o *auditOptions) run(ctx context.Context) error {
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
	audit, err := reader.Audit(ctx, topic.NamesOf(o.TopicPrefix).Control, inspect.AuditQuery{From: q.From, To: q.To, Taps: o.taps})
	if audit == nil {
		return err
	}
	return written(err, writeAudit(form, audit))
}

// writeAudit writes one line for each tap as NDJSON.
func writeAudit(form inspect.Form, a *inspect.Audit) (err error) {
	switch form {
	case inspect.Table:
		return inspect.WriteAudit(os.Stdout, a)
	case inspect.JSON, inspect.YAML:
		return inspect.WriteJSON(os.Stdout, form, a)
	}
	for i := range a.Taps {
		err = errors.Join(err, inspect.WriteJSON(os.Stdout, form, &a.Taps[i]))
	}
	return err
}
