// Package spool is a bounded first-in-first-out queue of records on disk, for what cannot be sent now. When it is full the
// oldest segment makes room. It survives the end of the process at any moment: what was written is found again, what a
// sync has covered also after a power cut, and records that were taken and not committed come again.
//
// It does no waiting, has no goroutine and is not safe for concurrent use: who owns it writes, reads and syncs in turn. An
// error of the disk costs records, which are counted, and never the process.
package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
)

// Config bounds a spool. Zero values are the defaults.
type Config struct {
	MaxBytes     int64 // of all files together, at every moment; at least LeastBytes
	SegmentBytes int64 // of one file, and so what is lost at once when the spool is full; default 16 MiB, at most an eighth

	// OnLost is called when records that were in the spool are in it no more without having been taken.
	OnLost func(records int64, reason Reason)
}

// Reason is why records were lost.
type Reason string

// The reasons.
const (
	Full Reason = "spool_full"  // newer records needed their place
	Disk Reason = "spool_error" // they could not be written, or not be read back
)

const (
	// LeastBytes is the smallest bound: any record fits into an eighth of it.
	LeastBytes     = 16 << 20
	defaultSegment = 16 << 20
	reserved       = 2 * cursorBytes // of the bound, for the cursor and its draft
	mostFailures   = 5               // to read a segment before it is given up
	writeBytes     = 256 << 10       // written at once
)

// Spool is the queue. Its methods return errors of the disk to be told; what they mean for records is in the books already.
type Spool struct {
	cfg   Config
	files Files

	segments  []*segment // oldest first; the last may be open for writing
	nextID    uint64
	disk      int64    // bytes of all files
	records   int64    // in it and not taken
	taken     Position // everything before it was taken
	committed Position
	stored    Position // as in the cursor file
	synced    func(records int64)
	failures  int64
	buf       []byte
}

// Open takes the spool in files over, with what earlier processes left in it. Memory does not depend on how much that is.
func Open(files Files, cfg Config) (*Spool, error) {
	if cfg.SegmentBytes <= 0 {
		cfg.SegmentBytes = defaultSegment
	}
	cfg.SegmentBytes = min(cfg.SegmentBytes, cfg.MaxBytes/8)
	if cfg.OnLost == nil {
		cfg.OnLost = func(int64, Reason) {}
	}
	s := &Spool{cfg: cfg, files: files, synced: func(int64) {}}
	names, err := files.Names()
	if err != nil {
		return nil, err
	}
	if s.stored, err = readCursor(files); err != nil {
		return nil, err
	}
	s.nextID = s.stored.segment + 1
	for _, name := range names {
		g, ok := parseName(name)
		if !ok {
			continue
		}
		if g.id == math.MaxUint64 {
			continue // nobody's but a joker's
		}
		s.nextID = max(s.nextID, g.id+1)
		from := int64(0)
		switch {
		case g.id == s.stored.segment:
			from = s.stored.offset
		case g.id < s.stored.segment:
			from = math.MaxInt64
		}
		whole, err := g.survey(files, from)
		if err != nil {
			return nil, err
		}
		if !whole {
			s.failures++
		}
		if g.left == 0 && files.Remove(name) == nil {
			continue
		}
		s.segments = append(s.segments, g)
		s.disk += g.disk
		s.records += g.left
	}
	slices.SortFunc(s.segments, func(a, b *segment) int { return cmp.Compare(a.id, b.id) })
	s.taken, s.committed = s.stored, s.stored
	s.makeRoom(0) //nolint:errcheck // the bound may be smaller than it was; else an Append will tell
	return s, nil
}

// Len returns the records in the spool that were not taken.
func (s *Spool) Len() int64 { return s.records }

// Bytes returns what the files take on disk.
func (s *Spool) Bytes() int64 { return s.disk }

// Failures returns how often a sync has failed, or a segment could not be read.
func (s *Spool) Failures() int64 { return s.failures }

