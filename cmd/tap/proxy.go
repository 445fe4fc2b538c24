package main

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/reprise-io/reprise/internal/capture/proxy"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/tap"
	"github.com/reprise-io/reprise/internal/traffic"
)

// proxyOptions holds the flags of a proxy.
type proxyOptions struct {
	listen       string
	upstream     []string
	responseWait time.Duration
	drainTimeout time.Duration
	loops        int
	nice         int
	connections  int
	protocolIn   string
	protocolOut  string
	tls          proxy.TLS

	opened *proxy.Proxy
}

func (o *proxyOptions) addFlags(fs *pflag.FlagSet) {
	addListening(fs, &o.listen, &o.drainTimeout)
	fs.StringSliceVar(&o.upstream, "upstream", nil, "address of the service, HOST:PORT; several, with commas, take turns, and one that cannot be connected to is passed over")
	fs.DurationVar(&o.responseWait, "response-wait", 2*time.Second, "record a request without its response after this long")
	fs.IntVar(&o.connections, "max-connections", 0, "further connections wait in the kernel until one ends; 0: as many as there are descriptors for")
	fs.StringVar(&o.protocolIn, "proxy-protocol-in", "off", "v1, v2 or any: each connection must begin with a PROXY header, whose client is recorded; only where none but load balancers can connect")
	fs.StringVar(&o.protocolOut, "proxy-protocol-out", "off", "v1 or v2: tell upstreams the client's address with the PROXY protocol, which they must expect")
	fs.StringVar(&o.tls.Cert, "listen-tls-cert", "", "PEM file with the certificate for clients: the tap speaks TLS with them and records what is in it; read again when it changes")
	fs.StringVar(&o.tls.Key, "listen-tls-key", "", "PEM file with its key")
	fs.StringSliceVar(&o.tls.ALPN, "listen-tls-alpn", []string{"http/1.1"}, "protocols offered to clients when the upstream speaks no TLS; h2,http/1.1 if it takes HTTP/2 in clear text")
	fs.BoolVar(&o.tls.Upstream, "upstream-tls", false, "speak TLS with the upstream; it chooses the protocol for the client too")
	fs.StringVar(&o.tls.UpstreamCA, "upstream-tls-ca", "", "PEM file of the authorities to trust; none: the system's")
	fs.StringVar(&o.tls.UpstreamName, "upstream-tls-server-name", "", "name in the upstream's certificate, if it is not its host")
	fs.IntVar(&o.loops, "loops", halfOfTheCores(), "event loops; by default one for two of the cores that the tap may use, by its CPU quota and affinity")
	fs.IntVar(&o.nice, "forward-nice", -10, "nice value of the event loops, -20 to 0: how far traffic goes before other work, half as far at full speed, if the tap may (CAP_SYS_NICE or LimitNICE) and nobody has given it another; 0: not at all")
}

func (o *proxyOptions) check() (wrong problems) {
	wrong.note("listen", checkAddress("listen", o.listen, "ADDRESS, such as :8080"))
	upstreams := o.upstream
	if len(upstreams) == 0 {
		upstreams = []string{""}
	}
	for _, upstream := range upstreams {
		wrong.note("upstream", checkAddress("upstream", upstream, "HOST:PORT, such as 127.0.0.1:9000"))
	}
	if o.connections < 0 {
		wrong.note("max-connections", fault.BadUsage(fmt.Sprintf("bad --max-connections %d", o.connections), "", "a number, or 0 for no bound of its own"))
	}
	wrong.least("loops", int64(o.loops), 0)
	if o.nice < -20 || o.nice > 0 {
		wrong.note("forward-nice", fault.BadUsage(fmt.Sprintf("bad --forward-nice %d", o.nice), "", "-20 to 0"))
	}
	wrong.time("response-wait", o.responseWait, time.Millisecond)
	wrong.time("drain-timeout", o.drainTimeout, 0)
	_, err := proxy.ParseProtocol(o.protocolIn)
	wrong.note("proxy-protocol-in", err)
	out, err := proxy.ParseProtocol(o.protocolOut)
	if err == nil && out == proxy.AnyProtocol {
		err = fault.BadUsage("bad --proxy-protocol-out any", "", "off, v1 or v2")
	}
	wrong.note("proxy-protocol-out", err)
	if (o.tls.Cert == "") != (o.tls.Key == "") {
		wrong.note("listen-tls-cert", fault.BadUsage("--listen-tls-cert and --listen-tls-key go together", "one is missing", "both, or none to pass TLS on unread"))
	}
	if !o.tls.Upstream && o.tls.UpstreamCA+o.tls.UpstreamName != "" {
		wrong.note("upstream-tls", fault.BadUsage("--upstream-tls-ca and --upstream-tls-server-name need --upstream-tls", "", "--upstream-tls"))
	}
	return wrong
}

