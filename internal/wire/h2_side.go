package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"time"
	"unsafe"

	"golang.org/x/net/http2/hpack"
)

// The directions of a connection.
const (
	fromClient = 0
	fromServer = 1
)

const (
	// maxUnacknowledged is how many SETTINGS of one side may wait for the other's acknowledgement.
	maxUnacknowledged = 16
	// tableCost is what a byte of a dynamic table really takes, with the decoder's two maps.
	tableCost = 2
	// entryPerByte is how much of a table a byte of a block fills: an entry counts 32 beside its text.
	entryPerByte = 8

	// What the unfinished exchanges of one connection may hold: with a table, a byte of a header block can stand for four
	// thousand. So much for each byte that came, and something to begin with.
	ampleBytes  = 512 << 10
	perWireByte = 32

	h2Size = int(unsafe.Sizeof(h2{}) + unsafe.Sizeof(hpack.Decoder{})*2)
)

// h2 is the state of an HTTP/2 connection.
type h2 struct {
	sides   [2]h2Side
	streams map[uint32]*pending // whose exchange is not finished
	last    uint32              // highest stream that the client opened
	served  uint32              // the server has said that it serves no streams above
	shrunk  uint32              // the stream at which streams was last made anew
	wire    int64               // bytes that came so far, from both sides
	booked  int64               // by its unfinished exchanges
}

// allows reports whether the connection's exchanges may hold n bytes more. One that is not HTTP/2 repeats nothing.
func (c *h2) allows(n int64) bool { return c == nil || c.booked+n <= ampleBytes+perWireByte*c.wire }

func (c *h2) release(n int64) {
	if c != nil {
		c.booked -= n
	}
}

// h2Side is one direction of it.
type h2Side struct {
	frames
	decoder *hpack.Decoder // nil until the first block
	allowed uint32         // size of the dynamic table
	sizes   []sizeSetting  // sent, not yet acknowledged
	start   time.Time      // of the frame, or header block, that is coming
	filled  int            // what the blocks so far can have put into the table
}

// sizeSetting is what one SETTINGS frame says about the other side's table.
type sizeSetting struct {
	size  uint32
	given bool
}

// newH2 returns the state of a connection whose client has said that much of the preface.
func newH2(said int) *h2 {
	c := &h2{streams: make(map[uint32]*pending), served: math.MaxUint32}
	c.sides[fromClient] = h2Side{frames: frames{got: uint8(said)}, allowed: defaultTable}
	c.sides[fromServer] = h2Side{frames: frames{state: inFrameHead}, allowed: defaultTable}
	return c
}

// quiet reports that no message is under way.
func (c *h2) quiet() bool {
	if c == nil {
		return true
	}
	client := &c.sides[fromClient]
	return len(c.streams) == 0 && (client.between() || client.state == inPreface && client.got == 0) && c.sides[fromServer].between()
}

// held is the memory that the budget is asked for: all of it, and what may not be without asking.
func (c *h2) held() (all, strict int) {
	all = h2Size
	for i := range c.sides {
		s := &c.sides[i]
		strict += max(cap(s.buf)-freeHeld, 0) + tableCost*max(min(s.filled, int(s.allowed))-defaultTable, 0)
		all += tableCost * min(s.filled, defaultTable)
	}
	return all + strict, strict
}

// decode reads the block that s has found into h.
func (s *h2Side) decode(r *fieldReader, h *Head, response bool) (tooLarge bool, fault Fault) {
	if s.decoder == nil {
		emit := r.request
		if response {
			emit = r.response
		}
		s.decoder = hpack.NewDecoder(defaultTable, emit)
		s.decoder.SetAllowedMaxDynamicTableSize(s.allowed)
		s.decoder.SetMaxStringLength(MaxHeader)
	}
	s.filled = min(s.filled+entryPerByte*len(s.block), maxTable)
	tooLarge, err := r.read(h, s.decoder, s.block)
	switch {
	case errors.Is(err, hpack.ErrStringLength):
		return true, TooLarge
	case err != nil:
		return false, HTTP2
	}
	return tooLarge, 0
}

// allow lets the table of this direction grow, or shrink, to what the other side has said.
func (s *h2Side) allow(size uint32) {
	s.allowed = min(size, maxTable)
	if s.decoder != nil {
		s.decoder.SetAllowedMaxDynamicTableSize(s.allowed)
	}
}

// announced takes note of SETTINGS that this side has sent, which count once they are acknowledged.
func (s *h2Side) announced() frameEvent {
	if len(s.sizes) == maxUnacknowledged {
		return s.fail(HTTP2)
	}
	s.sizes = append(s.sizes, sizeSetting{s.tableSize, s.sized})
	return framePassed
}

// acknowledged applies the oldest SETTINGS of from, which this side has acknowledged.
func (s *h2Side) acknowledged(from *h2Side) {
	if len(from.sizes) == 0 {
		return
	}
	if first := from.sizes[0]; first.given {
		s.allow(first.size)
	}
	if from.sizes = from.sizes[1:]; len(from.sizes) == 0 {
		from.sizes = nil
	}
}

// upgraded applies the SETTINGS that an HTTP/1.1 request to upgrade had in a field. They need no acknowledgement.
func (c *h2) upgraded(settings []byte) {
	raw, err := base64.RawURLEncoding.AppendDecode(nil, bytes.TrimRight(settings, "="))
	if err != nil {
		return
	}
	for ; len(raw) >= 6; raw = raw[6:] {
		if binary.BigEndian.Uint16(raw) == settingTableSize {
			c.sides[fromServer].allow(binary.BigEndian.Uint32(raw[2:]))
		}
	}
}
