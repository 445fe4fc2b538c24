package packet

import "encoding/binary"

// UDP ports of tunnels.
const (
	portL2TP     = 1701
	portGTPUser  = 2152
	portTeredo   = 3544
	portLISP     = 4341
	portGREUDP   = 4754
	portVXLAN    = 4789
	portVXLANGPE = 4790
	portAYIYA    = 5072
	portGeneve   = 6081
	portMPLSUDP  = 6635
	portVXLANOld = 8472 // of Linux before there was a number
	portTZSP     = 37008
)

// udp follows the tunnels that are known by their port, on either side.
func (d *Decoder) udp(p []byte) bool {
	if len(p) < 8 {
		return d.malformed()
	}
	dst, src, body := binary.BigEndian.Uint16(p[2:]), binary.BigEndian.Uint16(p), p[8:]
	if !d.deeper() {
		return false
	}
	return d.tunnel(dst, body) || src != dst && d.tunnel(src, body)
}

func (d *Decoder) tunnel(port uint16, p []byte) bool {
	if len(p) < 8 {
		return false
	}
	switch port {
	case portVXLAN, portVXLANOld:
		return p[0]&0x08 != 0 && d.ethernet(p[8:])
	case portVXLANGPE:
		return d.vxlanGPE(p)
	case portGeneve:
		n := 8 + int(p[0]&0x3f)*4
		return p[0]>>6 == 0 && n < len(p) && d.etherType(binary.BigEndian.Uint16(p[2:]), p[n:])
	case portTeredo:
		return d.teredo(p)
	case portAYIYA:
		return d.ayiya(p)
	case portGTPUser:
		return d.gtp(p)
	case portGREUDP:
		return d.gre(p)
	case portLISP:
		return d.ip(p[8:])
	case portTZSP:
		return d.tzsp(p)
	case portMPLSUDP:
		return d.mpls(p)
	case portL2TP:
		return d.l2tp(p)
	}
	return false
}

func (d *Decoder) vxlanGPE(p []byte) bool {
	if p[0]&0x04 == 0 {
		return d.ethernet(p[8:])
	}
	switch p[3] {
	case 1, 2:
		return d.ip(p[8:])
	case 3:
		return d.ethernet(p[8:])
	case 4:
		return d.serviceHeader(p[8:])
	}
	return false
}

// tzsp reads what MikroTik's routers and others mirror with: tagged values in front of the frame.
func (d *Decoder) tzsp(p []byte) bool {
	const version, received, padding, end, ethernet = 1, 0, 0, 1, 1
	if p[0] != version || p[1] != received || binary.BigEndian.Uint16(p[2:]) != ethernet {
		return false
	}
	for p = p[4:]; len(p) > 1; {
		switch p[0] {
		case end:
			return d.ethernet(p[1:])
		case padding:
			p = p[1:]
		default:
			p = p[min(2+int(p[1]), len(p)):]
		}
	}
	return d.malformed()
}

// teredo skips the authentication and origin headers before the IPv6 packet (RFC 4380).
func (d *Decoder) teredo(p []byte) bool {
	if p[0] == 0 && p[1] == 1 && len(p) > 4 {
		n := 4 + int(p[2]) + int(p[3]) + 9
		if n > len(p) {
			return false
		}
		p = p[n:]
	}
	if len(p) > 8 && p[0] == 0 && p[1] == 0 {
		p = p[8:]
	}
	return len(p) > 0 && p[0]>>4 == 6 && d.ipv6(p)
}

// ayiya reads Anything In Anything: identity and signature are as long as its header says.
func (d *Decoder) ayiya(p []byte) bool {
	n := 8 + 1<<(p[0]>>4) + int(p[1]>>4)*4
	const forward = 1
	return n < len(p) && p[2]&0xf == forward && d.ip(p[n:])
}

// gtp reads GTP-U, version 1, with its extension headers.
func (d *Decoder) gtp(p []byte) bool {
	const userData = 255
	if p[0]>>4 != 3 || p[1] != userData || !d.deeper() { // version 1, protocol GTP
		return false
	}
	optional, next := p[0]&7 != 0, byte(0)
	if p = p[8:]; optional {
		if len(p) < 4 {
			return d.malformed()
		}
		next, p = p[3], p[4:]
	}
	for next != 0 {
		if len(p) < 4 || p[0] == 0 || int(p[0])*4 > len(p) || !d.deeper() {
			return d.malformed()
		}
		n := int(p[0]) * 4
		next, p = p[n-1], p[n:]
	}
	return d.ip(p)
}

// l2tp reads data messages of version 2 that carry PPP.
func (d *Decoder) l2tp(p []byte) bool {
	flags := binary.BigEndian.Uint16(p)
	if flags&0x8000 != 0 || flags&0xf != 2 {
		return false
	}
	n := 6
	if flags&0x4000 != 0 {
		n += 2
	}
	if flags&0x0800 != 0 {
		n += 4
	}
	if flags&0x0200 != 0 {
		if len(p) < n+2 {
			return d.malformed()
		}
		n += 2 + int(binary.BigEndian.Uint16(p[n:]))
	}
	return n < len(p) && d.ppp(p[n:])
}

// Frames of Aruba's access points on their way to the controller.
const (
	typeAruba     = 0x8200
	typeArubaLast = 0x8370
)

// gre reads Generic Routing Encapsulation and, inside it, the mirrored traffic of switches (ERSPAN).
func (d *Decoder) gre(p []byte) bool {
	if len(p) < 4 || !d.deeper() {
		return d.malformed()
	}
	flags, kind := binary.BigEndian.Uint16(p), binary.BigEndian.Uint16(p[2:])
	n := 4
	if flags&0xc000 != 0 { // checksum, or routing
		n += 4
	}
	if flags&0x2000 != 0 { // key
		n += 4
	}
	if flags&0x1000 != 0 { // sequence number
		n += 4
	}
	if flags&7 == 1 && flags&0x80 != 0 { // acknowledgement, in PPTP's version
		n += 4
	}
	if n >= len(p) || flags&0x4000 != 0 {
		return false
	}
	p = p[n:]
	switch {
	case kind == typeERSPAN2 && flags&0x1000 == 0: // type I has no header
		return d.ethernet(p)
	case kind == typeERSPAN2:
		return len(p) > 8 && d.ethernet(p[8:])
	case kind == typeERSPAN3:
		n = 12
		if len(p) > n && p[11]&1 != 0 {
			n += 8
		}
		return len(p) > n && d.ethernet(p[n:])
	case kind >= typeAruba && kind <= typeArubaLast && kind&0xf == 0: // one number for each queue
		return d.wifi(p)
	case kind == 0 && p[0]>>4 == 4:
		return d.ipv4(p)
	}
	return d.etherType(kind, p)
}
