package schedule

import (
	"fmt"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
)

// Leg is a part of a Profile: from one speed evenly to another within a time.
type Leg struct {
	From, To float64       // multiples of the recorded speed, above 0; 0 in both: as fast as it can
	For      time.Duration // on the wall clock; 0: to the end of the run, at To
}

// Profile is what the speed of a run does over its time. The last leg goes on to the end at its last speed.
type Profile []Leg

// maxLegs bounds what a person types, and what a record may hold.
const maxLegs = 64

// ConstantSpeed is the profile of one speed; 0 is as fast as it can.
func ConstantSpeed(speed float64) Profile { return Profile{{From: speed, To: speed}} }

// ParseProfile reads the value of --speed: one speed as ParseSpeed does, or legs with commas between, of which each has its
// time and the last may do without: "1..5/10m" grows from 1 to 5 within ten minutes and stays there, "1/5m,1..5/10m,5/5m,2".
func ParseProfile(s string) (Profile, error) {
	if !strings.ContainsAny(s, ",/") && !strings.Contains(s, "..") {
		speed, err := ParseSpeed(s)
		if err != nil {
			return nil, err
		}
		return ConstantSpeed(speed), nil
	}
	bad := func(cause string) error {
		return fault.BadUsage(fmt.Sprintf("bad --speed %q", s), cause, "--speed 1..5/10m, --speed 1/5m,1..5/10m,2 or --speed 2")
	}
	parts := strings.Split(s, ",")
	if len(parts) > maxLegs {
		return nil, bad(fmt.Sprintf("it has %d legs, and %d are the most", len(parts), maxLegs))
	}
	p := make(Profile, 0, len(parts))
	for i, part := range parts {
		speeds, length, timed := strings.Cut(strings.TrimSpace(part), "/")
		from, to, ramp := strings.Cut(speeds, "..")
		if !ramp {
			to = from
		}
		var leg Leg
		var err error
		if leg.From, err = ParseSpeed(from); err == nil {
			leg.To, err = ParseSpeed(to)
		}
		switch {
		case err != nil, leg.From == 0, leg.To == 0:
			return nil, bad(fmt.Sprintf("%q is no speed to be kept for a time: want a number above 0, such as 0.5 or 2", speeds))
		case timed:
			if leg.For, err = time.ParseDuration(length); err != nil || leg.For <= 0 {
				return nil, bad(fmt.Sprintf("%q is no time, such as 90s or 10m", length))
			}
		case ramp:
			return nil, bad(fmt.Sprintf("%q has no time in which to get there", part))
		case i < len(parts)-1:
			return nil, bad(fmt.Sprintf("%q has no time after which the next leg begins", part))
		}
		p = append(p, leg)
	}
	return p, nil
}

// String is the profile as ParseProfile reads it.
func (p Profile) String() string {
	parts := make([]string, 0, len(p))
	for _, l := range p {
		s := FormatSpeed(l.From)
		if l.From != l.To {
			s += ".." + FormatSpeed(l.To)
		}
		if l.For > 0 {
			s += "/" + l.For.String()
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, ",")
}

// IsMax reports whether there is no schedule: everything is sent as fast as it can.
func (p Profile) IsMax() bool { return len(p) == 1 && p[0].From == 0 }

// Constant returns the one speed of the profile, 0 when that is as fast as it can. False: it changes.
func (p Profile) Constant() (speed float64, ok bool) {
	for _, l := range p {
		if l.From != p[0].From || l.To != p[0].From {
			return 0, false
		}
	}
	return p[0].From, true
}
