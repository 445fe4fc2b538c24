package replay_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/replay"
	"github.com/reprise-io/reprise/internal/report"
)

// errSignal ends what a signal would end.
var errSignal = errors.New("interrupted")

// hangs is after how long something that should have ended counts as hanging.
const hangs = 10 * time.Minute

// replica is one process of a run.
type replica struct {
	t     *testing.T
	stop  context.CancelCauseFunc
	ready chan struct{}
	ended chan struct{}

	report *report.Report // these two once it has ended
	err    error
}

// start starts a process, which is ended with the test.
func (s *stand) start(o replay.Options) *replica {
	s.t.Helper()
	limit, over := context.WithTimeout(s.t.Context(), hangs)
	ctx, stop := context.WithCancelCause(limit)
	p := &replica{t: s.t, stop: stop, ready: make(chan struct{}), ended: make(chan struct{})}
	o.Ready = func() { close(p.ready) }
	go func() {
		defer close(p.ended)
		p.report, p.err = replay.Run(ctx, o)
	}()
	s.t.Cleanup(func() {
		stop(nil)
		over()
		<-p.ended
	})
	return p
}

// begins returns when it has partitions and the schedule stands.
func (p *replica) begins() {
	p.t.Helper()
	select {
	case <-p.ready:
	case <-p.ended:
		require.FailNow(p.t, "it has ended before it began", "%v", p.err)
	}
}

// ends returns when it has ended.
func (p *replica) ends() (*report.Report, error) {
	<-p.ended
	return p.report, p.err
}

// finishes returns its report when it has come to the end of the run.
func (p *replica) finishes() *report.Report {
	p.t.Helper()
	r, err := p.ends()
	require.NoError(p.t, err)
	return r
}

// interrupt ends it as a signal does.
func (p *replica) interrupt() *report.Report {
	p.t.Helper()
	p.stop(errSignal)
	r, err := p.ends()
	require.ErrorIs(p.t, err, errSignal)
	require.NotNil(p.t, r, "it was interrupted before it began")
	require.Equal(p.t, "stopped", r.State)
	return r
}

// run replays to the end.
func (s *stand) run(o replay.Options) *report.Report {
	s.t.Helper()
	r := s.start(o).finishes()
	require.Equal(s.t, "finished", r.State)
	return r
}

// runUntil interrupts a run once the target has seen n requests.
func (s *stand) runUntil(g *target, n int, o replay.Options) *report.Report {
	s.t.Helper()
	p := s.start(o)
	s.await(g, n, p)
	return p.interrupt()
}

// live starts a live replay, and returns once it follows the topic.
func (s *stand) live(o replay.Options) *replica {
	s.t.Helper()
	o.Live = true
	p := s.start(o)
	p.begins()
	return p
}

func (s *stand) startAll(n int, o replay.Options) []*replica {
	s.t.Helper()
	all := make([]*replica, n)
	for i := range all {
		all[i] = s.start(o)
	}
	return all
}

// replicas starts as many processes of one run, and returns once all are ready and know of one another.
func (s *stand) replicas(n int, o replay.Options) []*replica {
	s.t.Helper()
	o.WaitReplicas = n
	all := s.startAll(n, o)
	for _, p := range all {
		p.begins()
	}
	// Ready to send is not yet known to others: each says so a moment later, and orders are for those who have.
	require.Eventually(s.t, func() bool { return s.joined(o.Run) == n }, hangs, 20*time.Millisecond)
	return all
}

// joined returns how many processes of a run have told more than that they are about to join it.
func (s *stand) joined(run string) (n int) {
	for _, r := range s.state().Run(run).Current().Replicas() {
		if r.GetState() != control.Joining {
			n++
		}
	}
	return n
}

// finish waits for the end of all, and returns their reports.
func finish(all []*replica) []*report.Report {
	reports := make([]*report.Report, len(all))
	for i, p := range all {
		p.t.Helper()
		reports[i] = p.finishes()
	}
	return reports
}

// await returns when the target has seen n requests. p sends them, or some of them to the end.
func (s *stand) await(g *target, n int, p *replica) {
	s.t.Helper()
	came := g.came(n)
	select {
	case <-came:
		return
	case <-p.ended:
	}
	select {
	case <-came:
	default:
		require.FailNow(s.t, "it has ended", "%d of %d requests have come: %v", len(g.all()), n, p.err)
	}
}
