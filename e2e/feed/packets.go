package feed

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"time"
)

// Packets describes a packet capture that nobody took: GETs with answers on keep-alive connections that take turns, every
// segment acknowledged, as tcpdump would have written it.
type Packets struct {
	Requests    int
	Connections int // open at a time; 0: 200
	PerConn     int // requests on each; 0: 100
	Start       time.Time
}

// packetWriter writes a pcap file of Ethernet packets.
type packetWriter struct {
	out *bufio.Writer
	at  time.Time
	buf []byte
}

// side of a connection that is made up.
type madeSide struct {
	addr [4]byte
	port uint16
	seq  uint32
}

type madeConn struct {
	client, server madeSide
	left           int
}

// WriteFile writes the capture and returns its size in bytes.
func (p Packets) WriteFile(path string) (int64, error) {
	file, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	if p.Connections == 0 {
		p.Connections = 200
	}
	if p.PerConn == 0 {
		p.PerConn = 100
	}
	w := newPacketWriter(file, p.Start)
	conns := make([]*madeConn, p.Connections)
	serial := 0
	for i := range p.Requests {
		slot := i % len(conns)
		c := conns[slot]
		if c == nil {
			c = &madeConn{left: p.PerConn}
			c.client = madeSide{[4]byte{10, byte(serial >> 16), byte(serial >> 8), byte(serial)}, uint16(20000 + serial%40000), uint32(serial) * 7919}
			c.server = madeSide{[4]byte{10, 255, 0, 1}, 80, uint32(serial) * 104729}
			conns[slot] = c
			serial++
			w.handshake(c)
		}
		w.exchange(c, i)
		if c.left--; c.left == 0 {
			w.bye(c)
			conns[slot] = nil
		}
	}
	for _, c := range conns {
		if c != nil {
			w.bye(c)
		}
	}
	if err := w.out.Flush(); err != nil {
		return 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Said is what one side of a connection sent at a time.
type Said struct {
	At         time.Time
	FromClient bool
	Data       string
}

// WriteConversation writes the capture of one connection over IPv4 on which that was said, in this order.
func WriteConversation(path string, client, server netip.AddrPort, all []Said) error {
	const segment = 1448
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	c := &madeConn{client: madeSide{client.Addr().As4(), client.Port(), 1000}, server: madeSide{server.Addr().As4(), server.Port(), 9000}}
	w := newPacketWriter(file, time.Time{})
	for i, said := range all {
		if said.At.After(w.at) {
			w.at = said.At
		}
		if i == 0 {
			w.handshake(c)
		}
		from, to := &c.server, &c.client
		if said.FromClient {
			from, to = to, from
		}
		for len(said.Data) > 0 {
			n := min(len(said.Data), segment)
			w.segment(from, to, psh|ack, said.Data[:n])
			said.Data = said.Data[n:]
		}
		w.segment(to, from, ack, "")
	}
	w.bye(c)
	return w.out.Flush()
}

// newPacketWriter writes the file's header. An error is told by Flush.
func newPacketWriter(file *os.File, at time.Time) *packetWriter {
	header := make([]byte, 24)
	binary.LittleEndian.PutUint32(header, 0xa1b2c3d4)
	binary.LittleEndian.PutUint16(header[4:], 2)
	binary.LittleEndian.PutUint16(header[6:], 4)
	binary.LittleEndian.PutUint32(header[16:], 262144)
	binary.LittleEndian.PutUint32(header[20:], 1)
	w := &packetWriter{out: bufio.NewWriterSize(file, 1<<20), at: at}
	_, _ = w.out.Write(header)
	return w
}

const (
	fin = 1
	syn = 2
	psh = 8
	ack = 16
)

func (w *packetWriter) handshake(c *madeConn) {
	w.segment(&c.client, &c.server, syn, "")
	w.segment(&c.server, &c.client, syn|ack, "")
	w.segment(&c.client, &c.server, ack, "")
}

func (w *packetWriter) bye(c *madeConn) {
	w.segment(&c.client, &c.server, fin|ack, "")
	w.segment(&c.server, &c.client, fin|ack, "")
	w.segment(&c.client, &c.server, ack, "")
}

func (w *packetWriter) exchange(c *madeConn, i int) {
	w.segment(&c.client, &c.server, psh|ack,
		fmt.Sprintf("GET /items/%d?page=%d HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: made/1.0\r\nAccept: */*\r\n\r\n", i, i%9))
	body := fmt.Sprintf(`{"id":%d,"name":"item"}`, i)
	w.segment(&c.server, &c.client, psh|ack,
		fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	w.segment(&c.client, &c.server, ack, "")
}

// segment writes one packet, a few µs after the one before.
func (w *packetWriter) segment(from, to *madeSide, flags byte, payload string) {
	const ethernet, ip, tcp = 14, 20, 32 // with time stamps
	w.at = w.at.Add(20 * time.Microsecond)
	size := ethernet + ip + tcp + len(payload)
	b := append(w.buf[:0], make([]byte, 16+size-len(payload))...)
	binary.LittleEndian.PutUint32(b, uint32(w.at.Unix()))
	binary.LittleEndian.PutUint32(b[4:], uint32(w.at.Nanosecond()/1000))
	binary.LittleEndian.PutUint32(b[8:], uint32(size))
	binary.LittleEndian.PutUint32(b[12:], uint32(size))
	p := b[16:]
	copy(p, "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x08\x00")
	h := p[ethernet:]
	h[0], h[6], h[8], h[9] = 0x45, 0x40, 64, 6
	binary.BigEndian.PutUint16(h[2:], uint16(ip+tcp+len(payload)))
	copy(h[12:], from.addr[:])
	copy(h[16:], to.addr[:])
	s := h[ip:]
	binary.BigEndian.PutUint16(s, from.port)
	binary.BigEndian.PutUint16(s[2:], to.port)
	binary.BigEndian.PutUint32(s[4:], from.seq)
	if flags&ack != 0 {
		binary.BigEndian.PutUint32(s[8:], to.seq)
	}
	s[12], s[13] = tcp/4<<4, flags
	binary.BigEndian.PutUint16(s[14:], 65535)
	copy(s[20:], "\x01\x01\x08\x0a")
	binary.BigEndian.PutUint32(s[24:], uint32(w.at.UnixMilli()))
	from.seq += uint32(len(payload))
	if flags&(syn|fin) != 0 {
		from.seq++
	}
	w.buf = append(b, payload...)
	_, _ = w.out.Write(w.buf) // Flush tells
}
