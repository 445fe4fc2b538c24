package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reprise-io/reprise/internal/curl"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/inspect"
	"github.com/reprise-io/reprise/internal/rules"
	"github.com/reprise-io/reprise/internal/traffic"
)

func newRulesCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "rules",
		Short: "Check a rules file, and see what it would do",
		Long: `Check a rules file, and see what it would do.

One YAML file says for all three programs what is recorded, what must not be stored, what may be fired, and how; tap
and replayer take it as --rules FILE. Its sections: filter, sample, redact (for the tap; filter and redact count for the
replayer too), writes, production, rewrite, session, limits, compare (for the replayer). It holds no secrets, only where
they are: env:NAME or file:PATH.

Flags and the file: filters of both must be passed; a flag with one value, such as --sample, takes the place of the
file's; a command of tap set takes the place of the flag. A tap reads the file again when it changes, and at SIGHUP. A
bad file never stops its traffic: the rules before stay in force, and if there were none nothing is recorded. A replayer
refuses a bad file (exit 2), and what the file means is part of what a run is.`,
		Example: `  inspect rules check rules.yaml
  inspect rules explain rules.yaml 'curl -H "Authorization: Bearer x" https://shop.example/api/orders/7?phone=13812345678'
  inspect rules schema > rules.schema.json`,
	}
	c.AddCommand(newRulesCheckCommand(), newRulesSchemaCommand(), newRulesExplainCommand())
	return c
}

func newRulesCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE...",
		Short: "Say all that is wrong with rules files, with line and column",
		Long: `Say all that is wrong with rules files, with line and column. Files that their secrets are in are not read.
Good ones are told with the digest that runs and records name; a bad one is exit 2.`,
		Example: `  inspect rules check rules.yaml
  inspect rules check deploy/*.yaml`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, files []string) error {
			var failed []error
			for _, path := range files {
				f, err := loadRules(path)
				if err != nil {
					failed = append(failed, err)
					continue
				}
				fmt.Printf("%s: good, version %d, digest %s\n", path, f.Version, hex.EncodeToString(f.Digest()))
			}
			return joined(failed, len(files))
		},
	}
}

// loadRules reads the file that an argument names. What rules.Load says of one that is not there speaks of a flag.
func loadRules(path string) (*rules.File, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fault.BadUsage("cannot read the rules file", err.Error(), "the path of one that is there; deploy/rules.yaml is an example")
	}
	return rules.Load(path)
}

// joined is the error about several files.
func joined(failed []error, files int) error {
	if len(failed) <= 1 {
		return errors.Join(failed...)
	}
	var causes []string
	for _, err := range failed {
		causes = append(causes, err.Error())
	}
	return fault.BadUsage(fmt.Sprintf("%d of %d rules files are bad", len(failed), files), strings.Join(causes, "\n"), "mend them, and look again")
}

func newRulesSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of rules files",
		Long: `Print the JSON Schema (draft 2020-12) of rules files, by which editors complete and check them. With the YAML extension
of many editors it is enough to begin the file with:  # yaml-language-server: $schema=rules.schema.json`,
		Example: `  inspect rules schema > rules.schema.json`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			text, err := rules.Schema()
			if err == nil {
				_, err = os.Stdout.Write(append(text, '\n'))
			}
			return err
		},
	}
}

type explainOptions struct {
	reading

	target                                              string
	allowTarget, production, notProduction, allowWrites []string
	allowPublic                                         bool
	maxTotal                                            int64
}

func newRulesExplainCommand() *cobra.Command {
	var o explainOptions
	c := &cobra.Command{
		Use:   "explain FILE EXCHANGE",
		Short: "Show what a rules file would do with an exchange",
		Long: `Show what a rules file would do with an exchange, section by section: which filter decides, whether it is sampled, what
is redacted and what stands there then; whether the target may be fired at (with --target), as what it is sent, which rule allows a write, what it
counts for, and what limits would hold it up. The flags of replayer count as there. Values that are redacted are never shown.

EXCHANGE is a curl command in quotes, the id of an exchange in Kafka, a file with exchanges as inspect cat -o ndjson
writes them or with a curl command, or - for either on stdin. An exchange from Kafka is redacted already: the steps show
what would be done to what is stored. Nothing is sent and nothing is written.`,
		Example: `  inspect rules explain rules.yaml "curl -d 'phone=13812345678' https://shop.example/api/orders"
  inspect rules explain rules.yaml 9f3c…:18a3 --target http://preprod:8080 --allow-target preprod:8080
  inspect rules explain rules.yaml exchanges.ndjson -o ndjson | jq 'select(.steps[].result == "stops")'
  pbpaste | inspect rules explain rules.yaml -`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error { return o.run(c.Context(), args[0], args[1]) },
	}
	fs := c.Flags()
	o.addFlags(fs, inspect.Table, inspect.NDJSON)
	o.AddRedactKey(fs)
	fs.StringVar(&o.target, "target", "", "URL of a target, to be judged as replayer would")
	fs.StringArrayVar(&o.allowTarget, "allow-target", nil, "as replayer has it (repeatable)")
	fs.BoolVar(&o.allowPublic, "allow-public", false, "as replayer has it")
	fs.StringArrayVar(&o.production, "production", nil, "as replayer has it (repeatable)")
	fs.StringArrayVar(&o.notProduction, "not-production", nil, "as replayer has it (repeatable)")
	fs.StringArrayVar(&o.allowWrites, "allow-writes", nil, "as replayer has it (repeatable)")
	fs.Int64Var(&o.maxTotal, "max-total", 0, "as replayer has it")
	return c
}

