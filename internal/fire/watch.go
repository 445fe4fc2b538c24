package fire

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// watch ends what runs under a context when the context does: reads and writes do not look at contexts.
type watch struct {
	done <-chan struct{}
	over atomic.Bool
	stop func() bool
}

// watches keeps one watch for the context that nearly all shots share, so that no shot pays for registering its own.
type watches struct {
	conns  *pool
	shared atomic.Pointer[watch]
	mu     sync.Mutex
}

// of returns the watch of a context, nil when it never ends. forget must be called when the shot is over.
func (w *watches) of(ctx context.Context) (_ *watch, forget func() bool) {
	done := ctx.Done()
	if done == nil {
		return nil, nil
	}
	if s := w.shared.Load(); s != nil && s.done == done {
		return s, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.shared.Load(); s == nil || s.over.Load() {
		s = w.start(ctx)
		w.shared.Store(s)
		return s, nil
	}
	own := w.start(ctx)
	return own, own.stop
}

func (w *watches) start(ctx context.Context) *watch {
	s := &watch{done: ctx.Done()}
	s.stop = context.AfterFunc(ctx, func() {
		s.over.Store(true)
		w.conns.each(func(c *conn) {
			if c.watch.Load() == s {
				c.ended = true
				_ = c.SetDeadline(time.Unix(1, 0)) // fails only when it is closed already
			}
		})
	})
	return s
}

func (w *watches) close() {
	if s := w.shared.Load(); s != nil {
		s.stop()
	}
}
