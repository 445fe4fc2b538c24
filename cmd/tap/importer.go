package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

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
	shiftTo    string
	timeScale  float64
	resume     bool
	shift      importer.Shift
	progress   *progress
}

func newImportCommand() *cobra.Command {
	o := importOptions{bodyMax: 256 << 10}
	c := &cobra.Command{
		Use:   "import FILE...",
		Short: "Import recorded traffic: GoReplay, HAR, packet captures, access logs, mitmproxy, OpenSearch captures",
		Long: `Import recorded traffic into Kafka, from files that are plain or compressed with gzip:

  GoReplay            .gor, with or without responses
  HAR 1.2             as browsers and proxies save it
  packet captures     pcap and pcapng: HTTP on any port, through VLANs and tunnels; what a stream lacks is flagged GAP
  access logs         combined, common and vhost_combined are recognised; others by the server's own format string;
                      what syslog, containerd, docker and kubectl put around a line is left out
  mitmproxy           flows as mitmdump -w writes them
  OpenSearch          exports of the capture proxy of opensearch-migrations

The format is told from the content, or by --format. Ids are made from the file's content, so importing a file twice
repeats them; --resume leaves out what is stored. Redaction is on, as in capture. With --print the exchanges go to
stdout, one JSON object a line, and no Kafka is needed.

An access log has no bodies: a request that may have had one (POST, PUT, PATCH …) is flagged TRUNCATED_REQUEST and is
not replayed unless asked for. nginx writes a line at a request's end: with $request_time in the format the time is that
of its beginning. Lines without a request (400s, TLS on a plain port) are counted and left out.

Times that --shift-to moves ahead of now are for replayer live, which waits for them; replayer run ends at now unless
its --to says more.`,
		Example: `  tap import yesterday.gor
  tap import browser.har --print | jq -c '[.request.method, .request.target]'
  tap import production.pcap --include 'GET /api/**'
  tap import access.log.gz
  tap import access.log --format 'nginx:$remote_addr [$time_local] "$request" $status $body_bytes_sent $request_time'
  tap import access.log --format 'nginx:escape=json {"t":"$msec","request":"$request","status":$status}'
  tap import access_log --format 'apache:%h %l %u %t "%r" %>s %b %D "%{Host}i"'
  tap import big.gor --resume
  tap import lastweek.gor --shift-to now-1h --time-scale 0.5`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, files []string) error { return o.run(c.Context(), files) },
	}
	fs := c.Flags()
	o.AddKafka(fs)
	o.AddLog(fs)
	o.AddRedactKey(fs)
	o.AddRules(fs)
	o.choice.addFlags(fs)
	fs.StringVar(&o.format, "format", "", importer.Formats+"; default: told from the content")
	fs.BoolVar(&o.print, "print", false, "write the exchanges to stdout instead of Kafka")
	fs.Var(&o.bodyMax, "body-max", "keep at most this much of each body; longer ones are flagged as truncated")
	fs.Int32Var(&o.partitions, "partitions", 12, "partitions of the topics, if the import creates them")
	fs.StringVar(&o.shiftTo, "shift-to", "", "move the capture times so that the first exchange is at this time, such as now or now-1h")
	fs.Float64Var(&o.timeScale, "time-scale", 1, "stretch the time between exchanges by this: 0.5 for half the time")
	fs.BoolVar(&o.resume, "resume", false, "leave out what an earlier import of the same file has stored")
	return c
}

// check reads the flags that say when.
func (o *importOptions) check() error {
	if !(o.timeScale > 0) || o.timeScale > 1e6 {
		return fault.BadUsage(fmt.Sprintf("bad --time-scale %v", o.timeScale), "", "a number above 0: 0.5 for half the time")
	}
	o.shift.Scale = o.timeScale
	if o.shiftTo == "" {
		return nil
	}
	if o.resume && strings.HasPrefix(o.shiftTo, "now") {
		return fault.BadUsage("--resume with --shift-to "+o.shiftTo, "now is not what it was at the first import",
			"give --shift-to the time of the first import, in full")
	}
	to, err := cli.ParseTime(o.shiftTo, time.Now())
	o.shift.To = to
	return err
}

func (o *importOptions) run(ctx context.Context, files []string) error {
	log, err := o.Logger(os.Stderr)
	if err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	debug.SetGCPercent(gcPercent) // what is read is soon garbage, and little of it lives
	opts := tap.Options{Names: topic.NamesOf(o.TopicPrefix), Partitions: o.partitions, Logger: log}
	opts.Topic = o.Topic("reprise-import", log)
	if err := o.choose(&opts, &o.Shared, log); err != nil {
		return err
	}
	o.progress = startProgress(!o.print || !cli.IsTerminal(os.Stdout))
	defer o.progress.close()
	if o.print {
		return o.printFiles(ctx, files, opts)
	}
	im, err := tap.NewImporter(ctx, opts)
	if err != nil {
		return err
	}
	if o.resume {
		im.Resume(opts)
	}
	stored, err := im.Run(ctx, func(put func(*traffic.Exchange) error) error { return o.read(ctx, files, log, put) })
	log.Info("imported", "stored", stored, "filtered", im.Filtered, "stored_before", im.Resumed, "topic", opts.Names.Exchanges)
	if ctx.Err() != nil {
		log.Info("interrupted: the same command with --resume goes on behind what is stored")
	}
	return err
}

func (o *importOptions) printFiles(ctx context.Context, files []string, opts tap.Options) error {
	out := bufio.NewWriter(os.Stdout)
	var line []byte
	err := o.read(ctx, files, opts.Logger, func(x *traffic.Exchange) error {
		keep, err := tap.Prepare(x, opts.Filters, opts.SessionKey, opts.Redactor)
		if err != nil || !keep {
			return err
		}
		line = traffic.AppendJSON(line[:0], x, traffic.JSONOptions{Bodies: true, Redactions: true})
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
		stats, err := o.readFile(ctx, path, put)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			log.Info("read", "file", path, "exchanges", stats.Exchanges, "answered", stats.Answered, "without_request", stats.Orphans,
				"ignored", stats.Ignored)
			if stats.Broken > 0 {
				log.Warn("requests could not be read: "+importer.UnreadRequests, "file", path, "requests", stats.Broken)
			}
			if stats.Cut > 0 {
				log.Warn("the capture kept only the beginnings of packets (snaplen): what lacks bytes is flagged GAP", "file", path,
					"cut", stats.Cut, "packets", stats.Packets, "try", importer.WholePackets)
			}
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

func (o *importOptions) readFile(ctx context.Context, path string, put func(*traffic.Exchange) error) (importer.Stats, error) {
	f, err := importer.Open(path, importer.Options{Format: o.format, BodyMax: int(o.bodyMax)})
	if err != nil {
		return importer.Stats{}, err
	}
	defer f.Close()
	o.progress.begin(f)
	defer o.progress.end()
	return f.Each(ctx, func(x *traffic.Exchange) error {
		o.progress.exchanges.Add(1)
		o.shift.Move(x)
		return put(x)
	})
}
