package main

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/reprise-io/reprise/internal/capture/mirror"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/tap"
	"github.com/reprise-io/reprise/internal/traffic"
)

// mirrorOptions holds the flags of a mirror.
type mirrorOptions struct {
	listen       string
	drainTimeout time.Duration
	connections  int
	idle         time.Duration
	production

	opened *mirror.Mirror
}

func (o *mirrorOptions) addFlags(fs *pflag.FlagSet) {
	addListening(fs, &o.listen, &o.drainTimeout)
	o.production.addFlags(fs)
	fs.IntVar(&o.connections, "max-connections", 4096, "close further connections at once")
	fs.DurationVar(&o.idle, "idle-timeout", 10*time.Minute, "close a connection that brings no request for this long; longer than the gateway keeps it")
}

func (o *mirrorOptions) check() (wrong problems) {
	wrong.note("listen", checkAddress("listen", o.listen, "ADDRESS, such as :18081"))
	wrong.time("drain-timeout", o.drainTimeout, 0)
	if o.connections < 1 {
		wrong.note("max-connections", fault.BadUsage(fmt.Sprintf("--max-connections %d is too small", o.connections), "", "at least 1"))
	}
	if o.idle < time.Second {
		wrong.note("idle-timeout", fault.BadUsage(fmt.Sprintf("--idle-timeout %s is too small", o.idle), "", "at least 1s"))
	}
	o.production.check(&wrong)
	return wrong
}

func (o *mirrorOptions) open(s site) (tap.Source, error) {
	m, err := mirror.Listen(mirror.Config{
		Listen: o.listen, Bind: s.bind, Name: s.name, BodyMax: s.bodyMax, MaxConnections: o.connections, Descriptors: s.descriptors, IdleTimeout: o.idle,
		DrainTimeout: o.drainTimeout, Budget: s.tap.Budget(), Sink: s.tap.Pipeline(), Logger: s.log,
	})
	if err != nil {
		return tap.Source{}, err
	}
	o.opened = m
	source := tap.Source{Kind: traffic.Mirror, Listen: []string{m.Addr().String()}, Upstream: o.production, Run: m.Run}
	return source, registerMirror(s.reg, m)
}

// connected is for the backstop of memory.
func (o *mirrorOptions) connected() int64 { return o.opened.Stats().Connections }

func newMirrorCommand() *cobra.Command {
	var o captureOptions
	var m mirrorOptions
	c := &cobra.Command{
		Use:   "mirror --listen A",
		Short: "Take the copies that a gateway mirrors: nginx, Envoy, Istio, Traefik",
		Long: `Take the copies that a gateway mirrors: nginx mirror, Envoy and Istio request mirroring, Gateway API
RequestMirror, Traefik, APISIX. Every copy is read to its end and answered at once with an empty 204, whatever
Kafka does. Requests only: a gateway does not send the answers along.

HTTP/1.0, HTTP/1.1 and HTTP/2 without TLS (prior knowledge, gRPC too) on one port. A copy whose body did not
arrive whole is counted and not recorded.

What the client had sent is taken from fields that the gateway has to set, so that clients cannot forge them:
  X-Tap-Host, X-Original-URI, X-Original-Method, X-Tap-Proto, X-Forwarded-Proto, X-Tap-TE   the request
  X-Tap-Client ADDR:PORT, X-Tap-Conn ID-N (or ID), X-Tap-Time SECONDS.FRACTION              who, order, when
  X-Original-Length, X-Tap-Truncated                                                        a body kept back
else from x-envoy-original-*, X-Forwarded-*, X-Real-IP and the copy itself. A -shadow behind the host is taken
away. They are not stored. Keep this port where only gateways reach it.

With --production replayers know which address is production, and refuse to fire at it.`,
		Example: `  # nginx: copy deploy/nginx/reprise-mirror.conf, change two lines, reload
  tap mirror --listen 127.0.0.1:18081

  # Envoy, in the route: request_mirror_policies: [{cluster: tap, disable_shadow_host_suffix_append: true, ...}]
  tap mirror --listen :18081 --brokers kafka-1:9092,kafka-2:9092 --redact-key file:/etc/reprise/key --production shop.internal:8080

  tap mirror --listen :18081 --sample 10% --exclude 'GET /health' --admin 127.0.0.1:9100`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return o.run(c.Context(), []placed{{source: &m, kind: kindMirror, name: o.name}}, o.nothingToRead)
		},
	}
	fs := c.Flags()
	m.addFlags(fs)
	o.addFlags(fs)
	_ = c.MarkFlagRequired("listen")
	return c
}

// registerMirror exports what the mirror counts itself.
func registerMirror(reg prometheus.Registerer, m *mirror.Mirror) error {
	for _, c := range []struct {
		reason string
		value  func(mirror.Incomplete) int64
	}{
		{"closed", func(i mirror.Incomplete) int64 { return i.Closed }},
		{"reset", func(i mirror.Incomplete) int64 { return i.Reset }},
		{"timeout", func(i mirror.Incomplete) int64 { return i.Timeout }},
		{"drained", func(i mirror.Incomplete) int64 { return i.Drained }},
		{"length", func(i mirror.Incomplete) int64 { return i.Length }},
		{"refused", func(i mirror.Incomplete) int64 { return i.Refused }},
	} {
		err := reg.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "reprise_tap_incomplete_total", Help: "Copies that did not arrive whole and are not recorded, by what cut them.",
			ConstLabels: prometheus.Labels{"reason": c.reason},
		}, func() float64 { return float64(c.value(m.Stats().Incomplete)) }))
		if err != nil {
			return err
		}
	}
	return registerStats(reg, m.Stats, []stat[mirror.Stats]{
		{"reprise_tap_connections", helpConnections, func(s mirror.Stats) int64 { return s.Connections }, true},
		{"reprise_tap_accepted_total", helpAccepted, func(s mirror.Stats) int64 { return s.Accepted }, false},
		{"reprise_tap_refused_total", helpRefused, func(s mirror.Stats) int64 { return s.Refused }, false},
		{"reprise_tap_client_bytes_total", helpClientBytes, func(s mirror.Stats) int64 { return s.Bytes }, false},
		{"reprise_tap_answered_total", "Copies read to their end and answered.", func(s mirror.Stats) int64 { return s.Answered }, false},
		{"reprise_tap_opaque_total", helpOpaque, func(s mirror.Stats) int64 { return s.Unreadable }, false},
		{"reprise_tap_parser_panics_total", helpPanics, func(s mirror.Stats) int64 { return s.Panics }, false},
	})
}
