package tap

import (
	"errors"
	"io/fs"
	"time"
)

const (
	// Threads have time until they run for more than muchRunning of it, and again when that is less by as much as untilBelow says.
	muchRunning = 0.45

	precedenceSpan = 150 * time.Millisecond // over which that is averaged: full speed is to be seen soon
)

// precedence is how far the traffic's threads go before others, by their nice values: all the way while they have time, so that
// nobody who keeps the cores busy holds them up, and half as far at full speed, where to go before everybody at once costs more in
// switches than it saves (-10 instead of -5: 6 % of small GETs, 13 % of POSTs). The zero value goes half as far.
type precedence struct {
	prefer  func(thread, nice int) error // nil: they stay as they are
	running float64                      // share of the time for which a thread runs, averaged
	ahead   bool                         // they go all the way
	denied  bool                         // they may not
}

// halfOf is half of a nice value, and not nothing.
func halfOf(nice int) int { return (nice - 1) / 2 }

// restart begins anew, with other threads.
func (p *precedence) restart(all []passer) {
	p.put(all, false)
	p.running = 1
}

// learn takes in for which share of the time a thread has run since the last look.
func (p *precedence) learn(all []passer, ran float64, wall time.Duration) {
	p.running += (ran - p.running) * min(1, float64(wall)/float64(precedenceSpan))
	most := muchRunning
	if !p.ahead {
		most *= untilBelow
	}
	p.put(all, p.running < most)
}

// put makes them go all the way, or half as far.
func (p *precedence) put(all []passer, ahead bool) {
	if ahead == p.ahead || p.denied || p.prefer == nil {
		return
	}
	p.ahead = ahead
	for _, one := range all {
		nice := one.nice
		if nice == 0 {
			continue
		}
		if !ahead {
			nice = halfOf(nice)
		}
		// A thread that is not there any more says nothing about the others.
		if err := p.prefer(one.id, nice); errors.Is(err, fs.ErrPermission) && ahead {
			p.denied = true // half as far is all that is allowed
			return
		}
	}
}
