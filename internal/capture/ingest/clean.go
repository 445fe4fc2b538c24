package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/reprise-io/reprise/internal/traffic"
)

// markHeader is what a replayer's requests carry.
const markHeader = "Reprise-Replay"

// maxSkew is how far a filter's clock may be off.
const maxSkew = 5 * time.Minute

// allowed are the flags that who saw the exchange may set. All others tell what a tap found out itself.
const allowed = traffic.RequestOnly | traffic.NoResponse | traffic.TruncatedRequest | traffic.TruncatedResponse |
	traffic.LocalReply | traffic.ClientAborted | traffic.Upgraded | traffic.Connect

var (
	errMarked   = errors.New("a replayer caused it")
	errMethod   = errors.New("request: method is no token")
	errTarget   = errors.New("request: target is empty, or has a space or a control character in it")
	errField    = errors.New("a header has a name that is no token, or a control character in its value")
	errStatus   = errors.New("response: status is not between 100 and 999")
	errShortage = errors.New("a size or a duration is negative")
)

// clean makes what somebody claims to have seen an exchange of this tap, or says why it cannot be one.
func clean(x *traffic.Exchange, bodyMax int, now time.Time) error {
	x.ID, x.RulesDigest, x.Redactions, x.SampleHash = traffic.ID{}, nil, nil, 0
	x.Session = nil // it is a pseudonym, which only a tap can make
	x.Flags &= allowed
	q := &x.Request
	if _, marked := traffic.Get(q.Headers, markHeader); marked {
		return errMarked
	}
	switch {
	case !isToken(q.Method):
		return errMethod
	case len(q.Target) == 0 || bytes.ContainsFunc(q.Target, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return errTarget
	case q.BodySize < 0:
		return errShortage
	}
	if err := checkFields(q.Headers, q.Trailers); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	if string(q.Method) == "CONNECT" {
		x.Flags |= traffic.Connect
	}
	if q.HostInDoubt() {
		x.Flags |= traffic.AmbiguousFraming
	}
	if cut(&q.Body, &q.BodySize, bodyMax) {
		x.Flags |= traffic.TruncatedRequest
	}
	if err := cleanResponse(x, bodyMax); err != nil {
		return err
	}
	if len(x.Connection.ID) == 0 {
		x.Connection.ID = x.Connection.Client // address and port are a connection, as far as a filter can tell
	}
	setTime(x, now)
	return nil
}

func cleanResponse(x *traffic.Exchange, bodyMax int) error {
	p := x.Response
	if p == nil {
		if x.Flags&(traffic.RequestOnly|traffic.ClientAborted) == 0 {
			x.Flags |= traffic.NoResponse
		}
		return nil
	}
	switch {
	case p.Status < 100 || p.Status > 999:
		return errStatus
	case p.BodySize < 0 || p.TTFB < 0 || p.Duration < 0:
		return errShortage
	}
	if err := checkFields(p.Headers, p.Trailers); err != nil {
		return fmt.Errorf("response: %w", err)
	}
	if p.Status == 101 {
		x.Flags |= traffic.Upgraded
	}
	if cut(&p.Body, &p.BodySize, bodyMax) && string(x.Request.Method) != "HEAD" {
		x.Flags |= traffic.TruncatedResponse
	}
	return nil
}

// setTime believes a clock that is nearly right.
func setTime(x *traffic.Exchange, now time.Time) {
	x.TimeSource = traffic.GatewayTime
	off := x.CaptureTime.Sub(now)
	if p := x.Response; p != nil && off < 0 {
		off = min(off+p.Duration, 0) // it came when the answer had ended
	}
	switch {
	case x.CaptureTime.IsZero():
		x.CaptureTime, x.TimeSource = now.UTC(), traffic.OwnClock
	case off > maxSkew || off < -maxSkew:
		x.CaptureTime, x.TimeSource = now.UTC(), traffic.OwnClock
		x.Flags |= traffic.ClockReplaced
	}
}

// cut keeps most bytes of a body, and reports whether they are not all of it.
func cut(body *[]byte, size *int64, most int) bool {
	*size = max(*size, int64(len(*body)))
	if len(*body) > most {
		*body = bytes.Clone((*body)[:most])
	}
	return int64(len(*body)) < *size
}

func checkFields(lists ...[]traffic.Field) error {
	for _, list := range lists {
		for i := range list {
			if !isToken(list[i].Name) || bytes.ContainsFunc(list[i].Value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
				return errField
			}
		}
	}
	return nil
}

// isToken reports whether s is what a method or a field's name is.
func isToken(s []byte) bool {
	for _, c := range s {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) >= 0:
		default:
			return false
		}
	}
	return len(s) > 0
}
