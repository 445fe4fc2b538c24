package schedule

import (
	"math"
	"time"
)

const defaultMergeBytes = 64 << 20

// MergeConfig says when a Merge lets go and how much it may hold.
type MergeConfig struct {
	// Window is how much later than its capture time a record can be appended to its partition: the longest
	// --response-wait of the taps, and a second.
	Window time.Duration
	// MaxBytes bounds what is held: above it the oldest leaves before its time. 0: 64 MiB.
	MaxBytes int64
	// Live lets the caller's horizon decide instead of the partitions' progress.
	Live bool
}

// Item is one value of a Merge.
type Item[T any] struct {
	Value     T
	Partition int32
	Bytes     int
	Capture   time.Time // UTC
	Forced    bool      // left before its time because more than MaxBytes were held
	Late      bool      // arrived after one captured later had left
}

// Merge sorts what several partitions hold by capture time, equal times as they came.
//
// Partitions are not sorted themselves: a record is appended when its answer has ended. One captured at c is appended by
// c + Window, so once a partition has been read up to a record captured at c + Window, nothing captured before c is
// left in it, and when that holds for all of them, c may leave. What a spool brought hours later is Late, and so may be a large
// exchange that a busy tap let wait.
//
// It reads no clock and is not safe for concurrent use. Push and Next cost O(log n).
type Merge[T any] struct {
	cfg     MergeConfig
	entries heap[entry[T]]
	parts   map[int32]*part
	unread  heap[*part] // partitions not read to their end, the least advanced first
	seq     uint64
	bytes   int64
	left    int64 // latest capture time that has left
	forced  uint64
	late    uint64

	pause, resume []int32 // reused by Gates
}

type entry[T any] struct {
	capture   int64 // Unix nanoseconds
	seq       uint64
	partition *part
	bytes     int
	value     T
}

type part struct {
	id     int32
	seen   int64 // latest capture time read
	index  int   // in unread; -1: read to its end
	bytes  int64
	paused bool
}

// NewMerge returns an empty merge.
func NewMerge[T any](cfg MergeConfig) *Merge[T] {
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = defaultMergeBytes
	}
	return &Merge[T]{
		cfg:   cfg,
		parts: make(map[int32]*part),
		left:  math.MinInt64,
		entries: heap[entry[T]]{less: func(a, b *entry[T]) bool {
			return a.capture < b.capture || a.capture == b.capture && a.seq < b.seq
		}},
		unread: heap[*part]{
			less:  func(a, b **part) bool { return (*a).seen < (*b).seen },
			moved: func(p **part, i int) { (*p).index = i },
		},
	}
}

// Open makes the merge wait for a partition before anything of it was read. Push and Advance open it as well.
func (m *Merge[T]) Open(partition int32) { m.part(partition) }

func (m *Merge[T]) part(id int32) *part {
	p, ok := m.parts[id]
	if !ok {
		p = &part{id: id, seen: math.MinInt64}
		m.parts[id] = p
		m.unread.push(p)
	}
	return p
}

// Push adds a value of the given size in bytes.
func (m *Merge[T]) Push(partition int32, capture time.Time, bytes int, v T) {
	p := m.part(partition)
	at := capture.UnixNano()
	m.advance(p, at)
	m.place(p, at, bytes, v)
}

// Place adds a value at a moment that is not that of its record, and so says nothing about how far the partition was read.
func (m *Merge[T]) Place(partition int32, at time.Time, bytes int, v T) {
	m.place(m.part(partition), at.UnixNano(), bytes, v)
}

func (m *Merge[T]) place(p *part, at int64, bytes int, v T) {
	m.seq++
	m.entries.push(entry[T]{capture: at, seq: m.seq, partition: p, bytes: bytes, value: v})
	p.bytes += int64(bytes)
	m.bytes += int64(bytes)
}

// Advance says that the partition was read up to a record that is not wanted.
func (m *Merge[T]) Advance(partition int32, capture time.Time) {
	m.advance(m.part(partition), capture.UnixNano())
}

func (m *Merge[T]) advance(p *part, at int64) {
	if at <= p.seen {
		return
	}
	p.seen = at
	if p.index >= 0 {
		m.unread.fix(p.index)
	}
}

// Finish says that the partition was read to its end. What it holds stays.
func (m *Merge[T]) Finish(partition int32) {
	if p := m.part(partition); p.index >= 0 {
		m.unread.removeAt(p.index)
		p.index = -1
	}
}

