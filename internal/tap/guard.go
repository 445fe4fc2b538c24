package tap

import "time"

// Times of a guard.
const (
	cpuSpan    = 5 * time.Second  // over which CPU is averaged
	quietFirst = 10 * time.Second // below the lower bounds, before capture comes back
	quietMost  = 10 * time.Minute // whatever has happened before
	soon       = time.Minute      // who switches off again within this, or the last wait if that is longer, waits twice as long
)

// lowerBound is the part of a limit below which use must be for capture to come back.
const lowerBound = 0.8

// Causes of a guard, as they stand in logs, reports and labels.
const (
	causeCPU    = "cpu"
	causeMemory = "memory"
)

// guardLimits are where capture switches itself off. 0: never.
type guardLimits struct {
	cpu    float64 // share of what the process may use
	memory int64   // resident bytes
}

// guard decides when capture has to switch itself off, and when it may come back. It is time arithmetic: no clock, nothing
// that it does. The zero value with limits is on.
type guard struct {
	limits guardLimits

	off   bool
	cause string        // of off
	since time.Time     // of off, or of coming back
	wait  time.Duration // how long it must be quiet this time
	quiet time.Time     // since when it is; zero: it is not

	samples []usage // of the last cpuSpan, oldest first
}

// usage is what the process has used at a time.
type usage struct {
	at       time.Time
	cpu      time.Duration // since it began
	resident int64
}

// verdict is what one look has come to.
type verdict struct {
	changed  bool
	share    float64 // of CPU, over the last cpuSpan; 0: not known yet
	resident int64
}

// look takes the use at a time, where the process may use so many CPUs. wanted: people want capture to be on; while they do
// not, there is nothing to protect against, and the guard begins anew.
func (g *guard) look(u usage, cpus float64, wanted bool) verdict {
	if !wanted {
		changed := g.off
		*g = guard{limits: g.limits, wait: g.wait}
		return verdict{changed: changed, resident: u.resident}
	}
	v := verdict{share: g.share(u, cpus), resident: u.resident}
	if cause := g.over(v, 1); !g.off && cause != "" {
		v.changed = true
		g.switchOff(cause, u.at)
		return v
	}
	if !g.off {
		return v
	}
	if g.over(v, lowerBound) != "" {
		g.quiet = time.Time{}
		return v
	}
	if g.quiet.IsZero() {
		g.quiet = u.at
	}
	if u.at.Sub(g.quiet) >= g.wait {
		v.changed = true
		g.off, g.cause, g.since, g.samples = false, "", u.at, nil // what it took before is not held against it
	}
	return v
}

// over names what is above that part of its limit.
func (g *guard) over(v verdict, part float64) string {
	switch {
	case g.limits.memory > 0 && float64(v.resident) > part*float64(g.limits.memory):
		return causeMemory
	case g.limits.cpu > 0 && v.share > part*g.limits.cpu:
		return causeCPU
	}
	return ""
}

// switchOff waits longer each time that it comes soon after the last.
func (g *guard) switchOff(cause string, now time.Time) {
	if g.wait > 0 && now.Sub(g.since) < max(soon, g.wait) {
		g.wait = min(2*g.wait, quietMost)
	} else {
		g.wait = quietFirst
	}
	g.off, g.cause, g.since, g.quiet = true, cause, now, time.Time{}
}

// share is the CPU used over the last cpuSpan; 0 while less than that is known, or the clock is odd.
func (g *guard) share(u usage, cpus float64) float64 {
	g.samples = append(g.samples, u)
	for len(g.samples) > 1 && u.at.Sub(g.samples[1].at) >= cpuSpan {
		g.samples = g.samples[1:]
	}
	first := g.samples[0]
	span := u.at.Sub(first.at)
	if span < cpuSpan || cpus <= 0 {
		return 0
	}
	return float64(u.cpu-first.cpu) / (float64(span) * cpus)
}
