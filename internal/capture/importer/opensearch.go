package importer

import (
	"bufio"
	"bytes"
	"container/list"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/wire"
)

// Bounds of what an export holds in memory.
const (
	maxStream      = 32 << 20 // one record
	maxConnections = 20_000   // open at the same time; the longest silent goes first
	streamBudget   = 128 << 20
)

var errLongStream = fmt.Errorf("record is longer than %d MiB", maxStream>>20)

// streamReader puts the connections of an OpenSearch traffic capture together again, and reads their exchanges.
type streamReader struct {
	file     *File
	hash     [16]byte
	stats    *Stats
	each     func(*traffic.Exchange) error
	recorder *wire.Recorder
	budget   byteBudget
	index    uint64

	connections map[string]*list.Element
	recent      list.List // of *connection, the latest in front

	count   int64 // records begun
	latest  time.Time
	first   error // why the first record that could not be read could not
	firstAt int64
}

// connection is one that is being put together.
type connection struct {
	key        string
	dialog     wire.Dialog
	number     int64 // of the last record
	skipReads  bool  // until the request ends: its beginning is not there
	skipWrites bool  // until the next request: likewise
}

// byteBudget bounds what the recorder holds of messages under way.
type byteBudget struct{ used int64 }

func (b *byteBudget) TryAcquire(n int64) bool {
	if b.used+n > streamBudget {
		return false
	}
	b.used += n
	return true
}

func (b *byteBudget) Release(n int64) { b.used -= n }

// isStreamHead reports whether a file begins as an export does: with lines KEY|BASE64, or with records that have their
// length before them.
func isStreamHead(head []byte) bool {
	begins := func(b []byte) bool { // with a connection's id, which is text
		return len(b) > 2 && b[0] == 0x0a && b[1] > 0 && b[1] < 0x80 && b[2] > ' ' && b[2] < 0x7f
	}
	if _, n := binary.Uvarint(head); n > 0 && begins(head[n:]) {
		return true
	}
	line, _, _ := bytes.Cut(head, []byte("\n"))
	text := line[bytes.IndexByte(line, '|')+1:]
	text = text[:min(len(text), 64)&^3]
	b, err := base64.StdEncoding.DecodeString(string(text))
	return err == nil && begins(b)
}

func (f *File) eachStream(ctx context.Context, stats *Stats, each func(*traffic.Exchange) error) error {
	s := &streamReader{file: f, stats: stats, each: each, connections: make(map[string]*list.Element)}
	s.recorder = wire.NewRecorder(wire.RecorderConfig{
		Source: traffic.Source{Kind: traffic.Import, Name: []byte(f.name)}, BodyMax: f.bodyMax, Budget: &s.budget,
		ResponseWait: 24 * time.Hour,
	})
	var err error
	if s.hash, err = f.survey(ctx, nil); err != nil {
		return err
	}
	content, err := f.content(&f.read)
	if err != nil {
		return err
	}
	r := bufio.NewReaderSize(&contextReader{ctx, content}, 64<<10)
	next := nextDelimited
	if head, _ := r.Peek(16); isBase64Line(head) {
		next = nextLine
	}
	for {
		record, err := next(r)
		if errors.Is(err, io.EOF) {
			break
		}
		s.count++
		switch {
		case err == nil:
			err = s.record(record)
		case !errors.Is(err, errLongStream) && !isBase64Error(err):
			return s.end(err)
		}
		if _, ok := errors.AsType[stopped](err); ok || ctx.Err() != nil {
			return err
		}
		if err != nil {
			s.broken(1, err)
		}
	}
	return s.end(nil)
}

func isBase64Line(head []byte) bool {
	return !bytes.ContainsFunc(head, func(r rune) bool { return r < ' ' && r != '\r' && r != '\n' })
}

func isBase64Error(err error) bool {
	_, ok := errors.AsType[base64.CorruptInputError](err)
	return ok
}

