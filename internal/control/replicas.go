package control

import (
	"cmp"
	"slices"
	"strings"
	"time"

	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// The verbs of commands for the replayers of a run.
const (
	VerbSpeed  = "speed"
	VerbPause  = "pause"
	VerbResume = "resume"
	VerbStop   = "stop"
	VerbSeek   = "seek"
	// VerbSlow is what a replica itself says that cannot keep up, with --late slow: everything to come is put off by a time.
	VerbSlow = "slow"
)

// ObeyAfter is how long after its Kafka timestamp a command for replayers is in force: all of them have read it by then, and
// nothing that they have let go already is due later.
const ObeyAfter = 800 * time.Millisecond

// Order is a command for the replayers of one generation of a run.
type Order struct {
	Command
	At time.Time // when it is in force, for all replicas alike
}

// Replica is the newest report of a process that works on a run.
type Replica struct {
	*reprisev1.ReplicaReport
	Offset int64
	Time   time.Time // when it was written, by the replica's clock
	Stamp  time.Time // its Kafka timestamp: the broker's clock, where that stamps
	Writer string
}

// Bounds of what is remembered of one generation.
const (
	maxOrders   = 4096
	maxReplicas = 1024
)

func (g *Generation) order(c Command, stamp time.Time) {
	i, known := slices.BinarySearchFunc(g.orders, c.Offset, func(o Order, offset int64) int { return cmp.Compare(o.Offset, offset) })
	if known || len(g.orders) >= maxOrders || len(c.GetVerb()) > maxVerb || len(c.GetArgument()) > maxSelector {
		return
	}
	g.orders = slices.Insert(g.orders, i, Order{Command: c, At: stamp.Add(ObeyAfter)})
}

func (g *Generation) replica(r *Replica) {
	if old := g.replicas[r.Writer]; old != nil && r.Offset < old.Offset || old == nil && len(g.replicas) >= maxReplicas {
		return
	}
	if g.replicas == nil {
		g.replicas = make(map[string]*Replica)
	}
	g.replicas[r.Writer] = r
}

// tally is the newest that a process has told of what it sent.
type tally struct {
	*reprisev1.RunTally
	offset int64
}

func (g *Generation) tally(offset int64, writer string, t *reprisev1.RunTally) {
	if old, known := g.tallies[writer]; known && offset < old.offset || !known && len(g.tallies) >= maxReplicas {
		return
	}
	if g.tallies == nil {
		g.tallies = make(map[string]tally)
	}
	g.tallies[writer] = tally{t, offset}
}

// Tallies returns what every process has told of what it sent of the generation, by writer.
func (g *Generation) Tallies() map[string]*reprisev1.RunTally {
	all := make(map[string]*reprisev1.RunTally)
	if g != nil {
		for writer, t := range g.tallies {
			all[writer] = t.RunTally
		}
	}
	return all
}

// Orders returns the commands for the generation, in the order in which they count.
func (g *Generation) Orders() []Order {
	if g == nil {
		return nil
	}
	return g.orders
}

// Replicas returns the newest report of every process that has worked on the generation, by writer.
func (g *Generation) Replicas() []*Replica {
	if g == nil {
		return nil
	}
	all := make([]*Replica, 0, len(g.replicas))
	for _, r := range g.replicas {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *Replica) int { return strings.Compare(a.Writer, b.Writer) })
	return all
}

// ReplicaReportEvery is how often a replica reports at least.
const ReplicaReportEvery = 5 * time.Second

// Joining is the state of a replica that is about to have partitions, and has sent nothing yet.
const Joining = "joining"

// AtWork reports whether a replica has joined and is alive.
func (r *Replica) AtWork(now time.Time) bool { return r.Alive(now) && r.GetState() != Joining }

// Alive reports whether a replica is at work, as far as its last report tells.
func (r *Replica) Alive(now time.Time) bool {
	return !r.GetFinal() && now.Sub(r.Time) <= 3*ReplicaReportEvery
}
