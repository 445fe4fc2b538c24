package importer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// separator stands alone on the line behind each payload of a .gor file.
const separator = "🐵🙈🙉"

// maxPayload bounds what is held of one payload. GoReplay itself stops at 5 MB unless told otherwise.
const maxPayload = 32 << 20

var errTooLong = fmt.Errorf("payload is longer than %d MiB", maxPayload>>20)

// payloads splits a .gor file. The text that next returns is valid until the next call.
type payloads struct {
	r      io.Reader
	buf    []byte
	start  int   // of what was not returned yet, in buf
	end    int   // of what was read, in buf
	offset int64 // of buf[start] in the file
	eof    bool
}

func newPayloads(r io.Reader) *payloads { return &payloads{r: r, buf: make([]byte, 256<<10)} }

// payload is what stands between two separators.
type payload struct {
	text   []byte
	offset int64 // of its first byte in the file
	whole  bool  // a separator follows; else the file ends
}

// next returns the next payload. At the end the error is io.EOF, or what reading failed with; errTooLong is about this
// payload only, and there may be more.
func (p *payloads) next() (payload, error) {
	at := payload{offset: p.offset}
	from, tooLong := 0, false // from: searched up to here, behind start
	for {
		n, all, more := p.find(from)
		from = more
		switch {
		case n >= 0:
			at.text, at.whole = p.buf[p.start:p.start+n], true
			p.skip(all)
		case p.eof:
			at.text = p.buf[p.start:p.end]
			p.skip(p.end - p.start)
			if !tooLong && len(bytes.TrimSpace(at.text)) == 0 {
				return payload{}, io.EOF
			}
		default:
			if p.end-p.start > maxPayload {
				tooLong = true
				p.skip(from)
				from = 0
			}
			if err := p.fill(); err != nil {
				at.offset = p.offset + int64(p.end-p.start)
				return at, err
			}
			continue
		}
		if tooLong || len(at.text) > maxPayload {
			at.text = nil
			return at, errTooLong
		}
		return at, nil
	}
}

// find looks for the separator from that byte behind start on. It returns the length of the payload before it and of
// both together; or -1 and where the next search must begin.
func (p *payloads) find(from int) (payload, all, more int) {
	b := p.buf[p.start:p.end]
	for {
		i := bytes.Index(b[from:], []byte(separator))
		if i < 0 {
			return -1, 0, max(from, len(b)-len(separator)-2)
		}
		at := from + i
		rest := b[at+len(separator):]
		if len(rest) < 2 && !p.eof {
			return -1, 0, max(from, at-2)
		}
		before := b[:at]
		crlf := bytes.HasPrefix(rest, []byte("\r\n"))
		alone := crlf || bytes.HasPrefix(rest, []byte("\n")) || len(rest) == 0 || string(rest) == "\r"
		if !alone || at > 0 && before[at-1] != '\n' {
			from = at + 1 // in the middle of a body
			continue
		}
		before = bytes.TrimSuffix(before, []byte("\n"))
		after := min(1, len(rest))
		if crlf {
			before = bytes.TrimSuffix(before, []byte("\r"))
			after = 2
		}
		return len(before), at + len(separator) + after, 0
	}
}

func (p *payloads) skip(n int) {
	p.start += n
	p.offset += int64(n)
}

// fill reads more behind end, moving or growing the buffer when it is full.
func (p *payloads) fill() error {
	if p.start > 0 && p.end == len(p.buf) {
		p.end = copy(p.buf, p.buf[p.start:p.end])
		p.start = 0
	}
	if p.end == len(p.buf) {
		p.buf = append(p.buf, make([]byte, len(p.buf))...)
	}
	n, err := p.r.Read(p.buf[p.end:])
	p.end += n
	if errors.Is(err, io.EOF) {
		p.eof = true
		return nil
	}
	return err
}

// The kinds of a payload.
const (
	requestPayload  = '1'
	responsePayload = '2'
	replayedPayload = '3' // the answer that GoReplay's own target gave
)

// payloadHead is the first line of a payload.
type payloadHead struct {
	kind    byte
	id      []byte        // aliases the payload
	time    int64         // as written; see timestamp
	latency time.Duration // 0: not given
}

// kept returns h without what lies in the reader's buffer.
func (h payloadHead) kept() payloadHead { h.id = nil; return h }

// parseHead cuts the first line off a payload: "1 ID TIME", for responses with a latency in ns behind. What other
// versions put behind that is skipped.
func parseHead(text []byte) (h payloadHead, message []byte, err error) {
	text = bytes.TrimLeft(bytes.TrimPrefix(text, []byte(bom)), "\r\n")
	line, message, ok := bytes.Cut(text, []byte("\n"))
	if !ok && len(line) > 1024 {
		line = line[:1024]
	}
	parts := bytes.Fields(line)
	if !ok || len(parts) < 3 || len(parts[0]) != 1 {
		return h, nil, fmt.Errorf("payload begins with %q, want a line TYPE ID TIME", clip(line))
	}
	h.kind, h.id = parts[0][0], parts[1]
	if h.time, err = parseTimestamp(parts[2]); err != nil {
		return h, nil, err
	}
	if len(parts) > 3 {
		if ns, err := strconv.ParseInt(string(parts[3]), 10, 64); err == nil && ns > 0 {
			h.latency = time.Duration(ns)
		}
	}
	return h, message, nil
}

// isGorHead reports whether a file begins as a .gor file does.
func isGorHead(head []byte) bool {
	h, _, err := parseHead(head)
	return err == nil && h.kind >= requestPayload && h.kind <= replayedPayload
}

// parseTimestamp reads digits, or seconds with a fraction (which become ns).
func parseTimestamp(text []byte) (int64, error) {
	whole, fraction, isDecimal := bytes.Cut(text, []byte("."))
	if isDecimal && len(fraction) > 0 {
		text = append(append([]byte(nil), whole...), append(fraction, "000000000"...)[:9]...)
	} else {
		text = whole
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("payload has time %q, want ns since 1970", clip(text))
	}
	return n, nil
}

// timestamp reads the time of a request. GoReplay writes ns; tools around it also write seconds, ms or µs, which differ
// so much in size that each is told by it.
func timestamp(n int64) time.Time {
	switch {
	case n < 1e11:
		return time.Unix(n, 0).UTC()
	case n < 1e14:
		return time.UnixMilli(n).UTC()
	case n < 1e17:
		return time.UnixMicro(n).UTC()
	}
	return time.Unix(0, n).UTC()
}

// answered tells when the first and the last byte of a response came after the request at that time; 0 where that is not
// known. Three forms are about: the response's own time with the latency of its bytes; the request's time again with the
// latency since; and, oldest, the latency in place of the time.
func answered(request time.Time, h payloadHead) (ttfb, duration time.Duration) {
	const day = 24 * time.Hour
	after := timestamp(h.time).Sub(request)
	switch {
	case after > 0 && after < day:
		return after, after + h.latency
	case after == 0 || h.latency > 0:
		return 0, h.latency
	case h.time < int64(day):
		return 0, time.Duration(h.time)
	}
	return 0, 0
}

// clip shortens what an error quotes. It must not show more of recorded traffic than is needed to find the place.
func clip(b []byte) []byte {
	const most = 32
	if len(b) > most {
		return b[:most]
	}
	return b
}
