package ingest

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"time"

	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/wire"
)

// batchSize is how many exchanges are offered at a time.
const batchSize = 64

// freePiece is what reading one exchange may hold without asking Budget, so that a short shortage does not cost the
// reading itself.
const freePiece = 64 << 10

// intake reads one request.
type intake struct {
	server   *Server
	form     form
	r        *bufio.Reader
	piece    piece
	pieceMax int
	booked   int64 // for piece
	decoder  traffic.Decoder
	batch    []wire.Captured
	index    int // of the exchange under way, from 0
	result   result
}

func (s *Server) newIntake(f form, content io.Reader) *intake {
	b := &intake{
		server: s, form: f, r: bufio.NewReaderSize(&capped{content, s.cfg.RequestMax}, 32<<10),
		pieceMax: 4*s.cfg.BodyMax + 1<<20, // two bodies in base64, or with every byte escaped in the usual measure, and heads
	}
	b.piece.in, b.decoder.Foreign = b, true
	return b
}

// book takes n more bytes of the budget for the piece under way.
func (b *intake) book(n int64) bool {
	beyond := max(b.booked+n-freePiece, 0) - max(b.booked-freePiece, 0)
	if beyond > 0 && !b.server.cfg.Budget.TryAcquire(beyond) {
		return false
	}
	b.booked += n
	return true
}

func (b *intake) close() { b.server.cfg.Budget.Release(max(b.booked-freePiece, 0)) }

// run reads everything and offers it.
func (b *intake) run() {
	err := b.each(b.take)
	b.offer()
	switch {
	case err == nil:
	case errors.Is(err, errTooLarge):
		b.result.tooLarge = true
		b.result.flaw(-1, err)
	default:
		b.result.broken = true
		b.result.flaw(-1, err)
	}
}

// each calls take for every piece, with what was wrong with it by itself. The error it returns is about the rest.
func (b *intake) each(take func(error) error) error {
	switch b.form {
	case oneMessage:
		err := b.piece.all(b.r)
		if err != nil && b.piece.failed == nil {
			return err
		}
		return take(err)
	case messages:
		return b.repeat(b.piece.message, take)
	case jsonLines:
		return b.repeat(b.piece.line, take)
	}
	c, err := space(b.r)
	switch {
	case err != nil:
		return unexpected(err)
	case c == '[':
		return b.list(take)
	case c != '{':
		return errNotJSONList
	}
	if err := b.piece.object(b.r); err != nil && b.piece.failed == nil {
		return err
	}
	if err := take(b.piece.failed); err != nil {
		return err
	}
	if _, err := space(b.r); !errors.Is(err, io.EOF) {
		return errListEnd
	}
	return nil
}

func (b *intake) repeat(next func(*bufio.Reader) error, take func(error) error) error {
	for {
		err := next(b.r)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && b.piece.failed == nil:
			return err
		}
		if err := take(b.piece.failed); err != nil {
			return err
		}
	}
}

// list reads a JSON list of objects.
func (b *intake) list(take func(error) error) error {
	_, _ = b.r.Discard(1)
	for first := true; ; first = false {
		c, err := space(b.r)
		switch {
		case err != nil:
			return unexpected(err)
		case c == ']':
			_, _ = b.r.Discard(1)
			if _, err := space(b.r); !errors.Is(err, io.EOF) {
				return errListEnd
			}
			return nil
		case !first && c != ',':
			return errListEnd
		case !first:
			_, _ = b.r.Discard(1)
			if c, err = space(b.r); err != nil {
				return unexpected(err)
			}
		}
		if c != '{' {
			return errNotJSONList
		}
		if err := b.piece.object(b.r); err != nil && b.piece.failed == nil {
			return err
		}
		if err := take(b.piece.failed); err != nil {
			return err
		}
	}
}

// take makes an exchange of the piece.
func (b *intake) take(failed error) error {
	if b.index == b.server.cfg.ExchangesMax {
		return errTooLarge
	}
	index := b.index
	b.index++
	x := new(traffic.Exchange)
	switch {
	case errors.Is(failed, errNoMemory):
		b.result.Shed++
		return nil
	case failed == nil && (b.form == jsonLines || b.form == jsonText):
		failed = traffic.ParseJSON(b.piece.buf, x)
	case failed == nil:
		failed = b.decoder.Decode(bytes.Clone(b.piece.buf), x) // what it returns aliases what it is given
	}
	if failed == nil {
		failed = clean(x, b.server.cfg.BodyMax, time.Now())
	}
	switch {
	case errors.Is(failed, errMarked):
		b.result.Marked++
		return nil
	case failed != nil:
		b.result.Rejected++
		b.result.flaw(index, failed)
		return nil
	}
	x.Source = traffic.Source{Kind: traffic.Ingest, Name: []byte(b.server.cfg.Name)}
	size := int64(x.Size())
	if !b.server.cfg.Budget.TryAcquire(size) {
		b.result.Shed++
		return nil
	}
	b.result.Accepted++
	if b.batch = append(b.batch, wire.Captured{Exchange: x, Bytes: size}); len(b.batch) == batchSize {
		b.offer()
	}
	return nil
}

func (b *intake) offer() {
	if len(b.batch) > 0 {
		b.server.cfg.Sink.Offer(b.batch)
		clear(b.batch)
		b.batch = b.batch[:0]
	}
}
