package packet

import "encoding/binary"

// Ethernet types.
const (
	typeIPv4        = 0x0800
	typeIPv6        = 0x86dd
	typeVLAN        = 0x8100
	typeQinQ        = 0x88a8
	typeOldQinQ1    = 0x9100
	typeOldQinQ2    = 0x9200
	typeOldQinQ3    = 0x9300
	typeMPLS        = 0x8847
	typeMPLSMulti   = 0x8848
	typePPPoE       = 0x8864
	typePPP         = 0x880b
	typeBridge      = 0x6558 // Ethernet in GRE and the like
	typeERSPAN2     = 0x88be
	typeERSPAN3     = 0x22eb
	typeBackbone    = 0x88e7 // 802.1ah
	typeVNTag       = 0x8926
	typeETag        = 0x893f
	typeCiscoMeta   = 0x8909
	typeFabricPath  = 0x8903
	typeService     = 0x894f // NSH
	leastType       = 0x0600
	ethernetHeader  = 14
	backboneService = 4
)

func (d *Decoder) ethernet(p []byte) bool {
	if len(p) < ethernetHeader {
		return d.malformed()
	}
	return d.etherType(binary.BigEndian.Uint16(p[12:]), p[ethernetHeader:])
}

// etherType reads what follows an Ethernet type, tags first.
func (d *Decoder) etherType(kind uint16, p []byte) bool {
	for d.deeper() {
		skip := 0 // of a tag that ends with the next type
		switch kind {
		case typeIPv4:
			return d.ipv4(p)
		case typeIPv6:
			return d.ipv6(p)
		case typeVLAN, typeQinQ, typeOldQinQ1, typeOldQinQ2, typeOldQinQ3:
			skip = 4
		case typeVNTag:
			skip = 6
		case typeETag, typeCiscoMeta:
			skip = 8
		case typeMPLS, typeMPLSMulti:
			return d.mpls(p)
		case typePPPoE:
			return d.pppoe(p)
		case typePPP:
			return d.ppp(p)
		case typeBridge:
			return d.ethernet(p)
		case typeBackbone:
			return len(p) > backboneService && d.ethernet(p[backboneService:])
		case typeFabricPath:
			return len(p) > 2 && d.ethernet(p[2:])
		case typeService:
			return d.serviceHeader(p)
		default:
			if kind < leastType {
				return d.llc(p)
			}
			return false
		}
		if len(p) < skip {
			return d.malformed()
		}
		kind, p = binary.BigEndian.Uint16(p[skip-2:]), p[skip:]
	}
	return false
}

// llc reads 802.2 with SNAP, which carries an Ethernet type.
func (d *Decoder) llc(p []byte) bool {
	if len(p) < 8 || p[0] != 0xaa || p[1] != 0xaa || p[2] != 3 {
		return false
	}
	if kind := binary.BigEndian.Uint16(p[6:]); kind >= leastType {
		return d.etherType(kind, p[8:])
	}
	return false
}

// mpls pops the labels. What is below is told by its first nibble, as routers do.
func (d *Decoder) mpls(p []byte) bool {
	for d.deeper() {
		if len(p) < 5 {
			return d.malformed()
		}
		bottom := p[2]&1 != 0
		if p = p[4:]; !bottom {
			continue
		}
		switch p[0] >> 4 {
		case 4, 6:
			return d.ip(p)
		case 0: // a pseudo-wire's control word
			return len(p) > 4 && d.ethernet(p[4:])
		}
		return d.ethernet(p)
	}
	return false
}

func (d *Decoder) pppoe(p []byte) bool {
	if len(p) < 8 || p[1] != 0 { // code 0: session data
		return false
	}
	return d.ppp(p[6:])
}

func (d *Decoder) ppp(p []byte) bool {
	if len(p) > 2 && p[0] == 0xff && p[1] == 3 {
		p = p[2:]
	}
	if len(p) < 2 {
		return d.malformed()
	}
	protocol := uint16(p[0])
	if p[0]&1 == 0 {
		protocol = binary.BigEndian.Uint16(p)
		p = p[1:]
	}
	p = p[1:]
	switch protocol {
	case 0x0021, 0x0057:
		return d.ip(p)
	case 0x0281, 0x0283:
		return d.mpls(p)
	case 0x0031:
		return len(p) > 2 && d.deeper() && d.ethernet(p[2:])
	}
	return false
}

// serviceHeader reads NSH (RFC 8300).
func (d *Decoder) serviceHeader(p []byte) bool {
	if len(p) < 8 {
		return d.malformed()
	}
	n := int(p[1]&0x3f) * 4
	if n < 8 || n > len(p) {
		return d.malformed()
	}
	switch p[3] {
	case 1, 2:
		return d.ip(p[n:])
	case 3:
		return d.ethernet(p[n:])
	case 5:
		return d.mpls(p[n:])
	}
	return false
}
