package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/reprise-io/reprise/cmd/internal/cli"
	"github.com/reprise-io/reprise/internal/export"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/inspect"
)

// Formats that are forms of inspect itself, and not of other tools.
const (
	exportNDJSON = "ndjson"
	exportRaw    = "raw"
)

const exportFormats = "har, curl, gor, ndjson, k6 or raw"

type exportOptions struct {
	reading
	choosing
	format, target string
	limit          int64
}

func newExportCommand() *cobra.Command {
	var o exportOptions
	c := &cobra.Command{
		Use:   "export --format F",
		Short: "Write exchanges in the formats of other tools: HAR, curl, GoReplay, k6",
		Long: `Write exchanges in the formats of other tools, to stdout, by the time of their capture.

  har     one HTTP Archive 1.2, for browsers and viewers; what it has no name for is in _id and _flags
  curl    one command a line, for bash; each is marked, so that a tap passes it on and does not record it
  gor     payloads of GoReplay with their answers: tap import and gor --input-file read them
  k6      a script that sends all in their order, with the pauses between them: k6 run -e SPEED=2 FILE
  ndjson  as inspect cat -o ndjson
  raw     the protobuf value of each record (reprise.v1.Exchange), each behind its length as a varint

Bodies are in all of them, redacted as they are stored; a line on stderr says who asked. Commands go to where each exchange was recorded, unless
--target says another place; a script goes nowhere without it or -e TARGET=URL. Requests that are not known whole, and upgrades, are left out of curl, gor and k6, and
counted.`,
		Example: `  inspect export --format har --from now-10m > traffic.har
  inspect export --format curl --filter 'GET /api/**' --target http://preprod:8080 -n 10
  inspect export --format gor --from yesterday --to today > yesterday.gor
  inspect export --format k6 --target http://preprod:8080 > load.js`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context()) },
	}
	fs := c.Flags()
	o.AddKafka(fs)
	o.AddLog(fs)
	o.LogLevel = "error" // what went wrong is said by the command itself
	fs.Lookup("log-level").DefValue = o.LogLevel
	fs.StringVar(&o.format, "format", "", exportFormats)
	fs.StringVar(&o.target, "target", "", "http://HOST:PORT that curl and k6 are to send to; default: where each was recorded (curl), none (k6)")
	o.addWindow(fs)
	o.addFilter(fs)
	fs.Int64VarP(&o.limit, "limit", "n", 0, "stop after this many; 0: all")
	return c
}

func (o *exportOptions) run(ctx context.Context) error {
	q, err := o.query(time.Now())
	if err != nil {
		return err
	}
	if err := checkCount(o.limit, 0); err != nil {
		return err
	}
	q.Limit = o.limit
	out, err := o.writer(os.Stdout)
	if err != nil {
		return err
	}
	shown := showing{show: true}
	bodies, err := shown.bodies(&o.reading, inspect.NDJSON, "export", o.asked()...)
	if err != nil {
		return err
	}
	reader, err := o.reader()
	if err != nil {
		return err
	}
	defer reader.Close()
	err = reader.Cat(ctx, q, func(e inspect.Entry) error {
		bodies.Tell(e)
		return out.write(e)
	})
	if !inspect.HasData(err) {
		return err
	}
	return written(err, out.close())
}

// exporter writes entries in one format.
type exporter struct {
	write func(inspect.Entry) error
	close func() error
}

func (o *exportOptions) writer(w io.Writer) (exporter, error) {
	switch o.format {
	case "":
		return exporter{}, fault.BadUsage("no --format given", "", "--format "+exportFormats)
	case exportNDJSON:
		p := inspect.NewPrinter(w, inspect.NDJSON, 0, &inspect.Bodies{Show: true})
		return exporter{p.Print, p.Close}, nil
	case exportRaw:
		return exporter{func(e inspect.Entry) error {
			_, err := w.Write(append(binary.AppendUvarint(nil, uint64(len(e.Record.Value))), e.Record.Value...))
			return err
		}, func() error { return nil }}, nil
	}
	switch export.Format(o.format) {
	case export.HAR, export.Curl, export.Gor, export.K6:
	default:
		return exporter{}, fault.BadUsage(fmt.Sprintf("bad --format %q", o.format), "", "--format "+exportFormats)
	}
	out, err := export.New(w, export.Format(o.format), export.Options{Target: o.target, Creator: "reprise " + cli.Version})
	if err != nil {
		return exporter{}, err
	}
	var writes int
	return exporter{
		func(e inspect.Entry) error {
			if m := string(e.Exchange.Request.Method); m != "GET" && m != "HEAD" && m != "OPTIONS" {
				writes++
			}
			return out.Write(e.Exchange)
		},
		func() error {
			if writes > 0 && o.format == string(export.Curl) && o.target == "" {
				talk(fmt.Sprintf("%d of them may write, and go to where they were recorded: --target http://HOST:PORT says another place", writes))
			}
			if n := out.LeftOut(); n > 0 {
				talk(fmt.Sprintf("%d left out: not known whole, or of no form in %s", n, o.format))
			}
			return out.Close()
		},
	}, nil
}