// nextLine reads a record from a line "KEY|BASE64"; the key may be missing. Empty lines are skipped.
func nextLine(r *bufio.Reader) ([]byte, error) {
	for {
		line, err := readLine(r, maxStream)
		switch {
		case errors.Is(err, errLongLine):
			return nil, errLongStream
		case err != nil:
			return nil, err
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		text := line[bytes.LastIndexByte(line, '|')+1:]
		b := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
		n, err := base64.StdEncoding.Decode(b, text)
		return b[:n], err
	}
}

// nextDelimited reads a record that has its length before it.
func nextDelimited(r *bufio.Reader) ([]byte, error) {
	if _, err := r.Peek(1); err != nil {
		return nil, err
	}
	length, err := binary.ReadUvarint(r)
	switch {
	case err != nil:
		return nil, unexpected(err)
	case length > maxStream:
		if _, err := io.CopyN(io.Discard, r, int64(min(length, 1<<40))); err != nil {
			return nil, unexpected(err)
		}
		return nil, errLongStream
	}
	b := make([]byte, length)
	_, err = io.ReadFull(r, b)
	return b, unexpected(err)
}

// record takes the next piece of a connection. Records repeat when the capture was not sure that one had been stored.
func (s *streamReader) record(b []byte) error {
	t, err := parseStream(b)
	if err != nil {
		return err
	}
	c, fresh := s.connection(&t)
	switch {
	case !fresh && t.number <= c.number:
		s.stats.Ignored++
		return nil
	case fresh || t.number > c.number+1:
		if !fresh {
			s.recorder.Close(&c.dialog, false, s.latest)
		}
		c.dialog.Start(c.dialog.ID, nil, nil)
		c.skipReads, c.skipWrites = t.insideRead, t.number > 1
	}
	c.number = t.number
	for _, o := range t.observations {
		at, what, data, err := parseObservation(o)
		if err != nil {
			return err
		}
		if at.IsZero() {
			at = s.latest
		}
		s.latest = at
		s.observe(c, what, data)
		if what == connectionEnded {
			break
		}
	}
	if t.last {
		s.close(s.connections[c.key])
	}
	for s.recent.Len() > maxConnections || s.budget.used > streamBudget/4*3 {
		s.close(s.recent.Back())
		if s.recent.Len() == 0 {
			break
		}
	}
	return s.hand()
}

func (s *streamReader) observe(c *connection, what event, data []byte) {
	switch what {
	case clientSent:
		if !c.skipReads {
			c.skipWrites = false
			s.recorder.Requests(&c.dialog, data, s.latest)
		}
	case serverSent:
		if !c.skipWrites {
			s.recorder.Responses(&c.dialog, data, s.latest)
		}
	case requestEnded:
		c.skipReads = false
	case requestDropped:
		s.stats.Ignored++
		s.recorder.Close(&c.dialog, false, s.latest)
		c.dialog.Start(c.dialog.ID, nil, nil)
		c.skipReads, c.skipWrites = false, true
	case connectionEnded:
		s.recorder.Close(&c.dialog, false, s.latest)
		c.dialog.Start(c.dialog.ID, nil, nil)
	}
}

func (s *streamReader) connection(t *trafficStream) (c *connection, fresh bool) {
	key := string(t.node) + "\x00" + string(t.connection)
	if e := s.connections[key]; e != nil {
		s.recent.MoveToFront(e)
		return e.Value.(*connection), false
	}
	c = &connection{key: key}
	c.dialog.ID = bytes.Clone(t.connection)
	s.connections[key] = s.recent.PushFront(c)
	return c, true
}

func (s *streamReader) close(e *list.Element) {
	c := e.Value.(*connection)
	s.recorder.Close(&c.dialog, false, s.latest)
	s.recent.Remove(e)
	delete(s.connections, c.key)
}

// hand gives out what is finished.
func (s *streamReader) hand() error {
	for _, c := range s.recorder.Take() {
		s.budget.Release(c.Bytes)
		s.index++
		with := s.file.newExchange(s.hash, s.index)
		c.Exchange.ID, c.Exchange.TimeSource = with.ID, with.TimeSource
		if err := s.each(c.Exchange); err != nil {
			return err
		}
	}
	return nil
}

func (s *streamReader) broken(n int64, err error) {
	if s.stats.Broken += n; n > 0 && s.first == nil {
		s.first, s.firstAt = err, s.count
	}
}

// end finishes what is open. cause is why the file could not be read to its end, or nil.
func (s *streamReader) end(cause error) error {
	for s.recent.Len() > 0 {
		s.close(s.recent.Back())
	}
	if err := s.hand(); err != nil {
		return err
	}
	counts := &s.recorder.Counts
	s.stats.Orphans += counts.ResponsesForeign
	for loss, n := range counts.Lost {
		s.broken(n, fmt.Errorf("request lost: %s", wire.Loss(loss)))
	}
	for fault, n := range counts.Opaque {
		s.broken(n, fmt.Errorf("connection that cannot be read on: %s", wire.Fault(fault)))
	}
	f := s.file
	switch {
	case cause != nil:
		return f.incomplete(s.stats, fmt.Sprintf("broken off behind record %d", s.count-1), plainCause(cause), cause)
	case s.first != nil:
		return f.incomplete(s.stats, fmt.Sprintf("%s could not be read, the first at record %d of %d",
			counted(s.stats.Broken, "part"), s.firstAt, s.count), s.first.Error(), s.first)
	case s.stats.Exchanges == 0:
		return f.incomplete(s.stats, "there is no request in it", "none of its records has a whole one", nil)
	}
	return nil
}
