package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/reprise-io/reprise/internal/admin"
	"github.com/reprise-io/reprise/internal/capture/proxy"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/tap"
	"github.com/reprise-io/reprise/internal/traffic"
)

// proxyOptions holds the flags of tap proxy.
type proxyOptions struct {
	captureOptions
	listen, upstream string
	responseWait     time.Duration
	drainTimeout     time.Duration
	loops            int
	embedded         string
}

func newProxyCommand() *cobra.Command {
	var o proxyOptions
	c := &cobra.Command{
		Use:   "proxy --listen A --upstream A",
		Short: "Pass TCP through to an upstream, and record the HTTP in it",
		Long: `Pass TCP through to an upstream, and record the HTTP/1.x in it.

Every byte is passed on untouched before anything else is done with it. The tap starts and goes on without Kafka;
only a usage error or an address that it cannot listen on stops it. TLS, HTTP/2, upgraded connections and what is no
HTTP pass unseen and are counted. The application sees the tap's address as its client's.`,
		Example: `  tap proxy --listen :8080 --upstream 127.0.0.1:9000
  tap proxy --listen :8080 --upstream app:9000 --brokers kafka-1:9092,kafka-2:9092 --redact-key file:/etc/reprise/key
  tap proxy --listen :8080 --upstream 127.0.0.1:9000 --sample 10% --exclude 'GET /health'
  tap proxy --listen :8080 --upstream 127.0.0.1:9000 --embedded ./kafka-data --admin 127.0.0.1:9100`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context()) },
	}
	fs := c.Flags()
	fs.StringVar(&o.listen, "listen", "", "address to listen on, such as :8080")
	fs.StringVar(&o.upstream, "upstream", "", "address of the service, HOST:PORT")
	o.addFlags(fs)
	fs.DurationVar(&o.responseWait, "response-wait", 2*time.Second, "record a request without its response after this long")
	fs.DurationVar(&o.drainTimeout, "drain-timeout", 10*time.Second, "how long open connections may go on after SIGTERM")
	fs.IntVar(&o.loops, "loops", 0, "event loops; 0: one for two cores")
	fs.StringVar(&o.embedded, "embedded", "", "also run a Kafka-compatible broker for one machine on the first of --brokers, with its data in this directory")
	_ = c.MarkFlagRequired("listen")
	_ = c.MarkFlagRequired("upstream")
	return c
}

func (o *proxyOptions) run(ctx context.Context) error {
	log, err := o.Logger(os.Stderr)
	if err != nil {
		return err
	}
	if _, _, err := net.SplitHostPort(o.upstream); err != nil {
		return fault.BadUsage(fmt.Sprintf("bad --upstream %q", o.upstream), err.Error(), "HOST:PORT, such as 127.0.0.1:9000")
	}
	bound(int64(o.memoryMax))
	reg := newRegistry()
	t, err := o.build(log, reg)
	if err != nil {
		return err
	}
	p, err := proxy.Listen(proxy.Config{
		Listen: o.listen, Upstream: o.upstream, Name: o.name, BodyMax: int(o.bodyMax), ResponseWait: o.responseWait,
		DrainTimeout: o.drainTimeout, Loops: o.loops, Budget: t.Budget(), Sink: t.Pipeline(), Logger: log,
	})
	if err != nil {
		return err
	}
	if err := registerProxy(reg, p); err != nil {
		return err
	}
	adm, err := o.listenAdmin(reg, log)
	if err != nil {
		return err
	}
	if o.embedded != "" {
		b, err := startBroker(o.embedded, o.Brokers[0], o.TopicPrefix, log)
		if err != nil { // no reason to keep the traffic waiting
			log.Error("THE EMBEDDED BROKER DID NOT START: traffic passes, nothing is stored there", "error", err)
		} else {
			defer b.Close()
		}
	}
	stopAdmin := serveAdmin(ctx, adm, log)
	defer stopAdmin()
	log.Info("listening", "listen", p.Addr().String(), "upstream", o.upstream, "brokers", o.Brokers)
	return t.Run(ctx, tap.Source{
		Kind: traffic.Proxy, Listen: []string{p.Addr().String()}, Upstream: []string{o.upstream},
		ResponseWait: o.responseWait, Run: p.Run,
	})
}

// registerProxy exports what the proxy counts itself.
func registerProxy(reg prometheus.Registerer, p *proxy.Proxy) error {
	for _, m := range []struct {
		name, help string
		value      func(proxy.Stats) int64
		gauge      bool
	}{
		{"reprise_tap_connections", "Client connections open now.", func(s proxy.Stats) int64 { return s.Connections }, true},
		{"reprise_tap_accepted_total", "Client connections accepted.", func(s proxy.Stats) int64 { return s.Accepted }, false},
		{"reprise_tap_refused_total", "Connections that the upstream did not take.", func(s proxy.Stats) int64 { return s.Refused }, false},
		{"reprise_tap_client_bytes_total", "Bytes from clients.", func(s proxy.Stats) int64 { return s.BytesIn }, false},
		{"reprise_tap_upstream_bytes_total", "Bytes to clients.", func(s proxy.Stats) int64 { return s.BytesOut }, false},
		{"reprise_tap_opaque_total", "Connections passed without being read: TLS, HTTP/2, upgraded, no HTTP.", func(s proxy.Stats) int64 { return s.Opaque }, false},
		{"reprise_tap_parser_panics_total", "Connections whose capture a fault in the parser ended.", func(s proxy.Stats) int64 { return s.Panics }, false},
	} {
		read := func() float64 { return float64(m.value(p.Stats())) }
		var c prometheus.Collector = prometheus.NewCounterFunc(prometheus.CounterOpts{Name: m.name, Help: m.help}, read)
		if m.gauge {
			c = prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: m.name, Help: m.help}, read)
		}
		if err := reg.Register(c); err != nil {
			return err
		}
	}
	return nil
}

// listenAdmin binds --admin, if it is given.
func (o *captureOptions) listenAdmin(reg *prometheus.Registry, log *slog.Logger) (*admin.Server, error) {
	if o.Admin == "" {
		return nil, nil
	}
	return admin.Listen(admin.Options{Listen: o.Admin, Pprof: o.Pprof, Gatherer: reg, Logger: log})
}

// serveAdmin serves until the returned function is called: longer than the traffic, so that the last counters can be read.
func serveAdmin(ctx context.Context, s *admin.Server, log *slog.Logger) (stop func()) {
	if s == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	log.Info("admin", "listen", s.Addr().String())
	return func() {
		cancel()
		if err := <-ended; err != nil {
			log.Warn("admin server", "error", err)
		}
	}
}
