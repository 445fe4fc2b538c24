package proxy

import (
	"context"
	"sync"
	"time"

	"github.com/reprise-io/reprise/internal/wire"
)

// desk is a ledger for connections that are served by goroutines. Reading what was seen takes a microsecond or two, after it
// was passed on: several connections share one.
type desk struct {
	mu sync.Mutex
	ledger
	news chan struct{} // there is something to offer or to wait for
}

// openDesks starts as many as there are loops; the returned function ends them.
func (p *Proxy) openDesks() (end func()) {
	if p.crypt == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, d := range p.desks {
		running.Go(func() { d.run(ctx) })
	}
	return func() {
		cancel()
		running.Wait()
	}
}

// note reads what was seen of a dialog.
func (d *desk) note(dialog *wire.Dialog, k kind, data []byte) {
	now := time.Now()
	d.mu.Lock()
	if !dialog.Opaque() || k >= over {
		d.read(dialog, k, data, now)
	}
	full := d.recorder.Ready() >= offerCount
	if full {
		d.offer(now)
	}
	d.mu.Unlock()
	if !full {
		select {
		case d.news <- struct{}{}:
		default:
		}
	}
}

// idle reports that no message is under way.
func (d *desk) idle(dialog *wire.Dialog) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return dialog.Idle()
}

// run offers what is finished, and finishes what has waited for its answer for too long.
func (d *desk) run(ctx context.Context) {
	for {
		d.mu.Lock()
		now := time.Now()
		next := d.recorder.Expire(now)
		d.offer(now)
		d.mu.Unlock()
		var expiry <-chan time.Time
		if !next.IsZero() {
			expiry = time.After(next.Sub(now))
		}
		select {
		case <-ctx.Done():
			d.mu.Lock()
			d.offer(time.Now())
			d.mu.Unlock()
			return
		case <-expiry:
		case <-d.news:
			time.Sleep(offerAfter) // more comes
		}
	}
}
