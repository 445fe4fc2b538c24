package sniff

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

func be(n int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(n)) }

// header4 builds an IPv4 packet with a header of 24 bytes, so that its length must be looked at.
func header4(protocol byte, fragment int, payload ...[]byte) []byte {
	p := slices.Concat(payload...)
	return slices.Concat([]byte{0x46, 0}, be(24+len(p)), be(1), be(fragment), []byte{64, protocol}, be(0), make([]byte, 12), p)
}

func header6(next byte, payload ...[]byte) []byte {
	p := slices.Concat(payload...)
	return slices.Concat([]byte{0x60, 0, 0, 0}, be(len(p)), []byte{next, 64}, make([]byte, 32), p)
}

// The instructions that ask the kernel for something beside the packet do not run here; e2e runs the whole program.
func TestTheFilterKeepsThePortsAndNothingElse(t *testing.T) {
	ports := []uint16{80, 8080}
	segment := func(src, dst int) []byte { return slices.Concat(be(src), be(dst), make([]byte, 16)) }
	for name, row := range map[string]struct {
		kind   int
		packet []byte
		vxlan  bool
		want   bool
	}{
		"to a port":                     {unix.ETH_P_IP, header4(tcp, 0, segment(5000, 8080)), false, true},
		"from a port":                   {unix.ETH_P_IP, header4(tcp, 0, segment(80, 5000)), false, true},
		"neither":                       {unix.ETH_P_IP, header4(tcp, 0, segment(5000, 5001)), false, false},
		"UDP":                           {unix.ETH_P_IP, header4(udp, 0, segment(5000, 80)), false, false},
		"first fragment":                {unix.ETH_P_IP, header4(tcp, 0x2000, segment(5000, 80)), false, true},
		"first fragment of others":      {unix.ETH_P_IP, header4(tcp, 0x2000, segment(5000, 81)), false, false},
		"later fragment":                {unix.ETH_P_IP, header4(tcp, 1, segment(0, 0)), false, true},
		"IPv6 to a port":                {unix.ETH_P_IPV6, header6(tcp, segment(5000, 80)), false, true},
		"IPv6 from a port":              {unix.ETH_P_IPV6, header6(tcp, segment(8080, 5000)), false, true},
		"IPv6, neither":                 {unix.ETH_P_IPV6, header6(tcp, segment(1, 2)), false, false},
		"IPv6 fragment":                 {unix.ETH_P_IPV6, header6(unix.IPPROTO_FRAGMENT, make([]byte, 8)), false, true},
		"VXLAN, asked for":              {unix.ETH_P_IP, header4(udp, 0, segment(5000, vxlanPort)), true, true},
		"VXLAN over IPv6":               {unix.ETH_P_IPV6, header6(udp, segment(5000, vxlanPort)), true, true},
		"VXLAN, not asked for":          {unix.ETH_P_IP, header4(udp, 0, segment(5000, vxlanPort)), false, false},
		"ARP":                           {unix.ETH_P_ARP, make([]byte, 28), true, false},
		"cut off":                       {unix.ETH_P_IP, header4(tcp, 0, segment(5000, 80))[:24], false, false},
		"behind an inner tag":           {vlan, slices.Concat(be(42), be(unix.ETH_P_IP), header4(tcp, 0, segment(1, 80))), false, true},
		"behind an inner tag, IPv6":     {vlanQ, slices.Concat(be(42), be(unix.ETH_P_IPV6), header6(tcp, segment(1, 80))), false, true},
		"behind an inner tag, others":   {vlan, slices.Concat(be(42), be(unix.ETH_P_IP), header4(tcp, 0, segment(1, 2))), false, false},
		"tagged, going out":             {vlan, header4(tcp, 0, segment(1, 80)), false, true},
		"tagged, going out, IPv6":       {vlan, header6(tcp, segment(1, 80)), false, true},
		"tagged, going out, not wanted": {vlan, header6(tcp, segment(1, 2)), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			program := byType(2, ports, row.vxlan)
			if row.kind == vlan || row.kind == vlanQ {
				program = tagged(2, ports, row.vxlan)
			} else {
				program = append([]bpf.Instruction{bpf.LoadAbsolute{Off: 0, Size: 2}}, program...)
			}
			vm, err := bpf.NewVM(program)
			require.NoError(t, err)
			n, err := vm.Run(append(be(row.kind), row.packet...))
			require.NoError(t, err)
			require.Equal(t, row.want, n > 0)
		})
	}
}

func TestTheFilterFitsTheKernel(t *testing.T) {
	ports := make([]uint16, MaxPorts)
	program, err := bpf.Assemble(program(ports, true, 1))
	require.NoError(t, err)
	require.LessOrEqual(t, len(program), 4096)
}
