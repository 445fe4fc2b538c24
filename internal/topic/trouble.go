package topic

import (
	"log/slog"
	"sync"
	"time"
)

// trouble is the state that people are told of: once when it begins, once when it is over.
type trouble struct {
	mu    sync.Mutex
	since time.Time // zero: none
	cause error
	said  bool
}

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

func (t *trouble) say(log *slog.Logger, now time.Time, what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since.IsZero() || t.said {
		return
	}
	t.said = true
	log.Warn(what, "for", now.Sub(t.since).Round(time.Millisecond), "cause", t.cause)
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
	if !t.said {
		t.since, t.cause = time.Time{}, nil
	}
}

// over ends trouble, and says so to whom it was said.
func (t *trouble) over(log *slog.Logger, now time.Time, what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.said {
		log.Info(what, "after", now.Sub(t.since).Round(time.Millisecond))
	}
	t.since, t.cause, t.said = time.Time{}, nil, false
}
