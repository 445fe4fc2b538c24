package tap

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/sample"
	"github.com/reprise-io/reprise/internal/wire"
)

func TestArgumentsComeBackAsTheyWere(t *testing.T) {
	s := Settings{
		Capture: true, Sample: mustShare(t, "12.5%"), Include: []string{"GET /api/**", `path contains ","`}, Exclude: []string{"/health"},
		RateLimit: 0.25,
	}
	var got Settings
	for _, verb := range verbs() {
		require.NoError(t, got.set(verb, s.argument(verb)), verb)
		require.Equal(t, s.say(verb), got.say(verb))
	}
	require.Equal(t, s, got)
}

func mustShare(t *testing.T, s string) sample.Share {
	t.Helper()
	share, err := sample.ParseShare(s)
	require.NoError(t, err)
	return share
}

func TestSharesAreWrittenAsTheyAreRead(t *testing.T) {
	for in, want := range map[string]string{
		"10%": "10%", "0.1": "10%", "0": "0%", "0.001%": "0.001%", "33.3333%": "33.3333%", "100%": "100%", "1e-4%": "0.0001%",
	} {
		share := mustShare(t, in)
		require.Equal(t, want, share.String(), in)
		again := mustShare(t, share.String())
		require.InEpsilon(t, float64(share)+1, float64(again)+1, 1e-6)
	}
}

func TestBadArgumentsChangeNothing(t *testing.T) {
	before := everything()
	before.Include = []string{"GET"}
	for _, bad := range [][2]string{
		{"sample", "200%"},
		{"sample", ""},
		{"capture", "maybe"},
		{"capture", ""},
		{"include", "GET /"},
		{"include", `["stat == 1"]`},
		{"exclude", `[""]`},
		{"exclude", `[1]`},
		{"rate-limit", "-1"},
		{"rate-limit", "NaN"},
		{"rate-limit", "Inf"},
		{"rate-limit", "x"},
		{"frobnicate", "1"},
		{"", ""},
		{"reset", ""},
	} {
		s := before
		err := s.set(bad[0], bad[1])
		require.Equal(t, fault.Usage, fault.Code(err), bad)
		require.Equal(t, before, s)
	}
	many := make([]string, maxFilters+1)
	for i := range many {
		many[i] = "GET"
	}
	require.Error(t, new(Settings).set("include", listArgument(many)))
	require.Error(t, (&Settings{RateLimit: math.NaN()}).Check())
	require.Error(t, (&Settings{Exclude: []string{"/\xff"}}).Check(), "a report could not tell it")
}

func TestCaptureOffCountsAndKeepsNothing(t *testing.T) {
	k := &keeper{}
	off := everything()
	off.Capture = false
	p := runWith(t, off, PipelineConfig{Redactor: shout{}}, k, []wire.Captured{exchange("GET", "/a", "s"), exchange("GET", "/b", "s")})
	p.Shed("memory", 3)
	p.Shed("marked", 1)
	require.Empty(t, k.records)
	require.Equal(t, map[string]uint64{"capture_off": 5, "marked": 1}, p.counters.filtered.snapshot())
	r := p.Counters().Report()
	require.EqualValues(t, 6, r.GetSeen())
	require.EqualValues(t, 6, r.GetFiltered())
	require.Empty(t, r.GetDropped())
}

func TestWhatWaitsWhenCaptureIsSwitchedOffIsLeftOut(t *testing.T) {
	cfg := PipelineConfig{Writer: &keeper{}, Budget: NewBudget(1 << 20)}
	p := NewPipeline(cfg)
	p.apply(compiled(t, everything()))
	p.cfg.Budget.TryAcquire(1000)
	p.Offer([]wire.Captured{exchange("GET", "/a", "s")})
	p.apply(new(inForce))
	w := worker{p: p}
	batch, _ := p.take()
	w.handle(batch)
	require.Zero(t, p.cfg.Budget.Used())
	require.Equal(t, map[string]uint64{"capture_off": 1}, p.counters.filtered.snapshot())
}

func TestRaisingTheShareKeepsTheSessionsThatWereKept(t *testing.T) {
	kept := func(share string) map[string]bool {
		var batch []wire.Captured
		for i := range 500 {
			batch = append(batch, exchange("GET", "/", fmt.Sprintf("session-%03d", i)))
		}
		k := &keeper{}
		runWith(t, Settings{Capture: true, Sample: mustShare(t, share)}, PipelineConfig{Redactor: shout{}}, k, batch)
		keys := make(map[string]bool)
		for _, r := range k.records {
			keys[string(r.Key)] = true
		}
		return keys
	}
	last := kept("0%")
	require.Empty(t, last)
	for _, share := range []string{"1%", "10%", "50%", "100%"} {
		now := kept(share)
		require.Greater(t, len(now), len(last))
		for session := range last {
			require.True(t, now[session], "%s at %s", session, share)
		}
		last = now
	}
	require.Len(t, last, 500)
}

func TestTheRateIsNotSpentTwice(t *testing.T) {
	s := everything()
	s.RateLimit = 10
	a := compiled(t, s)
	now := time.Now()
	for a.limit.allow(now) {
	}
	s.Sample = mustShare(t, "50%")
	b, err := s.compile(a)
	require.NoError(t, err)
	require.False(t, b.limit.allow(now), "another share does not refill the rate")
	s.RateLimit = 20
	c, err := s.compile(b)
	require.NoError(t, err)
	require.True(t, c.limit.allow(now))
}

func FuzzSet(f *testing.F) {
	for _, verb := range verbs() {
		f.Add(verb, "10%")
		f.Add(verb, `["GET /"]`)
	}
	f.Add("capture", "on")
	f.Fuzz(func(t *testing.T, verb, argument string) {
		before := everything()
		s := before
		if err := s.set(verb, argument); err != nil {
			require.Equal(t, before, s)
			return
		}
		require.NoError(t, s.Check())
		_, err := s.compile(nil)
		require.NoError(t, err)
		s.proto()
	})
}
