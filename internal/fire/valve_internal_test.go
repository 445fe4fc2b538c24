package fire

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

// shut reports whether nothing may go at all.
func (v *Valve) shut() bool {
	if v == nil || v.gate.Load()&wide != 0 {
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.breaker.IsOpen()
}

func answer(status int, fields ...string) *Answer {
	res := &traffic.Response{Status: status}
	for i := 0; i+1 < len(fields); i += 2 {
		res.Headers = append(res.Headers, traffic.Field{Name: []byte(fields[i]), Value: []byte(fields[i+1])})
	}
	return &Answer{Response: res}
}

func TestSickIsWhatProductionWasNot(t *testing.T) {
	ok, broken := &traffic.Response{Status: 200, Duration: time.Millisecond}, &traffic.Response{Status: 500}
	slow := &traffic.Response{Status: 200, Duration: time.Minute}
	grpc := func(status string) *Answer { return answer(200, "grpc-status", status) }
	for _, row := range []struct {
		name     string
		answer   *Answer
		recorded *traffic.Response
		want     health
	}{
		{"as recorded", answer(200), ok, well},
		{"not found is the request's doing", answer(404), ok, well},
		{"broke", answer(500), ok, sick},
		{"was broken before", answer(503), broken, unknown},
		{"was broken, is well", answer(200), broken, well},
		{"broke, where production did not answer", answer(502), nil, sick},
		{"refuses the load", answer(429), ok, sick},
		{"gRPC unavailable", grpc("14"), ok, sick},
		{"gRPC not found", grpc("5"), ok, well},
		{"gRPC unavailable before", grpc("14"), grpc("13").Response, unknown},
		{"gone", &Answer{Reason: ConnectRefused}, nil, sick},
		{"closed", &Answer{Reason: Closed}, ok, sick},
		{"closed, as production did", &Answer{Reason: Closed}, nil, unknown},
		{"timeout", &Answer{Reason: Timeout}, ok, sick},
		{"a long poll", &Answer{Reason: Timeout}, slow, unknown},
		{"ours", &Answer{Reason: Canceled}, ok, unknown},
		{"guarded", &Answer{Reason: TargetIsProduction}, ok, unknown},
	} {
		require.Equal(t, row.want, judge(row.answer, row.recorded, time.Second), row.name)
	}
}

// bed fires at a target in fake time.
type bed struct {
	t      *testing.T
	valve  *Valve
	status atomic.Int64
	fields []string
	takes  time.Duration
	hits   atomic.Int64
	group  sync.WaitGroup
}

func newBed(t *testing.T, cfg ValveConfig) *bed {
	t.Helper()
	v, err := NewValve(cfg)
	require.NoError(t, err)
	t.Cleanup(v.Close)
	b := &bed{t: t, valve: v, takes: 10 * time.Millisecond}
	b.status.Store(200)
	return b
}

// fire sees n requests through, in as many goroutines.
func (b *bed) fire(ctx context.Context, n int) {
	for range n {
		b.group.Go(func() {
			p, ok := b.valve.Enter(ctx)
			if !ok {
				return
			}
			b.hits.Add(1)
			status, fields := int(b.status.Load()), b.fields // as it is now
			time.Sleep(b.takes)
			b.valve.Leave(p, answer(status, fields...), &traffic.Response{Status: 200})
		})
	}
}

func TestBreakerOpensProbesAndLetsEverythingThroughInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		breaker := DefaultBreaker()
		var changes atomic.Int64
		b := newBed(t, ValveConfig{Breaker: &breaker, Concurrency: 64, Changed: func() { changes.Add(1) }})
		b.fire(t.Context(), 100)
		b.group.Wait()
		require.False(t, b.valve.shut())

		b.status.Store(503)
		b.fire(t.Context(), 150) // 150 of 250 are more than half
		b.group.Wait()
		require.True(t, b.valve.shut())
		require.EqualValues(t, 250, b.hits.Load())
		began := time.Now()
		_, ok := b.valve.TryEnter()
		require.False(t, ok)

		b.fire(t.Context(), 1000)
		time.Sleep(999 * time.Millisecond)
		require.EqualValues(t, 250, b.hits.Load(), "nothing while it is open")
		require.InDelta(t, time.Millisecond, b.valve.Stats().ProbeIn, float64(20*time.Millisecond))
		time.Sleep(6 * time.Second) // probes at 1 s, 3 s and 7 s
		synctest.Wait()
		require.LessOrEqual(t, b.hits.Load(), int64(250+3*breaker.Probes))
		require.Positive(t, b.hits.Load()-250)

		b.status.Store(200)
		b.group.Wait()
		require.EqualValues(t, 1250, b.hits.Load(), "none is lost")
		s := b.valve.Stats()
		require.False(t, s.Open)
		require.EqualValues(t, 1, s.ByErrors)
		require.EqualValues(t, 1000, s.Held)
		require.GreaterOrEqual(t, s.Probes, int64(4))
		require.Positive(t, s.LongestHeld)
		require.LessOrEqual(t, s.OpenFor, time.Since(began)+time.Second)
		require.GreaterOrEqual(t, changes.Load(), int64(4))
		_, few := b.valve.Probes()
		require.False(t, few)
	})
}

