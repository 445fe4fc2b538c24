package ingest

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/klauspost/compress/zstd"
)

// form is how the exchanges of a request are written.
type form uint8

const (
	oneMessage form = iota // a protobuf Exchange
	messages               // a protobuf ExchangeBatch
	jsonText               // a JSON object, or a list of them
	jsonLines
)

func formOf(contentType string) (form, bool) {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return 0, false
	}
	switch media {
	case "application/json":
		return jsonText, true
	case "application/x-ndjson", "application/ndjson", "application/jsonl":
		return jsonLines, true
	case "application/x-protobuf", "application/protobuf":
		name := params["proto"]
		if name == "" {
			name = params["messagetype"]
		}
		switch name {
		case "", "reprise.v1.Exchange":
			return oneMessage, true
		case "reprise.v1.ExchangeBatch":
			return messages, true
		}
	}
	return 0, false
}

// zstdWindow bounds what decoding one request may hold.
const zstdWindow = 8 << 20

// uncoded returns the body without its content coding.
func uncoded(r *http.Request) (content io.Reader, done func(), err error) {
	switch coding := r.Header.Get("Content-Encoding"); coding {
	case "", "identity":
		return r.Body, func() {}, nil
	case "gzip":
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, nil, fmt.Errorf("content coding gzip: %w", err)
		}
		return z, func() {}, nil
	case "zstd":
		z, err := zstd.NewReader(r.Body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return nil, nil, fmt.Errorf("content coding zstd: %w", err)
		}
		return z, z.Close, nil
	default:
		return nil, nil, fmt.Errorf("content coding %q: want gzip, zstd or none", coding)
	}
}

var (
	errTooLarge    = errors.New("the request is too large")
	errLongOne     = errors.New("it is too long for one exchange")
	errNoMemory    = errors.New("no memory")
	errNotMessage  = errors.New("it is no reprise.v1.ExchangeBatch")
	errNotJSONList = errors.New("it is neither a JSON object nor a list of objects")
	errListEnd     = errors.New("the list does not end as one does")
)

// capped ends with errTooLarge behind n bytes.
type capped struct {
	r io.Reader
	n int64
}

func (c *capped) Read(p []byte) (int, error) {
	if c.n <= 0 {
		return 0, errTooLarge
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.n)])
	c.n -= int64(n)
	return n, err
}

// piece reads what one exchange is written in, into memory that is booked; a piece that is too long or finds no memory is
// read over.
type piece struct {
	in     *intake
	buf    []byte
	failed error // errLongOne or errNoMemory
}

func (p *piece) reset() { p.buf, p.failed = p.buf[:0], nil }

func (p *piece) add(b []byte) {
	if p.failed != nil {
		return
	}
	if need := len(p.buf) + len(b); need > cap(p.buf) {
		room := max(need, 2*cap(p.buf), 4<<10)
		switch {
		case need > p.in.pieceMax:
			p.failed = errLongOne
			return
		case !p.in.book(int64(room - cap(p.buf))):
			p.failed = errNoMemory
			return
		}
		p.buf = append(make([]byte, 0, room), p.buf...)
	}
	p.buf = append(p.buf, b...)
}

// line reads a line; empty ones are skipped. io.EOF: there is none.
func (p *piece) line(r *bufio.Reader) error {
	for {
		p.reset()
		some := false
		for {
			part, err := r.ReadSlice('\n')
			some = some || len(part) > 0
			p.add(part)
			if errors.Is(err, bufio.ErrBufferFull) {
				continue
			}
			if err != nil && !(errors.Is(err, io.EOF) && some) {
				return err
			}
			break
		}
		if p.failed != nil || !isBlank(p.buf) {
			return p.failed
		}
	}
}

// object reads a JSON object up to the brace that closes it; its first byte is next.
func (p *piece) object(r *bufio.Reader) error {
	p.reset()
	depth, inText, escaped := 0, false, false
	for {
		c, err := r.ReadByte()
		if err != nil {
			return unexpected(err)
		}
		p.add([]byte{c})
		switch {
		case escaped:
			escaped = false
		case inText:
			escaped, inText = c == '\\', c != '"'
		case c == '"':
			inText = true
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return p.failed
			}
		}
	}
}

// exactly reads n bytes.
func (p *piece) exactly(r *bufio.Reader, n uint64) error {
	p.reset()
	if n > uint64(p.in.pieceMax) {
		p.failed = errLongOne
	}
	for n > 0 {
		part, err := r.Peek(int(min(n, uint64(r.Size()))))
		if len(part) == 0 {
			return unexpected(err)
		}
		p.add(part)
		n -= uint64(len(part))
		if _, err := r.Discard(len(part)); err != nil {
			return err
		}
	}
	return p.failed
}

// all reads to the end.
func (p *piece) all(r *bufio.Reader) error {
	p.reset()
	for {
		part, err := r.Peek(1)
		if len(part) == 0 {
			if errors.Is(err, io.EOF) {
				return p.failed
			}
			return err
		}
		part, _ = r.Peek(r.Buffered())
		p.add(part)
		if _, err := r.Discard(len(part)); err != nil {
			return err
		}
	}
}

// message reads the next Exchange of an ExchangeBatch. io.EOF: there is none.
func (p *piece) message(r *bufio.Reader) error {
	const tag = 1<<3 | 2 // field 1, with a length
	switch got, err := binary.ReadUvarint(r); {
	case err != nil:
		return err
	case got != tag:
		return errNotMessage
	}
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return unexpected(err)
	}
	return p.exactly(r, n)
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func isBlank(b []byte) bool {
	for _, c := range b {
		if !isSpace(c) {
			return false
		}
	}
	return true
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// space reads over white space and returns the byte behind it, which stays.
func space(r *bufio.Reader) (byte, error) {
	for {
		b, err := r.Peek(1)
		if err != nil {
			return 0, err
		}
		if !isSpace(b[0]) {
			return b[0], nil
		}
		_, _ = r.Discard(1)
	}
}
