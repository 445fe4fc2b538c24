// Package schedule turns capture times into due times, merges partitions by capture time, keeps the order within a
// session, and hands over what is due at its moment.
//
// Base, Merge and Order are pure: they get the time as a value, read no clock and start no goroutine. Pacer alone waits.
package schedule

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
)

// Base is the time base of a run: what was captured at Capture is due at Wall, and the rest follows at Speed.
type Base struct {
	Capture time.Time
	Wall    time.Time
	Speed   float64 // 2 is twice as fast as captured; 0 is as fast as it can: everything is due at Wall
}

// Due returns the moment at which a request captured at the given time has to be sent. It is before Wall for what was
// captured before the base.
func (b Base) Due(capture time.Time) time.Time {
	d := capture.Sub(b.Capture)
	switch b.Speed {
	case 0:
		return b.Wall
	case 1:
		return b.Wall.Add(d)
	}
	f := float64(d) / b.Speed
	switch {
	case f >= math.MaxInt64:
		return b.Wall.Add(math.MaxInt64)
	case f <= math.MinInt64:
		return b.Wall.Add(math.MinInt64)
	}
	return b.Wall.Add(time.Duration(f))
}

// Anchor returns the base with its wall time tied to the monotonic clock of now, which must come from time.Now: the due
// times it gives, and differences to them, are then not moved when somebody sets the clock of this machine.
func (b Base) Anchor(now time.Time) Base {
	b.Wall = now.Add(b.Wall.Sub(now))
	return b
}

// ParseSpeed reads the value of --speed: "0.5", "2", "2x", "2.0×" or "max", which is 0.
func ParseSpeed(s string) (float64, error) {
	if s == "max" {
		return 0, nil
	}
	number := strings.TrimSuffix(strings.TrimSuffix(s, "x"), "×")
	speed, err := strconv.ParseFloat(number, 64)
	if err != nil || !(speed > 0) || math.IsInf(speed, 0) {
		return 0, fault.BadUsage("bad --speed "+strconv.Quote(s),
			"want a number above 0, such as 0.5 or 2, or max", "--speed 2")
	}
	return speed, nil
}

// FormatSpeed writes a speed as people read it: "0.5×", "2.0×", "max".
func FormatSpeed(speed float64) string {
	if speed == 0 {
		return "max"
	}
	s := strconv.FormatFloat(speed, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s + "×"
}