// replayFlags are those that a replayer would be given.
func (o *explainOptions) replayFlags() (f inspect.ReplayFlags, err error) {
	f = inspect.ReplayFlags{
		AllowTarget: o.allowTarget, AllowPublic: o.allowPublic, NotProduction: o.notProduction, AllowWrites: o.allowWrites, MaxTotal: o.maxTotal,
	}
	for _, s := range o.production {
		a, err := fire.ParseProduction(s, "--production")
		if err != nil {
			return f, err
		}
		f.Production = append(f.Production, a)
	}
	if o.target == "" {
		return f, nil
	}
	if f.Target, err = url.Parse(o.target); err != nil {
		return f, fault.BadUsage("bad --target", "it is no URL", "--target http://preprod:8080")
	}
	return f, nil
}

func (o *explainOptions) run(ctx context.Context, path, exchange string) error {
	file, err := loadRules(path)
	if err != nil {
		return err
	}
	form, err := o.form()
	if err != nil {
		return err
	}
	var key []byte
	if o.RedactKey != "" {
		if key, _, err = o.Key(); err != nil {
			return err
		}
	}
	flags, err := o.replayFlags()
	if err != nil {
		return err
	}
	explainer, err := inspect.NewExplainer(ctx, file, key, flags)
	if err != nil {
		return err
	}
	return o.each(ctx, exchange, func(x *traffic.Exchange) error {
		explanation, err := explainer.Explain(x)
		if err != nil {
			return err
		}
		return explanation.Print(os.Stdout, form)
	})
}

// each calls do with what EXCHANGE names.
func (o *explainOptions) each(ctx context.Context, exchange string, do func(*traffic.Exchange) error) error {
	if word, _, _ := strings.Cut(strings.TrimSpace(exchange), " "); word == "curl" {
		x, err := curl.Parse(exchange)
		if err != nil {
			return err
		}
		return do(x)
	}
	if exchange == "-" {
		return eachOf(os.Stdin, "stdin", do)
	}
	if f, err := os.Open(exchange); err == nil {
		defer f.Close()
		return eachOf(f, exchange, do)
	}
	name, err := inspect.ParseName(exchange)
	if err != nil {
		return fault.BadUsage(fmt.Sprintf("%q is no exchange", exchange), "it is no curl command, no file and no id",
			"'curl https://shop.example/', a file of inspect cat -o ndjson, or an id that inspect cat shows")
	}
	reader, err := o.reader()
	if err != nil {
		return err
	}
	defer reader.Close()
	return reader.Get(ctx, name, func(e inspect.Entry) error { return do(e.Exchange) })
}

// maxExchangeLine bounds a line of a file, and a curl command.
const maxExchangeLine = 16 << 20

// eachOf reads a curl command, or exchanges, one a line.
func eachOf(r io.Reader, name string, do func(*traffic.Exchange) error) error {
	in := bufio.NewReader(r)
	head, _ := in.Peek(256)
	if bytes.HasPrefix(bytes.TrimSpace(head), []byte("curl")) {
		text, err := io.ReadAll(io.LimitReader(in, maxExchangeLine))
		if err != nil {
			return fault.New("cannot read "+name, err.Error(), "")
		}
		x, err := curl.Parse(string(text))
		if err != nil {
			return err
		}
		return do(x)
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxExchangeLine)
	n := 0
	for line := 1; lines.Scan(); line++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var x traffic.Exchange
		if err := traffic.ParseJSON(lines.Bytes(), &x); err != nil {
			return fault.BadUsage(fmt.Sprintf("line %d of %s is no exchange", line, name), err.Error(), "what inspect cat -o ndjson writes, or a curl command")
		}
		if err := do(&x); err != nil {
			return err
		}
		n++
	}
	switch err := lines.Err(); {
	case err != nil:
		return fault.BadUsage("cannot read "+name, err.Error(), "what inspect cat -o ndjson writes, or a curl command")
	case n == 0:
		return fault.BadUsage(name+" is empty", "", "what inspect cat -o ndjson writes, or a curl command")
	}
	return nil
}
