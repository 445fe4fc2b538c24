// Package control is what taps, replayers and people tell each other through <prefix>.control: how such a record is
// written, and the fold that turns the topic's records into who records, what runs there are and how they stand. It
// does no I/O.
//
// Every proposal stands under a key of its own and of several the lowest offset wins; of commands for taps the highest wins,
// and those that it replaces share its key. So all readers come to the same state, whenever they read and whatever was
// compacted away in between.
package control

import (
	"fmt"
	"slices"
	"strings"
	"time"

	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// State is the fold of all control records applied so far. The zero value is the state of an empty topic. It is not
// safe for concurrent use.
type State struct {
	taps    map[string]*Tap
	gone    map[string]int64 // keys of taps that are forgotten, and where that is said
	runs    map[string]*Run
	orders  Commands
	corrupt []Corrupt
	skipped int
}

// Tap is the newest report of a tap.
type Tap struct {
	Report *reprisev1.TapReport
	Time   time.Time // when it was written, by the tap's clock
	Offset int64
}

// Run is all that is known of one named run.
type Run struct {
	Name        string
	generations map[uint32]*Generation
}

// Generation is one start of a run: --restart begins the next.
type Generation struct {
	Number uint32
	Spec   *reprisev1.RunSpec  // nil: only other records of it were seen
	Base   *reprisev1.TimeBase // of the newest loop; nil: not decided yet
	End    *reprisev1.RunEnd   // nil: not ended
	// Verdict is the winning proposal of what the run is judged by; nil: none is made.
	Verdict *reprisev1.RunVerdict

	// Writers of the winning proposals.
	SpecWriter, BaseWriter     string
	specOffset, baseOffset     int64
	endOffset, verdictOffset   int64
	specTime, baseTime, ending time.Time

	before       *reprisev1.TimeBase // of the loop before that
	beforeOffset int64

	orders   []Order
	claims   []claim
	replicas map[string]*Replica
	tallies  map[string]tally
}

// Started is when the winning spec was written.
func (g *Generation) Started() time.Time { return g.specTime }

// Ended is when the end was written; zero when it has not ended.
func (g *Generation) Ended() time.Time { return g.ending }

// Corrupt is a record that could not be read, and so decides nothing.
type Corrupt struct {
	Offset int64
	Reason string
}

// maxCorrupt bounds how many corrupt records are remembered one by one.
const maxCorrupt = 20

// Apply takes the record at an offset, with its Kafka timestamp. Records may come in any order and more than once. A record
// without a value makes a tap forgotten; one that cannot be read is counted and left out.
func (s *State) Apply(offset int64, stamp time.Time, key, value []byte) {
	if len(value) == 0 {
		s.forget(offset, string(key))
		return
	}
	c, err := Unmarshal(value)
	if err != nil {
		s.reject(offset, err.Error())
		return
	}
	at := timeOf(c.GetTimeUnixNano())
	switch k := c.GetKind().(type) {
	case *reprisev1.Control_TapReport:
		s.tap(offset, at, string(key), k.TapReport)
	case *reprisev1.Control_RunSpec:
		g := s.generation(offset, k.RunSpec.GetRun(), k.RunSpec.GetGeneration())
		if g != nil && (g.Spec == nil || offset < g.specOffset) {
			g.Spec, g.specOffset, g.SpecWriter, g.specTime = k.RunSpec, offset, c.GetWriter(), at
		}
	case *reprisev1.Control_TimeBase:
		g := s.generation(offset, k.TimeBase.GetRun(), k.TimeBase.GetGeneration())
		if g != nil {
			g.base(offset, k.TimeBase, c.GetWriter(), at)
		}
	case *reprisev1.Control_RunEnd:
		g := s.generation(offset, k.RunEnd.GetRun(), k.RunEnd.GetGeneration())
		// Under one key for all writers: the newest is the one that stays.
		if g != nil && (g.End == nil || offset >= g.endOffset) {
			g.End, g.endOffset, g.ending = k.RunEnd, offset, at
		}
	case *reprisev1.Control_Command:
		if name := k.Command.GetRun(); name != "" {
			switch g := s.generation(offset, name, k.Command.GetGeneration()); {
			case g == nil:
			case k.Command.GetVerb() == VerbClaim:
				g.claim(CommandOf(offset, c, k.Command))
			default:
				g.order(CommandOf(offset, c, k.Command), stamp)
			}
			return
		}
		s.orders.Apply(CommandOf(offset, c, k.Command))
	case *reprisev1.Control_ReplicaReport:
		if g := s.generation(offset, k.ReplicaReport.GetRun(), k.ReplicaReport.GetGeneration()); g != nil {
			g.replica(&Replica{ReplicaReport: k.ReplicaReport, Offset: offset, Time: at, Stamp: stamp, Writer: c.GetWriter()})
		}
	case *reprisev1.Control_RunTally:
		if g := s.generation(offset, k.RunTally.GetRun(), k.RunTally.GetGeneration()); g != nil {
			g.tally(offset, c.GetWriter(), k.RunTally)
		}
	case *reprisev1.Control_RunVerdict:
		g := s.generation(offset, k.RunVerdict.GetRun(), k.RunVerdict.GetGeneration())
		if g != nil && (g.Verdict == nil || offset < g.verdictOffset) {
			g.Verdict, g.verdictOffset = k.RunVerdict, offset
		}
	case nil:
		s.skipped++ // a kind of a newer version
	}
}

func (s *State) tap(offset int64, at time.Time, key string, r *reprisev1.TapReport) {
	if len(r.GetTapId()) == 0 {
		s.reject(offset, "tap report without an id")
		return
	}
	if old := s.taps[key]; old != nil && offset < old.Offset || offset < s.gone[key] {
		return
	}
	delete(s.gone, key)
	if s.taps == nil {
		s.taps = make(map[string]*Tap)
	}
	s.taps[key] = &Tap{Report: r, Time: at, Offset: offset}
}

// forget makes a tap forgotten until it reports again.
func (s *State) forget(offset int64, key string) {
	if old := s.taps[key]; old != nil && offset < old.Offset {
		return
	}
	delete(s.taps, key)
	if strings.HasPrefix(key, ofTaps) {
		if s.gone == nil {
			s.gone = make(map[string]int64)
		}
		s.gone[key] = max(s.gone[key], offset)
	}
}

func (s *State) generation(offset int64, name string, number uint32) *Generation {
	if err := CheckRunName(name); err != nil {
		s.reject(offset, err.Error())
		return nil
	}
	if number == 0 {
		s.reject(offset, fmt.Sprintf("run %q: generation 0", name))
		return nil
	}
	if s.runs == nil {
		s.runs = make(map[string]*Run)
	}
	r := s.runs[name]
	if r == nil {
		r = &Run{Name: name, generations: make(map[uint32]*Generation)}
		s.runs[name] = r
	}
	g := r.generations[number]
	if g == nil {
		g = &Generation{Number: number}
		r.generations[number] = g
	}
	return g
}

// base takes a proposal. Of those for the newest loop and the one before it, for which replicas may still be at work, the
// lowest offset wins.
func (g *Generation) base(offset int64, b *reprisev1.TimeBase, writer string, at time.Time) {
	newest := g.Loop()
	switch loop := b.GetLoop(); {
	case g.Base == nil, loop > newest, loop == newest && offset < g.baseOffset:
		if g.Base != nil && loop > newest {
			g.before, g.beforeOffset = nil, 0
			if loop == newest+1 {
				g.before, g.beforeOffset = g.Base, g.baseOffset
			}
		}
		g.Base, g.baseOffset, g.BaseWriter, g.baseTime = b, offset, writer, at
	case loop+1 == newest && (g.before == nil || offset < g.beforeOffset):
		g.before, g.beforeOffset = b, offset
	}
}

// Loop returns the newest loop whose time base is decided, from 0.
func (g *Generation) Loop() uint32 { return g.Base.GetLoop() }

// BaseOf returns the time base of a loop, nil when it is not decided yet or is more than one behind the newest.
func (g *Generation) BaseOf(loop uint32) *reprisev1.TimeBase {
	switch {
	case g == nil:
	case g.Base != nil && g.Base.GetLoop() == loop:
		return g.Base
	case g.before != nil && g.before.GetLoop() == loop:
		return g.before
	}
	return nil
}

func (s *State) reject(offset int64, reason string) {
	s.skipped++
	if len(s.corrupt) < maxCorrupt {
		s.corrupt = append(s.corrupt, Corrupt{Offset: offset, Reason: reason})
	}
}

// Skipped returns how many records were left out because this version could not read them, and the first of those
// that were corrupt.
func (s *State) Skipped() (int, []Corrupt) { return s.skipped, s.corrupt }

// Taps returns the newest report of every tap, by name and then by id.
func (s *State) Taps() []*Tap {
	taps := make([]*Tap, 0, len(s.taps))
	for _, t := range s.taps {
		taps = append(taps, t)
	}
	slices.SortFunc(taps, func(a, b *Tap) int {
		if c := strings.Compare(a.Report.GetName(), b.Report.GetName()); c != 0 {
			return c
		}
		return slices.Compare(a.Report.GetTapId(), b.Report.GetTapId())
	})
	return taps
}

// Commands returns the fold of the commands for taps.
func (s *State) Commands() *Commands { return &s.orders }

// Run returns the run of that name, nil when nothing is known of it.
func (s *State) Run(name string) *Run { return s.runs[name] }

// Runs returns all runs by name.
func (s *State) Runs() []*Run {
	runs := make([]*Run, 0, len(s.runs))
	for _, r := range s.runs {
		runs = append(runs, r)
	}
	slices.SortFunc(runs, func(a, b *Run) int { return strings.Compare(a.Name, b.Name) })
	return runs
}

// Generation returns one generation of the run, nil when nothing is known of it.
func (r *Run) Generation(number uint32) *Generation {
	if r == nil {
		return nil
	}
	return r.generations[number]
}

// Current returns the newest generation that has a spec, nil when there is none.
func (r *Run) Current() *Generation {
	if r == nil {
		return nil
	}
	var newest *Generation
	for _, g := range r.generations {
		if g.Spec != nil && (newest == nil || g.Number > newest.Number) {
			newest = g
		}
	}
	return newest
}

func timeOf(nano uint64) time.Time {
	if nano == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(nano)).UTC()
}