// What has waited comes in more with each answer, not all at once.
func TestBreakerDoesNotCloseWithAStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		breaker := DefaultBreaker()
		b := newBed(t, ValveConfig{Breaker: &breaker, Concurrency: 512})
		b.status.Store(500)
		b.fire(t.Context(), 20)
		b.group.Wait()
		require.True(t, b.valve.shut())
		b.status.Store(200)
		b.fire(t.Context(), 500)
		time.Sleep(time.Second)
		before, came := int64(20), int64(breaker.Probes)
		for before < 520 {
			synctest.Wait()
			now := b.hits.Load()
			require.LessOrEqual(t, now-before, 2*came+2, "at most twice as many as went well")
			before, came = now, max(now-before, 1)
			time.Sleep(b.takes)
		}
		b.group.Wait()
	})
}

func TestRetryAfterIsWaitedForWithinItsBound(t *testing.T) {
	for name, row := range map[string]struct {
		value string
		want  time.Duration
	}{
		"seconds":  {"3", 3 * time.Second},
		"a date":   {"", 4 * time.Second},
		"too long": {"86400", 30 * time.Second},
		"none":     {"soon", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				breaker := DefaultBreaker()
				b := newBed(t, ValveConfig{Breaker: &breaker})
				b.fields = []string{"Retry-After", row.value}
				if name == "a date" {
					b.fields[1] = time.Now().Add(4 * time.Second).UTC().Format(http.TimeFormat)
				}
				b.status.Store(503)
				began := time.Now()
				b.fire(t.Context(), 1) // one is enough: it speaks for the target
				b.group.Wait()
				require.Equal(t, row.want > 0, b.valve.shut())
				b.status.Store(200)
				b.fire(t.Context(), 10)
				b.group.Wait()
				waited := time.Since(began)
				require.GreaterOrEqual(t, waited, row.want)
				require.Less(t, waited, row.want+time.Second)
				s := b.valve.Stats()
				require.Zero(t, s.ByErrors)
				require.Equal(t, row.want > 0, s.ByRetryAfter == 1)
			})
		})
	}
}

// A 429 may be meant for one user: alone it holds nobody up. When most get one, what it asks for counts.
func TestTooManyRequestsOfOneUserDoesNotHoldUpTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		breaker := DefaultBreaker()
		b := newBed(t, ValveConfig{Breaker: &breaker})
		b.fire(t.Context(), 30)
		b.group.Wait()
		b.status.Store(429)
		b.fields = []string{"Retry-After", "7"}
		b.fire(t.Context(), 5)
		b.group.Wait()
		require.False(t, b.valve.shut())
		b.fire(t.Context(), 60)
		b.group.Wait()
		require.True(t, b.valve.shut())
		require.InDelta(t, 7*time.Second, b.valve.Stats().ProbeIn, float64(20*time.Millisecond))
		require.Zero(t, b.valve.Stats().ByRetryAfter)
	})
}

