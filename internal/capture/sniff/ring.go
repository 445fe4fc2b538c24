package sniff

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/reprise-io/reprise/internal/packet"
)

const (
	blockSize = 1 << 20 // holds the largest packet that loopback has
	frameSize = 2 << 10 // of no meaning in version 3, but it must divide the block
	// retireAfter is when the kernel hands a block over that is not full.
	retireAfter = 20 * time.Millisecond
)

// ring is a ring of blocks that the kernel fills with packets (TPACKET_V3). They begin with their link layer, without the
// outer VLAN tag. (A packet socket without link layer calls the type of the innermost tag the type of what it gives.)
type ring struct {
	fd, wakeFD int
	index      int // of the interface; 0: all
	memory     []byte
	blocks     int
	next       int
}

// captured is a packet in the ring.
type captured struct {
	link packet.LinkType
	data []byte
	at   time.Time
}

func openRing(cfg *Config, index int) (*ring, error) {
	r := &ring{fd: -1, wakeFD: -1, index: index, blocks: max(2, cfg.RingBytes/blockSize)}
	if err := r.open(cfg); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *ring) open(cfg *Config) (err error) {
	// Protocol 0: nothing comes before the filter is there and bind says from where.
	if r.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if r.wakeFD, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	if err = r.filter(cfg); err != nil {
		return err
	}
	if err = unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return fmt.Errorf("packet version 3: %w", err)
	}
	request := unix.TpacketReq3{
		Block_size: blockSize, Block_nr: uint32(r.blocks), Frame_size: frameSize, Frame_nr: uint32(r.blocks) * (blockSize / frameSize),
		Retire_blk_tov: uint32(retireAfter / time.Millisecond),
	}
	if err = unix.SetsockoptTpacketReq3(r.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &request); err != nil {
		return fmt.Errorf("a ring of %d MiB: %w", r.blocks*blockSize>>20, err)
	}
	if r.memory, err = unix.Mmap(r.fd, 0, r.blocks*blockSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return fmt.Errorf("map the ring: %w", err)
	}
	if err = r.bind(r.index); err != nil {
		return err
	}
	if cfg.Promiscuous && r.index > 0 {
		mreq := unix.PacketMreq{Ifindex: int32(r.index), Type: unix.PACKET_MR_PROMISC}
		if err = unix.SetsockoptPacketMreq(r.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &mreq); err != nil {
			return fmt.Errorf("promiscuous mode: %w", err)
		}
	}
	return nil
}

// bind begins to take packets of an interface.
func (r *ring) bind(index int) error {
	r.index = index
	if err := unix.Bind(r.fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: index}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	return nil
}

// filter tells the kernel which packets are wanted.
func (r *ring) filter(cfg *Config) error {
	raw, err := bpf.Assemble(program(cfg.Ports, cfg.VXLAN, loopbackIndex()))
	if err != nil {
		return fmt.Errorf("packet filter for %d ports: %w", len(cfg.Ports), err)
	}
	instructions := make([]unix.SockFilter, len(raw))
	for i, in := range raw {
		instructions[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	prog := unix.SockFprog{Len: uint16(len(instructions)), Filter: &instructions[0]}
	if err := unix.SetsockoptSockFprog(r.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		return fmt.Errorf("packet filter: %w", err)
	}
	return nil
}

func networkOrder(n uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n))
}

func (r *ring) close() {
	if r.memory != nil {
		_ = unix.Munmap(r.memory)
		r.memory = nil
	}
	for _, fd := range []*int{&r.fd, &r.wakeFD} {
		if *fd >= 0 {
			_ = unix.Close(*fd)
			*fd = -1
		}
	}
}

// wake ends wait from any goroutine.
func (r *ring) wake() { _, _ = unix.Write(r.wakeFD, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

// wait waits for a block, for wake, or for so long. An error is about the interface, such as that it is down.
func (r *ring) wait(most time.Duration) error {
	if r.ready() {
		return nil
	}
	fds := []unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN | unix.POLLERR}, {Fd: int32(r.wakeFD), Events: unix.POLLIN}}
	if _, err := unix.Poll(fds, int(most/time.Millisecond)); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("poll: %w", err)
	}
	if fds[1].Revents != 0 {
		var count [8]byte
		_, _ = unix.Read(r.wakeFD, count[:])
	}
	if fds[0].Revents&unix.POLLERR != 0 {
		if code, err := unix.GetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_ERROR); err == nil && code != 0 {
			return unix.Errno(code)
		}
	}
	return nil
}

// Places in a block's and a packet's header (struct tpacket_block_desc, tpacket3_hdr, sockaddr_ll behind it).
const (
	blockStatus = 8
	blockCount  = 12
	blockFirst  = 16

	packetNext     = 0
	packetSec      = 4
	packetNsec     = 8
	packetCaptured = 12
	packetMAC      = 24
	packetAddress  = 48
	addressDevice  = 8 // the kind of interface
)

// linkOf returns what packets of a kind of interface begin with: Ethernet, or nothing before IP on tunnels and the like.
func linkOf(device uint16) packet.LinkType {
	switch device {
	case unix.ARPHRD_ETHER, unix.ARPHRD_LOOPBACK:
		return packet.LinkEthernet
	case unix.ARPHRD_NONE, unix.ARPHRD_PPP, unix.ARPHRD_TUNNEL, unix.ARPHRD_TUNNEL6, unix.ARPHRD_SIT, unix.ARPHRD_IPGRE, unix.ARPHRD_IP6GRE,
		unix.ARPHRD_RAWIP:
		return packet.LinkRaw
	}
	return unknownLink
}

const unknownLink packet.LinkType = 0xffff

func (r *ring) block() []byte {
	return r.memory[r.next*blockSize : (r.next+1)*blockSize]
}

func status(block []byte) *uint32 { return (*uint32)(unsafe.Pointer(&block[blockStatus])) }

func (r *ring) ready() bool {
	return atomic.LoadUint32(status(r.block()))&unix.TP_STATUS_USER != 0
}

// each calls f for the packets of every block that the kernel has handed over, once around the ring at most. A packet is
// valid during the call.
func (r *ring) each(f func(*captured)) {
	for range r.blocks {
		if !r.ready() {
			return
		}
		block := r.block()
		at := int(binary.NativeEndian.Uint32(block[blockFirst:]))
		for range binary.NativeEndian.Uint32(block[blockCount:]) {
			h := block[at:]
			from, size := int(binary.NativeEndian.Uint16(h[packetMAC:])), int(binary.NativeEndian.Uint32(h[packetCaptured:]))
			p := captured{
				link: linkOf(binary.NativeEndian.Uint16(h[packetAddress+addressDevice:])),
				data: h[from : from+size : from+size],
				at:   time.Unix(int64(binary.NativeEndian.Uint32(h[packetSec:])), int64(binary.NativeEndian.Uint32(h[packetNsec:]))),
			}
			f(&p)
			at += int(binary.NativeEndian.Uint32(h[packetNext:]))
		}
		atomic.StoreUint32(status(block), unix.TP_STATUS_KERNEL)
		r.next = (r.next + 1) % r.blocks
	}
}

// drops returns how many packets the kernel dropped since the last call.
func (r *ring) drops() int64 {
	s, err := unix.GetsockoptTpacketStatsV3(r.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0
	}
	return int64(s.Drops)
}
