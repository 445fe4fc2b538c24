package replay

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/topic"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// OrderOptions say what all replicas of a run are to do.
type OrderOptions struct {
	Kafka    topic.Config
	Prefix   string
	Run      string
	Verb     string        // of control: VerbPause, …
	Argument string        // "speed": as --speed takes it; "seek": a capture time in RFC 3339
	Wait     time.Duration // for the replicas' word
	Writer   string        // "host/user"
}

// Obedience is what became of an order.
type Obedience struct {
	Run      string             `json:"run"`
	Verb     string             `json:"verb"`
	Argument string             `json:"argument,omitempty"`
	InForce  time.Time          `json:"in_force"` // by the broker's clock
	Replicas []ReplicaObedience `json:"replicas"`
}

// ReplicaObedience is what one replica says of itself.
type ReplicaObedience struct {
	Replica      string   `json:"replica"`
	Host         string   `json:"host"`
	State        string   `json:"state"`
	Partitions   uint32   `json:"partitions"`
	Sent         uint64   `json:"sent"`
	ClockAheadMs *float64 `json:"clock_ahead_ms,omitempty"` // of the broker's; absent: not known
	Obeys        bool     `json:"obeys"`
	AfterMs      *int64   `json:"after_ms,omitempty"` // until its word was here
}

// Give writes an order for the replicas of a run and waits until those that run have confirmed that they obey. Nothing is
// written when none runs, or when the order cannot be obeyed. What came of it is returned also with an error of code
// Incomplete: a replica has not confirmed in time; the order stands nevertheless.
func Give(ctx context.Context, o OrderOptions) (*Obedience, error) {
	g := &giving{OrderOptions: o, after: make(map[string]time.Duration)}
	err := topic.Ask(ctx, o.Kafka, topic.NamesOf(o.Prefix).Control, topic.Question{
		Each: func(r *topic.Record) {
			g.state.Apply(r.Offset, r.Time, r.Key, r.Value)
			if !g.written.IsZero() && r.Offset == g.offset {
				g.inForce = r.Time.Add(control.ObeyAfter)
			}
		},
		Put: g.begin, Answered: g.confirmed, Wait: o.Wait,
	})
	if err != nil {
		return nil, err
	}
	return g.result()
}

// giving is a Give under way.
type giving struct {
	OrderOptions
	state   control.State
	number  uint32   // of the generation
	named   []string // the writers of those that run
	offset  int64
	written time.Time
	inForce time.Time
	after   map[string]time.Duration
}

func (g *giving) begin(ctx context.Context) error {
	current := g.state.Run(g.Run).Current()
	if current == nil {
		return g.unknown()
	}
	g.number = current.Number
	for _, r := range current.Replicas() {
		if r.AtWork(time.Now()) { // who joins now reads the order before anything else
			g.named = append(g.named, r.Writer)
		}
	}
	if len(g.named) == 0 {
		how, try := "no replica has said anything for a while", "the command that started it resumes it; inspect topics shows what is there"
		if end := current.End; end != nil {
			if end.GetState() == finished {
				try = "the command that started it with --restart replays it again"
			}
			how = "it has " + strings.Replace(end.GetState(), "stopped", "been stopped", 1) + ", at " + current.Ended().Format(time.DateTime)
		}
		return fault.New(fmt.Sprintf("run %q is not running: nothing was changed", g.Run), how, try)
	}
	if err := g.possible(current); err != nil {
		return err
	}
	g.written = time.Now()
	record := control.Author{Writer: g.Writer, Time: g.written}.Command(&reprisev1.Command{
		Run: g.Run, Generation: g.number, Verb: g.Verb, Argument: g.Argument,
	})
	offsets, err := topic.Produce(ctx, g.Kafka, topic.NamesOf(g.Prefix).Control,
		&topic.Record{Key: []byte(record.Key), Value: record.Value, Time: g.written})
	if err != nil {
		return err
	}
	g.offset = offsets[0]
	return nil
}

func (g *giving) unknown() error {
	var names []string
	for _, r := range g.state.Runs() {
		names = append(names, r.Name)
	}
	try := "replayer run --run " + g.Run + " … starts one"
	if near, ok := fault.Nearest(g.Run, names); ok {
		try = "replayer " + g.Verb + " " + near
	}
	return fault.BadUsage(fmt.Sprintf("there is no run %q", g.Run), "", try)
}

