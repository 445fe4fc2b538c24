package importer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/wire"
)

var (
	errNoTime = errors.New("payload has time 0")
	errCutOff = errors.New("the file ends inside it")
)

// gorReader turns the payloads of a .gor file into exchanges.
type gorReader struct {
	file      *File
	hash      [16]byte
	answers   bool // the file has responses at all
	pairs     *pairing
	stats     *Stats
	index     uint64 // of the last request, from 1
	first     error  // why the first payload that could not be read could not
	firstAt   int64
	breakAt   int64
	brokenOff error // why the file could not be read to its end
}

func (f *File) eachGor(ctx context.Context, stats *Stats, each func(*traffic.Exchange) error) error {
	g := &gorReader{file: f, stats: stats}
	var err error
	if g.hash, err = f.survey(ctx, func(r io.Reader) { g.answers = hasResponses(r) }); err != nil {
		return err
	}
	content, err := f.content(&f.read)
	if err != nil {
		return err
	}
	g.pairs = newPairing(each)
	if err := g.readAll(&contextReader{ctx, content}); err != nil {
		return err
	}
	stats.Orphans, err = g.pairs.flush()
	if err != nil {
		return err
	}
	return g.verdict()
}

// hasResponses reads r to its end.
func hasResponses(r io.Reader) bool {
	found := false
	p := newPayloads(r)
	for {
		at, err := p.next()
		if err != nil && !errors.Is(err, errTooLong) {
			return found
		}
		if h, _, err := parseHead(at.text); err == nil && h.kind == responsePayload {
			found = true
		}
	}
}

func (g *gorReader) readAll(r io.Reader) error {
	p := newPayloads(r)
	for {
		at, err := p.next()
		switch {
		case errors.Is(err, errTooLong):
			g.broken(at, err)
			continue
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			g.brokenOff, g.breakAt = err, at.offset
			return nil
		}
		if err := g.take(at); err != nil {
			return err
		}
	}
}

// take reads one payload; the error is the caller's.
func (g *gorReader) take(at payload) error {
	h, message, err := parseHead(at.text)
	if err != nil {
		g.broken(at, err)
		return nil
	}
	switch h.kind {
	case requestPayload:
		g.index++
		x, err := g.request(h, message, at)
		if err != nil {
			g.broken(at, err)
			return nil
		}
		return g.pairs.request(string(h.id), x, g.attach, g.answers)
	case responsePayload:
		return g.pairs.response(&answer{id: string(h.id), head: h.kept(), message: message, at: at}, g.attach)
	default:
		g.stats.Ignored++
		return nil
	}
}

func (g *gorReader) request(h payloadHead, message []byte, at payload) (*traffic.Exchange, error) {
	if h.time == 0 {
		return nil, errNoTime
	}
	x := g.file.newExchange(g.hash, g.index)
	x.CaptureTime = timestamp(h.time)
	var err error
	if x.Request, x.Flags, err = wire.ParseRequest(message, g.file.bodyMax); err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	r := &x.Request
	if x.Flags.Has(traffic.TruncatedRequest) && !at.whole && len(r.Body) < g.file.bodyMax {
		g.broken(at, errCutOff)
	}
	if len(r.Scheme) == 0 {
		r.Scheme = []byte("http") // GoReplay sees nothing else
	}
	if len(r.Authority) == 0 {
		r.Authority, _ = traffic.Get(r.Headers, "Host")
	}
	if !g.answers {
		x.Flags |= traffic.RequestOnly
	}
	own(r.Headers, r.Trailers, &r.Method, &r.Scheme, &r.Authority, &r.Target, &r.Protocol, &r.Body)
	return x, nil
}

// attach gives a response to its request. It reports whether that was the final one, not an interim 1xx.
func (g *gorReader) attach(x *traffic.Exchange, a *answer) bool {
	r, flags, err := wire.ParseResponse(a.message, string(x.Request.Method), g.file.bodyMax)
	if err != nil {
		if isInterim(a.message) {
			g.stats.Ignored++
			return false
		}
		g.broken(a.at, fmt.Errorf("response: %w", err))
		x.Flags |= traffic.NoResponse
		return true
	}
	if flags.Has(traffic.TruncatedResponse) && !a.at.whole && len(r.Body) < g.file.bodyMax {
		g.broken(a.at, errCutOff)
	}
	r.TTFB, r.Duration = answered(x.CaptureTime, a.head)
	own(r.Headers, r.Trailers, &r.Protocol, &r.Body)
	x.Response = r
	x.Flags |= flags
	return true
}

// own copies everything into one piece of memory of just that size: the parser's results alias the reader's buffer.
func own(headers, trailers []traffic.Field, values ...*[]byte) {
	for i := range headers {
		values = append(values, &headers[i].Name, &headers[i].Value)
	}
	for i := range trailers {
		values = append(values, &trailers[i].Name, &trailers[i].Value)
	}
	size := 0
	for _, v := range values {
		size += len(*v)
	}
	memory := make([]byte, 0, size)
	for _, v := range values {
		if len(*v) == 0 {
			*v = nil
			continue
		}
		n := len(memory)
		memory = append(memory, *v...)
		*v = memory[n:len(memory):len(memory)]
	}
}

// isInterim reports whether a message is a 1xx response and nothing more.
func isInterim(message []byte) bool {
	const version = "HTTP/1."
	return len(message) > len(version)+3 && string(message[:len(version)]) == version && message[len(version)+2] == '1'
}

func (g *gorReader) broken(at payload, err error) {
	if g.stats.Broken++; g.first == nil {
		g.first, g.firstAt = err, at.offset
	}
}

// verdict is the error at the end: nil when everything could be read.
func (g *gorReader) verdict() error {
	switch {
	case g.brokenOff != nil:
		return g.file.incomplete(g.stats, fmt.Sprintf("broken off at byte %d", g.breakAt), plainCause(g.brokenOff), g.brokenOff)
	case g.first != nil:
		return g.file.incomplete(g.stats, fmt.Sprintf("%s could not be read whole, the first at byte %d", counted(g.stats.Broken, "payload"), g.firstAt),
			g.first.Error(), g.first)
	case g.stats.Exchanges == 0:
		return g.file.incomplete(g.stats, "there is no request in it", "an exchange is a request with or without its response", nil)
	}
	return nil
}