func (o *proxyOptions) open(s site) (tap.Source, error) {
	in, _ := proxy.ParseProtocol(o.protocolIn) // checked
	out, _ := proxy.ParseProtocol(o.protocolOut)
	p, err := proxy.Listen(proxy.Config{
		Listen: o.listen, Bind: s.bind, Upstreams: o.upstream, Name: s.name, BodyMax: s.bodyMax, ResponseWait: o.responseWait,
		DrainTimeout: o.drainTimeout, Loops: o.loops, MaxConnections: o.connections, Descriptors: s.descriptors,
		ProtocolIn: in, ProtocolOut: out, TLS: o.tls, Budget: s.tap.Budget(), Sink: s.tap.Pipeline(), Thread: func(id int) { s.tap.Forwards(id, o.nice) }, Logger: s.log,
	})
	if err != nil {
		return tap.Source{}, err
	}
	o.opened = p
	return tap.Source{
		Kind: traffic.Proxy, Listen: []string{p.Addr().String()}, Upstream: o.upstream,
		ResponseWait: o.responseWait, Run: p.Run,
	}, registerProxy(s.reg, p)
}

// reread reads the certificates again.
func (o *proxyOptions) reread() { o.opened.Reload() }

// connected is for the backstop of memory.
func (o *proxyOptions) connected() int64 { return o.opened.Stats().Connections }

// alive is for the watchdog.
func (o *proxyOptions) alive() bool { return o.opened.Alive() }

func newProxyCommand() *cobra.Command {
	var o captureOptions
	var p proxyOptions
	c := &cobra.Command{
		Use:   "proxy --listen A --upstream A",
		Short: "Pass TCP through to an upstream, and record the HTTP in it",
		Long: `Pass TCP through to an upstream, and record the HTTP in it: HTTP/1.x, and HTTP/2 in clear text with gRPC.

Every byte is passed on untouched before anything else is done with it. The tap starts and goes on without Kafka;
only a usage error or an address that it cannot listen on stops it. Upgraded connections and what is no HTTP pass unread
and are counted, and so does TLS, unless the tap speaks it itself: --listen-tls-cert, --upstream-tls.

The application sees the tap's address as its client's, unless it is told another: --proxy-protocol-out.`,
		Example: `  tap proxy --listen :8080 --upstream 127.0.0.1:9000
  tap proxy --listen :8080 --upstream app:9000 --brokers kafka-1:9092,kafka-2:9092 --redact-key file:/etc/reprise/key
  tap proxy --listen :8080 --upstream 127.0.0.1:9000 --sample 10% --exclude 'GET /health'
  tap proxy --listen :443 --listen-tls-cert cert.pem --listen-tls-key key.pem --upstream 10.0.0.7:8080,10.0.0.8:8080
  tap proxy --listen :8080 --upstream 127.0.0.1:9000 --embedded ./kafka-data --admin 127.0.0.1:9100`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return o.run(c.Context(), []placed{{source: &p, kind: kindProxy, name: o.name}}, o.nothingToRead)
		},
	}
	fs := c.Flags()
	p.addFlags(fs)
	o.addFlags(fs)
	_ = c.MarkFlagRequired("listen")
	_ = c.MarkFlagRequired("upstream")
	return c
}

// registerProxy exports what the proxy counts itself.
func registerProxy(reg prometheus.Registerer, p *proxy.Proxy) error {
	return registerStats(reg, p.Stats, []stat[proxy.Stats]{
		{"reprise_tap_connections", helpConnections, func(s proxy.Stats) int64 { return s.Connections }, true},
		{"reprise_tap_accepted_total", helpAccepted, func(s proxy.Stats) int64 { return s.Accepted }, false},
		{"reprise_tap_refused_total", helpRefused, func(s proxy.Stats) int64 { return s.Refused }, false},
		{"reprise_tap_accept_pauses_total", helpPauses, func(s proxy.Stats) int64 { return s.Pauses }, false},
		{"reprise_tap_unheard_total", helpUnheard, func(s proxy.Stats) int64 { return s.Unheard }, false},
		{"reprise_tap_tls_failures_total", helpHandshakes, func(s proxy.Stats) int64 { return s.Handshakes }, false},
		{"reprise_tap_client_bytes_total", helpClientBytes, func(s proxy.Stats) int64 { return s.BytesIn }, false},
		{"reprise_tap_upstream_bytes_total", helpUpstreamBytes, func(s proxy.Stats) int64 { return s.BytesOut }, false},
		{"reprise_tap_opaque_total", helpOpaque, func(s proxy.Stats) int64 { return s.Opaque }, false},
		{"reprise_tap_parser_panics_total", helpPanics, func(s proxy.Stats) int64 { return s.Panics }, false},
	})
}