// possible says why the run could not do what is asked.
func (g *giving) possible(current *control.Generation) error {
	spec := current.Spec
	if g.Verb == control.VerbResume {
		return g.resumable(current)
	}
	if g.Verb != control.VerbSpeed && g.Verb != control.VerbSeek {
		return nil
	}
	if spec.GetLive() {
		return fault.BadUsage(fmt.Sprintf("%q follows production: its speed is production's", g.Run), "",
			"replayer pause, resume or stop; another --lag by starting it anew")
	}
	if current.Base == nil {
		return fault.New(fmt.Sprintf("run %q has not begun yet", g.Run), "its replicas wait for each other", "the same in a moment")
	}
	c := newClock()
	if b, ok := begunOf(current, current.Loop()); ok {
		c.set(b, current.Orders())
	}
	if c.timeline().IsMax() {
		return fault.BadUsage(fmt.Sprintf("run %q goes as fast as it can: it has no schedule to go on from", g.Run), "",
			"replayer pause, resume or stop; or --restart with another --speed")
	}
	if g.Verb == control.VerbSeek {
		to, err := time.Parse(time.RFC3339Nano, g.Argument)
		if here := c.timeline().Capture(time.Now()); err == nil && !c.gaps.Load().Squeeze(to).After(here) {
			return fault.BadUsage(fmt.Sprintf("run %q is past %s already", g.Run, to.UTC().Format(time.RFC3339)),
				"what was sent is done: a run goes forward only", "--restart --from "+g.Argument+" to begin there anew")
		}
		if end := lastCapture(current); err == nil && to.After(end) {
			return fault.BadUsage(fmt.Sprintf("run %q has nothing from %s on", g.Run, to.UTC().Format(time.RFC3339)),
				"what it replays was captured before "+end.UTC().Format(time.RFC3339)+": all that is left would be skipped",
				"an earlier time; replayer stop "+g.Run+" to end it")
		}
	}
	return nil
}

// lastCapture is a time after which nothing of a run was captured: its window ends there, or was closed then. Only what was imported
// with times to come may be later than that.
func lastCapture(g *control.Generation) time.Time {
	end := g.Started()
	if to := g.Spec.GetToUnixNano(); to != 0 && time.Unix(0, int64(to)).Before(end) {
		end = time.Unix(0, int64(to))
	}
	if begins := time.Unix(0, int64(g.Base.GetCaptureUnixNano())); begins.After(end) {
		return time.Unix(0, math.MaxInt64)
	}
	return end
}

// resumable says why a run that a guard holds cannot go on, or that what is named has nothing to do with it.
func (g *giving) resumable(current *control.Generation) error {
	hostPort := func(s string) string {
		_, rest, found := strings.Cut(s, "://")
		if !found {
			rest = s
		}
		return strings.ToLower(rest)
	}
	target := current.Spec.GetTarget()
	switch {
	case g.Argument == "" && suspensionOf(current.Orders()).on:
		return fault.New(fmt.Sprintf("run %q is held by a guard: nothing was changed", g.Run),
			"too much of what it reads was recorded at "+target+", the target itself, which makes it look like production",
			"if it is not: replayer resume "+g.Run+" --not-production "+hostPort(target))
	case g.Argument != "" && hostPort(g.Argument) != hostPort(target):
		return fault.BadUsage("--not-production "+g.Argument+" is not the target of run "+g.Run, "that is "+target, "--not-production "+hostPort(target))
	}
	return nil
}

// confirmed reports whether all have.
func (g *giving) confirmed() bool {
	for _, r := range g.state.Run(g.Run).Generation(g.number).Replicas() {
		if _, known := g.after[r.Writer]; !known && (r.GetObeyedBelow() > g.offset || r.GetFinal()) && slices.Contains(g.named, r.Writer) {
			g.after[r.Writer] = time.Since(g.written)
		}
	}
	return len(g.after) == len(g.named)
}

func (g *giving) result() (*Obedience, error) {
	o := &Obedience{Run: g.Run, Verb: g.Verb, Argument: g.Argument, InForce: g.inForce.UTC(), Replicas: []ReplicaObedience{}}
	var silent []string
	for _, r := range g.state.Run(g.Run).Generation(g.number).Replicas() {
		if !slices.Contains(g.named, r.Writer) {
			continue
		}
		one := ReplicaObedience{
			Replica: r.Writer, Host: r.GetHost(), State: r.GetState(), Partitions: r.GetPartitions(), Sent: r.GetSent(),
		}
		if r.ClockAheadNano != nil {
			ms := float64(r.GetClockAheadNano()) / 1e6
			one.ClockAheadMs = &ms
		}
		if after, ok := g.after[r.Writer]; ok {
			ms := after.Milliseconds()
			one.Obeys, one.AfterMs = true, &ms
		} else {
			silent = append(silent, r.Writer)
		}
		o.Replicas = append(o.Replicas, one)
	}
	slices.SortFunc(o.Replicas, func(a, b ReplicaObedience) int { return cmp.Compare(a.Replica, b.Replica) })
	if len(silent) > 0 {
		return o, &fault.Error{
			What:  fmt.Sprintf("%d of %d replicas have not confirmed within %s", len(silent), len(g.named), g.Wait),
			Cause: strings.Join(silent, ", "), Try: "the order stands: they obey it when they read it; look whether they run", Code: fault.Incomplete,
		}
	}
	return o, nil
}
