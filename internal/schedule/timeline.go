package schedule

import (
	"math"
	"slices"
	"time"
)

// Timeline is the schedule of a run: which moment of captured time is due at which moment. It is made of legs, of which each
// begins where and when the one before it ends, with a speed of its own; a pause is a leg on which captured time stands
// still. All replicas that fold the same base and commands in the same order have the same timeline.
//
// A Timeline is a value: its methods return another one and leave it as it is. The zero value holds everything.
type Timeline struct {
	legs    []stretch // in order of wall time; of those that begin together only the last counts
	rest    []Leg     // paused: what goes on afterwards
	changed time.Time // when the last change of it counts from
}

// stretch is a leg with its place.
type stretch struct {
	wall    time.Time
	capture time.Time     // what is due then
	from    float64       // speed when it begins
	to      float64       // speed when it ends
	length  time.Duration // 0: it has no end
	paused  bool
	still   bool      // captured time stands still, and it is no pause: what is due is sent
	skipped time.Time // a seek came from here: what was captured from then up to capture is left out; zero: no seek
}

// Standing is what a timeline says of a moment of captured time.
type Standing int

// What a timeline says.
const (
	Scheduled Standing = iota // it has its time
	Free                      // as soon as possible, but not before the time
	Held                      // its time comes after a pause whose end is not known
	Passed                    // a seek went past it
)

// NewTimeline returns the timeline of a profile that begins at the base; the base's own speed does not count. A base without a
// capture time fits only a profile that IsMax.
func NewTimeline(base Base, profile Profile) Timeline {
	return Timeline{}.lay(base.Wall, base.Capture, profile)
}

// lay puts legs one behind the other, behind those that are there.
func (t Timeline) lay(wall, capture time.Time, legs []Leg) Timeline {
	for i, l := range legs {
		s := stretch{wall: wall, capture: capture, from: l.From, to: l.To, length: l.For}
		t.legs = append(t.legs, s)
		if l.For == 0 {
			return t
		}
		wall, capture = wall.Add(l.For), capture.Add(s.covered(l.For))
		if i == len(legs)-1 {
			t.legs = append(t.legs, stretch{wall: wall, capture: capture, from: l.To, to: l.To})
		}
	}
	return t
}

// covered returns how much captured time the first part of a stretch covers.
func (s *stretch) covered(after time.Duration) time.Duration {
	switch {
	case s.paused || s.still || s.from == 0:
		return 0
	case s.from == 1 && s.to == 1:
		return after
	case s.from == s.to:
		return bounded(float64(after) * s.from)
	}
	return bounded(float64(after) * (s.from + (s.speed(after)-s.from)/2))
}

// speed returns the speed at a moment after the beginning.
func (s *stretch) speed(after time.Duration) float64 {
	if s.from == s.to || s.length == 0 {
		return s.from
	}
	return s.from + (s.to-s.from)*float64(after)/float64(s.length)
}

// takes returns how long the stretch takes for some captured time.
func (s *stretch) takes(d time.Duration) time.Duration {
	switch {
	case s.from == 1 && s.to == 1:
		return d
	case s.from == s.to || d < 0:
		return bounded(float64(d) / s.from)
	}
	// d = from·t + a·t²/2, solved in the form that does not subtract what is nearly equal.
	a := (s.to - s.from) / float64(s.length)
	return bounded(2 * float64(d) / (s.from + math.Sqrt(max(0, s.from*s.from+2*a*float64(d)))))
}

func bounded(f float64) time.Duration {
	switch {
	case f >= math.MaxInt64:
		return math.MaxInt64
	case f <= math.MinInt64:
		return math.MinInt64
	}
	return time.Duration(math.Round(f))
}

// Due returns when a request captured at the given time is to be sent, which is before the run's beginning for what was
// captured before its base. The time counts when it is Scheduled or Free.
func (t Timeline) Due(capture time.Time) (at time.Time, standing Standing) {
	if len(t.legs) == 0 {
		return at, Held
	}
	i := len(t.legs) - 1
	for i > 0 && t.legs[i].capture.After(capture) {
		if from := t.legs[i].skipped; !from.IsZero() && !capture.Before(from) {
			return at, Passed
		}
		i--
	}
	s := &t.legs[i]
	if s.paused {
		return at, Held
	}
	if s.from == 0 {
		return s.wall, Free
	}
	return s.wall.Add(s.takes(capture.Sub(s.capture))), Scheduled
}

// leg returns the leg that a moment of wall time falls in; the first one also for what is before it.
func (t Timeline) leg(at time.Time) int {
	i := len(t.legs) - 1
	for i > 0 && t.legs[i].wall.After(at) {
		i--
	}
	return i
}

// Capture returns the moment of captured time that is due at a moment of wall time.
func (t Timeline) Capture(at time.Time) time.Time {
	if len(t.legs) == 0 {
		return time.Time{}
	}
	s := &t.legs[t.leg(at)]
	after := at.Sub(s.wall)
	if after < 0 {
		return s.capture.Add(bounded(float64(after) * s.from))
	}
	return s.capture.Add(s.covered(after))
}

