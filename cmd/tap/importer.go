package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/reprise-io/reprise/cmd/internal/cli"
	"github.com/reprise-io/reprise/internal/capture/importer"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/tap"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// importOptions holds the flags of tap import.
type importOptions struct {
	cli.Shared
	choice
	format     string
	print      bool
	bodyMax    cli.Bytes
	partitions int32
}

func newImportCommand() *cobra.Command {
	o := importOptions{bodyMax: 256 << 10}
	c := &cobra.Command{
		Use:   "import FILE...",
		Short: "Import recorded traffic: GoReplay files and HAR",
		Long: `Import recorded traffic into Kafka: GoReplay files (.gor) and HAR 1.2, also compressed with gzip.

The format is told from the content. Ids are made from the file's content, so importing a file twice repeats
them. Redaction is on, as in capture. With --print the exchanges go to stdout, one JSON object a line, and
no Kafka is needed.`,
		Example: `  tap import yesterday.gor
  tap import browser.har --print | jq -c '[.request.method, .request.target]'`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, files []string) error { return o.run(c.Context(), files) },
	}
	fs := c.Flags()
	o.AddKafka(fs)
	o.AddLog(fs)
	o.AddRedactKey(fs)
	o.choice.addFlags(fs)
	fs.StringVar(&o.format, "format", "", "gor or har; default: told from the content")
	fs.BoolVar(&o.print, "print", false, "write the exchanges to stdout instead of Kafka")
	fs.Var(&o.bodyMax, "body-max", "keep at most this much of each body; longer ones are flagged as truncated")
	fs.Int32Var(&o.partitions, "partitions", 12, "partitions of the topics, if the import creates them")
	return c
}

func (o *importOptions) run(ctx context.Context, files []string) error {
	log, err := o.Logger(os.Stderr)
	if err != nil {
		return err
	}
	opts := tap.Options{Names: topic.NamesOf(o.TopicPrefix), Partitions: o.partitions, Logger: log}
	opts.Topic = o.Topic("reprise-import", log)
	if err := o.choose(&opts, &o.Shared, log); err != nil {
		return err
	}
	if o.print {
		return o.printFiles(ctx, files, opts)
	}
	im, err := tap.NewImporter(ctx, opts)
	if err != nil {
		return err
	}
	stored, err := im.Run(ctx, func(put func(*traffic.Exchange) error) error { return o.read(ctx, files, log, put) })
	log.Info("imported", "stored", stored, "filtered", im.Filtered, "topic", opts.Names.Exchanges)
	return err
}

func (o *importOptions) printFiles(ctx context.Context, files []string, opts tap.Options) error {
	out := bufio.NewWriter(os.Stdout)
	var line []byte
	err := o.read(ctx, files, opts.Logger, func(x *traffic.Exchange) error {
		keep, err := tap.Prepare(x, opts.Filter, opts.Redactor)
		if err != nil || !keep {
			return err
		}
		line = traffic.AppendJSON(line[:0], x, traffic.JSONOptions{Bodies: true})
		_, err = out.Write(append(line, '\n'))
		return err
	})
	if flushErr := out.Flush(); err == nil {
		err = flushErr
	}
	return err
}

// read reads the files in the order given. One that is broken or not to be read does not keep the others from being read;
// the error tells of all of them.
func (o *importOptions) read(ctx context.Context, files []string, log *slog.Logger, put func(*traffic.Exchange) error) error {
	var failed []error
	for _, path := range files {
		n, err := o.readFile(ctx, path, put)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			log.Info("read", "file", path, "exchanges", n)
		case len(files) == 1:
			return err
		default:
			cli.PrintError(os.Stderr, "tap", err)
			failed = append(failed, err)
		}
		if errors.Is(err, syscall.EPIPE) {
			return err
		}
	}
	if len(failed) == 0 {
		return nil
	}
	f := &fault.Error{
		What: fmt.Sprintf("%d of %d files could not be read whole", len(failed), len(files)), Cause: "see above",
		Try: "import those again when they are mended: ids repeat, so nothing counts twice", Code: fault.Incomplete,
		Err: errors.Join(failed...),
	}
	if len(failed) == len(files) {
		f.Code = fault.Code(failed[0])
	}
	return f
}

func (o *importOptions) readFile(ctx context.Context, path string, put func(*traffic.Exchange) error) (exchanges int64, err error) {
	f, err := importer.Open(path, importer.Options{Format: o.format, BodyMax: int(o.bodyMax)})
	if err != nil {
		return 0, err
	}
	defer f.Close()
	stats, err := f.Each(ctx, put)
	return stats.Exchanges, err
}
