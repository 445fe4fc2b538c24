package packet

import "encoding/binary"

const maxAssociations = 1 << 12

// associations turn the data of SCTP into segments: all streams of a direction in the order of their transmission.
type associations map[[2]Endpoint]*association

type association struct {
	tsn uint32 // of the next chunk
	seq uint32 // of its first byte
}

// sctp reads the data chunks of a packet. What is missing between two of them counts as one byte, since nobody knows how
// many there were.
func (d *Decoder) sctp(p []byte, ends *addresses, missing int) bool {
	const header, chunkHeader, dataHeader, data = 12, 4, 16, 0
	if len(p) < header {
		return d.malformed()
	}
	s := d.seg
	s.Src = Endpoint{ends.src, binary.BigEndian.Uint16(p), ends.v4}
	s.Dst = Endpoint{ends.dst, binary.BigEndian.Uint16(p[2:]), ends.v4}
	s.Flags, s.Ack, s.Payload, s.Missing = 0, 0, nil, missing
	for p = p[header:]; len(p) >= chunkHeader; {
		n := int(binary.BigEndian.Uint16(p[2:]))
		if n < chunkHeader {
			return d.malformed() && s.Payload != nil
		}
		if p[0] == data && n >= dataHeader && len(p) >= dataHeader {
			d.dataChunk(binary.BigEndian.Uint32(p[4:]), p[dataHeader:min(n, len(p))])
		}
		p = p[min((n+3)&^3, len(p)):]
	}
	return len(s.Payload) > 0
}

// dataChunk adds the data of one chunk to the segment.
func (d *Decoder) dataChunk(tsn uint32, p []byte) {
	s := d.seg
	key := [2]Endpoint{s.Src, s.Dst}
	a := d.associations[key]
	if a == nil {
		if len(d.associations) >= maxAssociations || d.associations == nil {
			d.associations = make(associations)
		}
		a = &association{tsn: tsn, seq: 1}
		d.associations[key] = a
	}
	if int32(tsn-a.tsn) < 0 { // sent again
		return
	}
	if tsn != a.tsn {
		if len(s.Payload) > 0 {
			return
		}
		a.seq++
	}
	if len(s.Payload) == 0 {
		s.Seq, s.Payload = a.seq, p
	} else {
		s.Payload = append(s.Payload[:len(s.Payload):len(s.Payload)], p...)
	}
	a.tsn = tsn + 1
	a.seq += uint32(len(p))
}
