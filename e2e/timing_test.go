//go:build e2e

package e2e_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// longestLull is far beyond every gap between requests that are due all the time.
	longestLull = 50 * time.Millisecond

	// mostLulls is how many have nothing to do with the whole machine: somebody was stopped. A fault of ours has them all the time.
	mostLulls = 6
)

// sight is one request of a replay as the target saw it.
type sight struct{ captured, arrived time.Time }

// timing is how well a replay kept its schedule.
type timing struct {
	judged        int           // requests; those that were due while somebody stood still are left out
	stood         bool          // somebody has
	lulls         int           // in which the machine went on
	p50, p99, max time.Duration // how far from its moment
	took, want    time.Duration // from the first to the last
}

func (m timing) String() string {
	return fmt.Sprintf("error p50 %s p99 %s max %s of %d, in %s of %s; %d lulls", m.p50, m.p99, m.max, m.judged, m.took, m.want, m.lulls)
}

// timingOf judges a replay at a speed by what arrived, in the order of capture, where something was due all the time.
//
// Deadlines are absolute: between any two requests the target sees the recorded distance, give or take a busy machine. The
// earliest one tells where the schedule began, as none is ever early. Whoever is stopped, be it the replayer, Kafka or the sink,
// nothing arrives, and what was due meanwhile tells nothing; nor does what had to wait come after it, for half as long.
func timingOf(all []sight, speed float64, own machine) (m timing, err error) {
	first, earliest := all[0], time.Hour
	late := make([]time.Duration, len(all)) // beside the first one
	arrived := make([]time.Time, 0, len(all)+1)
	due := func(i int) time.Duration { return time.Duration(float64(all[i].captured.Sub(first.captured)) / speed) }
	for i, s := range all {
		late[i] = s.arrived.Sub(first.arrived) - due(i)
		earliest = min(earliest, late[i])
		arrived = append(arrived, s.arrived)
	}
	arrived = append(arrived, first.arrived.Add(earliest)) // when the first was due: somebody may have stood still then
	slices.SortFunc(arrived, time.Time.Compare)
	var spoiled []spell
	for i := 1; i < len(arrived); i++ {
		lull := spell{arrived[i-1], arrived[i]}
		if lull.length() <= longestLull {
			continue
		}
		if !own.stood(lull) {
			m.lulls++
		}
		spoiled = append(spoiled, spell{lull.from, lull.to.Add(lull.length() / 2)})
	}
	m.stood = len(spoiled) > 0
	var far []time.Duration
	for i, s := range all {
		by := late[i] - earliest
		at := s.arrived.Add(-by)
		if !slices.ContainsFunc(spoiled, func(s spell) bool { return !at.Before(s.from) && at.Before(s.to) }) {
			far = append(far, by)
		}
	}
	m.judged, m.took, m.want = len(far), arrived[len(arrived)-1].Sub(arrived[0]), due(len(all)-1)
	if m.judged < len(all)/5 {
		return m, fmt.Errorf("somebody stood still for most of the time: only %d of %d requests were due beside that", m.judged, len(all))
	}
	slices.Sort(far)
	m.p50, m.p99, m.max = far[len(far)/2], far[len(far)*99/100], far[len(far)-1]
	switch {
	case m.lulls > mostLulls:
		return m, fmt.Errorf("nothing arrived for more than %s, %d times", longestLull, m.lulls)
	case !m.stood && (m.took-m.want).Abs() > m.want/20+100*time.Millisecond:
		return m, fmt.Errorf("it took %s, not %s", m.took, m.want)
	case m.p50 >= 5*time.Millisecond+own.p99 || m.p99 >= 100*time.Millisecond+4*own.p99:
		return m, errors.New(m.String())
	}
	return m, nil
}

// Whoever is stopped fails no replay, and what a replayer must not do fails each.
func TestTimingIsJudgedWhoeverIsStopped(t *testing.T) {
	const count, stop = 2500, 2 * time.Second
	at := time.Now()
	ms := func(n float64) time.Duration { return time.Duration(n * float64(time.Millisecond)) }
	// stands holds up what is due in a time until its end.
	stands := func(due, from, length time.Duration) time.Duration {
		if due >= from && due < from+length {
			return from + length + (due-from)/100 // it comes in a burst
		}
		return due
	}
	for _, row := range []struct {
		name  string
		holds bool
		sent  func(i int, due, stopped time.Duration) time.Duration
	}{
		{"as it should", true, func(_ int, due, _ time.Duration) time.Duration { return due }},
		{"somebody is stopped", true, func(_ int, due, stopped time.Duration) time.Duration { return stands(due, stopped, stop) }},
		{"three are stopped, one after the other", true, func(_ int, due, stopped time.Duration) time.Duration {
			for n := range 3 {
				due = stands(due, stopped+ms(float64(700*n)), ms(500))
			}
			return due
		}},
		{"at 0.9 of the speed", false, func(_ int, due, _ time.Duration) time.Duration { return due * 10 / 9 }},
		{"at 0.9 of the speed, and somebody is stopped", false, func(_ int, due, stopped time.Duration) time.Duration {
			return stands(due*10/9, stopped, stop)
		}},
		{"at 1.1 of the speed", false, func(_ int, due, _ time.Duration) time.Duration { return due * 10 / 11 }},
		{"it sleeps for so long, not until then", false, func(i int, due, _ time.Duration) time.Duration { return due + ms(.02)*time.Duration(i) }},
		{"it never catches up with a stop", false, func(_ int, due, stopped time.Duration) time.Duration {
			if due < stopped/3 { // early enough to show
				return due
			}
			return due + stop
		}},
		{"anyhow", false, func(_ int, due, _ time.Duration) time.Duration { return due + ms(40*rand.Float64()) }},
		{"in any order", false, func(_ int, due, _ time.Duration) time.Duration { return due + ms(1000*rand.Float64()) }},
		{"every tenth is late", false, func(i int, due, _ time.Duration) time.Duration {
			if i%10 == 9 {
				due += ms(200)
			}
			return due
		}},
		{"in bursts", false, func(_ int, due, _ time.Duration) time.Duration {
			return stands(due, due.Truncate(ms(250))+ms(1), ms(80))
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, speed := range []float64{0.5, 1} { // at twice the speed all of it is hardly longer than a stop
				for try := range 50 {
					all, captured := make([]sight, count), at.Add(-time.Minute)
					length := time.Duration(count*2/speed) * time.Millisecond
					stopped := time.Duration(rand.Float64() * float64(length) * 3 / 4)
					for i := range all {
						due := time.Duration(float64(captured.Sub(at.Add(-time.Minute))) / speed)
						sent := row.sent(i, due, stopped) + ms(rand.ExpFloat64()/3)
						all[i] = sight{captured, at.Add(sent)}
						captured = captured.Add(ms(2 * rand.ExpFloat64()))
					}
					m, err := timingOf(all, speed, machine{p99: time.Millisecond})
					require.Equal(t, row.holds, err == nil, "try %d at %g× of one stopped at %s: %s, %v", try, speed, stopped, m, err)
				}
			}
		})
	}
}
