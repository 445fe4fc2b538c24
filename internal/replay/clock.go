package replay

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/schedule"
)

// clock is the run's timeline as commands have made it so far, and the gate that a pause closes. It is safe for concurrent
// use.
type clock struct {
	anchor time.Time // ties what the control topic says to the monotonic clock
	now    atomic.Pointer[schedule.Timeline]
	gaps   atomic.Pointer[schedule.Gaps] // the timeline is of captured time without them

	folding sync.Mutex
	folded  int // how many commands the timeline is of; under folding

	held atomic.Bool // a guard holds the run, whatever the timeline says
	shut atomic.Bool // the gate, for who must not wait
	mu   sync.Mutex
	gate chan struct{} // closed: it is open
}

// newClock returns a clock that holds everything.
func newClock() *clock {
	c := &clock{anchor: time.Now(), gate: make(chan struct{})}
	c.now.Store(new(schedule.Timeline))
	c.gaps.Store(new(schedule.Gaps))
	c.shut.Store(true)
	return c
}

// timeline returns what is known now.
func (c *clock) timeline() *schedule.Timeline { return c.now.Load() }

// at ties a moment of the control topic to the monotonic clock: it is not moved when somebody sets this machine's clock.
func (c *clock) at(t time.Time) time.Time { return c.anchor.Add(t.Sub(c.anchor)) }

// due returns when what was captured at a moment is to be sent.
func (c *clock) due(capture time.Time) (time.Time, schedule.Standing) {
	return c.timeline().Due(c.gaps.Load().Squeeze(capture))
}

// begun is what a schedule begins with.
type begun struct {
	loop    uint32
	base    schedule.Base
	profile schedule.Profile
	gaps    schedule.Gaps
}

// set takes that, and every command that is known. Who has looked them up before another changes nothing after it.
func (c *clock) set(b begun, orders []control.Order) {
	c.folding.Lock()
	defer c.folding.Unlock()
	if len(orders) < c.folded {
		return
	}
	c.folded = len(orders)
	began := b.base.Wall
	b.base.Wall = c.at(b.base.Wall)
	b.base.Capture = b.gaps.Squeeze(b.base.Capture)
	c.gaps.Store(&b.gaps)
	t := schedule.NewTimeline(b.base, b.profile)
	var s suspension
	for _, o := range orders {
		if !s.take(&o) {
			continue
		}
		if b.loop == 0 || carries(&o, began) {
			t = c.obey(t, o)
		}
	}
	c.now.Store(&t)
	if s.on || s.lifted {
		c.held.Store(s.on)
	}
	c.turn(time.Now())
}

// obey returns the timeline with one command more. What cannot be read changes nothing.
func (c *clock) obey(t schedule.Timeline, o control.Order) schedule.Timeline {
	at := c.at(o.At)
	switch o.GetVerb() {
	case control.VerbPause, control.VerbStop:
		return t.Pause(at) // a stopped run goes on where it was stopped
	case control.VerbResume:
		return t.Resume(at)
	case control.VerbSpeed:
		if speed, err := schedule.ParseSpeed(o.GetArgument()); err == nil {
			return t.SetSpeed(at, speed)
		}
	case control.VerbSlow:
		if by, err := time.ParseDuration(o.GetArgument()); err == nil {
			return t.PutOff(at, by)
		}
	case control.VerbSeek:
		if capture, err := time.Parse(time.RFC3339Nano, o.GetArgument()); err == nil {
			return t.Seek(at, c.gaps.Load().Squeeze(capture))
		}
	}
	return t
}

// hold closes the gate at once, until a command lifts the suspension.
func (c *clock) hold() {
	c.held.Store(true)
	c.turn(time.Now())
}

// paused reports whether nothing is sent at a moment.
func (c *clock) paused(now time.Time) bool {
	_, paused := c.timeline().Speed(now)
	return paused || c.held.Load()
}

// turn opens or closes the gate as the timeline wants it at a moment, and returns whether it is paused.
func (c *clock) turn(now time.Time) (paused bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	paused = c.paused(now) // with mu: an older answer must not open what a newer one has closed
	c.shut.Store(paused)
	select {
	case <-c.gate:
		if paused {
			c.gate = make(chan struct{})
		}
	default:
		if !paused {
			close(c.gate)
		}
	}
	return paused
}

// wait returns when nothing is paused, or when done is closed: false.
func (c *clock) wait(done <-chan struct{}) bool {
	if !c.shut.Load() {
		return true
	}
	c.mu.Lock()
	gate := c.gate
	c.mu.Unlock()
	select {
	case <-gate:
		return true
	case <-done:
		return false
	}
}
