package packet

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	// maxPacket is the largest packet that is believed; the largest that tools write is 256 KiB.
	maxPacket = 1 << 20
	readAhead = maxPacket + 64<<10
)

// BrokenError says where a capture file stops making sense. Everything before that place was read.
type BrokenError struct {
	Offset  int64 // of the packet or block that could not be read, in bytes of the (decompressed) content
	Packets int64 // read before it
	Reason  string
	Err     error // of reading, if that is why
}

// Error tells the place and the reason.
func (e *BrokenError) Error() string {
	return fmt.Sprintf("byte %d, behind %d packets: %s", e.Offset, e.Packets, e.Reason)
}

// Unwrap returns the error of reading.
func (e *BrokenError) Unwrap() error { return e.Err }

// Reader reads the packets of a capture file, pcap or pcapng as its first bytes say. It holds one packet.
type Reader struct {
	src     *bufio.Reader
	order   binary.ByteOrder
	offset  int64 // of what is read next
	packets int64
	next    func(*Frame) error

	pcap   pcapFile
	pcapng pcapngFile
}

// IsCapture reports whether a file that begins with head is one that a Reader reads.
func IsCapture(head []byte) bool {
	if len(head) < 4 {
		return false
	}
	_, ok := pcapMagic(head)
	return ok || isPcapng(head)
}

// NewReader reads the file header. Errors are *BrokenError.
func NewReader(r io.Reader) (*Reader, error) {
	f := &Reader{src: bufio.NewReaderSize(r, readAhead)}
	head, err := f.src.Peek(4)
	switch {
	case err != nil:
		return nil, f.broken("the file ends inside its header", err)
	case isPcapng(head):
		f.next = f.nextPcapng
		return f, nil
	}
	if err := f.openPcap(head); err != nil {
		return nil, err
	}
	f.next = f.nextPcap
	return f, nil
}

// Next reads a packet into f. io.EOF is the end of a file that is whole; every other error is a *BrokenError.
func (r *Reader) Next(f *Frame) error {
	if err := r.next(f); err != nil {
		return err
	}
	r.packets++
	f.Number = r.packets
	return nil
}

// peek returns the next n bytes without using them; io.EOF when there is none.
func (r *Reader) peek(n int, what string) ([]byte, error) {
	p, err := r.src.Peek(n)
	switch {
	case err == nil:
		return p, nil
	case len(p) == 0 && errors.Is(err, io.EOF):
		return nil, io.EOF
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, r.broken("the file ends inside "+what, io.ErrUnexpectedEOF)
	}
	return nil, r.broken(err.Error(), err)
}

// use uses n bytes that were peeked at.
func (r *Reader) use(n int) {
	_, _ = r.src.Discard(n)
	r.offset += int64(n)
}

func (r *Reader) broken(reason string, err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return &BrokenError{Offset: r.offset, Packets: r.packets, Reason: reason, Err: err}
}

// pcapFile is what the header of a pcap file says.
type pcapFile struct {
	link  LinkType
	head  int   // bytes of a packet's header
	scale int64 // ns in the unit of its fraction of a second
}

const pcapHeader = 24

// pcapMagic returns the byte order that a pcap file begins with.
func pcapMagic(head []byte) (binary.ByteOrder, bool) {
	for _, order := range [...]binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch order.Uint32(head) {
		case microMagic, nanoMagic, kernelMagic:
			return order, true
		}
	}
	return nil, false
}

const (
	microMagic  = 0xa1b2c3d4
	nanoMagic   = 0xa1b23c4d
	kernelMagic = 0xa1b2cd34 // of a patched libpcap: eight more bytes in every packet's header
)

func (r *Reader) openPcap(head []byte) error {
	order, ok := pcapMagic(head)
	if !ok {
		return r.broken("it begins like no capture file", nil)
	}
	h, err := r.peek(pcapHeader, "its header")
	if err != nil {
		return err
	}
	r.order, r.pcap = order, pcapFile{head: 16, scale: 1000}
	switch order.Uint32(h) {
	case nanoMagic:
		r.pcap.scale = 1
	case kernelMagic:
		r.pcap.head = 24
	}
	r.pcap.link = LinkType(order.Uint32(h[20:]) & 0xffff) // above it: length of the frame check sequence
	r.use(pcapHeader)
	return nil
}

func (r *Reader) nextPcap(f *Frame) error {
	h, err := r.peek(r.pcap.head, "a packet's header")
	if err != nil {
		return err
	}
	captured, length := r.order.Uint32(h[8:]), r.order.Uint32(h[12:])
	if captured > maxPacket {
		return r.broken(fmt.Sprintf("a packet of %d bytes cannot be", captured), nil)
	}
	f.Time = time.Unix(int64(r.order.Uint32(h)), int64(r.order.Uint32(h[4:]))*r.pcap.scale)
	f.Link, f.Length, f.Offset = r.pcap.link, int(max(captured, length)), r.offset
	all := r.pcap.head + int(captured)
	p, err := r.peek(all, "a packet")
	if err != nil {
		return err
	}
	f.Data = p[r.pcap.head:]
	r.use(all)
	return nil
}
