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
// others', and at last those that failed a short while ago. One of them comes first when it is time to look whether it works
// again, for one connection. None: no name has been resolved yet. They are shared: not to be written to.
func (u *upstreams) get(now time.Time) []*address {
	if len(u.all) == 1 && len(u.all[0].get()) < 2 {
		return u.all[0].get()
	}
	working := make([]*resolver, 0, len(u.all)) // so that who takes the turns of another are all in turn
	var trial, good, failing []*address
	for _, r := range u.all {
		works := false
		for _, a := range r.get() {
			switch {
			case a.rest.works():
				works = true
			case trial == nil && a.rest.try(r.since(now)):
				trial = []*address{a}
			default:
				failing = append(failing, a)
			}
		}
		if works {
			working = append(working, r)
		}
	}
	turn := int(u.next.Add(1) - 1)
	for i := range working {
		for _, a := range working[(turn+i)%len(working)].get() {
			if a.rest.works() {
				good = append(good, a)
			}
		}
	}
	if n := len(failing); n > 0 && len(good) == 0 {
		failing = append(failing[turn%n:], failing[:turn%n]...)
	}
	return append(append(trial, good...), failing...)
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