// Remove forgets a partition that was taken away, and calls each, which may be nil, for every value it held, in no order.
func (m *Merge[T]) Remove(partition int32, each func(T)) {
	p, ok := m.parts[partition]
	if !ok {
		return
	}
	m.Finish(partition)
	delete(m.parts, partition)
	if p.bytes == 0 && m.entries.len() == 0 {
		return
	}
	m.bytes -= p.bytes
	kept := m.entries.items[:0]
	for _, e := range m.entries.items {
		if e.partition != p {
			kept = append(kept, e)
		} else if each != nil {
			each(e.value)
		}
	}
	clear(m.entries.items[len(kept):])
	m.entries.items = kept
	m.entries.rebuild()
}

// Next returns the earliest value if it may leave. horizon counts only in live mode: what was captured by then leaves.
func (m *Merge[T]) Next(horizon time.Time) (item Item[T], ok bool) {
	if m.entries.len() == 0 {
		return item, false
	}
	free := m.free()
	if m.cfg.Live {
		free = m.entries.items[0].capture <= horizon.UnixNano()
	}
	if !free && m.bytes <= m.cfg.MaxBytes {
		return item, false
	}
	e := m.entries.removeAt(0)
	e.partition.bytes -= int64(e.bytes)
	m.bytes -= int64(e.bytes)
	item = Item[T]{
		Value: e.value, Partition: e.partition.id, Bytes: e.bytes, Capture: time.Unix(0, e.capture).UTC(),
		Forced: !free, Late: e.capture < m.left,
	}
	m.left = max(m.left, e.capture)
	if item.Forced {
		m.forced++
	} else if item.Late {
		m.late++
	}
	return item, true
}

// free reports whether every partition has been read far enough for the earliest value to leave.
func (m *Merge[T]) free() bool {
	if m.unread.len() == 0 {
		return true
	}
	seen := m.unread.items[0].seen
	return seen != math.MinInt64 && m.entries.items[0].capture <= seen-int64(m.cfg.Window)
}

// Peek returns the capture time of the earliest value.
func (m *Merge[T]) Peek() (capture time.Time, ok bool) {
	if m.entries.len() == 0 {
		return capture, false
	}
	return time.Unix(0, m.entries.items[0].capture).UTC(), true
}

// Gates returns the partitions to stop fetching, and those to fetch again, since the last call. Each partition may hold
// an equal share of half of MaxBytes, the other half being for what is on its way; it is fetched again at half its
// share. The one that all others wait for is never stopped, whatever it holds: MaxBytes then forces values out. The
// slices are valid until the next call.
func (m *Merge[T]) Gates() (pause, resume []int32) {
	m.pause, m.resume = m.pause[:0], m.resume[:0]
	if len(m.parts) == 0 {
		return m.pause, m.resume
	}
	share := m.cfg.MaxBytes / 2 / int64(len(m.parts))
	var awaited *part
	if !m.cfg.Live && m.unread.len() > 0 && (m.entries.len() == 0 || !m.free()) {
		awaited = m.unread.items[0]
	}
	for _, p := range m.parts {
		switch {
		case p.index < 0:
			p.paused = false // nothing more is read of it
		case p.paused && (p == awaited || p.bytes <= share/2):
			p.paused = false
			m.resume = append(m.resume, p.id)
		case !p.paused && p != awaited && p.bytes > share:
			p.paused = true
			m.pause = append(m.pause, p.id)
		}
	}
	return m.pause, m.resume
}

// Awaited returns the partition that keeps the earliest value from leaving; false: nothing does, or nothing is held.
func (m *Merge[T]) Awaited() (partition int32, ok bool) {
	if m.cfg.Live || m.entries.len() == 0 || m.free() {
		return 0, false
	}
	return m.unread.items[0].id, true
}

// Len returns how many values are held.
func (m *Merge[T]) Len() int { return m.entries.len() }

// Bytes returns how many bytes are held.
func (m *Merge[T]) Bytes() int64 { return m.bytes }

// Finished reports whether every partition has been read to its end and nothing is held.
func (m *Merge[T]) Finished() bool { return m.unread.len() == 0 && m.entries.len() == 0 }

// Reordered returns how many values left forced or late.
func (m *Merge[T]) Reordered() uint64 { return m.forced + m.late }