// What was fired before it opened tells nothing of how the target is now.
func TestOldAnswersAreNoProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		breaker := DefaultBreaker()
		b := newBed(t, ValveConfig{Breaker: &breaker})
		var old []Pass
		for range 40 {
			p, ok := b.valve.TryEnter()
			require.True(t, ok)
			old = append(old, p)
		}
		for _, p := range old[:20] {
			b.valve.Leave(p, answer(500), nil)
		}
		require.True(t, b.valve.shut())
		time.Sleep(breaker.Wait)
		synctest.Wait()
		n, few := b.valve.Probes()
		require.True(t, few)
		require.Equal(t, breaker.Probes, n)
		for _, p := range old[20:] {
			b.valve.Leave(p, answer(500), nil)
		}
		require.False(t, b.valve.shut(), "they were fired before")
		p, ok := b.valve.TryEnter()
		require.True(t, ok)
		b.valve.Cancel(p) // nothing was fired under it
		for range breaker.Probes {
			p, ok := b.valve.TryEnter()
			require.True(t, ok)
			b.valve.Leave(p, answer(200), nil)
		}
		require.False(t, b.valve.Stats().Open)
	})
}

func TestWhoWaitsForTheBreakerLeavesWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		breaker := DefaultBreaker()
		b := newBed(t, ValveConfig{Breaker: &breaker, Adaptive: true})
		b.status.Store(500)
		b.fire(t.Context(), 20)
		b.group.Wait()
		require.True(t, b.valve.shut())
		ctx, cancel := context.WithCancel(t.Context())
		b.fire(ctx, 50)
		synctest.Wait()
		cancel()
		b.group.Wait()
		require.EqualValues(t, 20, b.hits.Load())
		b.status.Store(200)
		b.fire(t.Context(), 5)
		b.group.Wait()
		require.EqualValues(t, 25, b.hits.Load(), "the places of those who left are free")
	})
}

func TestTooManyErrorsAreSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rate, err := ParseErrorRate("5%", DefaultMaxErrorRate())
		require.NoError(t, err)
		var said []ErrorCount
		b := newBed(t, ValveConfig{MaxErrorRate: &rate, TooMany: func(c ErrorCount) { said = append(said, c) }})
		b.status.Store(500)
		b.fire(t.Context(), 49)
		b.group.Wait()
		require.Empty(t, said, "too few to tell")
		time.Sleep(rate.Within + rate.Within/windowSlices)
		require.Zero(t, b.valve.Stats().Errors.All, "forgotten")
		b.status.Store(200)
		b.fire(t.Context(), 95)
		b.group.Wait()
		b.status.Store(500)
		b.fire(t.Context(), 5)
		b.group.Wait()
		require.Empty(t, said, "5 % are not above 5 %")
		b.fire(t.Context(), 5)
		b.group.Wait()
		require.Len(t, said, 1)
		require.Equal(t, "5.94 % of 101 requests failed within 30s", said[0].String())
	})
}

