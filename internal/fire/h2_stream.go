package fire

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/net/http2"

	"github.com/reprise-io/reprise/internal/traffic"
)

// stream is one exchange over HTTP/2. Its connection's mutex guards it until it is over; then it is the caller's.
type stream struct {
	conn *h2Conn
	id   uint32
	news chan struct{} // gets a token when it is over, or more of the body may be sent
	kept bool          // the connection had brought a whole answer before

	rest     []byte // of the body, not sent yet; aliases the shot
	trailers []byte // the block behind it
	sent     bool   // all of it is queued
	window   int64  // bytes of the body that the peer takes

	start    time.Time // of writing; zero: not a byte was written
	ttfb     time.Duration
	took     time.Duration
	response traffic.Response
	headed   bool
	started  bool // a frame of the answer has come
	received int  // bytes of the answer for which no room was given again
	over     bool // answered, or err is set
	err      error
	refused  bool // the peer has not looked at the request: it can be sent again
}

func (st *stream) wake() {
	select {
	case st.news <- struct{}{}:
	default:
	}
}

// recycle makes a stream ready for the next exchange.
func (st *stream) recycle() {
	select {
	case <-st.news:
	default:
	}
	*st = stream{news: st.news}
}

// errNotHTTP2 is wrapped by what a connection returns on which the target does not speak HTTP/2 though it should.
var errNotHTTP2 = errors.New("the target does not speak HTTP/2")

// errNoHTTP2 says that the target chose HTTP/1.1, which will do.
var errNoHTTP2 = errors.New("the target chose HTTP/1.1")

// errFlood ends a connection whose peer asks for answers faster than it reads them.
var errFlood = errors.New("the target does not read what it asks for")

// badAnswer is an answer that HTTP/2 does not allow.
type badAnswer struct{ cause string }

func (e *badAnswer) Error() string { return "the answer is malformed: " + e.cause }

// streamReset is what the target ended a stream with.
type streamReset struct{ code http2.ErrCode }

func (e *streamReset) Error() string { return "the target reset the stream: " + e.code.String() }

// goneAway is what the target ended a connection with.
type goneAway struct {
	code http2.ErrCode
	err  error // nil: it said only that
}

func (e *goneAway) Error() string {
	if e.err == nil {
		return fmt.Sprintf("the target went away: %s", e.code)
	}
	return fmt.Sprintf("the target went away: %s: %v", e.code, e.err)
}

func (e *goneAway) Unwrap() error { return e.err }

// h2Malformed reports whether an error says that what came is not HTTP/2 as it should be.
func h2Malformed(err error) bool {
	_, stream := errors.AsType[http2.StreamError](err)
	_, connection := errors.AsType[http2.ConnectionError](err)
	_, answer := errors.AsType[*badAnswer](err)
	return stream || connection || answer || errors.Is(err, http2.ErrFrameTooLarge) || errors.Is(err, errNotHTTP2) ||
		errors.Is(err, errFlood)
}
