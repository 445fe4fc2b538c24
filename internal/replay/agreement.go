package replay

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/topic"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// finished is the state of a run that came to its end; one that was stopped can be resumed.
const (
	finished = "finished"
	stopped  = "stopped"
	failed   = "failed"
)

// agree returns the generation of the run that this process works on: the one that is under way, or a new one whose
// spec it has proposed. All processes come to the same one.
func agree(ctx context.Context, o *Options, r *registry, exchanges string, digest []byte) (*control.Generation, error) {
	var current *control.Generation
	r.view(func(s *control.State) { current = s.Run(o.Run).Current() })
	number := uint32(1)
	if current != nil {
		number = current.Number
		switch {
		case o.Restart:
			number++
			current = nil
		case current.End.GetState() == finished:
			return nil, fault.BadUsage(fmt.Sprintf("run %q has finished at %s", o.Run, current.Ended().Format(time.DateTime)),
				"a run is replayed once", "--restart to replay the same window again, or --run with another name")
		}
	}
	if o.Live {
		o.From = time.Now().Add(-o.Lag) // what was captured since is not due yet
	}
	want := o.spec(number, exchanges, digest)
	id, err := r.admin.TopicID(ctx, exchanges)
	if err != nil {
		return nil, err
	}
	want.TopicId = id[:]
	if current == nil {
		window, err := r.admin.Window(ctx, exchanges, o.From)
		if err != nil {
			return nil, err
		}
		if err := o.setWindow(want, window); err != nil {
			return nil, err
		}
		if err := r.propose(ctx, r.author().Spec(want)); err != nil {
			return nil, err
		}
		if current = r.generation(o.Run, number); current == nil || current.Spec == nil {
			return nil, fault.New(fmt.Sprintf("run %q: the record of the run was written but is not there", o.Run), "",
				"look at the topic "+r.name)
		}
	}
	if what := different(current.Spec, want); what != "" {
		return nil, fault.BadUsage(fmt.Sprintf("run %q exists with another %s", o.Run, what),
			fmt.Sprintf("it was started %s by %s", current.Started().Format(time.DateTime), current.SpecWriter),
			"the options of then to resume it, --restart to begin anew with these, or --run with another name")
	}
	return current, nil
}

func (o *Options) spec(generation uint32, exchanges string, digest []byte) *reprisev1.RunSpec {
	s := &reprisev1.RunSpec{
		Run: o.Run, Generation: generation, Live: o.Live, Target: o.Target.Scheme + "://" + o.address(), Speed: o.Profile[0].From,
		Options: o.canonical(), Topic: exchanges,
	}
	if o.Live {
		s.LagNano = uint64(o.Lag)
	}
	if _, constant := o.Profile.Constant(); !constant {
		s.Profile = o.Profile.String()
	}
	if !o.From.IsZero() {
		s.FromUnixNano = uint64(o.From.UnixNano())
	}
	if !o.To.IsZero() {
		s.ToUnixNano = uint64(o.To.UnixNano())
	}
	if !o.RandomKey {
		s.RulesDigest = digest
	}
	s.Seed = make([]byte, 16)
	_, _ = rand.Read(s.Seed) // never fails
	return s
}

func (o *Options) setWindow(s *reprisev1.RunSpec, window map[int32]topic.Range) error {
	var records int64
	for id, r := range window {
		w := &reprisev1.PartitionWindow{Partition: id, StartOffset: r.Start, EndOffset: r.End}
		if o.Live {
			w.EndOffset = -1
		}
		records += r.End - r.Start
		s.Partitions = append(s.Partitions, w)
	}
	slices.SortFunc(s.Partitions, func(a, b *reprisev1.PartitionWindow) int { return int(a.Partition - b.Partition) })
	if records == 0 && !o.Live {
		return nothing(s.Topic, o.From, window)
	}
	return nil
}

// nothing says why there is nothing in a window: its offsets tell whether anything was ever written.
func nothing(name string, from time.Time, window map[int32]topic.Range) error {
	what := fmt.Sprintf("nothing to replay: topic %q is empty", name)
	if !from.IsZero() {
		what = fmt.Sprintf("nothing to replay: topic %q holds nothing from %s on", name, from.Format(time.RFC3339))
	}
	var written int64
	for _, r := range window {
		written += r.End
	}
	cause := "no tap has written there yet"
	switch {
	case written > 0 && !from.IsZero():
		cause = "what was recorded is older, or its retention has passed"
	case written > 0:
		cause = "the retention of what was recorded has passed"
	}
	return fault.New(what, cause,
		"inspect topics, another --from or --topic-prefix, or start a tap: tap proxy --listen :8080 --upstream 127.0.0.1:9000")
}

// different names what makes two specs two runs; empty: they are the same. Times and offsets are not asked: they follow
// from what was typed.
func different(have, want *reprisev1.RunSpec) string {
	switch {
	case have.GetLive() != want.GetLive():
		return "kind (live or run)"
	case have.GetTarget() != want.GetTarget():
		return "target (" + have.GetTarget() + ")"
	case have.GetTopic() != want.GetTopic():
		return "topic (" + have.GetTopic() + ")"
	case have.GetSpeed() != want.GetSpeed() || have.GetProfile() != want.GetProfile():
		return "speed (" + profileOf(have).String() + ")"
	case have.GetLagNano() != want.GetLagNano():
		return "lag (" + time.Duration(have.GetLagNano()).String() + ")"
	case have.GetOptions() != want.GetOptions():
		return "set of options (" + firstDifference(have.GetOptions(), want.GetOptions()) + ")"
	case len(have.GetRulesDigest()) > 0 && len(want.GetRulesDigest()) > 0 &&
		!slices.Equal(have.GetRulesDigest(), want.GetRulesDigest()):
		return "redaction key or rules"
	}
	return ""
}

// firstDifference returns the first line that only one of two texts has, marked with whose it is.
func firstDifference(have, want string) string {
	h, w := strings.Split(have, "\n"), strings.Split(want, "\n")
	for _, line := range h {
		if line != "" && !slices.Contains(w, line) {
			return "then " + line
		}
	}
	for _, line := range w {
		if line != "" && !slices.Contains(h, line) {
			return "now " + line
		}
	}
	return "their order"
}

// windows returns the offsets of each partition that belong to the run.
func windows(s *reprisev1.RunSpec) map[int32]topic.Range {
	all := make(map[int32]topic.Range, len(s.GetPartitions()))
	for _, w := range s.GetPartitions() {
		all[w.GetPartition()] = topic.Range{Start: w.GetStartOffset(), End: w.GetEndOffset()}
	}
	return all
}

// group is the consumer group of one loop of one generation of a run: each loop has positions of its own. "~" is in no run's
// name.
func group(prefix, run string, generation, loop uint32) string {
	id := prefix + "." + run
	if loop > 0 {
		return id + fmt.Sprintf("~%d~%d", generation, loop)
	}
	if generation > 1 {
		id += fmt.Sprintf("~%d", generation)
	}
	return id
}

// profileOf returns the speeds that a run was started with.
func profileOf(s *reprisev1.RunSpec) schedule.Profile {
	if s.GetProfile() != "" {
		if p, err := schedule.ParseProfile(s.GetProfile()); err == nil {
			return p
		}
	}
	return schedule.ConstantSpeed(s.GetSpeed())
}

func fromNano(ns uint64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(ns)).UTC()
}
