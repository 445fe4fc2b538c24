package spool

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// A segment is a file of records and nothing else:
//
//	uint32 length of the payload
//	uint32 CRC-32C of the payload
//	uint32 CRC-32C of the segment's salt and the eight bytes before
//	payload
//
// all little-endian. The third word makes a header provable by itself: behind damage the next record is found by looking for
// one, and a flipped byte costs one record. The salt, which is drawn for each segment and stands in its name, keeps a payload
// from passing for records.
const headerBytes = 12

// mostRecord bounds what is allocated for one payload.
const mostRecord = 16 << 20

// castagnoli is made once; the standard library hands out the same table every time.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func headerSum(salt uint32, eight []byte) uint32 {
	var b [12]byte
	binary.LittleEndian.PutUint32(b[:], salt)
	copy(b[4:], eight[:8])
	return crc32.Checksum(b[:], castagnoli())
}

// appendRecord appends payload with its header.
func appendRecord(b []byte, salt uint32, payload []byte) []byte {
	from := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(payload, castagnoli()))
	b = binary.LittleEndian.AppendUint32(b, headerSum(salt, b[from:]))
	return append(b, payload...)
}

// scanner reads the records of a segment in order, over whatever is damaged.
type scanner struct {
	file  io.ReaderAt
	salt  uint32
	at    int64 // where the next record begins, or is looked for
	limit int64 // end of what was written
	end   int64 // end of the last record that was found
	buf   []byte
}

// next returns the next whole payload; without want it is nil, and only its header was looked at. io.EOF at the end: once
// limit has grown, it can be called again.
func (s *scanner) next(want bool) ([]byte, error) {
	for {
		n, sum, ok, err := s.header(s.at)
		switch {
		case err != nil:
			return nil, err
		case !ok:
			if err := s.resync(); err != nil {
				return nil, err
			}
			continue
		}
		from := s.at + headerBytes
		if !want {
			s.at, s.end = from+n, from+n
			return nil, nil
		}
		payload := make([]byte, n)
		if err := readFull(s.file, payload, from); err != nil {
			return nil, err
		}
		s.at, s.end = from+n, from+n
		if crc32.Checksum(payload, castagnoli()) == sum {
			return payload, nil
		}
	}
}

// header reads the header at an offset; not ok when there is none, io.EOF when there is nothing any more.
func (s *scanner) header(at int64) (n int64, sum uint32, ok bool, err error) {
	if at >= s.limit {
		return 0, 0, false, io.EOF
	}
	if s.limit-at < headerBytes {
		return 0, 0, false, nil
	}
	var h [headerBytes]byte
	if err := readFull(s.file, h[:], at); err != nil {
		return 0, 0, false, err
	}
	n, sum, ok = s.parse(h[:], at)
	return n, sum, ok, nil
}

func (s *scanner) parse(h []byte, at int64) (n int64, sum uint32, ok bool) {
	if binary.LittleEndian.Uint32(h[8:]) != headerSum(s.salt, h) {
		return 0, 0, false
	}
	n = int64(binary.LittleEndian.Uint32(h))
	return n, binary.LittleEndian.Uint32(h[4:]), n <= mostRecord && n <= s.limit-at-headerBytes
}

// resync moves to the next header behind at, or to the end.
func (s *scanner) resync() error {
	const window = 64 << 10
	if s.buf == nil {
		s.buf = make([]byte, window)
	}
	for at := s.at + 1; s.limit-at >= headerBytes; at += window - headerBytes + 1 {
		b := s.buf[:min(window, s.limit-at)]
		if err := readFull(s.file, b, at); err != nil {
			return err
		}
		for i := 0; i+headerBytes <= len(b); i++ {
			if _, _, ok := s.parse(b[i:i+headerBytes], at+int64(i)); ok {
				s.at = at + int64(i)
				return nil
			}
		}
	}
	s.at = s.limit
	return nil
}

// readFull reads all of b; a file that is shorter than it was is an error.
func readFull(f io.ReaderAt, b []byte, at int64) error {
	n, err := f.ReadAt(b, at)
	switch {
	case n == len(b):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	}
	return err
}
