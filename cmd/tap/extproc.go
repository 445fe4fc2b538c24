package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/reprise-io/reprise/internal/capture/extproc"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/tap"
	"github.com/reprise-io/reprise/internal/traffic"
)

// extprocOptions holds the flags of an ext_proc server.
type extprocOptions struct {
	listen       string
	responseWait time.Duration
	drainTimeout time.Duration
	maxStreams   int
	production
}

func (o *extprocOptions) addFlags(fs *pflag.FlagSet) {
	addListening(fs, &o.listen, &o.drainTimeout)
	fs.DurationVar(&o.responseWait, "response-wait", 2*time.Second, "record a request without its response after this long")
	o.production.addFlags(fs)
	fs.IntVar(&o.maxStreams, "max-streams", 16384, "exchanges at a time; those above are passed by and counted")
}

func (o *extprocOptions) check() (wrong problems) {
	wrong.note("listen", checkAddress("listen", o.listen, "ADDRESS, such as :9002"))
	wrong.time("response-wait", o.responseWait, time.Millisecond)
	wrong.time("drain-timeout", o.drainTimeout, 0)
	if o.maxStreams < 1 {
		wrong.note("max-streams", fault.BadUsage(fmt.Sprintf("--max-streams %d is too small", o.maxStreams), "", "at least 1"))
	}
	o.production.check(&wrong)
	return wrong
}

func (o *extprocOptions) open(s site) (tap.Source, error) {
	var door door
	e, err := extproc.Listen(extproc.Config{
		Listen: o.listen, Bind: s.bind, Admit: s.door(&door), Name: s.name, BodyMax: s.bodyMax, ResponseWait: o.responseWait, DrainTimeout: o.drainTimeout,
		MaxStreams: o.maxStreams, Budget: s.tap.Budget(), Sink: s.tap.Pipeline(), Logger: s.log,
	})
	if err != nil {
		return tap.Source{}, err
	}
	return tap.Source{
		Kind: traffic.ExtProc, Listen: []string{e.Addr().String()}, Upstream: o.production, ResponseWait: o.responseWait, Run: e.Run,
	}, errors.Join(registerExtproc(s.reg, e), door.register(s.reg))
}

func newExtprocCommand() *cobra.Command {
	var o captureOptions
	var e extprocOptions
	c := &cobra.Command{
		Use:   "extproc --listen A",
		Short: "Record what Envoy passes on, requests and responses, by its external processing filter",
		Long: `Record what Envoy passes on, requests and responses, by its external processing filter (ext_proc).

Envoy sends copies over gRPC and waits for none of them: set observability_mode and failure_mode_allow to true in
the filter. deploy/envoy/extproc.yaml is a configuration to start from, deploy/istio/ the same for Istio. Requests
are recorded as the client sent them, before routes rewrite them, with Envoy's time and the client's address.`,
		Example: `  tap extproc --listen :9002
  tap extproc --listen :9002 --brokers kafka-1:9092,kafka-2:9092 --redact-key file:/etc/reprise/key
  tap extproc --listen :9002 --sample 10% --exclude 'GET /health' --admin 127.0.0.1:9100`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return o.run(c.Context(), []placed{{source: &e, kind: kindExtproc, name: o.name}}, o.nothingToRead)
		},
	}
	fs := c.Flags()
	e.addFlags(fs)
	o.addFlags(fs)
	_ = c.MarkFlagRequired("listen")
	return c
}

// registerExtproc exports what the server counts itself, under the names that others have for the same.
func registerExtproc(reg prometheus.Registerer, e *extproc.Server) error {
	return registerStats(reg, e.Stats, []stat[extproc.Stats]{
		{"reprise_tap_connections", helpConnections, func(s extproc.Stats) int64 { return s.Streams }, true},
		{"reprise_tap_accepted_total", helpAccepted, func(s extproc.Stats) int64 { return s.Accepted }, false},
		{"reprise_tap_client_bytes_total", helpClientBytes, func(s extproc.Stats) int64 { return s.RequestBytes }, false},
		{"reprise_tap_upstream_bytes_total", helpUpstreamBytes, func(s extproc.Stats) int64 { return s.ResponseBytes }, false},
		{"reprise_tap_unanswered_total", "Streams that ended, or were given up, before the response had.", func(s extproc.Stats) int64 { return s.Unanswered }, false},
		{"reprise_tap_waiting_total", "Streams of an Envoy that is not in observability mode, and waits for the tap.", func(s extproc.Stats) int64 { return s.Waiting }, false},
		{"reprise_tap_parser_panics_total", helpPanics, func(s extproc.Stats) int64 { return s.Panics }, false},
	})
}
