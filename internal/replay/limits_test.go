package replay_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/traffic"
)

func someBreaker() *fire.Breaker {
	b := fire.DefaultBreaker()
	b.Wait, b.Longest = 200*time.Millisecond, 5*time.Second
	return &b
}

// A target that answers nothing but 503 is left alone but for the probes, and gets everything once it is well.
func TestASickTargetIsLeftAloneAndGetsEverythingInTheEnd(t *testing.T) {
	t.Parallel()
	for name, speed := range map[string]float64{"max": 0, "paced": 100} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, 3, func(t *testing.T, s *stand, g *target) {
				const n, atATime = 2000, 16
				all := s.some(n, 20*time.Millisecond)
				var left atomic.Int64 // so many probes are answered with 503 before it is well
				var sick atomic.Int64
				left.Store(20 + 8)
				g.answers(func(w http.ResponseWriter, _ *http.Request) bool {
					if left.Add(-1) < 0 {
						return false
					}
					sick.Add(1)
					w.WriteHeader(http.StatusServiceUnavailable)
					return true
				})
				o := s.options(g)
				o.Profile, o.Concurrency, o.Breaker = schedule.ConstantSpeed(speed), atATime, someBreaker()
				o.Breaker.Longest = o.Breaker.Wait
				r := s.run(o)

				require.EqualValues(t, n, r.Fired, "none is lost")
				got := g.byID()
				require.Len(t, got, n)
				for _, x := range all {
					require.Equal(t, 1, got[x.ID], "none is sent twice")
				}
				b := r.Limits.Breaker
				require.EqualValues(t, 1, b.OpenedByErrors)
				require.False(t, b.Open)
				require.Positive(t, b.OpenMs)
				require.GreaterOrEqual(t, b.Probes, int64(3))
				require.Equal(t, sick.Load(), r.Statuses["503"])
			})
		})
	}
}

// longestSilence returns the longest time in which nothing arrived.
func (g *target) longestSilence() (longest time.Duration) {
	all := g.all()
	for i := 1; i < len(all); i++ {
		longest = max(longest, all[i].at.Sub(all[i-1].at))
	}
	return longest
}

func TestRetryAfterHoldsEverythingBack(t *testing.T) {
	t.Parallel()
	inBubble(t, 2, func(t *testing.T, s *stand, g *target) {
		s.some(400, 5*time.Millisecond)
		var came atomic.Int64
		g.answers(func(w http.ResponseWriter, _ *http.Request) bool {
			if came.Add(1) != 100 {
				return false
			}
			w.Header().Set("Retry-After", "3")
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		})
		o := s.options(g)
		o.Concurrency, o.Breaker = 4, someBreaker()
		r := s.run(o)
		require.EqualValues(t, 400, r.Fired)
		require.GreaterOrEqual(t, g.longestSilence(), 2900*time.Millisecond)
		require.EqualValues(t, 1, r.Limits.Breaker.OpenedByRetryAfter)
		require.GreaterOrEqual(t, r.Limits.Breaker.OpenMs, 2900.0)
		require.Contains(t, r.LimitedBy, "target (breaker open ")
	})
}

// Time in which nothing can go is not time that a request waits for those before it.
func TestAnOpenBreakerKeepsTheOrder(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(t *testing.T, s *stand, g *target) {
		start := time.Now().Add(-time.Minute)
		all := make([]*traffic.Exchange, 30)
		for i := range all {
			all[i] = s.exchange(start.Add(time.Duration(i) * 20 * time.Millisecond)) // answered before the next one
			all[i].Session = []byte("one user")
		}
		s.write(all...)
		var came atomic.Int64
		g.answers(func(w http.ResponseWriter, _ *http.Request) bool {
			if came.Add(1) != 3 {
				return false
			}
			w.Header().Set("Retry-After", "5")
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		})
		o := s.options(g)
		o.Breaker, o.OrderWait = someBreaker(), 3*time.Second
		r := s.run(o)
		require.EqualValues(t, len(all), r.Fired)
		require.GreaterOrEqual(t, g.longestSilence(), 4900*time.Millisecond)
		arrived := g.all()
		for i, x := range all {
			require.Equal(t, x.ID, arrived[i].id)
		}
	})
}

// An end does not wait for the target, and what waited for it is fired by who resumes.
func TestAStopWhileTheBreakerIsOpenLosesNothing(t *testing.T) {
	t.Parallel()
	inBubble(t, 2, func(t *testing.T, s *stand, g *target) {
		const n = 500
		all := s.some(n, 5*time.Millisecond)
		var well atomic.Bool
		g.answers(func(w http.ResponseWriter, _ *http.Request) bool {
			if well.Load() {
				return false
			}
			w.Header().Set("Retry-After", "30")
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		})
		o := s.options(g)
		o.Concurrency, o.Breaker = 4, someBreaker()
		r := s.runUntil(g, 1, o)
		require.Less(t, r.Fired, int64(n))
		well.Store(true)
		again := s.run(o)
		require.EqualValues(t, n, r.Fired+again.Fired)
		got := g.byID()
		for _, x := range all {
			require.NotZero(t, got[x.ID])
		}
	})
}

// Whoever sees too many errors stops all replicas; the same command goes on later.
func TestTooManyErrorsStopAllReplicas(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 4)
	const n = 3000
	s.some(n, 20*time.Millisecond)
	var well atomic.Bool
	g.answers(func(w http.ResponseWriter, _ *http.Request) bool {
		if well.Load() {
			return false
		}
		w.WriteHeader(http.StatusBadGateway)
		return true
	})
	o := s.options(g)
	o.Profile = schedule.ConstantSpeed(1)
	o.WaitReplicas = 2
	rate := fire.DefaultMaxErrorRate()
	lone := o
	lone.MaxErrorRate = &rate // only one of them looks
	for _, p := range []*replica{s.start(o), s.start(lone)} {
		r, err := p.ends()
		require.Error(t, err)
		require.Equal(t, fault.Finding, fault.Code(err), "%v", err)
		require.Equal(t, "stopped", r.State)
		require.Contains(t, r.StoppedBy, "requests failed within 30s, more than --max-error-rate 5%/30s")
		require.Less(t, r.Fired, int64(n))
	}
	well.Store(true)
	lone.WaitReplicas, lone.MaxErrorRate = 0, nil
	before := len(g.byID())
	require.Less(t, before, n)
	s.runUntil(g, len(g.all())+20, lone) // the same command goes on
	require.Greater(t, len(g.byID()), before)
}
