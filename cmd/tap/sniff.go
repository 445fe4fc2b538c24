package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/reprise-io/reprise/cmd/internal/cli"
	"github.com/reprise-io/reprise/internal/capture/sniff"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/tap"
	"github.com/reprise-io/reprise/internal/traffic"
)

// sniffOptions holds the flags of tap sniff.
type sniffOptions struct {
	captureOptions
	iface        string
	ports        []int
	hosts        []string
	vxlan        bool
	promiscuous  bool
	ring         cli.Bytes
	responseWait time.Duration
}

func newSniffCommand() *cobra.Command {
	o := sniffOptions{ring: 16 << 20}
	c := &cobra.Command{
		Use:   "sniff --interface I --port N",
		Short: "Record the HTTP that passes a network interface of this machine",
		Long: `Record the HTTP/1.x that passes a network interface of this machine, from copies of the packets (AF_PACKET).

Nothing is in the line: the traffic is not touched and goes on whatever happens to the tap. Only the ports given are
looked at, and the kernel leaves out all others. TLS cannot be read. When the tap is too slow the kernel drops copies:
they are counted, and what lacks a part is flagged as a gap.

It needs the capability CAP_NET_RAW, or root.`,
		Example: `  tap sniff --interface eth0 --port 8080
  tap sniff --interface lo --port 8080 --port 8081 --sample 10%
  tap sniff --interface any --port 80 --host 10.0.3.0/24
  tap sniff --interface eth1 --port 80 --vxlan --promiscuous     # traffic mirrored by a switch or a cloud`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context()) },
	}
	fs := c.Flags()
	fs.StringVar(&o.iface, "interface", "", "network interface, or any for all of them")
	fs.IntSliceVar(&o.ports, "port", nil, "port of a server; repeatable")
	fs.StringSliceVar(&o.hosts, "host", nil, "address or CIDR of a server; repeatable; default: any")
	fs.BoolVar(&o.vxlan, "vxlan", false, "also look into VXLAN (UDP 4789), as clouds mirror traffic")
	fs.BoolVar(&o.promiscuous, "promiscuous", false, "also take packets that are not addressed to this machine")
	fs.Var(&o.ring, "ring", "buffer between kernel and tap; a larger one bridges longer pauses")
	o.addFlags(fs)
	fs.DurationVar(&o.responseWait, "response-wait", 2*time.Second, "record a request without its response after this long")
	_ = c.MarkFlagRequired("interface")
	_ = c.MarkFlagRequired("port")
	return c
}

func (o *sniffOptions) run(ctx context.Context) error {
	log, err := o.Logger(os.Stderr)
	if err != nil {
		return err
	}
	cfg := sniff.Config{
		Interface: o.iface, VXLAN: o.vxlan, Promiscuous: o.promiscuous, RingBytes: int(o.ring), HeldBytes: int(o.memoryMax / 8),
		Name: o.name, BodyMax: int(o.bodyMax), ResponseWait: o.responseWait, Logger: log,
	}
	if cfg.Ports, err = serverPorts(o.ports); err != nil {
		return err
	}
	if cfg.Hosts, err = serverHosts(o.hosts); err != nil {
		return err
	}
	bound(int64(o.memoryMax))
	reg := newRegistry()
	t, err := o.build(log, reg)
	if err != nil {
		return err
	}
	cfg.Budget, cfg.Sink = t.Budget(), t.Pipeline()
	s, err := sniff.Open(cfg)
	if err != nil {
		return err
	}
	if err := registerSniffer(reg, s); err != nil {
		s.Close()
		return err
	}
	adm, err := o.listenAdmin(reg, log)
	if err != nil {
		s.Close()
		return err
	}
	stopAdmin := serveAdmin(ctx, adm, log)
	defer stopAdmin()
	log.Info("capturing", "interface", o.iface, "ports", o.ports, "brokers", o.Brokers)
	return t.Run(ctx, tap.Source{Kind: traffic.Sniff, Listen: s.Addrs(), ResponseWait: o.responseWait, Run: s.Run})
}

func serverPorts(given []int) ([]uint16, error) {
	ports := make([]uint16, 0, len(given))
	for _, n := range given {
		if n < 1 || n > 65535 {
			return nil, fault.BadUsage(fmt.Sprintf("bad --port %d", n), "", "1 to 65535")
		}
		ports = append(ports, uint16(n))
	}
	if len(ports) > sniff.MaxPorts {
		return nil, fault.BadUsage(fmt.Sprintf("%d ports are too many", len(ports)),
			fmt.Sprintf("the kernel's filter has room for %d", sniff.MaxPorts), "several taps")
	}
	return ports, nil
}

func serverHosts(given []string) ([]netip.Prefix, error) {
	var hosts []netip.Prefix
	for _, text := range given {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			addr, addrErr := netip.ParseAddr(text)
			if addrErr != nil {
				return nil, fault.BadUsage(fmt.Sprintf("bad --host %q", text), addrErr.Error(), "an address or a CIDR, such as 10.0.3.0/24")
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		hosts = append(hosts, prefix.Masked())
	}
	return hosts, nil
}

// registerSniffer exports what the capture counts itself.
func registerSniffer(reg prometheus.Registerer, s *sniff.Sniffer) error {
	for _, m := range []struct {
		name, help string
		value      func(sniff.Stats) int64
		gauge      bool
	}{
		{"reprise_tap_connections", "Connections followed now.", func(s sniff.Stats) int64 { return s.Connections }, true},
		{"reprise_tap_packets_total", "Packets read.", func(s sniff.Stats) int64 { return s.Packets }, false},
		{"reprise_tap_kernel_drops_total", "Packets that the kernel dropped because the tap was too slow.", func(s sniff.Stats) int64 { return s.KernelDrops }, false},
		{"reprise_tap_gaps_total", "Places at which a stream lacks bytes.", func(s sniff.Stats) int64 { return s.Gaps }, false},
		{"reprise_tap_gap_bytes_total", "Bytes that streams lack, where their number is known.", func(s sniff.Stats) int64 { return s.GapBytes }, false},
		{"reprise_tap_opaque_total", "Connections that are not read: TLS, HTTP/2, upgraded, no HTTP.", func(s sniff.Stats) int64 { return s.Opaque }, false},
		{"reprise_tap_parser_panics_total", "Connections whose capture a fault in the parser ended.", func(s sniff.Stats) int64 { return s.Panics }, false},
	} {
		read := func() float64 { return float64(m.value(s.Stats())) }
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
