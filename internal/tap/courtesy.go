package tap

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reprise-io/reprise/internal/meter"
)

// What courtesy goes by.
const (
	besideTraffic = 0.5 // CPU that capture may use for each second that the traffic gets, while that waits

	courtesyEvery = 20 * time.Millisecond  // between two looks
	courtesySpan  = 500 * time.Millisecond // over which shares are averaged
	courtesyStale = time.Second            // after which nothing is known

	// Traffic is behind from these shares of the time on, and until it is below untilBelow of one: for which its threads wait
	// for a core, and for which they wait or run. If these have little to do, capture is not what they wait for.
	muchWaiting = 0.1
	muchToDo    = 0.5
	untilBelow  = 0.8

	creditMost = 50 * time.Millisecond
	debtMost   = 200 * time.Millisecond
	nap        = 5 * time.Millisecond
)

// courtesy lets the traffic have the cores first. While the threads that pass it on have to wait for one, all else that the
// process does (workers, the client's compression, collecting garbage) may use besideTraffic of what they get: the workers
// pause when it is more. They do so between two exchanges, where they hold no lock; a lower priority would let the kernel hold
// them back anywhere. Who works pays for the looks, so an idle tap does nothing. Without threads nobody pauses.
type courtesy struct {
	cpu    func() (time.Duration, error) // of the whole process
	any    atomic.Bool                   // there are threads
	behind atomic.Bool

	mu      sync.Mutex
	threads []func() (meter.Run, error)
	last    fared
	waiting float64       // share of the time for which a thread waits for a core, averaged
	busy    float64       // for which it waits or runs
	credit  time.Duration // what capture may use before it pauses
}

// fared is how the process has fared up to a time.
type fared struct {
	at      time.Time // zero: nothing is known
	traffic meter.Run // all its threads together
	all     time.Duration
}

// add counts another thread as one that passes traffic on.
func (c *courtesy) add(read func() (meter.Run, error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.threads, c.last = append(c.threads, read), fared{}
	c.any.Store(true)
}

// wait returns when the traffic can spare a core, or ctx has ended.
func (c *courtesy) wait(ctx context.Context) {
	if !c.any.Load() {
		return
	}
	for c.pauses(time.Now()) {
		timer := time.NewTimer(nap)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// pauses reports whether workers are to pause.
func (c *courtesy) pauses(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if since := now.Sub(c.last.at); c.last.at.IsZero() || since >= courtesyEvery {
		c.learn(c.look(now))
	}
	return c.behind.Load() && c.credit < 0
}

// look reads how everything has fared. A thread that is over counts no longer, and nothing is known then.
func (c *courtesy) look(now time.Time) (f fared) {
	all, err := c.cpu()
	if err != nil {
		return fared{}
	}
	f = fared{at: now, all: all}
	before := len(c.threads)
	c.threads = slices.DeleteFunc(c.threads, func(read func() (meter.Run, error)) bool {
		run, err := read()
		f.traffic.Ran += run.Ran
		f.traffic.Waited += run.Waited
		return err != nil
	})
	c.any.Store(len(c.threads) > 0)
	if len(c.threads) < before {
		return fared{}
	}
	return f
}

// learn takes in what a look has found.
func (c *courtesy) learn(f fared) {
	was := c.last
	c.last = f
	wall := f.at.Sub(was.at)
	if f.at.IsZero() || was.at.IsZero() || wall > courtesyStale {
		c.behind.Store(false)
		c.waiting, c.busy, c.credit = 0, 0, creditMost
		return
	}
	ran, waited := f.traffic.Ran-was.traffic.Ran, f.traffic.Waited-was.traffic.Waited
	each := float64(wall) * float64(len(c.threads))
	weight := min(1, float64(wall)/float64(courtesySpan))
	c.waiting += (float64(waited)/each - c.waiting) * weight
	c.busy += (float64(ran+waited)/each - c.busy) * weight
	least := 1.0
	if c.behind.Load() {
		least = untilBelow
	}
	behind := c.waiting > least*muchWaiting && c.busy > least*muchToDo
	c.behind.Store(behind)
	if !behind {
		c.credit = creditMost
		return
	}
	beside := max(0, f.all-was.all-ran)
	c.credit = min(max(c.credit+time.Duration(besideTraffic*float64(ran))-beside, -debtMost), creditMost)
}
