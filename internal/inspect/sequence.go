package inspect

import (
	"maps"
	"math"
	"math/bits"
	"slices"
)

// A tap gives every exchange the next sequence number just before it writes it, and writes each partition in order, so
// a hole in the numbers is an exchange that was lost on the way to Kafka.
//
// Not every hole is a loss. Where retention or the window has cut off the beginning of a partition, a number below the
// first one that is left there may have been cut off with it, and what was captured only just now may still be on its way:
// both are left out, so that what is counted is certain.
type sequences struct {
	taps   map[[16]byte]*sequence
	pages  int
	filled int
	full   bool // more pages than there may be: nothing can be told
}

// sequence is one tap's.
type sequence struct {
	pages map[uint64]*page
	first map[int32]uint64 // lowest number in each partition
	last  uint64
	young uint64 // lowest number captured only just now; 0: none
}

// page holds pageSize numbers, a bit each. A page that has them all needs no bits: what is there without a hole, and that is
// most, takes next to nothing.
type page struct {
	bits        *[pageSize / 64]uint64 // nil: all are there
	count       uint16
	first, last int64 // when its exchanges were captured, in ns; 0: not known
}

const (
	pageSize   = 1 << 12
	mostPages  = 1 << 17 // with bits, for all taps: 64 MiB, half a thousand million numbers with holes among them
	mostFilled = 1 << 21 // without: 8.6 thousand million more
)

func newSequences() *sequences { return &sequences{taps: make(map[[16]byte]*sequence)} }

// add notes a number; 0 is none. young says that it was captured only just now.
func (s *sequences) add(tap [16]byte, partition int32, seq uint64, young bool) {
	s.note(tap, partition, seq, young, 0)
}

// note is add with the capture time in ns, and reports whether the number was there before.
func (s *sequences) note(tap [16]byte, partition int32, seq uint64, young bool, captured int64) (again bool) {
	if seq == 0 || s.full {
		return false
	}
	t := s.taps[tap]
	if t == nil {
		t = &sequence{pages: make(map[uint64]*page), first: make(map[int32]uint64)}
		s.taps[tap] = t
	}
	p := t.pages[seq/pageSize]
	if p == nil {
		if s.pages++; s.pages > mostPages || s.filled > mostFilled {
			s.full, s.taps = true, nil
			return false
		}
		p = &page{bits: new([pageSize / 64]uint64)}
		t.pages[seq/pageSize] = p
	}
	again = p.add(seq % pageSize)
	if !again && (p.count == pageSize || p.count == pageSize-1 && seq < pageSize) { // the first page has no number 0
		p.bits = nil
		s.pages--
		s.filled++
	}
	if captured != 0 {
		p.last = max(p.last, captured)
		if p.first == 0 || captured < p.first {
			p.first = captured
		}
	}
	t.last = max(t.last, seq)
	if first, ok := t.first[partition]; !ok || seq < first {
		t.first[partition] = seq
	}
	if young && (t.young == 0 || seq < t.young) {
		t.young = seq
	}
	return again
}

func (p *page) add(bit uint64) (again bool) {
	if p.bits == nil {
		return true
	}
	word, mask := &p.bits[bit/64], uint64(1)<<(bit%64)
	if *word&mask != 0 {
		return true
	}
	*word |= mask
	p.count++
	return false
}

func (p *page) has(bit uint64) bool { return p.bits == nil || p.bits[bit/64]&(1<<(bit%64)) != 0 }

// missing returns how many numbers of a tap are certainly missing; not ok when nothing is certain. cut are the partitions
// whose beginning is not in what was read.
func (s *sequences) missing(tap [16]byte, cut []int32) (n uint64, ok bool) {
	t := s.taps[tap]
	if t == nil {
		return 0, !s.full
	}
	from, ok := t.certain(cut)
	if !ok {
		return 0, false
	}
	to := t.last
	if t.young > 0 {
		to = t.young - 1
	}
	if to < from {
		return 0, true
	}
	return to - from + 1 - t.present(from, to), true
}

// certain returns the number from which on nothing was cut off with the beginning of a partition.
func (t *sequence) certain(cut []int32) (from uint64, ok bool) {
	from = 1
	for _, partition := range cut {
		first, ok := t.first[partition]
		if !ok {
			return 0, false
		}
		from = max(from, first)
	}
	return from, true
}

// gaps calls each for every span of missing numbers between the two, both included, in order, with the capture times of
// exchanges around it: to within a page, 0 where there are none.
func (t *sequence) gaps(from, to uint64, each func(first, last uint64, after, before int64)) {
	next, after := from, int64(0) // next: lowest number not judged yet
	for _, at := range slices.Sorted(maps.Keys(t.pages)) {
		p, start := t.pages[at], at*pageSize
		low, high := max(start, from), min(start+pageSize-1, to)
		if high < from || low > to {
			continue
		}
		for seq := low; seq <= high; seq++ {
			if seq%64 == 0 && high-seq >= 63 && (p.bits == nil || p.bits[seq%pageSize/64] == math.MaxUint64) {
				if next < seq {
					each(next, seq-1, after, p.last)
				}
				seq += 63
				next, after = seq+1, p.first
				continue
			}
			if p.has(seq % pageSize) {
				if next < seq {
					each(next, seq-1, after, p.last)
				}
				next, after = seq+1, p.first
			}
		}
	}
	if next <= to {
		each(next, to, after, 0)
	}
}

// present counts the numbers between the two, both included.
func (t *sequence) present(from, to uint64) (n uint64) {
	for at, p := range t.pages {
		start := at * pageSize
		switch {
		case start+pageSize-1 < from || start > to:
		case start >= from && start+pageSize-1 <= to:
			n += p.present()
		default:
			for i := range uint64(pageSize) {
				if seq := start + i; seq >= from && seq <= to && p.has(i) {
					n++
				}
			}
		}
	}
	return n
}

func (p *page) present() (n uint64) {
	if p.bits == nil {
		return pageSize
	}
	for _, word := range p.bits {
		n += uint64(bits.OnesCount64(word))
	}
	return n
}
