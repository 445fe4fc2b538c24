package tap

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reprise-io/reprise/internal/meter"
	"github.com/reprise-io/reprise/internal/wire"
)

// What courtesy goes by.
const (
	besideTraffic = 0.5 // CPU that large exchanges may take for each second that the traffic gets, while that is behind

	courtesyEvery = 20 * time.Millisecond  // between two looks
	courtesySpan  = 500 * time.Millisecond // over which shares are averaged
	courtesyStale = time.Second            // after which nothing is known

	// Traffic is behind when its threads wait for a core for more than muchWaiting of the time, have something to do for more
	// than muchToDo of it, and cores are idle for less than fewIdle; and until one of these is better by as much as
	// untilBelow says. If the threads have little to do, they are not held up for long; if cores are idle, nobody takes them away.
	muchWaiting = 0.1
	muchToDo    = 0.5
	fewIdle     = 0.15
	untilBelow  = 0.8

	// What would wait for longer than inTime, as fast as large ones were begun lately, is not begun: the replayer puts in order
	// what comes a second after --response-wait at most, and an answer seldom takes that long. While more comes than can be
	// worked on a longer queue keeps no more of it. At a pace below leastPace the queue is bounded as if that were it.
	inTime    = 1500 * time.Millisecond
	leastPace = 1 << 20         // bytes a second
	paceSpan  = 2 * time.Second // over which it is averaged: they wait for up to a second in between

	creditMost = 50 * time.Millisecond
	debtMost   = 200 * time.Millisecond
)

// courtesy lets the traffic have the cores first. It is about large exchanges: redacting and compressing one takes many times
// what it took to pass it on, so that at full speed they would take the cores from the traffic, while a small one takes about
// as much. While the traffic is behind, large ones may use besideTraffic of what its threads get, and wait when they have used
// more; as long as they need less than that, none waits, whoever has the cores. Small ones never wait.
//
// They wait before they are begun, where nobody holds a lock; a lower priority would let the kernel hold workers back anywhere.
// Who works pays for the looks, so an idle tap does nothing. Without threads nothing waits.
type courtesy struct {
	cpu    func() (time.Duration, error) // of the whole process
	idle   func() (time.Duration, error) // of a core that the process may use, on the average; nil: nothing is known of it
	any    atomic.Bool                   // there are threads
	behind atomic.Bool
	bytes  atomic.Int64 // of what workers began since the last look
	large  atomic.Int64 // of these, of large exchanges
	pace   atomic.Int64 // bytes of large exchanges that are begun in a second, averaged

	mu      sync.Mutex
	threads []passer
	goes    precedence
	last    fared
	waiting float64 // share of the time for which a thread waits for a core, averaged
	busy    float64 // for which it waits or runs
	idling  float64 // for which a core has nothing to do
	share   share
	credit  time.Duration // what large exchanges may use before they wait
}

// fared is how the process has fared up to a time.
type fared struct {
	at      time.Time // zero: nothing is known
	traffic meter.Run // all its threads together
	all     time.Duration
	idle    time.Duration // a core, on the average
}

// passer is a thread that passes traffic on.
type passer struct {
	id   int
	nice int // how far it may go before others; 0: it is not preferred
	read func() (meter.Run, error)
}

// add counts another one.
func (c *courtesy) add(p passer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.threads, c.last = append(c.threads, p), fared{}
	c.goes.restart(c.threads)
	c.any.Store(true)
}

// pauses reports whether large exchanges are to wait for the traffic.
func (c *courtesy) pauses() bool {
	if !c.any.Load() {
		return false
	}
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if since := now.Sub(c.last.at); c.last.at.IsZero() || since >= courtesyEvery {
		c.learn(c.look(now))
	}
	return c.behind.Load() && c.credit < 0
}

// begins counts exchanges that are worked on next.
func (c *courtesy) begins(batch []wire.Captured) {
	var bytes, large int64
	for i := range batch {
		bytes += batch[i].Bytes
		if batch[i].Bytes > wire.Large {
			large += batch[i].Bytes
		}
	}
	c.bytes.Add(bytes)
	c.large.Add(large)
}

// queueMost is how many bytes of large exchanges may wait.
func (c *courtesy) queueMost() int64 {
	return int64(inTime.Seconds() * float64(max(c.pace.Load(), leastPace)))
}

// look reads how everything has fared. A thread that is over counts no longer, and nothing is known then.
func (c *courtesy) look(now time.Time) (f fared) {
	all, err := c.cpu()
	if err != nil {
		return fared{}
	}
	f = fared{at: now, all: all}
	if c.idle != nil {
		if f.idle, err = c.idle(); err != nil {
			return fared{}
		}
	}
	before := len(c.threads)
	c.threads = slices.DeleteFunc(c.threads, func(p passer) bool {
		run, err := p.read()
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
		c.waiting, c.busy, c.idling, c.credit = 0, 0, 0, creditMost
		c.bytes.Store(0) // of a time that is not known
		c.large.Store(0)
		return
	}
	ran, waited := f.traffic.Ran-was.traffic.Ran, f.traffic.Waited-was.traffic.Waited
	each := float64(wall) * float64(len(c.threads))
	weight := min(1, float64(wall)/float64(courtesySpan))
	c.goes.learn(c.threads, float64(ran)/each, wall)
	large := float64(c.large.Swap(0))
	c.share.learn(float64(c.bytes.Swap(0)), large, weight)
	pace := float64(c.pace.Load())
	c.pace.Store(int64(pace + (large/wall.Seconds()-pace)*min(1, float64(wall)/float64(paceSpan))))
	c.waiting += (float64(waited)/each - c.waiting) * weight
	c.busy += (float64(ran+waited)/each - c.busy) * weight
	c.idling += (float64(f.idle-was.idle)/float64(wall) - c.idling) * weight
	least := 1.0
	if c.behind.Load() {
		least = untilBelow
	}
	behind := c.waiting > least*muchWaiting && c.busy > least*muchToDo && least*c.idling < fewIdle
	c.behind.Store(behind)
	if !behind {
		c.credit = creditMost
		return
	}
	beside := max(0, f.all-was.all-ran)
	c.credit = min(max(c.credit+time.Duration(besideTraffic*float64(ran)-c.share.of(beside)), -debtMost), creditMost)
}

// share is how much of what the process does beside the traffic is for large exchanges: as much as they are of the bytes, as
// most of it (redaction, compression, collecting garbage) takes its time byte by byte.
type share struct{ bytes, large float64 }

func (s *share) learn(bytes, large, weight float64) {
	s.bytes += (bytes - s.bytes) * weight
	s.large += (large - s.large) * weight
}

// of returns that share of d, in nanoseconds.
func (s *share) of(d time.Duration) float64 {
	if s.bytes == 0 {
		return 0
	}
	return float64(d) * s.large / s.bytes
}
