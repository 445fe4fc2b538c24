package replay_test

import (
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/replay"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/traffic"
)

// ends replays until the run ends by itself with an error of that code.
func (s *stand) ends(o replay.Options, code int) (*report.Report, error) {
	s.t.Helper()
	r, err := s.start(o).ends()
	require.Error(s.t, err)
	require.Equal(s.t, code, fault.Code(err), err)
	return r, err
}

// recordAtTarget writes n exchanges, of which those from one up to another name the target as the place where they were recorded.
func (s *stand) recordAtTarget(g *target, n, from, to int) {
	s.t.Helper()
	start := time.Now().Add(-time.Minute)
	all := make([]*traffic.Exchange, n)
	for i := range all {
		all[i] = s.exchange(start.Add(time.Duration(i) * 5 * time.Millisecond))
		if i >= from && i < to {
			all[i].Request.Authority = []byte(g.server.Listener.Addr().String())
		}
	}
	s.write(all...)
}

// awaitState waits until every replica of monday is in a state.
func (s *stand) awaitState(state string, replicas int) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		n := 0
		for _, r := range s.state().Run("monday").Current().Replicas() {
			if r.GetState() == state && !r.GetFinal() {
				n++
			}
		}
		return n == replicas
	}, hangs, 50*time.Millisecond)
}

func TestTooMuchRecordedAtTheTargetPausesTheRunOnAllReplicas(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 2)
	s.recordAtTarget(g, 2000, 200, 230)
	o := s.options(g)
	o.Profile, o.WaitReplicas = schedule.ConstantSpeed(1), 2
	both := s.startAll(2, o)
	s.awaitState("paused", 2)
	require.Eventually(t, func() bool { return len(s.state().Run("monday").Current().Orders()) > 0 }, hangs, 20*time.Millisecond,
		"each holds itself before it tells the others")
	before := len(g.all())
	require.Less(t, before, 2000-30)
	order := func(argument string) error {
		_, err := replay.Give(t.Context(), replay.OrderOptions{
			Kafka: s.cfg, Prefix: "test", Run: "monday", Verb: control.VerbResume, Argument: argument, Wait: time.Minute, Writer: "shop-1/ann",
		})
		return err
	}
	address := g.server.Listener.Addr().String()
	require.ErrorContains(t, order(""), "held by a guard")
	require.ErrorContains(t, order("10.0.0.1:80"), "is not the target of run monday")
	require.Len(t, g.all(), before, "nothing was sent meanwhile")

	s.give(control.VerbResume, address)
	for _, p := range both {
		p.finishes()
	}
	require.GreaterOrEqual(t, len(g.byID()), 2000-30)
	require.Equal(t, "finished", s.state().Run("monday").Current().End.GetState())
}

func TestARunThatAGuardHoldsStaysHeldOverARestart(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 1)
	s.recordAtTarget(g, 600, 100, 130)
	o := s.options(g) // at full speed: all is looked at before anybody can say anything
	p := s.start(o)
	s.awaitState("paused", 1)
	require.Contains(t, p.interrupt().StoppedBy, "paused (authority_is_target)")
	before := len(g.all())

	p = s.start(o) // a supervisor's restart
	s.awaitState("paused", 1)
	p.interrupt()
	require.Len(t, g.all(), before, "nothing is sent")

	o.NotProduction = []string{g.server.Listener.Addr().String()} // the same command with the flag
	s.run(o)
	require.GreaterOrEqual(t, len(g.byID()), 600-30)
}

func TestOneForgedHostStopsNothing(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(t *testing.T, s *stand, g *target) {
		s.recordAtTarget(g, 1200, 100, 110)
		r := s.run(s.options(g))
		require.EqualValues(t, 10, r.Refused["authority_is_target"])
		require.EqualValues(t, 1190, r.Fired)
	})
}

func TestMaxTotalEndsTheRunAfterSoMany(t *testing.T) {
	t.Parallel()
	inBubble(t, 3, func(t *testing.T, s *stand, g *target) {
		s.some(300, time.Millisecond)
		o := s.options(g)
		o.MaxTotal = 100
		r, err := s.ends(o, fault.Finding)
		require.ErrorContains(t, err, "--max-total 100 is reached")
		require.EqualValues(t, 100, r.Fired)
		require.Equal(t, "stopped", r.State)
		require.Equal(t, "run monday was stopped: --max-total 100 is reached", r.StoppedBy)
		require.Len(t, g.all(), 100)
		_, _ = s.ends(o, fault.Finding)
		require.Len(t, g.all(), 100, "a restart is no new run")
		o.MaxTotal = 200
		fails(t, g, o, fault.Usage, "max-total", "--restart")
		o.Restart, o.MaxTotal = true, 300
		require.EqualValues(t, 300, s.run(o).Fired, "exactly as many as there are")
	})
}

func TestMaxTotalIsOfAllReplicasTogether(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 4)
	s.some(400, time.Millisecond)
	o := s.options(g)
	o.MaxTotal, o.WaitReplicas, o.Profile = 200, 2, schedule.ConstantSpeed(1)
	for _, p := range s.startAll(2, o) {
		_, err := p.ends()
		require.Equal(t, fault.Finding, fault.Code(err), err)
	}
	require.LessOrEqual(t, len(g.all()), 200)
	require.Greater(t, len(g.all()), 100, "what one has claimed and not used is little")
}

