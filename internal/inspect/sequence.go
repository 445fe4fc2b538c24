package inspect

import "math/bits"

// A tap gives every exchange the next sequence number just before it writes it, and writes each partition in order, so
// a hole in the numbers is an exchange that was lost on the way to Kafka.
//
// Not every hole is a loss. Where retention or the window has cut off the beginning of a partition, a number below the
// first one that is left there may have been cut off with it, and what was captured only just now may still be on its way:
// both are left out, so that what is counted is certain.
type sequences struct {
	taps  map[[16]byte]*sequence
	pages int
	full  bool // more pages than there may be: nothing can be told
}

// sequence is one tap's.
type sequence struct {
	pages map[uint64]*page
	first map[int32]uint64 // lowest number in each partition
	last  uint64
	young uint64 // lowest number captured only just now; 0: none
}

// page holds pageSize numbers, a bit each.
type page [pageSize / 64]uint64

const (
	pageSize  = 1 << 15
	mostPages = 1 << 14 // 64 MiB for all taps: half a thousand million numbers
)

func newSequences() *sequences { return &sequences{taps: make(map[[16]byte]*sequence)} }

// add notes a number; 0 is none. young says that it was captured only just now.
func (s *sequences) add(tap [16]byte, partition int32, seq uint64, young bool) {
	if seq == 0 || s.full {
		return
	}
	t := s.taps[tap]
	if t == nil {
		t = &sequence{pages: make(map[uint64]*page), first: make(map[int32]uint64)}
		s.taps[tap] = t
	}
	p := t.pages[seq/pageSize]
	if p == nil {
		if s.pages++; s.pages > mostPages {
			s.full, s.taps = true, nil
			return
		}
		p = new(page)
		t.pages[seq/pageSize] = p
	}
	bit := seq % pageSize
	p[bit/64] |= 1 << (bit % 64)
	t.last = max(t.last, seq)
	if first, ok := t.first[partition]; !ok || seq < first {
		t.first[partition] = seq
	}
	if young && (t.young == 0 || seq < t.young) {
		t.young = seq
	}
}

// missing returns how many numbers of a tap are certainly missing; not ok when nothing is certain. cut are the partitions
// whose beginning is not in what was read.
func (s *sequences) missing(tap [16]byte, cut []int32) (n uint64, ok bool) {
	t := s.taps[tap]
	if t == nil {
		return 0, !s.full
	}
	from, to := uint64(1), t.last
	for _, partition := range cut {
		first, ok := t.first[partition]
		if !ok {
			return 0, false
		}
		from = max(from, first)
	}
	if t.young > 0 {
		to = t.young - 1
	}
	if to < from {
		return 0, true
	}
	return to - from + 1 - t.present(from, to), true
}

// present counts the numbers between the two, both included.
func (t *sequence) present(from, to uint64) (n uint64) {
	for at, p := range t.pages {
		start := at * pageSize
		switch {
		case start+pageSize-1 < from || start > to:
		case start >= from && start+pageSize-1 <= to:
			for _, word := range p {
				n += uint64(bits.OnesCount64(word))
			}
		default:
			for i := range uint64(pageSize) {
				if seq := start + i; seq >= from && seq <= to && p[i/64]&(1<<(i%64)) != 0 {
					n++
				}
			}
		}
	}
	return n
}
