package packet

import (
	"encoding/binary"
	"slices"
	"time"
)

// Packets are built from the inside out.

var (
	addrA = []byte{10, 0, 0, 1}
	addrB = []byte{10, 0, 0, 2}
	v6A   = append([]byte{0x20, 0x01, 0x0d, 0xb8}, make([]byte, 12)...)
	v6B   = append([]byte{0x20, 0x01, 0x0d, 0xb9}, make([]byte, 12)...)
	zero  = time.Unix(1700000000, 0)

	littleOrder = binary.LittleEndian
	bigOrder    = binary.BigEndian
)

func be16(n int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(n)) }
func be32(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }

func buildTCP(src, dst int, seq, ack uint32, flags Flags, payload string) []byte {
	h := slices.Concat(be16(src), be16(dst), be32(int(seq)), be32(int(ack)), []byte{5 << 4, byte(flags)}, be16(65535), make([]byte, 4))
	return append(h, payload...)
}

func buildUDP(src, dst int, payload []byte) []byte {
	return slices.Concat(be16(src), be16(dst), be16(8+len(payload)), be16(0), payload)
}

func buildIPv4(protocol byte, payload []byte) []byte {
	return slices.Concat([]byte{0x45, 0}, be16(20+len(payload)), be16(7), be16(0x4000), []byte{64, protocol}, be16(0), addrA, addrB, payload)
}

func buildIPv6(next byte, payload []byte) []byte {
	return slices.Concat([]byte{0x60, 0, 0, 0}, be16(len(payload)), []byte{next, 64}, v6A, v6B, payload)
}

func buildEther(kind int, payload []byte) []byte {
	return slices.Concat([]byte("\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02"), be16(kind), payload)
}