func TestCapsOfRoutesRefuseTheRest(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 2)
	start := time.Now().Add(-time.Minute)
	for i := range 60 {
		x := s.exchange(start.Add(time.Duration(i) * time.Millisecond))
		if i%3 == 0 {
			x.Request.Method, x.Request.Target = []byte("POST"), []byte("/orders")
		}
		s.write(x)
	}
	o := s.options(g)
	o.AllowWrites = []string{"POST /orders"}
	o.Caps = []replay.Cap{{Route: "POST /orders", Most: 7}, {Route: "GET /items/**", Most: 0}, {Route: "/**", Most: 1000}}
	plan, err := replay.MakePlan(t.Context(), o)
	require.NoError(t, err)
	require.EqualValues(t, 7, plan.Fire)
	require.EqualValues(t, 53, plan.Refused["route_cap"])
	r := s.run(o)
	require.EqualValues(t, 7, r.Fired)
	require.EqualValues(t, 53, r.Refused["route_cap"])
	for _, a := range g.all() {
		require.Equal(t, "POST", a.method)
	}
	require.Len(t, g.all(), 7)

	o.Caps = []replay.Cap{{Route: "POST /orders", Most: -1}}
	fails(t, g, o, fault.Usage, "bad cap -1")
	o.Caps = []replay.Cap{{Route: "stat == 1", Most: 1}}
	fails(t, g, o, fault.Usage, "stat")
}

func TestTheKillSwitchStopsAtOnce(t *testing.T) {
	for _, by := range []string{"a signal", "a file"} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			inBubble(t, 2, func(t *testing.T, s *stand, g *target) {
				s.some(2000, 10*time.Millisecond)
				kill := make(chan string, 1)
				o := s.options(g)
				o.Kill, o.Profile, o.KillFile = kill, schedule.ConstantSpeed(1), filepath.Join(t.TempDir(), "kill")
				hung, let := make(chan struct{}), make(chan struct{})
				var once sync.Once
				g.answers(func(http.ResponseWriter, *http.Request) bool {
					if len(g.all()) < 20 {
						return false
					}
					once.Do(func() {
						if by == "a file" {
							require.NoError(t, os.WriteFile(o.KillFile, nil, 0o600))
						} else {
							kill <- "SIGUSR1"
						}
						close(hung)
					})
					<-let // in flight until the switch has worked
					return false
				})
				p := s.start(o)
				<-hung
				// It stops the others at once, and so itself before.
				require.Eventually(t, func() bool {
					orders := s.state().Run("monday").Current().Orders()
					return len(orders) > 0 && orders[len(orders)-1].GetVerb() == "stop"
				}, time.Minute, 20*time.Millisecond)
				fired := 0
				require.Eventually(t, func() bool { // what was on its way has come, and nothing follows
					before := fired
					fired = len(g.all())
					return fired == before
				}, time.Minute, 300*time.Millisecond)
				close(let)
				_, err := p.ends()
				require.ErrorContains(t, err, "kill switch")
				require.Equal(t, fault.Interrupted, fault.Code(err))
				require.Len(t, g.all(), fired, "nothing more")
				require.Less(t, fired, 2000)

				g.answers(nil)
				if by == "a file" {
					fails(t, g, o, fault.Failure, "is there", "remove")
					require.NoError(t, os.Remove(o.KillFile))
				}
				o.Kill = nil
				s.runUntil(g, fired+20, o) // it is resumed
			})
		})
	}
}

func TestTheHandshakeComesBeforeEverything(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 1)
	s.some(20, time.Millisecond)
	o := s.options(g)
	var err error
	o.Handshake, err = fire.ParseHandshake("X-Preprod: yes", "/env")
	require.NoError(t, err)
	_, err = s.ends(o, fault.Usage)
	require.ErrorContains(t, err, "does not answer as pre-production")
	for _, a := range g.all() {
		require.Equal(t, arrival{id: traffic.ID{}, at: a.at, method: "HEAD", path: "/env"}, a)
	}
	require.Nil(t, s.state().Run("monday"))
	g.answers(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("X-Preprod", "yes")
		return false
	})
	require.EqualValues(t, 20, s.run(o).Fired)
}

func TestNamedProductionIsRefused(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 1)
	s.some(3, time.Millisecond)
	o := s.options(g)
	a, err := fire.ParseProduction("127.0.0.0/8", "--production")
	require.NoError(t, err)
	o.Production = []fire.Address{a}
	fails(t, g, o, fault.Usage, "named as production (--production)", "127.0.0.0/8")
	plan, err := replay.MakePlan(t.Context(), o)
	require.NoError(t, err)
	require.False(t, plan.Allowed)
	require.Contains(t, plan.Refusal, "127.0.0.0/8")
}

func TestTheKillSwitchNeedsNoKafka(t *testing.T) {
	t.Parallel()
	inBubble(t, 2, func(t *testing.T, s *stand, g *target) {
		s.some(3000, 10*time.Millisecond)
		kill, under := make(chan string, 1), make(chan struct{}, 1)
		o := s.options(g)
		o.Kill, o.Profile = kill, schedule.ConstantSpeed(1)
		g.answers(func(http.ResponseWriter, *http.Request) bool {
			select {
			case under <- struct{}{}:
			default:
			}
			return false
		})
		p := s.start(o)
		<-under
		s.cluster.Close()
		kill <- "SIGUSR1"
		_, err := p.ends()
		require.ErrorContains(t, err, "kill switch")
		require.Equal(t, fault.Interrupted, fault.Code(err))
		require.Less(t, len(g.all()), 3000)
	})
}
