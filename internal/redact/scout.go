package redact

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// scout looks ahead of a walk for the next place in a document where the rules may have something to do. Up to there the walk
// need only keep account of where it is, and where there is none it may end: most of most documents is passed that way. It
// reads bytes and no structure; whatever could hide more than the bytes show counts as such a place.
type scout struct {
	src   []byte
	on    bool
	looks int
	next  int          // no string that ends before it, and no member with its colon before it, holds anything
	spots [cursors]int // next place of each kind; len(src): there is none
	mark  [hiding]byte
	keys  *keyMatcher
	find  detector
}

// What is looked for: bytes that can hide something, names of rules before a colon, values that a detector knows.
const (
	hiding  = 4
	atKey   = hiding
	atValue = hiding + 1
	cursors = hiding + 2
)

// send sends a scout ahead of a walk from the beginning of src. Where every value counts there is none.
func (w *walker) send(outer keyHit) {
	if w.paths || w.eager || w.r.rekey || outer.rule != nil {
		return
	}
	w.scout = scout{
		src: w.src, on: true, keys: w.r.keys, find: w.r.detect,
		mark: [hiding]byte{'\\', '=', '@', '<'}, // an escape, parameters, the user of a URL, an element
	}
	for i := range w.spots {
		w.spots[i] = -1
	}
	w.look(0)
}

// look finds the next place from i on. Where such places stand close together the scout is called off: to look and to walk is
// then more than to walk.
func (s *scout) look(i int) {
	if s.looks++; s.looks > 32 && i/s.looks < 200 {
		s.on, s.next = false, 0
		return
	}
	s.next = len(s.src)
	for k := range s.spots {
		if s.spots[k] < i {
			s.spots[k] = s.ahead(k, i)
		}
		s.next = min(s.next, s.spots[k])
	}
}

func (s *scout) ahead(k, i int) int {
	switch k {
	case atKey:
		return s.key(i)
	case atValue:
		if found, ok := s.find.next(s.src, i); ok {
			return found.from
		}
	default:
		if n := bytes.IndexByte(s.src[i:], s.mark[k]); n >= 0 {
			return i + n
		}
	}
	return len(s.src)
}

// key returns where the next colon stands, from i on, before which a name may end. There is one in every ten bytes or so: to look
// at eight at a time is quicker than to call for each.
func (s *scout) key(i int) int {
	for ; i+8 <= len(s.src); i += 8 {
		word := binary.LittleEndian.Uint64(s.src[i:]) ^ ':'*ones
		for hits := allZeroBytes(word); hits != 0; hits &= hits - 1 {
			if at := i + bits.TrailingZeros64(hits)/8; !s.keys.noEnd(s.src, at) && s.keys.mayEnd(s.src, at) {
				return at
			}
		}
	}
	for ; i < len(s.src); i++ {
		if s.src[i] == ':' && s.keys.mayEnd(s.src, i) {
			return i
		}
	}
	return i
}

// done reports whether a walk that is at i has nothing left to find; within tells that a rule is for all that is around i.
func (s *scout) done(i int, within bool) bool {
	if i > s.next {
		s.look(i)
	}
	return s.next == len(s.src) && !within
}

// maxBack bounds how far mayEnd looks back.
const maxBack = 64

// mayEnd reports whether a name may end before b[end], wherever its key begins; what is no letter does not count.
func (m *keyMatcher) mayEnd(b []byte, end int) bool {
	node := &m.nodes[0]
	for i := end - 1; i >= 0; i-- {
		if i < end-maxBack || b[i] >= 0x80 {
			return true
		}
		c := b[i] | 0x20 - 'a'
		if c >= 26 {
			continue
		}
		next := node.next[c]
		if next == 0 {
			return false
		}
		if node = &m.nodes[next]; node.mode&matchGlued != 0 || node.mode != 0 && wordStart(b, i) {
			return true
		}
	}
	return false
}