// While answers take longer and longer a target is given fewer and fewer requests at a time, and more again when it is well.
func TestAdaptiveLimitFollowsTheTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 60
		b := newBed(t, ValveConfig{Adaptive: true, Concurrency: most})
		ctx, cancel := context.WithCancel(t.Context())
		defer b.group.Wait()
		defer cancel()
		var takes, inside, peak atomic.Int64
		takes.Store(int64(20 * time.Millisecond))
		for range 2 * most {
			b.group.Go(func() {
				for ctx.Err() == nil {
					p, ok := b.valve.Enter(ctx)
					if !ok {
						return
					}
					if n := inside.Add(1); n > peak.Load() {
						peak.Store(n)
					}
					time.Sleep(time.Duration(takes.Load()))
					inside.Add(-1)
					b.valve.Leave(p, answer(200), nil)
				}
			})
		}
		limit := func(after time.Duration) int {
			time.Sleep(after)
			synctest.Wait()
			return b.valve.Stats().Limit
		}
		well := limit(time.Minute)
		for range 20 {
			takes.Store(takes.Load() * 5 / 4)
			limit(time.Second)
		}
		sick := limit(0)
		require.Less(t, sick, well)
		for range 20 {
			takes.Store(takes.Load() * 4 / 5)
			limit(time.Second)
		}
		again := 0 // the limiter tries less now and then, also when all is well
		for range 60 {
			again = max(again, limit(time.Second))
		}
		require.Greater(t, again, sick)
		require.LessOrEqual(t, peak.Load(), int64(most))
		require.LessOrEqual(t, b.valve.Stats().LowestLimit, sick)
		t.Logf("limit %d, sick %d (lowest %d), well again %d", well, sick, b.valve.Stats().LowestLimit, again)
	})
}

func TestWithoutLimitsThereIsNoValve(t *testing.T) {
	v, err := NewValve(ValveConfig{Concurrency: 3})
	require.NoError(t, err)
	require.Nil(t, v)
	p, ok := v.Enter(t.Context())
	require.True(t, ok)
	v.Leave(p, answer(500), nil)
	v.Cancel(p)
	v.Close()
	require.False(t, v.shut())
	require.Zero(t, v.Stats())
}

func TestErrorRatesAreReadAsTheyAreWritten(t *testing.T) {
	unless := DefaultMaxErrorRate()
	for s, want := range map[string]string{
		"5%": "5%/30s", "0.25% / 1m": "0.25%/1m0s", "error_rate > 50%/10s": "50%/10s",
	} {
		r, err := ParseErrorRate(s, unless)
		require.NoError(t, err, s)
		require.Equal(t, want, r.String())
		require.Equal(t, unless.AtLeast, r.AtLeast)
	}
	for _, s := range []string{"", "5", "0%", "100%", "-1%", "NaN%", "+Inf%", "5%/0s", "5%/2h", "5%/x", "error_rate 5%", "rate > 5%", "5%%"} {
		_, err := ParseErrorRate(s, unless)
		require.Error(t, err, s)
	}
	b := DefaultBreaker()
	require.NoError(t, b.Check())
	b.Above = .005
	require.ErrorContains(t, b.Check(), "whole percents")
}

func FuzzErrorRate(f *testing.F) {
	for _, s := range []string{"5%", "error_rate > 50%/10s", "1e-2%/1h", "0x1p-2%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseErrorRate(s, DefaultMaxErrorRate())
		if err != nil {
			return
		}
		require.NoError(t, r.Check(), s)
		if again, err := ParseErrorRate(r.String(), ErrorRate{}); err == nil { // a rate that rounds to 0 is not read again
			require.InDelta(t, r.Above, again.Above, 1e-4)
			require.Equal(t, r.Within, again.Within)
		}
	})
}

func BenchmarkValve(b *testing.B) {
	breaker, rate := DefaultBreaker(), DefaultMaxErrorRate()
	for name, cfg := range map[string]ValveConfig{
		"breaker": {Breaker: &breaker}, "all": {Breaker: &breaker, MaxErrorRate: &rate, Adaptive: true},
	} {
		b.Run(name, func(b *testing.B) {
			v, err := NewValve(cfg)
			require.NoError(b, err)
			defer v.Close()
			a, recorded := answer(200), &traffic.Response{Status: 200}
			for b.Loop() {
				p, _ := v.TryEnter()
				v.Leave(p, a, recorded)
			}
		})
	}
}
