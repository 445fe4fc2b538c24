package replay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/report"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// killLook is how often the kill file is looked for.
const killLook = 200 * time.Millisecond

// errKilled ends a run whose kill switch was thrown here.
var errKilled = errors.New("kill switch")

// Why a guard gave a stop, in its argument; a person's has none.
const (
	stopKilled   = "killed"
	stopMaxTotal = "max_total"
	stopErrors   = "error_rate: " // and what it was
)

// armKill returns a context that ends with a *fault.Error once o.Kill brings something or o.KillFile is there. It needs neither
// Kafka nor anything else that could be sick. disarm must be called.
func armKill(ctx context.Context, o *Options) (_ context.Context, disarm func(), err error) {
	thrown := func(by string) *fault.Error {
		return &fault.Error{
			What: fmt.Sprintf("run %s was stopped by the kill switch", o.Run), Cause: by,
			Try: "the command that started it resumes it where it was stopped", Err: errKilled, Code: fault.Interrupted,
		}
	}
	if o.KillFile != "" {
		if there, by := killed(o.KillFile); there {
			return nil, nil, fault.New("nothing is fired while the kill switch is thrown", by, "remove "+o.KillFile+" when that is right")
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		look := time.NewTicker(killLook)
		defer look.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case by := <-o.Kill:
				cancel(thrown(by))
				return
			case <-look.C:
				if o.KillFile == "" {
					continue
				}
				if there, by := killed(o.KillFile); there {
					cancel(thrown(by))
					return
				}
			}
		}
	})
	return ctx, func() {
		cancel(nil)
		wg.Wait()
	}, nil
}

// killed reports whether the kill file is there. One that cannot be looked for counts as there.
func killed(name string) (there bool, by string) {
	switch _, err := os.Lstat(name); {
	case err == nil:
		return true, name + " is there"
	case errors.Is(err, fs.ErrNotExist):
		return false, ""
	default:
		return true, err.Error()
	}
}

// guarded runs what can be killed. Whatever the run says of its end then, the kill switch is why.
func guarded[T any](ctx context.Context, o *Options, do func(context.Context) (T, error)) (T, error) {
	ctx, disarm, err := armKill(ctx, o)
	if err != nil {
		var none T
		return none, err
	}
	defer disarm()
	result, err := do(ctx)
	if cause := context.Cause(ctx); errors.Is(cause, errKilled) {
		err = cause
	}
	return result, err
}

// haltWhenKilled lets nothing more be sent from the moment on that the kill switch is thrown.
func (r *run) haltWhenKilled(ctx context.Context) (undo func() bool) {
	return context.AfterFunc(ctx, func() {
		if errors.Is(context.Cause(ctx), errKilled) {
			for _, g := range r.guards() {
				g.Halt()
			}
		}
	})
}

// stopOthers has all replicas stop when a guard stopped this one, or they would take its partitions over.
func (r *run) stopOthers(ctx context.Context, err error) {
	why := ""
	switch {
	case errors.Is(err, errKilled):
		why = stopKilled
	case errors.Is(err, ErrMaxTotal):
		why = stopMaxTotal
	case errors.Is(err, errTooManyErrors) && !errors.Is(err, errStopped):
		if e, ok := errors.AsType[*errorRateExceeded](err); ok {
			why = stopErrors + e.why
		}
	default:
		return
	}
	r.last(ctx, "stopping the other replicas", func(ctx context.Context) error {
		return r.registry.write(ctx, r.registry.author().Command(&reprisev1.Command{
			Run: r.opts.Run, Generation: r.generation.Number, Verb: control.VerbStop, Argument: why,
		}))
	})
}

// stoppedBy is what a stop means to a replica that reads it.
func (r *run) stoppedBy(o control.Order) *fault.Error {
	f := &fault.Error{
		What:  fmt.Sprintf("run %s was stopped by %s", r.opts.Run, o.Writer),
		Cause: "replayer stop", Try: "the command that started it resumes it where it was stopped", Err: errStopped, Code: fault.Interrupted,
	}
	errorRate, tooMany := strings.CutPrefix(o.GetArgument(), stopErrors)
	switch argument := o.GetArgument(); {
	case tooMany:
		f = errorRateFault(r.opts.Run, report.Printable(errorRate), "by "+o.Writer)
	case argument == stopKilled:
		f.Cause = "its kill switch was thrown there"
	case argument == stopMaxTotal:
		f = r.opts.maxTotal()
	}
	if f.Err != errStopped { //nolint:errorlint // not wrapped yet
		f.Err = errors.Join(f.Err, errStopped)
	}
	return f
}

// greet asks the target for the handshake now and then, and ends the run when it is not given any more.
func (r *run) greet(ctx context.Context, stop context.CancelCauseFunc) {
	if r.opts.Handshake == nil {
		return
	}
	tick := time.NewTicker(guardEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for _, g := range r.guards() {
				if err := g.Greet(ctx); err != nil && ctx.Err() == nil {
					stop(err)
				}
			}
		}
	}
}

// stoppedBy is what the report says of why the run ended before its end; empty: it did not, or somebody interrupted it.
func stoppedBy(state string, err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok && state != finished {
		return f.What
	}
	return ""
}
