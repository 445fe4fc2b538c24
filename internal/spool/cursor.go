package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
)

// Position is a place in the spool: everything before it has been taken.
type Position struct {
	segment uint64
	offset  int64
}

func (p Position) before(q Position) bool {
	return p.segment < q.segment || p.segment == q.segment && p.offset < q.offset
}

const (
	cursorName  = "cursor"
	cursorDraft = "cursor.new"
	cursorBytes = 64 // more than it ever takes
)

func (p Position) text() string {
	line := fmt.Sprintf("1 %d %d", p.segment, p.offset)
	return fmt.Sprintf("%s %08x\n", line, crc32.Checksum([]byte(line), castagnoli()))
}

// parsePosition returns the beginning for what is no cursor: then records come twice, and none is lost.
func parsePosition(text string) (p Position) {
	var q Position
	if n, err := fmt.Sscanf(text, "1 %d %d", &q.segment, &q.offset); n != 2 || err != nil || q.offset < 0 || q.text() != text {
		return p
	}
	return q
}

func readCursor(files Files) (Position, error) {
	f, err := files.Open(cursorName)
	if errors.Is(err, fs.ErrNotExist) {
		return Position{}, nil
	}
	if err != nil {
		return Position{}, err
	}
	defer f.Close()
	b := make([]byte, cursorBytes)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return Position{}, err
	}
	return parsePosition(string(b[:n])), nil
}

// writeCursor replaces the cursor in one step.
func writeCursor(files Files, p Position) error {
	if err := files.Remove(cursorDraft); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := files.Create(cursorDraft)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, p.text())
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return files.Rename(cursorDraft, cursorName)
}
