package topic

// Ledger is the progress of one partition: which offsets were begun and which are done, in any order, and so which offset
// may be committed. It is pure, and not safe for concurrent use. Offsets may have gaps (compaction, transaction markers):
// an offset that is never begun does not hold anything up.
//
// Begin and Done cost O(1) where offsets are dense and O(log n) where they have gaps.
type Ledger struct {
	ring []ledgerEntry // capacity is a power of two
	head int           // index of the lowest entry, which is never done
	n    int
	open int   // entries not done
	next int64 // no lower offset will be begun any more
}

type ledgerEntry struct {
	offset int64
	done   bool
}

// NewLedger starts at the next offset to read.
func NewLedger(start int64) *Ledger { return &Ledger{next: start} }

// Begin notes that offset is being worked on. Offsets rise: one that is not above those begun before, or is below the
// start, changes nothing.
func (l *Ledger) Begin(offset int64) {
	if offset < l.next {
		return
	}
	if l.n == len(l.ring) {
		l.grow()
	}
	*l.at(l.n) = ledgerEntry{offset: offset}
	l.n++
	l.open++
	l.next = offset + 1
}

// Done notes that offset is finished. An offset that is not in work changes nothing.
func (l *Ledger) Done(offset int64) {
	i, ok := l.find(offset)
	if !ok || l.at(i).done {
		return
	}
	l.at(i).done = true
	l.open--
	for l.n > 0 && l.ring[l.head].done {
		l.head = (l.head + 1) & (len(l.ring) - 1)
		l.n--
	}
}

// Advance notes that no offset below next will be begun: the log has nothing more there.
func (l *Ledger) Advance(next int64) { l.next = max(l.next, next) }

// Watermark returns the lowest unfinished offset, which is the offset to commit: with nothing in work, the next to read.
func (l *Ledger) Watermark() int64 {
	if l.n == 0 {
		return l.next
	}
	return l.ring[l.head].offset
}

// InFlight returns how many offsets were begun and are not done.
func (l *Ledger) InFlight() int { return l.open }

// Ranges returns what is finished beyond the watermark as text for the commit's metadata, at most 3 KiB: what does not
// fit is left out from the highest offset down, and would be repeated after a crash. before was finished by an earlier start:
// of what was not begun here yet, it is all that is known.
func (l *Ledger) Ranges(before Ranges) string {
	before = before.from(l.next)
	w := newRangeWriter()
	for i := 0; i < l.n; i++ {
		if !l.at(i).done {
			continue
		}
		start := l.at(i).offset
		for i+1 < l.n && l.at(i+1).done {
			i++
		}
		r := Range{start, l.at(i).offset + 1}
		if i+1 == l.n && len(before) > 0 && before[0].Start == r.End {
			r.End, before = before[0].End, before[1:]
		}
		if !w.add(r) {
			return w.String()
		}
	}
	for _, r := range before {
		if !w.add(r) {
			break
		}
	}
	return w.String()
}

func (l *Ledger) at(i int) *ledgerEntry { return &l.ring[(l.head+i)&(len(l.ring)-1)] }

// find returns the position of offset. Gaps only move an entry towards the head, so the dense guess is an upper bound.
func (l *Ledger) find(offset int64) (int, bool) {
	if l.n == 0 || offset < l.ring[l.head].offset {
		return 0, false
	}
	hi := int(min(offset-l.ring[l.head].offset, int64(l.n-1)))
	if l.at(hi).offset == offset {
		return hi, true
	}
	lo := 0
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if l.at(mid).offset < offset {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, l.at(lo).offset == offset
}

func (l *Ledger) grow() {
	ring := make([]ledgerEntry, max(64, 2*len(l.ring)))
	for i := range l.n {
		ring[i] = *l.at(i)
	}
	l.ring, l.head = ring, 0
}
