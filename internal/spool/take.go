package spool

import (
	"errors"
	"io"
)

// Take returns the oldest records that were not taken, at most so many and about so many bytes, one in any case. None: there
// are none at present. What was taken comes again after a restart unless a position at or behind after was committed and
// stored. With an error some may be missing, and come with the next call.
func (s *Spool) Take(most int, bytes int64) (payloads [][]byte, after Position, err error) {
	for _, g := range s.segments {
		for len(payloads) < most && bytes > 0 {
			b, readErr := g.read(s.files)
			if errors.Is(readErr, io.EOF) {
				break
			}
			if readErr != nil {
				if g.trouble++; g.trouble < mostFailures {
					return payloads, s.taken, readErr
				}
				g.scan.at = g.size
				s.failures++
				err = readErr
				break
			}
			g.trouble = 0
			g.left--
			s.records--
			payloads, bytes = append(payloads, b), bytes-int64(len(b))
			s.advance(Position{g.id, g.scan.at})
		}
		if !g.done() {
			break
		}
		g.closeIn()
		s.lose(g, g.left, Disk) // they were written, and are damaged now
		s.advance(Position{g.id, g.size})
	}
	return payloads, s.taken, err
}

// advance never goes back, which a segment would make it that was read and could not be removed.
func (s *Spool) advance(p Position) {
	if s.taken.before(p) {
		s.taken = p
	}
}

// Commit says that what was taken before p is safe elsewhere. Sync stores it.
func (s *Spool) Commit(p Position) error {
	if s.committed.before(p) {
		s.committed = p
	}
	var err error
	if g := s.open(); g != nil && s.records == 0 && s.committed == (Position{g.id, g.size}) { // it is empty: no file need stay
		err = g.out.Close()
		g.out, g.unsynced = nil, 0
	}
	for i := 0; i < len(s.segments); {
		g := s.segments[i]
		if !g.done() || s.committed.before(Position{g.id, g.size}) {
			break
		}
		if rmErr := s.remove(g); rmErr != nil { // tried again with the next commit
			err = errors.Join(err, rmErr)
			i++
		}
	}
	return err
}

// store writes the cursor when it has moved.
func (s *Spool) store() error {
	if !s.stored.before(s.committed) {
		return nil
	}
	if err := writeCursor(s.files, s.committed); err != nil {
		return err
	}
	s.stored = s.committed
	return nil
}
