package packet

import "encoding/binary"

// Protocol numbers.
const (
	protoHops     = 0 // options of IPv6
	protoIPv4     = 4
	protoTCP      = 6
	protoUDP      = 17
	protoIPv6     = 41
	protoRouting  = 43
	protoFragment = 44
	protoGRE      = 47
	protoAuth     = 51
	protoTarget   = 60 // options for the destination
	protoEther    = 97
	protoSCTP     = 132
	protoMobility = 135
	protoMPLS     = 137
	protoHost     = 139
	protoShim     = 140
)

// ip reads IPv4 or IPv6, as the first nibble says.
func (d *Decoder) ip(p []byte) bool {
	switch {
	case len(p) == 0:
		return false
	case p[0]>>4 == 4:
		return d.ipv4(p)
	case p[0]>>4 == 6:
		return d.ipv6(p)
	}
	return false
}

// addresses are those of the innermost IP header.
type addresses struct {
	src, dst [16]byte
	v4       bool
}

func fromV4(p []byte) (a [16]byte) {
	copy(a[12:], p[:4])
	return a
}

func (d *Decoder) ipv4(p []byte) bool {
	if len(p) < 20 || p[0]>>4 != 4 || !d.deeper() {
		return d.malformed()
	}
	head, total := int(p[0]&0xf)*4, int(binary.BigEndian.Uint16(p[2:]))
	if total == 0 { // not filled in yet where the network card was to cut it into segments
		total = len(p)
	}
	if head < 20 || total < head || len(p) < head {
		return d.malformed()
	}
	missing := max(0, total-len(p))
	body := p[head:min(total, len(p))]
	if fragment := binary.BigEndian.Uint16(p[6:]); fragment&0x3fff != 0 {
		d.Counts.Fragments++
		key := fragmentKey{src: fromV4(p[12:]), dst: fromV4(p[16:]), id: uint32(binary.BigEndian.Uint16(p[4:])), protocol: p[9]}
		whole := d.fragments.add(key, int(fragment&0x1fff)*8, body, fragment&0x2000 != 0, missing > 0, d.at)
		return whole != nil && d.transport(p[9], whole, &addresses{key.src, key.dst, true}, 0)
	}
	return d.transport(p[9], body, &addresses{fromV4(p[12:]), fromV4(p[16:]), true}, missing)
}

func (d *Decoder) ipv6(p []byte) bool {
	const head = 40
	if len(p) < head || p[0]>>4 != 6 || !d.deeper() {
		return d.malformed()
	}
	length := int(binary.BigEndian.Uint16(p[4:]))
	if length == 0 {
		length = len(p) - head
	}
	missing := max(0, head+length-len(p))
	body := p[head:min(head+length, len(p))]
	ends := addresses{[16]byte(p[8:24]), [16]byte(p[24:40]), false}
	for next := p[6]; d.deeper(); {
		size := 0
		switch next {
		case protoHops, protoRouting, protoTarget, protoMobility, protoHost, protoShim:
			if len(body) >= 8 {
				size = int(body[1])*8 + 8
			}
		case protoFragment:
			if len(body) < 8 {
				return d.malformed()
			}
			offset := binary.BigEndian.Uint16(body[2:])
			if offset&^6 == 0 { // a fragment that is whole
				size = 8
				break
			}
			d.Counts.Fragments++
			key := fragmentKey{src: ends.src, dst: ends.dst, id: binary.BigEndian.Uint32(body[4:]), protocol: body[0], v6: true}
			whole := d.fragments.add(key, int(offset&^7), body[8:], offset&1 != 0, missing > 0, d.at)
			if whole == nil {
				return false
			}
			next, body, missing = body[0], whole, 0 // more extension headers may have been in the fragments
			continue
		default:
			return d.transport(next, body, &ends, missing)
		}
		if size == 0 || size > len(body) {
			return d.malformed()
		}
		next, body = body[0], body[size:]
	}
	return false
}

// transport reads what an IP packet carries; missing bytes of it were cut off.
func (d *Decoder) transport(protocol byte, p []byte, ends *addresses, missing int) bool {
	switch protocol {
	case protoTCP:
		return d.tcp(p, ends, missing)
	case protoUDP:
		return d.udp(p)
	case protoSCTP:
		return d.sctp(p, ends, missing)
	case protoIPv4, protoIPv6:
		return d.ip(p)
	case protoGRE:
		return d.gre(p)
	case protoMPLS:
		return d.mpls(p)
	case protoEther:
		return len(p) > 2 && d.ethernet(p[2:])
	case protoAuth:
		if len(p) < 12 || len(p) < int(p[1])*4+8 || !d.deeper() {
			return d.malformed()
		}
		return d.transport(p[0], p[int(p[1])*4+8:], ends, missing)
	}
	return false
}

func (d *Decoder) tcp(p []byte, ends *addresses, missing int) bool {
	if len(p) < 20 {
		return d.malformed()
	}
	head := int(p[12]>>4) * 4
	if head < 20 || head > len(p)+missing {
		return d.malformed()
	}
	if head > len(p) { // the capture ends inside the options
		missing -= head - len(p)
		head = len(p)
	}
	s := d.seg
	s.Src = Endpoint{ends.src, binary.BigEndian.Uint16(p), ends.v4}
	s.Dst = Endpoint{ends.dst, binary.BigEndian.Uint16(p[2:]), ends.v4}
	s.Seq, s.Ack = binary.BigEndian.Uint32(p[4:]), binary.BigEndian.Uint32(p[8:])
	s.Flags = Flags(p[13]) & (FIN | SYN | RST | PSH | ACK)
	s.Payload, s.Missing = p[head:], missing
	return true
}
