package packet

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"time"
)

// Block types of pcapng.
const (
	blockSection   = 0x0a0d0d0a // reads the same in both byte orders
	blockInterface = 1
	blockOldPacket = 2
	blockSimple    = 3
	blockPacket    = 6

	orderMagic = 0x1a2b3c4d

	optionEnd        = 0
	optionResolution = 9
	optionOffset     = 14

	maxInterfaces = 1 << 16
	maxHeadBlock  = 64 << 10 // of a section or interface block that is looked into
)

// pcapngFile is the state of a pcapng file: what its present section says.
type pcapngFile struct {
	interfaces []pcapngInterface
}

type pcapngInterface struct {
	link   LinkType
	snap   uint32
	res    byte  // if_tsresol: a power of ten, or of two with the high bit set
	offset int64 // seconds
}

func isPcapng(head []byte) bool { return binary.LittleEndian.Uint32(head) == blockSection }

// nextPcapng goes through the blocks up to the next packet.
func (r *Reader) nextPcapng(f *Frame) error {
	for {
		h, err := r.peek(12, "a block's header")
		if err != nil {
			return err
		}
		if binary.LittleEndian.Uint32(h) == blockSection {
			if err := r.section(h); err != nil {
				return err
			}
			continue
		}
		if r.order == nil {
			return r.broken("it does not begin with a section", nil)
		}
		kind, size := r.order.Uint32(h), r.order.Uint32(h[4:])
		if size < 12 || size%4 != 0 {
			return r.broken(fmt.Sprintf("a block of %d bytes cannot be", size), nil)
		}
		switch kind {
		case blockPacket, blockOldPacket, blockSimple:
			return r.packetBlock(f, kind, size)
		case blockInterface:
			err = r.interfaceBlock(size)
		default:
			err = r.skipBlock(size)
		}
		if err != nil {
			return err
		}
	}
}

// section begins a new section, which forgets the interfaces of the one before.
func (r *Reader) section(h []byte) error {
	switch uint32(orderMagic) {
	case binary.LittleEndian.Uint32(h[8:]):
		r.order = binary.LittleEndian
	case binary.BigEndian.Uint32(h[8:]):
		r.order = binary.BigEndian
	default:
		return r.broken("a section without a byte order", nil)
	}
	r.pcapng.interfaces = r.pcapng.interfaces[:0]
	size := r.order.Uint32(h[4:])
	if size < 28 || size%4 != 0 {
		return r.broken(fmt.Sprintf("a section header of %d bytes cannot be", size), nil)
	}
	return r.skipBlock(size)
}

func (r *Reader) skipBlock(size uint32) error {
	n, err := r.src.Discard(int(size))
	if err != nil {
		err = r.broken("the file ends inside a block", err)
	}
	r.offset += int64(n)
	return err
}

func (r *Reader) interfaceBlock(size uint32) error {
	if size < 20 || size > maxHeadBlock || len(r.pcapng.interfaces) == maxInterfaces {
		return r.broken(fmt.Sprintf("an interface block of %d bytes cannot be", size), nil)
	}
	b, err := r.block(size)
	if err != nil {
		return err
	}
	i := pcapngInterface{link: LinkType(r.order.Uint16(b)), snap: r.order.Uint32(b[4:]), res: 6}
	for options := b[8:]; len(options) >= 4; {
		code, n := r.order.Uint16(options), int(r.order.Uint16(options[2:]))
		padded := 4 + (n+3)&^3
		if code == optionEnd || padded > len(options) {
			break
		}
		switch value := options[4 : 4+n]; {
		case code == optionResolution && n == 1:
			i.res = value[0]
		case code == optionOffset && n == 8:
			i.offset = int64(r.order.Uint64(value))
		}
		options = options[padded:]
	}
	r.pcapng.interfaces = append(r.pcapng.interfaces, i)
	r.use(int(size))
	return nil
}

// block returns the body of the block that comes next, without using it.
func (r *Reader) block(size uint32) ([]byte, error) {
	b, err := r.peek(int(size), "a block")
	if err != nil {
		return nil, err
	}
	if r.order.Uint32(b[size-4:]) != size {
		return nil, r.broken("a block's two lengths differ", nil)
	}
	return b[8 : size-4], nil
}

func (r *Reader) packetBlock(f *Frame, kind, size uint32) error {
	fixed := uint32(20)
	if kind == blockSimple {
		fixed = 4
	}
	if size < 12+fixed || size > readAhead {
		return r.broken(fmt.Sprintf("a packet block of %d bytes cannot be", size), nil)
	}
	b, err := r.block(size)
	if err != nil {
		return err
	}
	number, captured := uint32(0), uint32(0)
	switch kind {
	case blockSimple:
		f.Length = int(r.order.Uint32(b))
		captured = min(uint32(f.Length), size-16)
	case blockOldPacket:
		number = uint32(r.order.Uint16(b))
	default:
		number = r.order.Uint32(b)
	}
	if int64(number) >= int64(len(r.pcapng.interfaces)) {
		return r.broken(fmt.Sprintf("a packet of interface %d, which no block describes", number), nil)
	}
	from := &r.pcapng.interfaces[number]
	if kind == blockSimple {
		if from.snap > 0 {
			captured = min(captured, from.snap)
		}
	} else {
		captured, f.Length = r.order.Uint32(b[12:]), int(r.order.Uint32(b[16:]))
		f.Time = from.time(uint64(r.order.Uint32(b[4:]))<<32 | uint64(r.order.Uint32(b[8:])))
	}
	if captured > uint32(len(b))-fixed {
		return r.broken(fmt.Sprintf("a packet of %d bytes in a block of %d", captured, size), nil)
	}
	f.Data = b[fixed : fixed+captured]
	f.Link, f.Length, f.Offset = from.link, max(f.Length, int(captured)), r.offset
	r.use(int(size))
	return nil
}

// time converts a time stamp in units of the interface. One that is out of all range gives the zero time.
func (i *pcapngInterface) time(stamp uint64) time.Time {
	var sec, nsec uint64
	if i.res&0x80 != 0 {
		n := uint(i.res & 0x7f)
		if n > 63 {
			return time.Time{}
		}
		sec = stamp >> n
		hi, lo := bits.Mul64(stamp&(1<<n-1), uint64(time.Second))
		nsec = lo >> n
		if n > 0 {
			nsec |= hi << (64 - n)
		}
	} else {
		if i.res > 19 {
			return time.Time{}
		}
		unit := uint64(1) // units in a second
		for range i.res {
			unit *= 10
		}
		sec = stamp / unit
		hi, lo := bits.Mul64(stamp%unit, uint64(time.Second))
		nsec, _ = bits.Div64(hi, lo, unit)
	}
	const most = 292 * 365 * 24 * 3600 // in the year 2261: beyond 2262 there are no nanoseconds in 64 bits
	if sec > 1<<40 || i.offset > 1<<40 || i.offset < -1<<40 {
		return time.Time{}
	}
	if total := int64(sec) + i.offset; total >= 0 && total < most {
		return time.Unix(total, int64(nsec))
	}
	return time.Time{}
}
