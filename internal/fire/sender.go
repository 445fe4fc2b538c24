package fire

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/url"
	"time"

	"github.com/reprise-io/reprise/internal/traffic"
)

// SenderConfig says where and how requests are sent.
type SenderConfig struct {
	Target        *url.URL // http or https, host and port; the path is not used
	Guard         *Guard
	Run           string          // name of the run, for the mark
	Host          string          // "": the target's; "recorded": the recorded one; else this name
	SetHeaders    []traffic.Field // replace the first of their name, or are appended
	RemoveHeaders []string
	Timeout       time.Duration // per attempt, from the first byte sent to the last byte received. 0: 30 s
	Concurrency   int           // most connections. 0: 256
	Retries       int           // by policy, after the first attempt
	RetryStatus   bool          // retry 429 and 503 as well
	BodyMax       int           // bytes of an answer's body that are kept; the rest is read and counted. 0: 256 KiB
	TLS           *tls.Config   // for https targets; nil: the system's roots
	Logger        *slog.Logger
}

// Mark tells the copies of one exchange apart.
type Mark struct{ Loop, Clone uint32 }

// Shot is a request ready to be written.
type Shot struct {
}

// Answer is what became of a shot.
type Answer struct {
	Response  *traffic.Response // nil: no whole answer. TTFB and Duration count from FireTime
	Truncated bool              // the body was longer than BodyMax; Response.BodySize is the whole
	FireTime  time.Time         // when the first byte of the last attempt was written
	Attempts  int               // from 1; counts policy retries
	Resent    int               // times a kept connection turned out to be closed and the request went on a fresh one
	Reason    string            // empty: a whole answer came. Else bounded snake_case
	Err       error
}

// Sender fires shots over kept connections. It is safe for concurrent use.
type Sender struct{ cfg SenderConfig }

// NewSender returns a sender; it connects when the first shot is fired.
func NewSender(cfg SenderConfig) (*Sender, error) { return &Sender{cfg: cfg}, nil }

// Prepare builds the bytes of a request. shot is nil and reason set when they would not be one safe request. The shot
// does not alias x.
func (s *Sender) Prepare(x *traffic.Exchange, m Mark) (shot *Shot, reason string) { return &Shot{}, "" }

// Fire sends a shot and waits for the answer, which is the caller's.
func (s *Sender) Fire(ctx context.Context, shot *Shot) Answer { return Answer{} }

// Recycle gives the memory of a shot back. The shot must not be used again.
func (s *Sender) Recycle(shot *Shot) {}

// Bytes returns the request as it is written.
func (shot *Shot) Bytes() []byte { return nil }

// Close closes the kept connections. Fire must have returned everywhere.
func (s *Sender) Close() error { return nil }
