package wire

import (
	"bufio"
	"errors"

	"github.com/reprise-io/reprise/internal/traffic"
)

// The errors of ParseRequest, ParseResponse and Answer; what is returned wraps one of them.
var (
	ErrIncomplete = errors.New("message ends inside its header block")
	ErrMalformed  = errors.New("malformed message")
)

// ParseRequest reads one whole request from memory. What it returns aliases raw, except a chunked body. The body is cut
// at bodyMax bytes (negative: no limit) and flagged TRUNCATED_REQUEST, as is one that raw does not hold whole. Bytes
// behind the message are ignored. Ambiguous framing is no error but the flag AMBIGUOUS_FRAMING.
func ParseRequest(raw []byte, bodyMax int) (traffic.Request, traffic.Flags, error) {
	return traffic.Request{}, 0, ErrMalformed
}

// ParseResponse reads one whole response to a request with that method from memory, as ParseRequest does; 1xx before
// it are skipped and a body without a length ends with raw.
func ParseResponse(raw []byte, method string, bodyMax int) (*traffic.Response, traffic.Flags, error) {
	return nil, 0, ErrMalformed
}

// Answer reads the answer to one request that we sent, as it comes. Its bytes are its own. Reset makes it ready for
// the next one; the zero value needs a Reset.
type Answer struct {
	Response  traffic.Response // valid when done; TTFB and Duration are the caller's
	Flags     traffic.Flags    // TRUNCATED_RESPONSE: longer than bodyMax, or cut by the end of the connection
	KeepAlive bool             // the connection may carry another request
	Upgraded  bool             // 101, or 2xx to CONNECT: what follows is no HTTP
}

// Reset prepares for the answer to a request with that method; the body is cut at bodyMax bytes (negative: no limit)
// and counted beyond.
func (a *Answer) Reset(method string, bodyMax int) {}

// Feed reads from p and returns how much of it belongs to this answer, and whether the answer is complete. After an
// error the connection is of no use.
func (a *Answer) Feed(p []byte) (n int, done bool, err error) { return 0, false, ErrMalformed }

// EOF says that the target closed: the end of a body without a length, else an error (io.EOF when not a byte of an
// answer had come, io.ErrUnexpectedEOF inside one).
func (a *Answer) EOF() error { return ErrMalformed }

// Started reports whether a byte of the final answer (not of a 1xx) was fed.
func (a *Answer) Started() bool { return false }

// ReadAnswer feeds a from br until the answer is complete. It takes no byte beyond it.
func ReadAnswer(br *bufio.Reader, a *Answer) error { return ErrMalformed }
