package main

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/reprise-io/reprise/cmd/internal/cli"
	"github.com/reprise-io/reprise/internal/capture/sniff"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/tap"
	"github.com/reprise-io/reprise/internal/traffic"
)

// sniffOptions holds the flags of a sniffer.
type sniffOptions struct {
	iface        string
	ports        []int
	hosts        []string
	vxlan        bool
	promiscuous  bool
	ring         cli.Bytes
	responseWait time.Duration
	production
}

func (o *sniffOptions) addFlags(fs *pflag.FlagSet) {
	o.ring = 16 << 20
	fs.StringVar(&o.iface, "interface", "", "network interface, or any for all of them")
	fs.IntSliceVar(&o.ports, "port", nil, "port of a server; repeatable")
	fs.StringSliceVar(&o.hosts, "host", nil, "address or CIDR of a server; repeatable; default: any")
	fs.BoolVar(&o.vxlan, "vxlan", false, "also look into VXLAN (UDP 4789), as clouds mirror traffic")
	fs.BoolVar(&o.promiscuous, "promiscuous", false, "also take packets that are not addressed to this machine")
	o.production.addFlags(fs)
	fs.Var(&o.ring, "ring", "buffer between kernel and tap; a larger one bridges longer pauses")
	fs.DurationVar(&o.responseWait, "response-wait", 2*time.Second, "record a request without its response after this long")
}

func (o *sniffOptions) check() (wrong problems) {
	if o.iface == "" {
		wrong.note("interface", fault.BadUsage("no interface", "", "--interface eth0, or any for all"))
	}
	wrong.time("response-wait", o.responseWait, time.Millisecond)
	_, err := serverPorts(o.ports)
	wrong.note("port", err)
	_, err = serverHosts(o.hosts)
	wrong.note("host", err)
	if o.ring < 2<<20 || o.ring > 4<<30 {
		wrong.note("ring", fault.BadUsage("bad --ring "+o.ring.String(), "", "2MiB to 4GiB; 16MiB is usual"))
	}
	o.production.check(&wrong)
	return wrong
}

func (o *sniffOptions) open(s site) (tap.Source, error) {
	cfg := sniff.Config{
		Interface: o.iface, VXLAN: o.vxlan, Promiscuous: o.promiscuous, RingBytes: int(o.ring), Name: s.name, BodyMax: s.bodyMax,
		ResponseWait: o.responseWait, Budget: s.tap.Budget(), Sink: s.tap.Pipeline(), Logger: s.log,
	}
	var err error
	if cfg.Ports, err = serverPorts(o.ports); err != nil {
		return tap.Source{}, err
	}
	if cfg.Hosts, err = serverHosts(o.hosts); err != nil {
		return tap.Source{}, err
	}
	sniffer, err := sniff.Open(cfg)
	if err != nil {
		return tap.Source{}, err
	}
	return tap.Source{
		Kind: traffic.Sniff, Listen: sniffer.Addrs(), Upstream: o.production, ResponseWait: o.responseWait, Run: sniffer.Run,
	}, registerSniffer(s.reg, sniffer)
}

func newSniffCommand() *cobra.Command {
	var o captureOptions
	var s sniffOptions
	c := &cobra.Command{
		Use:   "sniff --interface I --port N",
		Short: "Record the HTTP that passes a network interface of this machine",
		Long: `Record the HTTP that passes a network interface of this machine, from copies of the packets (AF_PACKET): HTTP/1.x, and
HTTP/2 in clear text with gRPC where its connections are seen from their beginning.

Nothing is in the line: the traffic is not touched and goes on whatever happens to the tap. Only the ports given are
looked at, and the kernel leaves out all others. TLS cannot be read. When the tap is too slow the kernel drops copies:
they are counted, and what lacks a part is flagged as a gap.

It needs the capability CAP_NET_RAW, or root.`,
		Example: `  tap sniff --interface eth0 --port 8080
  tap sniff --interface lo --port 8080 --port 8081 --sample 10%
  tap sniff --interface any --port 80 --host 10.0.3.0/24
  tap sniff --interface eth1 --port 80 --vxlan --promiscuous     # traffic mirrored by a switch or a cloud`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return o.run(c.Context(), []placed{{source: &s, kind: kindSniff, name: o.name}}, o.nothingToRead)
		},
	}
	fs := c.Flags()
	s.addFlags(fs)
	o.addFlags(fs)
	_ = c.MarkFlagRequired("interface")
	_ = c.MarkFlagRequired("port")
	return c
}

func serverPorts(given []int) ([]uint16, error) {
	ports := make([]uint16, 0, len(given))
	for _, n := range given {
		if n < 1 || n > 65535 {
			return nil, fault.BadUsage(fmt.Sprintf("bad --port %d", n), "", "1 to 65535")
		}
		ports = append(ports, uint16(n))
	}
	if len(ports) == 0 {
		return nil, fault.BadUsage("no port", "only packets of servers that are named are taken", "--port 8080")
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
	return registerStats(reg, s.Stats, []stat[sniff.Stats]{
		{"reprise_tap_connections", helpConnections, func(s sniff.Stats) int64 { return s.Connections }, true},
		{"reprise_tap_packets_total", "Packets read.", func(s sniff.Stats) int64 { return s.Packets }, false},
		{"reprise_tap_kernel_drops_total", "Packets that the kernel dropped because the tap was too slow.", func(s sniff.Stats) int64 { return s.KernelDrops }, false},
		{"reprise_tap_gaps_total", "Places at which a stream lacks bytes.", func(s sniff.Stats) int64 { return s.Gaps }, false},
		{"reprise_tap_gap_bytes_total", "Bytes that streams lack, where their number is known.", func(s sniff.Stats) int64 { return s.GapBytes }, false},
		{"reprise_tap_opaque_total", helpOpaque, func(s sniff.Stats) int64 { return s.Opaque }, false},
		{"reprise_tap_parser_panics_total", helpPanics, func(s sniff.Stats) int64 { return s.Panics }, false},
	})
}
