package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/reprise-io/reprise/internal/capture/ingest"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/secret"
	"github.com/reprise-io/reprise/internal/tap"
	"github.com/reprise-io/reprise/internal/traffic"
)

// ingestOptions holds the flags of an ingest.
type ingestOptions struct {
	listen       string
	drainTimeout time.Duration
	token        string
	concurrency  int
	production
}

func (o *ingestOptions) addFlags(fs *pflag.FlagSet) {
	addListening(fs, &o.listen, &o.drainTimeout)
	o.production.addFlags(fs)
	fs.StringVar(&o.token, "token", "", "what filters must send as Authorization: Bearer, as env:NAME or file:PATH; absent: anyone may send")
	fs.IntVar(&o.concurrency, "concurrency", 64, "requests read at the same time; more are answered 429 at once")
}

func (o *ingestOptions) check() (wrong problems) {
	wrong.note("listen", checkAddress("listen", o.listen, "ADDRESS, such as :8090"))
	wrong.time("drain-timeout", o.drainTimeout, 0)
	_, err := readToken(o.token)
	wrong.note("token", err)
	if o.concurrency < 1 {
		wrong.note("concurrency", fault.BadUsage(fmt.Sprintf("--concurrency %d is too small", o.concurrency), "", "at least 1"))
	}
	o.production.check(&wrong)
	return wrong
}

func (o *ingestOptions) open(s site) (tap.Source, error) {
	token, err := readToken(o.token)
	if err != nil {
		return tap.Source{}, err
	}
	var door door
	server, err := ingest.Listen(ingest.Config{
		Listen: o.listen, Bind: s.bind, Admit: s.door(&door), Name: s.name, Token: token, BodyMax: s.bodyMax, Concurrency: o.concurrency,
		DrainTimeout: o.drainTimeout, Budget: s.tap.Budget(), Sink: s.tap.Pipeline(), Logger: s.log,
	})
	if err != nil {
		return tap.Source{}, err
	}
	source := tap.Source{Kind: traffic.Ingest, Listen: []string{server.Addr().String()}, Upstream: o.production, Run: server.Run}
	return source, errors.Join(registerIngest(s.reg, server), door.register(s.reg))
}

func newIngestCommand() *cobra.Command {
	var o captureOptions
	var in ingestOptions
	c := &cobra.Command{
		Use:   "ingest --listen A",
		Short: "Take exchanges from filters in your own code",
		Long: `Take exchanges from filters in your own code: POST /v1/exchanges.

  Content-Type                                                 body
  application/x-ndjson                                         one exchange a line, as inspect cat -o ndjson writes them
  application/json                                             one, or a list
  application/x-protobuf                                       one reprise.v1.Exchange
  application/x-protobuf; proto=reprise.v1.ExchangeBatch       several

Bodies may be coded with gzip or zstd. The answer comes before anything is done with the exchanges, Kafka or not:
202 with {"accepted","rejected","shed","marked","errors"}. What was shed or rejected is counted and not to be sent
again. 400: nothing of it could be read; 401, 413, 415; 429: too many requests at a time. GET /healthz says ok.

Ids, sessions and redactions that a filter sends count for nothing; requests that a replayer sent are never kept.
The filter for Go's net/http is github.com/reprise-io/reprise/middleware/nethttp.`,
		Example: `  tap ingest --listen 127.0.0.1:8090
  tap ingest --listen :8090 --token env:INGEST_TOKEN --brokers kafka-1:9092 --redact-key file:/etc/reprise/key
  curl -H 'Content-Type: application/json' -d '{"request":{"method":"GET","target":"/a"},"response":{"status":200}}' 127.0.0.1:8090/v1/exchanges`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return o.run(c.Context(), []placed{{source: &in, kind: kindIngest, name: o.name}}, o.nothingToRead)
		},
	}
	fs := c.Flags()
	in.addFlags(fs)
	o.addFlags(fs)
	_ = c.MarkFlagRequired("listen")
	return c
}

// readToken reads the token named by --token; "": none is wanted.
func readToken(from string) (string, error) {
	ref, err := secret.Parse("--token", from)
	if err != nil || !ref.Given() {
		return "", err
	}
	token, err := ref.Read()
	if err != nil {
		return "", fault.BadUsage("cannot read --token "+ref.String(), err.Error(), "leave --token out to let anyone send")
	}
	return string(token), nil
}

// registerIngest exports what the source counts itself.
func registerIngest(reg prometheus.Registerer, s *ingest.Server) error {
	return registerStats(reg, s.Stats, []stat[ingest.Stats]{
		{"reprise_tap_posts_total", "Requests from filters, answered in any way.", func(s ingest.Stats) int64 { return s.Posts }, false},
		{"reprise_tap_posts_refused_total", "Requests from filters that were not read: no token, wrong type, too large, too many at a time.", func(s ingest.Stats) int64 { return s.Refused }, false},
	})
}
