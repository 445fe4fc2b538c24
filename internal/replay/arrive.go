package replay

import (
	"context"
	"os"

	"github.com/reprise-io/reprise/internal/control"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// arrive tells the others of this process, and returns when that is stored: before it has partitions, and so before they can see that
// something is finished which it has sent. Whoever comes to the end of the run then knows that there is a tally to wait for.
func (r *run) arrive(ctx context.Context) error { return r.present(ctx, control.Joining, false) }

// turnBack tells the others that this process has sent nothing and will not.
func (r *run) turnBack(ctx context.Context) {
	r.last(ctx, "the last report", func(ctx context.Context) error { return r.present(ctx, failed, true) })
}

func (r *run) present(ctx context.Context, state string, final bool) error {
	if r.opts.Live { // each for itself
		return nil
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return r.registry.write(ctx, r.registry.author().Replica(&reprisev1.ReplicaReport{
		Run: r.opts.Run, Generation: r.generation.Number, Host: host, StartedUnixNano: uint64(r.started.UnixNano()),
		State: state, Final: final, FailOn: texts(r.opts.FailOn),
	}))
}
