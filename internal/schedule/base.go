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

// Base is the time base of a run: what was captured at Capture is due at Wall. How the rest follows a Timeline tells.
type Base struct {
	Capture time.Time
	Wall    time.Time
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
