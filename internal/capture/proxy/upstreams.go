package proxy

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
)

// How long an upstream that could not be connected to is passed over while there are others: twice as long each time.
const (
	firstBackOff   = time.Second
	longestBackOff = 30 * time.Second
)

// upstreams are where connections go to, in turns.
type upstreams struct {
	all  []*resolver
	next atomic.Uint32
}

func newUpstreams(names []string, log *slog.Logger) (*upstreams, error) {
	if len(names) == 0 {
		return nil, fault.BadUsage("no upstream", "connections need somewhere to go", "HOST:PORT, such as 127.0.0.1:9000")
	}
	u := new(upstreams)
	for _, name := range names {
		r, err := newResolver(name, log)
		if err != nil {
			return nil, err
		}
		r.one = len(names) == 1
		u.all = append(u.all, r)
	}
	return u, nil
}

func (u *upstreams) notAt(listener net.Addr) error {
	for _, r := range u.all {
		if err := r.notAt(listener); err != nil {
			return err
		}
	}
	return nil
}

// get returns the addresses to try for one connection, the first first: those of the upstream whose turn it is, then the
// others', and at last those that failed a short while ago. None: no name has been resolved yet. They are shared: not to be
// written to.
func (u *upstreams) get(now time.Time) []address {
	if len(u.all) == 1 {
		return u.all[0].get()
	}
	first := int(u.next.Add(1) - 1)
	var good, failing []address
	for i := range u.all {
		r := u.all[(first+i)%len(u.all)]
		if r.resting(now) {
			failing = append(failing, r.get()...)
		} else {
			good = append(good, r.get()...)
		}
	}
	return append(good, failing...)
}

// run looks names up until ctx ends.
func (u *upstreams) run(ctx context.Context, changed func()) {
	var running sync.WaitGroup
	for _, r := range u.all {
		running.Go(func() { r.run(ctx, changed) })
	}
	running.Wait()
}

// unresolved is told that a client was turned away for want of any address.
func (u *upstreams) unresolved(why error) {
	for _, r := range u.all {
		r.failed(why)
	}
}

// resting reports that connecting failed, and that it is not time yet to try again while there are others.
func (r *resolver) resting(now time.Time) bool { return now.UnixNano() < r.restUntil.Load() }

// rest passes the upstream over for a while.
func (r *resolver) rest(now time.Time) {
	if r.resting(now) {
		return // others that were on their way when it failed are no new failures
	}
	failures := min(r.failures.Add(1), 16)
	r.restUntil.Store(now.Add(min(firstBackOff<<(failures-1), longestBackOff)).UnixNano())
}
