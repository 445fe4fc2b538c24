package replay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/traffic"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// Cap bounds how many exchanges of a route a run sends; the rest is refused.
type Cap struct {
	Route string // a filter: 'POST /orders/**'
	Most  int64  // 0: none
}

const (
	routeCap = "route_cap" // the reason of the sieve for what is beyond a cap

	maxCaps      = 64
	quotaPortion = 16 // a replica claims a sixteenth at a time
)

// ErrMaxTotal ends a run that has sent as many as it may.
var ErrMaxTotal = errors.New("as many were sent as may be")

// quotas are what the run may send no more of than so much, all its replicas and starts together: each replica claims portions
// in the control topic before it fires. What a replica has claimed and does not use, by a crash for one, nobody sends: there
// are never more, and there may be fewer. It is safe for concurrent use.
type quotas struct {
	caps     []*filter.Filter
	registry *registry
	run      string
	number   uint32
	log      *slog.Logger

	need chan struct{} // a token: something is to be claimed
	over chan struct{} // closed: more than the total was wanted

	mu      sync.Mutex
	total   *quota // nil: no bound
	routes  []*quota
	changed chan struct{} // closed and made anew when something was granted
	ended   bool
}

type quota struct {
	key           string
	limit         int64
	granted, used int64
	spent         bool // nothing more is granted
	wanted        bool
}

func (q *quota) portion() int64 { return max(1, q.limit/quotaPortion) }

// compileCaps compiles the routes of caps.
func compileCaps(caps []Cap) ([]*filter.Filter, error) {
	all := make([]*filter.Filter, 0, len(caps))
	for _, c := range caps {
		f, err := filter.Compile(c.Route)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

func (r *run) newQuotas() *quotas {
	q := &quotas{
		caps: r.sieve.caps, registry: r.registry, run: r.opts.Run, number: r.generation.Number, log: r.opts.Logger,
		need: make(chan struct{}, 1), over: make(chan struct{}), changed: make(chan struct{}),
	}
	if r.opts.MaxTotal > 0 {
		q.total = &quota{key: "total", limit: r.opts.MaxTotal}
	}
	for i, c := range r.opts.Caps {
		q.routes = append(q.routes, &quota{key: fmt.Sprintf("cap-%d", i), limit: c.Most})
	}
	q.fold()
	return q
}

// capsOf returns the caps that an exchange as it is sent falls under, a bit each: those of every request that a server may take it for. One that cannot
// be evaluated counts.
func capsOf(caps []*filter.Filter, x *traffic.Exchange) (mask uint64) {
	if len(caps) == 0 {
		return 0
	}
	fire.EachReading(x, func(one *traffic.Exchange) bool {
		for i, f := range caps {
			if ok, err := f.Match(one); ok || err != nil {
				mask |= 1 << i
			}
		}
		return true
	})
	return mask
}

// verdict is what quotas say of one exchange.
type verdict uint8

const (
	granted verdict = iota + 1
	capped          // beyond the cap of a route
	overall         // beyond the total of the run
	waiting         // it is not known yet
)

// try takes one of everything that an exchange is under, or nothing.
func (q *quotas) try(mask uint64) verdict {
	if q == nil || q.total == nil && mask == 0 {
		return granted
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	v := granted
	look := func(one *quota, beyond verdict) {
		switch {
		case one.used < one.granted:
		case one.spent && v != capped:
			v = beyond
		case !one.spent:
			one.wanted = true
			if v == granted {
				v = waiting
			}
		}
	}
	of := q.under(mask)
	for _, one := range of {
		look(one, capped)
	}
	if q.total != nil && v != capped {
		look(q.total, overall)
	}
	switch v {
	case granted:
		if q.total != nil {
			of = append(of, q.total)
		}
		for _, one := range of {
			one.used++
			if !one.spent && one.granted-one.used < one.portion()/2 {
				one.wanted = true
				q.ask()
			}
		}
	case overall:
		if !q.ended {
			q.ended = true
			close(q.over)
		}
	case waiting:
		q.ask()
	}
	return v
}

func (q *quotas) under(mask uint64) []*quota {
	var of []*quota
	for i, one := range q.routes {
		if mask>>i&1 == 1 {
			of = append(of, one)
		}
	}
	return of
}

func (q *quotas) ask() {
	select {
	case q.need <- struct{}{}:
	default:
	}
}

// take is try that waits until it is known; waiting: done was closed before.
func (q *quotas) take(done <-chan struct{}, mask uint64) verdict {
	for q != nil {
		q.mu.Lock()
		changed := q.changed
		q.mu.Unlock()
		if v := q.try(mask); v != waiting {
			return v
		}
		select {
		case <-changed:
		case <-done:
			return waiting
		}
	}
	return granted
}

// giveBack returns what was taken for an exchange that is not sent after all.
func (q *quotas) giveBack(mask uint64) {
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.total != nil {
		q.total.used--
	}
	for _, one := range q.under(mask) {
		one.used--
	}
}

// claim claims what is wanted until ctx ends. Without Kafka nothing is granted, and nothing sent that would have to be.
func (q *quotas) claim(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.need:
		}
		for _, one := range q.wanted() {
			err := q.registry.propose(ctx, q.registry.author().Command(&reprisev1.Command{
				Run: q.run, Generation: q.number, Verb: control.VerbClaim, Argument: control.ClaimOf(one.key, one.portion()),
			}))
			if err == nil {
				continue
			}
			if ctx.Err() != nil {
				return
			}
			q.log.Warn("nothing more is sent until Kafka has granted it (caps, --max-total)", "error", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(retryEvery):
			}
			q.ask()
		}
		q.fold()
	}
}

func (q *quotas) wanted() (all []*quota) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, one := range append(q.routes[:len(q.routes):len(q.routes)], q.total) {
		if one != nil && one.wanted && !one.spent {
			all = append(all, one)
		}
	}
	return all
}

