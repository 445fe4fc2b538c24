package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/reprise-io/reprise/internal/capture/proxy"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/tap"
	"github.com/reprise-io/reprise/internal/traffic"
)

// proxyOptions holds the flags of tap proxy.
type proxyOptions struct {
	liveOptions
	upstream     string
	responseWait time.Duration
	loops        int
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
	fs.StringVar(&o.upstream, "upstream", "", "address of the service, HOST:PORT")
	o.addFlags(c)
	fs.DurationVar(&o.responseWait, "response-wait", 2*time.Second, "record a request without its response after this long")
	fs.IntVar(&o.loops, "loops", 0, "event loops; 0: one for two cores")
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
	return o.capture(ctx, t, reg, log, tap.Source{
		Kind: traffic.Proxy, Listen: []string{p.Addr().String()}, Upstream: []string{o.upstream},
		ResponseWait: o.responseWait, Run: p.Run,
	})
}

// registerProxy exports what the proxy counts itself.
func registerProxy(reg prometheus.Registerer, p *proxy.Proxy) error {
	return registerStats(reg, p.Stats, []stat[proxy.Stats]{
		{"reprise_tap_connections", "Client connections open now.", func(s proxy.Stats) int64 { return s.Connections }, true},
		{"reprise_tap_accepted_total", "Client connections accepted.", func(s proxy.Stats) int64 { return s.Accepted }, false},
		{"reprise_tap_refused_total", "Connections that the upstream did not take.", func(s proxy.Stats) int64 { return s.Refused }, false},
		{"reprise_tap_client_bytes_total", "Bytes from clients.", func(s proxy.Stats) int64 { return s.BytesIn }, false},
		{"reprise_tap_upstream_bytes_total", "Bytes to clients.", func(s proxy.Stats) int64 { return s.BytesOut }, false},
		{"reprise_tap_opaque_total", "Connections passed without being read: TLS, HTTP/2, upgraded, no HTTP.", func(s proxy.Stats) int64 { return s.Opaque }, false},
		{"reprise_tap_parser_panics_total", "Connections whose capture a fault in the parser ended.", func(s proxy.Stats) int64 { return s.Panics }, false},
	})
}
