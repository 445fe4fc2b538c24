package replay

import (
	"context"
	"fmt"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fire"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// maxRecordedAtTarget is the share of the last thousand exchanges that were recorded at the target itself above which a run is suspended.
const maxRecordedAtTarget = 0.01

// suspension is a pause by a guard, folded from the commands of a run: it lasts until a resume says what the guard is to be told.
type suspension struct {
	on     bool
	lifted bool // somebody has said so
}

func suspensionOf(orders []control.Order) (s suspension) {
	for i := range orders {
		s.take(&orders[i])
	}
	return s
}

// take folds a command in, and reports whether it counts: a mere resume does not while a guard holds the run.
func (s *suspension) take(o *control.Order) (counts bool) {
	switch {
	case suspends(o):
		s.on = true
	case lifts(o):
		s.on, s.lifted = false, true
	case o.GetVerb() == control.VerbResume:
		return !s.on
	}
	return true
}

func suspends(o *control.Order) bool {
	return o.GetVerb() == control.VerbPause && o.GetArgument() == fire.AuthorityIsTarget
}

// lifts reports whether a command is a resume with what is not production after all.
func lifts(o *control.Order) bool {
	return o.GetVerb() == control.VerbResume && o.GetArgument() != ""
}

// suspend holds this replica at once and has the others pause, until somebody says that the target is not production.
func (r *run) suspend(ctx context.Context) {
	// The guard hears of a lift later than the registry has read it.
	if s := suspensionOf(r.registry.orders(r.opts.Run, r.generation.Number)); s.on || s.lifted || r.guard.Exempt() {
		return
	}
	r.clock.hold()
	r.sayHeld()
	r.last(ctx, "pausing the other replicas", func(ctx context.Context) error {
		return r.registry.propose(ctx, r.registry.author().Command(&reprisev1.Command{
			Run: r.opts.Run, Generation: r.generation.Number, Verb: control.VerbPause, Argument: fire.AuthorityIsTarget,
		}))
	})
}

// suspended does here what a guard, or whoever lifts what it did, wants of all replicas.
func (r *run) suspended(on bool) {
	if on {
		r.sayHeld()
		return
	}
	r.guard.ExemptTarget()
	r.said.Store(false)
}

// lift has all replicas go on: this one was started with --not-production.
func (r *run) lift(ctx context.Context) error {
	return r.registry.propose(ctx, r.registry.author().Command(&reprisev1.Command{
		Run: r.opts.Run, Generation: r.generation.Number, Verb: control.VerbResume, Argument: r.opts.address(),
	}))
}

// sayHeld says it once.
func (r *run) sayHeld() {
	if r.said.Swap(true) {
		return
	}
	r.opts.Logger.Error("the run is paused: "+r.heldWhy(), "reason", fire.AuthorityIsTarget, "try", r.tryLift())
}

func (r *run) heldWhy() string {
	return fmt.Sprintf("more than %.0f %% of the last 1,000 were recorded at %s, the target itself, which makes it look like production",
		100*maxRecordedAtTarget, r.opts.address())
}

func (r *run) tryLift() string {
	return fmt.Sprintf("if it is not: replayer %s %s --not-production %s", control.VerbResume, r.opts.Run, r.opts.address())
}

// heldBy is what the report says of it; empty: the run is not held.
func (r *run) heldBy() string {
	if !r.clock.held.Load() {
		return ""
	}
	return "paused (" + fire.AuthorityIsTarget + "): " + r.heldWhy()
}
