package wire

import (
	"io"

	"github.com/reprise-io/reprise/internal/traffic"
)

// Answer reads the answer to one request that we sent, as it comes. Its bytes are its own. Reset makes it ready for
// the next one; the zero value needs a Reset.
type Answer struct {
	Response  traffic.Response // valid when done, its head from HeadDone on; TTFB and Duration are the caller's
	Flags     traffic.Flags    // TRUNCATED_RESPONSE: the body was longer than bodyMax, or was cut
	KeepAlive bool             // the connection may carry another request
	Upgraded  bool             // 101, or 2xx to CONNECT: what follows is no HTTP

	message message
	to      Method
	started bool
}

// Reset prepares for the answer to a request with that method; the body is cut at bodyMax bytes (negative: no limit)
// and counted beyond.
func (a *Answer) Reset(method string, bodyMax int) {
	fields := a.message.scratch.Head.Fields // the only part worth reusing: everything else is given away
	*a = Answer{to: MethodOf([]byte(method))}
	a.message = message{framer: Responses(), own: true, body: body{max: bodyMax}}
	a.message.scratch.Head.Fields = fields
}

// Feed reads from p and returns how much of it belongs to this answer, and whether the answer is complete. After an
// error the connection is of no use.
func (a *Answer) Feed(p []byte) (n int, done bool, err error) {
	a.started = a.started || emptyLines(p) < len(p)
	n, err = a.message.read(p, a.to)
	if a.message.headed {
		a.Response.Status = a.message.response.Status
	}
	if err != nil {
		a.settle()
		return n, false, err
	}
	if a.message.whole {
		a.settle()
	}
	return n, a.message.whole, nil
}

// Started reports whether a byte of an answer was fed, be it of a 1xx.
func (a *Answer) Started() bool { return a.started }

// HeadDone reports whether the head of the final answer was read.
func (a *Answer) HeadDone() bool { return a.message.headed }

// EOF says that the target closed. It returns nil when that was the end of a body without a length, io.EOF when not a
// byte of an answer had come, else io.ErrUnexpectedEOF; then Response holds what came, flagged TRUNCATED_RESPONSE.
func (a *Answer) EOF() error {
	if a.message.whole {
		return nil
	}
	a.message.whole = a.message.framer.EOF() == EndSeen && a.message.headed
	a.settle()
	switch {
	case a.message.whole:
		return nil
	case a.started:
		return io.ErrUnexpectedEOF
	}
	return io.EOF
}

func (a *Answer) settle() {
	m := &a.message
	a.Response = m.response
	a.Response.Body, a.Response.BodySize, a.Response.Trailers = m.body.kept, max(m.body.size, m.length), m.trailers
	a.Flags = m.flags()
	a.KeepAlive = m.whole && !m.closes && !m.switches
	a.Upgraded = m.switches
}
