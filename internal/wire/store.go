package wire

import (
	"unsafe"

	"github.com/reprise-io/reprise/internal/traffic"
)

// Sizes of the blocks that finished parts are cut from. They are small, since a block lives as long as its slowest part
// and Budget counts only the parts.
const (
	bytesBlock  = 8 << 10
	fieldsBlock = 128
	slotsBlock  = 8

	ownBytes  = bytesBlock / 4 // from this size on, a part has its own memory
	ownFields = fieldsBlock / 4

	fieldSize = int(unsafe.Sizeof(traffic.Field{}))
	slotSize  = int(unsafe.Sizeof(slot{}))
)

// slot is the memory of an exchange with its response.
type slot struct {
	exchange traffic.Exchange
	response traffic.Response
}

// store gives out memory in small parts of larger blocks: one allocation serves many exchanges. Nothing comes back; the
// garbage collector takes a block when none of its parts is used.
type store struct {
	bytes  []byte
	fields []traffic.Field
	slots  []slot
}

// room returns an empty slice with exactly that capacity.
func (s *store) room(n int) []byte {
	if n >= ownBytes {
		return make([]byte, 0, n)
	}
	if cap(s.bytes)-len(s.bytes) < n {
		s.bytes = make([]byte, 0, bytesBlock)
	}
	at := len(s.bytes)
	s.bytes = s.bytes[:at+n]
	return s.bytes[at : at : at+n]
}

func (s *store) copy(p []byte) []byte { return append(s.room(len(p)), p...) }

// fieldRoom returns an empty slice with exactly that capacity.
func (s *store) fieldRoom(n int) []traffic.Field {
	if n >= ownFields {
		return make([]traffic.Field, 0, n)
	}
	if cap(s.fields)-len(s.fields) < n {
		s.fields = make([]traffic.Field, 0, fieldsBlock)
	}
	at := len(s.fields)
	s.fields = s.fields[:at+n]
	return s.fields[at : at : at+n]
}

func (s *store) slot() *slot {
	if len(s.slots) == 0 {
		s.slots = make([]slot, slotsBlock)
	}
	next := &s.slots[0]
	s.slots = s.slots[1:]
	return next
}
