package packet

import "encoding/binary"

// wireless takes the header of a radio off and reads the 802.11 frame behind it.
func (d *Decoder) wireless(link LinkType, p []byte) bool {
	n := 0
	switch link {
	case LinkRadiotap, LinkPPI:
		if len(p) < 4 {
			return d.malformed()
		}
		n = int(binary.LittleEndian.Uint16(p[2:]))
	case LinkPrism:
		n = 144
		if len(p) > 8 && binary.BigEndian.Uint32(p)>>12 == 0x80211 { // it says prism and is AVS
			n = int(binary.BigEndian.Uint32(p[4:]))
		}
	case LinkAVS:
		if len(p) < 8 {
			return d.malformed()
		}
		n = int(binary.BigEndian.Uint32(p[4:]))
	}
	if n < 0 || n > len(p) {
		return d.malformed()
	}
	return d.wifi(p[n:])
}

// wifi reads a data frame of 802.11 that is not encrypted.
func (d *Decoder) wifi(p []byte) bool {
	const data, encrypted, order, aggregate = 2, 0x40, 0x80, 0x80
	if len(p) < 24 {
		return d.malformed()
	}
	subtype := p[0] >> 4
	if p[0]>>2&3 != data || p[1]&encrypted != 0 || subtype&4 != 0 { // 4: without data
		return false
	}
	n := 24
	if p[1]&3 == 3 { // from one access point to another: a fourth address
		n += 6
	}
	if subtype&8 != 0 { // quality of service
		if len(p) < n+2 || p[n]&aggregate != 0 {
			return false
		}
		n += 2
		if p[1]&order != 0 {
			n += 4
		}
	}
	return n < len(p) && d.llc(p[n:])
}
