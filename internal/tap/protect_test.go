package tap

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/meter"
	"github.com/reprise-io/reprise/internal/wire"
)

// strained is a protector whose process uses what a test says.
type strained struct {
	*protector
	budget   *Budget
	pipeline *Pipeline
	logs     bytes.Buffer

	mu    sync.Mutex
	share float64
	use   meter.Use
	err   error
	trims int
}

func newStrained(t *testing.T, o Options) *strained {
	t.Helper()
	s := &strained{budget: NewBudget(1 << 20)}
	o.Logger, o.Bounds = slog.New(slog.NewTextHandler(&s.logs, nil)), meter.Bounds{CPUs: 2, Quota: true, Memory: 1 << 30}
	s.pipeline = NewPipeline(PipelineConfig{Budget: s.budget, Writer: new(keeper), Logger: o.Logger})
	o.Settings = everything()
	b, err := newBoard(o, [16]byte{1}, s.pipeline.apply, s.pipeline.release)
	require.NoError(t, err)
	s.protector = newProtector(o, s.pipeline, b)
	s.trim = func() { s.trims++ }
	s.measure = func() (meter.Use, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.use.CPU += time.Duration(s.share * 2 * float64(time.Second))
		return s.use, s.err
	}
	return s
}

// uses says what the process uses from now on.
func (s *strained) uses(share float64, resident int64, err error) {
	s.mu.Lock()
	s.share, s.use.Resident, s.err = share, resident, err
	s.mu.Unlock()
}

func (s *strained) metrics(t *testing.T) map[string]float64 {
	t.Helper()
	reg, got := prometheus.NewRegistry(), map[string]float64{}
	require.NoError(t, s.register(reg))
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "reprise_tap_")
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return got
}

func TestTheTapProtectsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit, err := ParseMaxCPU("50%")
		require.NoError(t, err)
		s := newStrained(t, Options{MaxCPU: limit, MaxRSS: MaxRSS{bytes: 100 << 20}})
		ctx, stop := context.WithCancel(t.Context())
		running := start(ctx, s.run)
		s.uses(0.4, 1<<20, nil)
		time.Sleep(time.Minute)
		require.False(t, s.budget.Shut())

		s.uses(0.9, 1<<20, nil)
		time.Sleep(10 * time.Second)
		require.True(t, s.budget.Shut())
		require.Equal(t, causeCPU, s.report().GetCause())
		require.InDelta(t, 0.5, s.report().GetLimit(), 0)
		c := exchange("GET", "/", "s")
		require.True(t, s.budget.TryAcquire(c.Bytes))
		s.pipeline.Offer([]wire.Captured{c})
		s.pipeline.Shed(reasonProtection, 2)
		require.Equal(t, map[string]uint64{reasonProtection: 3}, s.pipeline.Counters().Report().GetDropped())
		require.Zero(t, s.pipeline.Counters().Report().GetPending())
		require.Zero(t, s.budget.Used())
		m := s.metrics(t)
		require.InDelta(t, 1, m["self_protection_off cpu"], 0)
		require.InDelta(t, 1, m["self_protection_total cpu"], 0)
		require.InDelta(t, 0, m["self_protection_total memory"], 0)
		require.InDelta(t, 0.9, m["cpu_share"], 0.01)
		require.InDelta(t, 0.5, m["cpu_max_share"], 0)

		s.uses(0.1, 1<<20, nil)
		time.Sleep(16 * time.Second)
		require.False(t, s.budget.Shut())
		require.Nil(t, s.report())
		require.InDelta(t, 0, s.metrics(t)["self_protection_off cpu"], 0)

		s.uses(0.1, 101<<20, nil)
		time.Sleep(25 * time.Second)
		require.True(t, s.budget.Shut())
		require.Equal(t, causeMemory, s.report().GetCause())
		stop()
		require.NoError(t, running.stop())
		require.Equal(t, 3, s.trims, "what is not used is given back, at once and every ten seconds")
		for _, part := range []string{
			"CAPTURE SWITCHED ITSELF OFF", "because_of=cpu", `limit="50% of 2 CPUs"`, "below 40% of 2 CPUs for 10s", "tap set --sample 10%",
			"CAPTURE SWITCHED ITSELF ON AGAIN", "was_off_by=cpu", "because_of=memory", `value="101.0 MiB"`, "for 20s", "--memory-max",
		} {
			require.Contains(t, s.logs.String(), part)
		}
	})
}

func TestWhoeverSwitchesCaptureOffWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrained(t, Options{MaxRSS: MaxRSS{bytes: 100 << 20}})
		running := start(t.Context(), s.run)
		s.uses(0, 200<<20, nil)
		time.Sleep(3 * time.Second)
		require.True(t, s.budget.Shut())
		off := everything()
		off.Capture = false
		s.pipeline.apply(compiled(t, off))
		s.pipeline.Shed(reasonProtection, 1) // of before
		require.EqualValues(t, 1, s.pipeline.Counters().Report().GetFiltered(), "what counts is that nobody wanted it")
		time.Sleep(3 * time.Second)
		require.False(t, s.budget.Shut())
		require.Nil(t, s.report())

		s.pipeline.apply(compiled(t, everything())) // tap set --capture on does not overrule the guard
		time.Sleep(3 * time.Second)
		require.True(t, s.budget.Shut())
		require.NoError(t, running.stop())
		require.Contains(t, s.logs.String(), "off by command or configuration now")
	})
}

func TestATapThatCannotMeasureItselfGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrained(t, Options{MaxRSS: MaxRSS{bytes: 100 << 20}})
		s.uses(0, 200<<20, errors.New("no /proc"))
		running := start(t.Context(), s.run)
		time.Sleep(time.Minute)
		require.False(t, s.budget.Shut())
		require.NoError(t, running.stop())
		require.Equal(t, 1, strings.Count(s.logs.String(), "CANNOT MEASURE ITSELF"))
	})
}

func TestLimitsAreReadAndRefused(t *testing.T) {
	quota, free := meter.Bounds{CPUs: 0.5, Quota: true, Memory: 1000}, meter.Bounds{CPUs: 4}
	size := func(s string) (int64, error) {
		switch s {
		case "512MiB":
			return 512 << 20, nil
		case "50":
			return 50, nil
		}
		return 0, errors.New("bad")
	}
	for text, want := range map[string][2]float64{"auto": {0.9, 0}, "off": {0, 0}, "50%": {0.5, 0.5}, "100%": {1, 1}} {
		m, err := ParseMaxCPU(text)
		require.NoError(t, err)
		require.Equal(t, want, [2]float64{m.of(quota), m.of(free)}, text)
	}
	for text, want := range map[string][2]int64{"auto": {900, 0}, "off": {0, 0}, "50%": {500, 0}, "512MiB": {512 << 20, 512 << 20}} {
		m, err := ParseMaxRSS(text, size)
		require.NoError(t, err)
		require.Equal(t, want, [2]int64{m.of(quota), m.of(free)}, text)
	}
	for _, bad := range []string{"", "0%", "-1%", "101%", "NaN%", "50", "x", "%"} {
		_, err := ParseMaxCPU(bad)
		require.ErrorContains(t, err, "bad --max-cpu", bad)
		_, err = ParseMaxRSS(bad, size)
		require.ErrorContains(t, err, "bad --max-rss", bad)
	}
}
