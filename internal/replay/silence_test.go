package replay_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/report"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// refuses is a machine on which nothing listens at the port.
func refuses(context.Context, string, string) (net.Conn, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

func TestARunOfWhichNothingIsAnsweredFails(t *testing.T) {
	t.Parallel()
	inBubble(t, 3, func(t *testing.T, s *stand, g *target) {
		s.some(30, time.Millisecond)
		o := s.options(g)
		o.Dialer = refuses
		for name, c := range map[string]struct {
			failOn []string
			code   int
			says   string
		}{
			"alone":   {nil, fault.Failure, "none of 30 requests had an answer: connect refused 30"},
			"held":    {[]string{"missing > 0"}, fault.Failure, "none of 30 requests had an answer: connect refused 30"},
			"crossed": {[]string{"error_rate > 1%"}, fault.Finding, "error_rate 100 % > 1%"},
		} {
			o.Run = name
			failOn(t, &o, c.failOn...)
			r, err := s.start(o).ends()
			require.ErrorContains(t, err, c.says, name)
			require.Equal(t, c.code, fault.Code(err), name)
			require.Equal(t, "finished", r.State, name)
			require.Equal(t, "none of 30 requests had an answer: connect refused 30", r.Failure, name)
			require.Equal(t, "target ("+r.Failure+")", r.LimitedBy, name)
			stored, err := report.Parse(s.state().Run(name).Current().End.GetReport())
			require.NoError(t, err)
			require.Equal(t, r.Failure, stored.Failure, "in the run's record too")
			var text bytes.Buffer
			require.NoError(t, r.Text(&text))
			require.Contains(t, text.String(), "limited by target (none of 30", name)
			require.Contains(t, text.String(), map[int]string{fault.Failure: "1: the target", fault.Finding: "3: error_rate"}[c.code], name)
		}
	})
}

// All processes of a run say the same: one that sent nothing, or whose requests alone had no answer, has not failed if others had answers.
func TestOneAnswerInAllProcessesIsEnough(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(t *testing.T, s *stand, g *target) {
		s.some(10, time.Millisecond)
		other := func(run string, failed uint64) {
			a := control.Author{Writer: "other", Time: time.Now()}
			s.tell(a.Tally(&reprisev1.RunTally{Run: run, Generation: 1, Sent: 5, Failed: map[string]uint64{"timeout": failed}}))
			s.tell(a.Replica(&reprisev1.ReplicaReport{Run: run, Generation: 1, State: "finished", Final: true, Sent: 5}))
		}
		o := s.options(g)
		o.Run, o.Dialer = "enough", refuses
		other(o.Run, 4)
		r := s.run(o)
		require.Empty(t, r.Failure)
		require.Contains(t, r.LimitedBy, "target (none of 10 requests", "of this process")

		o.Run = "none"
		other(o.Run, 5)
		r, err := s.start(o).ends()
		require.ErrorContains(t, err, "none of 15 requests had an answer: connect refused 10, timeout 5")
		require.Equal(t, fault.Failure, fault.Code(err))
		require.Equal(t, 2, r.Processes)

		o.Run, o.Filter = "idle", []string{"DELETE /**"}
		other(o.Run, 5)
		_, err = s.start(o).ends()
		require.ErrorContains(t, err, "none of 5 requests", "as the other one says")

		o.Run = "unwanted"
		require.Empty(t, s.run(o).Failure, "nothing was sent")
	})
}

// Live goes on behind a target that is down, and says so once; it has failed if that was all there was.
func TestLiveWarnsOfATargetThatAnswersNothing(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(t *testing.T, s *stand, g *target) {
		o := s.options(g)
		o.Run, o.Live, o.Duration, o.Lag = "live", true, 40*time.Second, time.Second
		var up atomic.Bool
		o.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
			if up.Load() {
				return s.dialer(ctx, network, address)
			}
			return refuses(ctx, network, address)
		}
		live := func() (*report.Report, string, error) {
			var said bytes.Buffer
			o.Logger = slog.New(slog.NewTextHandler(&said, nil))
			p := s.start(o)
			p.begins()
			for i := range 30 { // one a second
				s.write(s.exchange(time.Now()))
				time.Sleep(time.Second)
				if i == 15 {
					up.Store(o.Run == "live")
				}
			}
			r, err := p.ends()
			return r, said.String(), err
		}
		r, said, err := live()
		require.NoError(t, err)
		require.Positive(t, r.Fired)
		require.Equal(t, 1, bytes.Count([]byte(said), []byte("answers nothing")), said)
		require.Equal(t, 1, bytes.Count([]byte(said), []byte("answers again")), said)

		up.Store(false)
		o.Run = "down"
		r, said, err = live()
		require.ErrorContains(t, err, "had an answer: connect refused")
		require.Equal(t, fault.Failure, fault.Code(err))
		require.Contains(t, said, "nothing listens at that port")
		require.Contains(t, r.LimitedBy, "target (none of")
	})
}
