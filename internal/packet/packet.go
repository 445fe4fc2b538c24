// Package packet reads network packets: capture files (pcap, pcapng), link layers and tunnels down to TCP, and TCP streams
// put together from segments that come twice, late, cut or not at all. It knows nothing of HTTP, does no capturing
// itself, never panics on input, and bounds what it holds.
//
// Reader reads a capture file, Decoder finds the TCP segment in a packet, Assembler follows the connections and tells a
// Listener what each side sent. What is missing is told as a gap of known size and never guessed.
package packet

import (
	"net/netip"
	"time"
)

// LinkType is what a packet begins with, numbered as LINKTYPE_ in capture files.
type LinkType uint32

// The link types that are read. Packets of others are counted and left.
const (
	LinkNull      LinkType = 0 // BSD loopback, in the byte order of the machine that captured
	LinkEthernet  LinkType = 1
	LinkTokenRing LinkType = 6
	LinkPPP       LinkType = 9
	LinkFDDI      LinkType = 10
	LinkRawBSD    LinkType = 12 // DLT_RAW where it was written as it came
	LinkRawOpen   LinkType = 14
	LinkPPPSerial LinkType = 50
	LinkPPPEther  LinkType = 51
	LinkATM       LinkType = 100 // RFC 1483
	LinkRaw       LinkType = 101
	LinkHDLC      LinkType = 104 // Cisco HDLC
	LinkWiFi      LinkType = 105
	LinkFrame     LinkType = 107 // frame relay
	LinkLoop      LinkType = 108 // OpenBSD loopback, big endian
	LinkEnc       LinkType = 109 // OpenBSD's inside of IPsec
	LinkLinux     LinkType = 113 // Linux cooked
	LinkPFLog     LinkType = 117 // OpenBSD's firewall log
	LinkPrism     LinkType = 119
	LinkRadiotap  LinkType = 127
	LinkAVS       LinkType = 163
	LinkPPI       LinkType = 192
	LinkMPLS      LinkType = 219
	LinkIPv4      LinkType = 228
	LinkIPv6      LinkType = 229
	LinkNFLog     LinkType = 239
	LinkPkTap     LinkType = 258 // Darwin's, with the link type inside
	LinkLinux2    LinkType = 276 // Linux cooked, version 2
)

// Frame is one captured packet. Data is the Reader's and valid until its next call.
type Frame struct {
	Data   []byte
	Time   time.Time // UTC; the zero time where the file has none
	Link   LinkType
	Length int   // on the wire; more than len(Data) where the capture cut it
	Offset int64 // in the file, of the packet's header
	Number int64 // from 1
}

// Endpoint is an address with a port. Endpoints compare with ==.
type Endpoint struct {
	Addr [16]byte // IPv4: the last four, behind zeros
	Port uint16
	IPv4 bool
}

// AddrPort returns the endpoint as net/netip has it.
func (e Endpoint) AddrPort() netip.AddrPort {
	addr := netip.AddrFrom16(e.Addr)
	if e.IPv4 {
		addr = netip.AddrFrom4([4]byte(e.Addr[12:]))
	}
	return netip.AddrPortFrom(addr, e.Port)
}

// String returns "ip:port".
func (e Endpoint) String() string { return e.AddrPort().String() }

// Flags are the control bits of a TCP header.
type Flags uint8

// The flags that matter here.
const (
	FIN Flags = 1 << iota
	SYN
	RST
	PSH
	ACK
)

// Segment is a TCP segment. Payload is a part of the frame that it was decoded from.
type Segment struct {
	Src, Dst Endpoint
	Seq, Ack uint32
	Flags    Flags
	Payload  []byte
	Missing  int // bytes that follow Payload in the segment and that the capture cut off
}