// Speed returns the speed in force at a moment, 0 when there is no schedule. paused: captured time stands still.
func (t Timeline) Speed(at time.Time) (speed float64, paused bool) {
	if len(t.legs) == 0 {
		return 0, true
	}
	s := &t.legs[t.leg(at)]
	return s.speed(max(0, at.Sub(s.wall))), s.paused
}

// Begins returns when the run begins.
func (t Timeline) Begins() time.Time {
	if len(t.legs) == 0 {
		return time.Time{}
	}
	return t.legs[0].wall
}

// Paused reports whether the timeline's last word is a pause.
func (t Timeline) Paused() bool { return len(t.legs) > 0 && t.legs[len(t.legs)-1].paused }

// IsMax reports whether the timeline ends in what has no schedule.
func (t Timeline) IsMax() bool {
	if t.Paused() {
		return len(t.rest) > 0 && t.rest[0].From == 0
	}
	return len(t.legs) > 0 && t.legs[len(t.legs)-1].from == 0
}

// cut ends what is under way at a moment, and returns where that is in captured time and what would have followed. Changes
// come in the order of the control topic: a moment before the last change, or before the beginning, is that one.
func (t Timeline) cut(at time.Time) (kept Timeline, when, here time.Time, rest []Leg) {
	for _, earliest := range []time.Time{t.legs[0].wall, t.changed} {
		if at.Before(earliest) {
			at = earliest
		}
	}
	i := t.leg(at)
	s := t.legs[i]
	after := at.Sub(s.wall)
	here = s.capture.Add(s.covered(after))
	for j, l := range t.legs[i:] {
		left := Leg{From: l.from, To: l.to, For: l.length}
		if j == 0 {
			left.From, left.For = s.speed(after), max(0, l.length-after)
		}
		if !l.still && (left.For > 0 || l.length == 0) {
			rest = append(rest, left)
		}
	}
	if s.paused {
		rest = t.rest
	}
	kept = Timeline{legs: slices.Clone(t.legs[:i+1]), changed: at}
	kept.legs[i].to, kept.legs[i].length = s.speed(after), after
	return kept, at, here, rest
}

// Pause makes captured time stand still from a moment on.
func (t Timeline) Pause(at time.Time) Timeline {
	if len(t.legs) == 0 || t.Paused() {
		return t
	}
	kept, at, here, rest := t.cut(at)
	kept.legs = append(kept.legs, stretch{wall: at, capture: here, paused: true})
	kept.rest = rest
	return kept
}

// Resume goes on after a pause, with what was to come when it began.
func (t Timeline) Resume(at time.Time) Timeline {
	if !t.Paused() {
		return t
	}
	kept, at, here, rest := t.cut(at)
	return kept.lay(at, here, rest)
}

// PutOff puts all that is not due yet at a moment off by a time. What is due is sent meanwhile, so it is no pause; a change that comes in
// that time ends it. In a pause, and as fast as it can, it changes nothing.
func (t Timeline) PutOff(at time.Time, by time.Duration) Timeline {
	if len(t.legs) == 0 || t.Paused() || t.IsMax() || by <= 0 {
		return t
	}
	kept, at, here, rest := t.cut(at)
	speed := rest[0].From
	kept.legs = append(kept.legs, stretch{wall: at, capture: here, from: speed, to: speed, length: by, still: true})
	return kept.lay(at.Add(by), here, rest)
}

// SetSpeed keeps one speed from a moment on, 0 being as fast as it can; in a pause it is that with which it goes on. Nothing
// leads back from as fast as it can: how far that is, each replica knows of itself only.
func (t Timeline) SetSpeed(at time.Time, speed float64) Timeline {
	if len(t.legs) == 0 || t.IsMax() {
		return t
	}
	if t.Paused() {
		return Timeline{legs: t.legs, rest: ConstantSpeed(speed), changed: t.changed}
	}
	kept, at, here, _ := t.cut(at)
	return kept.lay(at, here, ConstantSpeed(speed))
}

// Seek goes on at a later moment of captured time: what is before it and not sent yet is Passed. An earlier one changes
// nothing.
func (t Timeline) Seek(at, capture time.Time) Timeline {
	if len(t.legs) == 0 || t.IsMax() {
		return t
	}
	kept, at, here, rest := t.cut(at)
	if !capture.After(here) {
		return t
	}
	n := len(kept.legs)
	if t.Paused() {
		kept.legs, kept.rest = append(kept.legs, stretch{wall: at, capture: capture, paused: true}), rest
	} else {
		kept = kept.lay(at, capture, rest)
	}
	kept.legs[n].skipped = here
	return kept
}

// Next returns the first moment after the given one at which a leg begins; false: there is none.
func (t Timeline) Next(after time.Time) (at time.Time, ok bool) {
	for i := range t.legs {
		if t.legs[i].wall.After(after) {
			return t.legs[i].wall, true
		}
	}
	return at, false
}
