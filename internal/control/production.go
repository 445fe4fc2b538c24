package control

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Address is one host:port that a tap reported as production.
type Address struct {
	HostPort string // as the tap was given it: ":8080" is every address of its machine
	HostID   string // machine of the tap: a loopback address is production only there
	Host     string // that machine's name; may be empty
	Origin   string // for people: "the upstream of tap gateway-2"
	Reported time.Time
}

// Production returns every address that a tap listens on or passes traffic to, by address. Stopped taps count as well:
// what they stood before is still production.
func (s *State) Production() []Address {
	var all []Address
	for _, t := range s.Taps() {
		name := t.Report.GetName()
		if name == "" {
			name = fmt.Sprintf("%.4x", t.Report.GetTapId())
		}
		at := Address{HostID: t.Report.GetHostId(), Host: t.Report.GetHost(), Reported: t.Time}
		for _, at.HostPort = range t.Report.GetUpstream() {
			at.Origin = "the upstream of tap " + name
			all = append(all, at)
		}
		for _, at.HostPort = range t.Report.GetListen() {
			at.Origin = "the listen address of tap " + name
			all = append(all, at)
		}
	}
	slices.SortStableFunc(all, func(a, b Address) int { return strings.Compare(a.HostPort, b.HostPort) })
	return all
}

// MaxResponseWait is the longest time that a tap waits for an answer before it gives an exchange out, and so how much
// later than its request an exchange may stand in the topic. 0: no tap told.
func (s *State) MaxResponseWait() time.Duration {
	var longest time.Duration
	for _, t := range s.taps {
		longest = max(longest, time.Duration(t.Report.GetResponseWaitNano()))
	}
	return longest
}