// Append writes records behind all others and returns how many are in the spool now: of the rest none is.
func (s *Spool) Append(payloads [][]byte) (written int, err error) {
	for written < len(payloads) {
		n, err := s.appendSome(payloads[written:])
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// ErrTooLarge is for a record that no segment can hold.
var ErrTooLarge = errors.New("record too large for the spool")

// appendSome writes as many records as go into the open segment with one write, at least one.
func (s *Spool) appendSome(payloads [][]byte) (n int, err error) {
	need := int64(headerBytes + len(payloads[0]))
	if need > s.cfg.SegmentBytes {
		return 0, ErrTooLarge
	}
	g := s.open()
	if g != nil && g.size+need > s.cfg.SegmentBytes {
		_ = s.seal(g) // a failure is counted, and no reason to stop
	}
	if ok, roomErr := s.makeRoom(need); !ok {
		return 0, roomErr
	}
	if g = s.open(); g == nil { // sealed for its size, or to make room
		if g, err = newSegment(s.files, s.nextID); err != nil {
			return 0, err
		}
		s.nextID++
		s.segments = append(s.segments, g)
		_ = s.files.Sync() // else a power cut may take the file
	}
	s.buf = s.buf[:0]
	for _, p := range payloads {
		after := int64(len(s.buf) + headerBytes + len(p))
		if n > 0 && (after > writeBytes || g.size+after > s.cfg.SegmentBytes || s.disk+after > s.cfg.MaxBytes-reserved) {
			break
		}
		s.buf = appendRecord(s.buf, g.salt, p)
		n++
	}
	wrote, err := g.out.Write(s.buf)
	if err == nil && wrote < len(s.buf) {
		err = io.ErrShortWrite
	}
	if cap(s.buf) > 2*writeBytes {
		s.buf = nil
	}
	if err != nil {
		return 0, s.undo(g, wrote, err)
	}
	g.size += int64(wrote)
	g.disk += int64(wrote)
	s.disk += int64(wrote)
	g.left += int64(n)
	g.unsynced += int64(n)
	s.records += int64(n)
	return n, nil
}

// open returns the segment that is being written, nil when there is none.
func (s *Spool) open() *segment {
	if n := len(s.segments); n > 0 && s.segments[n-1].out != nil {
		return s.segments[n-1]
	}
	return nil
}

// undo takes back what a failed write left, and ends the segment: what is behind a hole is not trusted.
func (s *Spool) undo(g *segment, wrote int, cause error) error {
	if g.out.Truncate(g.size) != nil {
		g.disk += int64(wrote)
		s.disk += int64(wrote)
	}
	cause = errors.Join(cause, s.seal(g))
	if g.size == 0 {
		cause = errors.Join(cause, s.remove(g))
	}
	return cause
}

// seal syncs and ends the segment that is being written.
func (s *Spool) seal(g *segment) error {
	err := s.sync(g)
	if g.out != nil {
		err = errors.Join(err, g.out.Close())
		g.out = nil
	}
	return err
}

// sync makes the open segment last. After a failure the kernel may have thrown the pages away and call the next sync a
// success: the segment is ended, and nothing that was not synced before is ever called durable.
func (s *Spool) sync(g *segment) error {
	if g.unsynced == 0 {
		return nil
	}
	if err := g.out.Sync(); err != nil {
		s.failures++
		g.unsynced = 0
		_ = g.out.Close()
		g.out = nil
		return err
	}
	s.synced(g.unsynced)
	g.unsynced = 0
	return nil
}

// Sync makes everything last that was appended and committed.
func (s *Spool) Sync() error {
	var err error
	switch g := s.open(); {
	case g == nil:
	case s.gone(g):
		err = s.giveUp(g)
	default:
		err = s.sync(g)
	}
	return errors.Join(err, s.store())
}

// gone reports that somebody has removed a segment, or its whole directory. What is written to it meanwhile nobody would find.
func (s *Spool) gone(g *segment) bool {
	_, err := s.files.Size(g.name())
	return errors.Is(err, fs.ErrNotExist)
}

// giveUp takes a segment that is gone out of the books.
func (s *Spool) giveUp(g *segment) error {
	if g.out != nil {
		_ = g.out.Close()
		g.out, g.unsynced = nil, 0
	}
	s.failures++
	lost := g.left
	err := s.remove(g)
	s.lose(g, lost, Disk)
	return errors.Join(fmt.Errorf("%s was removed by somebody, with %d records", g.name(), lost), err)
}

// makeRoom removes the oldest segments until n more bytes fit; not ok: they do not.
func (s *Spool) makeRoom(n int64) (ok bool, err error) {
	for s.disk+n > s.cfg.MaxBytes-reserved {
		if len(s.segments) == 0 {
			return false, ErrTooLarge
		}
		g := s.segments[0]
		if g.out != nil {
			err = errors.Join(err, s.seal(g))
		}
		lost := g.left
		if rmErr := s.remove(g); rmErr != nil {
			return false, errors.Join(err, rmErr)
		}
		s.lose(g, lost, Full)
	}
	return true, err
}

// lose books records of g that nobody will read.
func (s *Spool) lose(g *segment, n int64, reason Reason) {
	g.left -= n
	s.records -= n
	if n > 0 {
		s.cfg.OnLost(n, reason)
	}
}

// remove deletes a segment. What cannot be deleted stays in the books, for it still takes its place on the disk.
func (s *Spool) remove(g *segment) error {
	if err := s.files.Remove(g.name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	g.closeIn()
	s.disk -= g.disk
	s.segments = slices.DeleteFunc(s.segments, func(x *segment) bool { return x == g })
	return nil
}

// Close syncs and gives the directory free. What is in the spool stays there.
func (s *Spool) Close() error {
	err := s.Sync()
	for _, g := range slices.Clone(s.segments) {
		if s.gone(g) {
			err = errors.Join(err, s.giveUp(g))
		}
		g.closeIn()
		if g.out != nil {
			err = errors.Join(err, g.out.Close())
			g.out = nil
		}
	}
	return errors.Join(err, s.files.Close())
}
