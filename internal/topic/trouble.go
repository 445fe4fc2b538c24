package topic

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
)

// trouble is the state that people are told of: once when it begins, again when another cure is needed, and once when it
// is over.
type trouble struct {
	mu    sync.Mutex
	since time.Time // zero: none
	cause error
	said  time.Time            // when last; zero: not
	cure  string               // as it was said
	cures map[string]time.Time // when each was said
}

// sayAgainAfter is how long a cure is not said again when causes take turns, as they do behind a balancer that hangs up
// now this way, now that.
const sayAgainAfter = time.Minute

func (t *trouble) get() (time.Time, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.since, t.cause
}

// begin notes trouble, or a better known cause of it.
func (t *trouble) begin(now time.Time, cause error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since.IsZero() {
		t.since = now
	}
	t.cause = cause
}

// say says what the trouble is, unless that was said.
func (t *trouble) say(log *slog.Logger, now time.Time, what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	cure := cureOf(t.cause)
	if t.since.IsZero() || !t.said.IsZero() && (t.cure == cure || !isExplained(t.cause) || now.Sub(t.said) < sayAfter) {
		return
	}
	if before, ok := t.cures[cure]; ok && now.Sub(before) < sayAgainAfter {
		return
	}
	if t.cures == nil {
		t.cures = make(map[string]time.Time)
	}
	t.said, t.cure, t.cures[cure] = now, cure, now
	log.Warn(what, "for", now.Sub(t.since).Round(time.Millisecond), "cause", t.cause, "try", cure)
}

func isExplained(cause error) bool {
	_, ok := errors.AsType[*fault.Error](cause)
	return ok
}

// cureOf is what to try. Causes come and go while the trouble and its cure remain: refused, no answer, hung up.
func cureOf(cause error) string {
	if f, ok := errors.AsType[*fault.Error](cause); ok && f.Try != "" {
		return f.Try
	}
	return tryBrokers
}

func (t *trouble) sayIfLong(log *slog.Logger, now time.Time, what string) {
	if since, _ := t.get(); !since.IsZero() && now.Sub(since) >= sayAfter {
		t.say(log, now, what)
	}
}

// clearIfUnsaid forgets trouble that was over before anyone heard of it.
func (t *trouble) clearIfUnsaid() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.said.IsZero() {
		t.since, t.cause = time.Time{}, nil
	}
}

// over ends trouble, and says so to whom it was said.
func (t *trouble) over(log *slog.Logger, now time.Time, what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.said.IsZero() {
		log.Info(what, "after", now.Sub(t.since).Round(time.Millisecond))
	}
	t.since, t.cause, t.said, t.cure, t.cures = time.Time{}, nil, time.Time{}, "", nil
}
