package fire

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/reprise-io/reprise/internal/wire"
)

// The reasons why a shot brought no whole answer, beside TargetIsProduction.
const (
	ConnectRefused = "connect_refused"
	ConnectTimeout = "connect_timeout"
	ConnectFailed  = "connect_failed" // no route, too many open files, …
	NameNotFound   = "name_not_found"
	TLSFailed      = "tls_failed"
	Timeout        = "timeout"    // no whole answer within Timeout
	Closed         = "closed"     // the target closed before a whole answer
	Reset          = "reset"      // the connection, or the stream, was reset
	BadAnswer      = "bad_answer" // what came is not HTTP as spoken, or its header block is too large
	Canceled       = "canceled"   // the context ended
)

// failure is an attempt without a whole answer.
type failure struct {
	reason string
	err    error
}

func (f *failure) Error() string { return f.reason + ": " + f.err.Error() }

func (f *failure) Unwrap() error { return f.err }

// connection reports whether the policy may try again: the target was not reached, or went away.
func (f *failure) connection() bool {
	switch f.reason {
	case ConnectRefused, ConnectTimeout, ConnectFailed, Closed, Reset:
		return true
	}
	return false
}

func connectFailure(ctx context.Context, err error) *failure {
	var refused *refusedDial
	var dns *net.DNSError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var certificate *tls.CertificateVerificationError
	switch {
	case ended(ctx):
		return canceled(ctx)
	case errors.Is(err, errHalted):
		return &failure{Canceled, err}
	case errors.As(err, &refused):
		return &failure{refused.reason, err}
	case errors.Is(err, errNotHTTP2):
		return exchangeFailure(ctx, err)
	case errors.As(err, &record), errors.As(err, &alert), errors.As(err, &certificate), errors.Is(err, errHandshake):
		return &failure{TLSFailed, err}
	case errors.As(err, &dns):
		return &failure{NameNotFound, err}
	case errors.Is(err, syscall.ECONNREFUSED):
		return &failure{ConnectRefused, err}
	case timedOut(err):
		return &failure{ConnectTimeout, err}
	}
	return &failure{ConnectFailed, err}
}

func exchangeFailure(ctx context.Context, err error) *failure {
	reset, isReset := errors.AsType[*streamReset](err)
	switch {
	case ended(ctx):
		return canceled(ctx)
	case errors.Is(err, wire.ErrMalformed), errors.Is(err, wire.ErrIncomplete), h2Malformed(err):
		return &failure{BadAnswer, err}
	case timedOut(err):
		return &failure{Timeout, err}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return &failure{Closed, err}
	case isReset:
		return &failure{Reset, reset}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return &failure{Reset, err}
	}
	return &failure{Closed, err}
}

// ended reports whether the caller's context is over. A dial under it can notice its deadline before it does itself.
func ended(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}

func canceled(ctx context.Context) *failure {
	err := context.Cause(ctx)
	if err == nil {
		err = context.DeadlineExceeded
	}
	return &failure{Canceled, err}
}

func timedOut(err error) bool {
	var timeout net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &timeout) && timeout.Timeout()
}