// fold takes in what the control topic grants.
func (q *quotas) fold() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.registry.view(func(s *control.State) {
		g := s.Run(q.run).Generation(q.number)
		for _, one := range append(q.routes[:len(q.routes):len(q.routes)], q.total) {
			if one == nil {
				continue
			}
			mine, all := g.Granted(one.key, one.limit, q.registry.writer)
			one.wanted = one.wanted && mine == one.granted // else it was served
			one.granted, one.spent = mine, all >= one.limit
		}
	})
	close(q.changed)
	q.changed = make(chan struct{})
}

// maxTotal ends the run when more than its total was wanted.
func (o *Options) maxTotal() *fault.Error {
	return &fault.Error{
		What:  fmt.Sprintf("run %s was stopped: --max-total %d is reached", o.Run, o.MaxTotal),
		Cause: "so many requests were sent by all replicas and starts of the run, and there are more",
		Try:   "another --max-total with --restart, or with another --run", Err: ErrMaxTotal, Code: fault.Finding,
	}
}

// checkCaps is check for what bounds how much is sent.
func (o *Options) checkCaps() error {
	if o.MaxTotal < 0 {
		return fault.BadUsage(fmt.Sprintf("bad --max-total %d", o.MaxTotal), "want a number of requests, 0 for no bound", "--max-total 10000")
	}
	if len(o.Caps) > maxCaps {
		return fault.BadUsage(fmt.Sprintf("%d caps of routes", len(o.Caps)), fmt.Sprintf("at most %d can be told apart", maxCaps), "fewer, wider routes")
	}
	for _, c := range o.Caps {
		if c.Most < 0 {
			return fault.BadUsage(fmt.Sprintf("bad cap %d of %q", c.Most, c.Route), "want a number of requests", "caps: [{route: 'POST /orders/**', most: 100}] in the rules file")
		}
	}
	return nil
}
