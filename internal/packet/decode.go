package packet

import (
	"encoding/binary"
	"time"
)

// maxNesting bounds headers in headers: tunnels in tunnels, tags, labels, extension headers.
const maxNesting = 40

// Counts are totals of a Decoder.
type Counts struct {
	Packets   int64 // all that were given
	Segments  int64 // with a TCP segment found
	Unknown   int64 // of link types that are not read
	Malformed int64 // headers that contradict themselves, or are cut off
	Fragments int64 // of IP packets
}

// Decoder finds the TCP segment in a packet, through link layers, tags and tunnels; what SCTP carries it passes off as one. Fragments of IP packets are put
// together, within bounds. The zero value is ready; it belongs to one goroutine.
type Decoder struct {
	Counts Counts

	fragments    fragments
	associations associations
	at           time.Time
	nesting      int
	seg          *Segment
}

// Decode reads a packet that begins with link. It reports whether there is a TCP segment in it, which then is in seg; its
// payload is a part of data, or of the Decoder's own memory until the next call.
func (d *Decoder) Decode(link LinkType, data []byte, at time.Time, seg *Segment) bool {
	d.Counts.Packets++
	d.at, d.nesting, d.seg = at, 0, seg
	found := d.link(link, data)
	d.seg = nil
	if found {
		d.Counts.Segments++
	}
	return found
}

// malformed counts what cannot be read.
func (d *Decoder) malformed() bool {
	d.Counts.Malformed++
	return false
}

// deeper reports whether another header may be followed.
func (d *Decoder) deeper() bool {
	d.nesting++
	return d.nesting <= maxNesting || d.malformed()
}

func (d *Decoder) link(link LinkType, p []byte) bool {
	switch link {
	case LinkEthernet:
		return d.ethernet(p)
	case LinkRaw, LinkRawBSD, LinkRawOpen, LinkIPv4, LinkIPv6:
		return d.ip(p)
	case LinkNull, LinkLoop:
		return len(p) > 4 && d.ip(p[4:]) // the version says what the family would, on every system
	case LinkLinux:
		return len(p) > 16 && d.etherType(binary.BigEndian.Uint16(p[14:]), p[16:])
	case LinkLinux2:
		return len(p) > 20 && d.etherType(binary.BigEndian.Uint16(p), p[20:])
	case LinkPPP, LinkPPPSerial:
		return d.ppp(p)
	case LinkPPPEther:
		return d.pppoe(p)
	case LinkHDLC:
		return len(p) > 4 && d.hdlc(p)
	case LinkFrame:
		return len(p) > 4 && d.frameRelay(p)
	case LinkWiFi, LinkRadiotap, LinkPrism, LinkAVS, LinkPPI:
		return d.wireless(link, p)
	case LinkNFLog:
		return d.nflog(p)
	case LinkMPLS:
		return d.mpls(p)
	}
	return d.rareLink(link, p)
}

// rareLink reads what old networks and other systems write.
func (d *Decoder) rareLink(link LinkType, p []byte) bool {
	switch link {
	case LinkATM:
		return d.llc(p)
	case LinkFDDI:
		return len(p) > 13 && d.llc(p[13:])
	case LinkTokenRing:
		n := 14
		if len(p) > n && p[8]&0x80 != 0 { // a route
			n += int(p[n] & 0x1f)
		}
		return len(p) > n && d.llc(p[n:])
	case LinkEnc:
		return len(p) > 12 && d.ip(p[12:])
	case LinkPFLog:
		n := 0
		if len(p) > 0 {
			n = (int(p[0]) + 3) &^ 3
		}
		return len(p) > n && n > 0 && d.ip(p[n:])
	case LinkPkTap:
		if len(p) < 12 || !d.deeper() {
			return d.malformed()
		}
		if n := binary.LittleEndian.Uint32(p); n >= 12 && int64(n) < int64(len(p)) {
			return d.link(LinkType(binary.LittleEndian.Uint32(p[8:])), p[n:])
		}
		return d.malformed()
	}
	d.Counts.Unknown++
	return false
}

// hdlc reads Cisco's framing; a serial line may also carry PPP with the same outer bytes.
func (d *Decoder) hdlc(p []byte) bool {
	if p[0] == 0xff && p[1] == 3 {
		return d.ppp(p)
	}
	return d.etherType(binary.BigEndian.Uint16(p[2:]), p[4:])
}

// frameRelay reads the two-byte address form with NLPID or SNAP behind it (RFC 2427), or Cisco's.
func (d *Decoder) frameRelay(p []byte) bool {
	p = p[2:]
	switch {
	case p[0] == 3 && p[1] == 0xcc, p[0] == 3 && p[1] == 0x8e:
		return d.ip(p[2:])
	case len(p) > 8 && p[0] == 3 && p[1] == 0 && p[2] == 0x80:
		return d.etherType(binary.BigEndian.Uint16(p[6:]), p[8:])
	}
	return d.etherType(binary.BigEndian.Uint16(p), p[2:])
}

// nflog reads the attributes that Linux writes up to the packet itself.
func (d *Decoder) nflog(p []byte) bool {
	const header, payload = 4, 9
	if len(p) < header {
		return d.malformed()
	}
	for p = p[header:]; len(p) >= 4; {
		n, kind := int(binary.NativeEndian.Uint16(p)), binary.NativeEndian.Uint16(p[2:])
		if n < 4 || n > len(p) {
			return d.malformed()
		}
		if kind == payload {
			return d.ip(p[4:n])
		}
		p = p[min((n+3)&^3, len(p)):]
	}
	return false
}
