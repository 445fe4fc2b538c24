package sniff

import (
	"net"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	// everything is what a filter returns to keep a packet whole.
	everything = 1 << 18
	// networkHeader is what the kernel's filters take for the place of the network header (SKF_NET_OFF), so that every
	// kind of interface reads the same.
	networkHeader = 0xfff00000
)

const (
	tcp, udp    = 6, 17
	vxlanPort   = 4789
	fragmented  = 0x1fff // offset bits of an IPv4 fragment
	vlan, vlanQ = unix.ETH_P_8021Q, unix.ETH_P_8021AD
)

// program is the kernel's filter: TCP from or to one of the ports, over IPv4 and IPv6, and VXLAN when it is asked for; also
// below a second VLAN tag, for the kernel takes the first one off. Fragments and IPv6 extension headers pass, since what they carry is not
// seen here. Of loopback every packet comes twice: the outgoing copy is left.
func program(ports []uint16, vxlan bool, loopback int) []bpf.Instruction {
	var p []bpf.Instruction
	if loopback > 0 {
		p = append(p,
			bpf.LoadExtension{Num: bpf.ExtInterfaceIndex},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(loopback), SkipTrue: 3},
			bpf.LoadExtension{Num: bpf.ExtType},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.PACKET_OUTGOING, SkipTrue: 1},
			bpf.RetConstant{Val: 0},
		)
	}
	below := tagged(networkHeader, ports, vxlan)
	p = append(p, bpf.LoadExtension{Num: bpf.ExtProto})
	p = append(p, when(vlan, below)...)
	p = append(p, when(vlanQ, below)...)
	return append(p, byType(networkHeader, ports, vxlan)...)
}

// tagged goes on below a VLAN tag: behind it where the packet came in, and at once where it goes out, for then the network
// header is already that of IP.
func tagged(at uint32, ports []uint16, vxlan bool) []bpf.Instruction {
	p := []bpf.Instruction{bpf.LoadAbsolute{Off: at + 2, Size: 2}}
	p = append(p, when(unix.ETH_P_IP, ipv4(at+4, ports, vxlan))...)
	p = append(p, when(unix.ETH_P_IPV6, ipv6(at+4, ports, vxlan))...)
	p = append(p, bpf.LoadAbsolute{Off: at, Size: 1}, bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 4})
	p = append(p, when(4, ipv4(at, ports, vxlan))...)
	p = append(p, when(6, ipv6(at, ports, vxlan))...)
	return append(p, bpf.RetConstant{Val: 0})
}

// when runs a block that ends by itself, if the accumulator has that value.
func when(value uint32, block []bpf.Instruction) []bpf.Instruction {
	return append([]bpf.Instruction{
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: value, SkipTrue: 1},
		bpf.Jump{Skip: uint32(len(block))},
	}, block...)
}

// byType goes on by the Ethernet type in the accumulator, with a network header at that offset.
func byType(at uint32, ports []uint16, vxlan bool) []bpf.Instruction {
	p := when(unix.ETH_P_IP, ipv4(at, ports, vxlan))
	p = append(p, when(unix.ETH_P_IPV6, ipv6(at, ports, vxlan))...)
	return append(p, bpf.RetConstant{Val: 0})
}

func ipv4(at uint32, ports []uint16, vxlan bool) []bpf.Instruction {
	p := []bpf.Instruction{
		bpf.LoadAbsolute{Off: at + 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: fragmented, SkipTrue: 1},
		bpf.RetConstant{Val: everything},
		bpf.LoadMemShift{Off: at}, // X: length of the header
		bpf.LoadAbsolute{Off: at + 9, Size: 1},
	}
	source, target := bpf.LoadIndirect{Off: at, Size: 2}, bpf.LoadIndirect{Off: at + 2, Size: 2}
	p = append(p, when(tcp, eitherPort(source, target, ports))...)
	if vxlan {
		p = append(p, when(udp, onePort(target, vxlanPort))...)
	}
	return append(p, bpf.RetConstant{Val: 0})
}

func ipv6(at uint32, ports []uint16, vxlan bool) []bpf.Instruction {
	source, target := bpf.LoadAbsolute{Off: at + 40, Size: 2}, bpf.LoadAbsolute{Off: at + 42, Size: 2}
	p := []bpf.Instruction{bpf.LoadAbsolute{Off: at + 6, Size: 1}}
	p = append(p, when(tcp, eitherPort(source, target, ports))...)
	if vxlan {
		p = append(p, when(udp, onePort(target, vxlanPort))...)
	}
	for _, extension := range []uint32{unix.IPPROTO_HOPOPTS, unix.IPPROTO_ROUTING, unix.IPPROTO_FRAGMENT, unix.IPPROTO_DSTOPTS} {
		p = append(p, when(extension, []bpf.Instruction{bpf.RetConstant{Val: everything}})...)
	}
	return append(p, bpf.RetConstant{Val: 0})
}

// eitherPort keeps what comes from or goes to one of the ports.
func eitherPort(source, target bpf.Instruction, ports []uint16) []bpf.Instruction {
	p := append([]bpf.Instruction{source}, oneOf(ports)...)
	p = append(append(p, target), oneOf(ports)...)
	return append(p, bpf.RetConstant{Val: 0})
}

func onePort(load bpf.Instruction, port uint16) []bpf.Instruction {
	return append(append([]bpf.Instruction{load}, oneOf([]uint16{port})...), bpf.RetConstant{Val: 0})
}

func oneOf(ports []uint16) []bpf.Instruction {
	var p []bpf.Instruction
	for _, port := range ports {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(port), SkipTrue: 1}, bpf.RetConstant{Val: everything})
	}
	return p
}

// MaxPorts is how many ports fit into a program of 4096 instructions, the most that the kernel takes.
const MaxPorts = 80

// loopbackIndex returns the index of the loopback interface; 0: there is none.
func loopbackIndex() int {
	all, err := net.Interfaces()
	if err != nil {
		return 0
	}
	for _, i := range all {
		if i.Flags&net.FlagLoopback != 0 {
			return i.Index
		}
	}
	return 0
}
