package fire

import (
	"net/http"
	"time"

	"github.com/reprise-io/reprise/internal/traffic"
)

// health is what an answer, or its absence, tells of the target.
type health uint8

const (
	unknown health = iota // nothing: production did no better, or it was not the target's doing
	well
	sick
)

// judge tells how the target is by what it made of an exchange that production had answered with recorded; nil: without
// an answer. A target that does as badly as production did is not sick: what was recorded with an error says nothing, and
// neither does what broke off here as it did there.
func judge(a *Answer, recorded *traffic.Response, timeout time.Duration) health {
	if a.Response != nil {
		switch {
		case !troubled(a.Response):
			return well
		case recorded != nil && troubled(recorded):
			return unknown
		}
		return sick
	}
	switch a.Reason {
	case ConnectRefused, ConnectTimeout, ConnectFailed, NameNotFound, TLSFailed:
		return sick
	case Timeout:
		if recorded == nil || recorded.Duration >= timeout { // a long poll
			return unknown
		}
		return sick
	case Closed, Reset, BadAnswer:
		if recorded == nil {
			return unknown
		}
		return sick
	}
	return unknown // ours: cancelled, refused by a guard
}

// IsError reports whether the answer, or its absence, is an error as the error rates count it, with production's answer recorded (nil:
// there is none) and the time that an attempt may take. tells false: it tells nothing of the target, and is not counted.
func (a *Answer) IsError(recorded *traffic.Response, timeout time.Duration) (isError, tells bool) {
	h := judge(a, recorded, timeout)
	return h == sick, h != unknown
}

// troubled reports whether an answer says that its server could not, rather than that the request was wrong.
func troubled(r *traffic.Response) bool {
	if r.Status >= 500 || r.Status == http.StatusTooManyRequests {
		return true
	}
	code, ok := r.GRPCStatus()
	if !ok {
		return false
	}
	switch code {
	case 2, 4, 8, 13, 14, 15: // unknown, deadline exceeded, resource exhausted, internal, unavailable, data loss
		return true
	}
	return false
}

// asked returns how long an answer asks to be left alone for; false: it does not.
func asked(a *Answer, now time.Time) (time.Duration, bool) {
	if a.Response == nil || !asksToWait(a.Response.Status) {
		return 0, false
	}
	v, ok := traffic.Get(a.Response.Headers, "retry-after")
	if !ok {
		return 0, false
	}
	wait, ok := retryAfter(string(v), now)
	return wait, ok && wait > 0
}
