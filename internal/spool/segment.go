package spool

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// segment is one file of records. It is written to its end, read to its end and removed; nothing is ever changed in it.
type segment struct {
	id   uint64 // rises from segment to segment
	salt uint32
	size int64 // of the records in it
	disk int64 // of the file: more than size behind a write that failed half-way
	left int64 // records that were not read

	out      File // nil: no more is written to it
	unsynced int64

	scan    scanner
	in      File // nil: not being read
	trouble int  // failures to read it, one after another
}

// name is how a segment's file is called: its id, so that names sort as they were written, and its salt.
func (s *segment) name() string { return fmt.Sprintf("%016x-%08x.seg", s.id, s.salt) }

// parseName returns a segment without content for the name of one.
func parseName(name string) (*segment, bool) {
	s := new(segment)
	if n, err := fmt.Sscanf(name, "%016x-%08x.seg", &s.id, &s.salt); n != 2 || err != nil || s.name() != name {
		return nil, false
	}
	return s, true
}

func newSegment(files Files, id uint64) (*segment, error) {
	var salt [4]byte
	_, _ = rand.Read(salt[:]) // never fails
	s := &segment{id: id, salt: binary.LittleEndian.Uint32(salt[:])}
	out, err := files.Create(s.name())
	if err != nil {
		return nil, err
	}
	s.out = out
	return s, nil
}

// survey finds out how much of an earlier process's segment is there, from an offset on, and cuts off what it was in the
// middle of writing. Not whole: the disk does not give all of it.
func (s *segment) survey(files Files, from int64) (whole bool, err error) {
	if s.disk, err = files.Size(s.name()); err != nil {
		return false, err
	}
	f, err := files.Open(s.name())
	if err != nil {
		return false, err
	}
	defer f.Close()
	from = min(from, s.disk)
	scan := scanner{file: f, salt: s.salt, at: from, limit: s.disk, end: from}
	for err == nil {
		if _, err = scan.next(false); err == nil {
			s.left++
		}
	}
	s.size, s.scan.at = scan.end, from
	if !errors.Is(err, io.EOF) {
		return false, nil
	}
	if s.size < s.disk && files.Truncate(s.name(), s.size) == nil {
		s.disk = s.size
	}
	return true, nil
}

// read returns the next record; io.EOF when there is none at present.
func (s *segment) read(files Files) ([]byte, error) {
	if s.scan.at >= s.size {
		return nil, io.EOF
	}
	if s.in == nil {
		in, err := files.Open(s.name())
		if err != nil {
			return nil, err
		}
		s.in, s.scan.file, s.scan.salt = in, in, s.salt
	}
	s.scan.limit = s.size
	b, err := s.scan.next(true)
	if err != nil && !errors.Is(err, io.EOF) {
		s.closeIn() // a new descriptor may be luckier
	}
	return b, err
}

func (s *segment) closeIn() {
	if s.in != nil {
		_ = s.in.Close()
		s.in, s.scan.file = nil, nil
	}
}

// done: all of it was read, and nothing more is coming.
func (s *segment) done() bool { return s.out == nil && s.scan.at >= s.size }
