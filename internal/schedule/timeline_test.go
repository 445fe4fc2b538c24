package schedule

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) // captured
	nine = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)  // replayed
)

func timeline(t *testing.T, profile string) Timeline {
	t.Helper()
	p, err := ParseProfile(profile)
	require.NoError(t, err)
	return NewTimeline(Base{Capture: noon, Wall: nine}, p)
}

func after(d time.Duration) time.Time { return nine.Add(d) }

// due is when what was captured so long after noon is sent, after nine.
func due(t *testing.T, l Timeline, captured time.Duration) time.Duration {
	t.Helper()
	at, standing := l.Due(noon.Add(captured))
	require.Equal(t, Scheduled, standing, "captured %s after noon", captured)
	return at.Sub(nine)
}

func TestOneSpeedDividesDistances(t *testing.T) {
	for _, row := range []struct {
		speed          float64
		captured, want time.Duration // after the base
	}{
		{2, 0, 0},
		{2, 10 * time.Second, 5 * time.Second},
		{0.5, 10 * time.Second, 20 * time.Second},
		{2, -time.Minute, -30 * time.Second},
		{3, 3 * 24 * time.Hour, 24 * time.Hour}, // no drift over a day
		{1e-9, 1000 * time.Hour, math.MaxInt64}, // slower than time can hold
	} {
		at, standing := NewTimeline(Base{Capture: noon, Wall: nine}, ConstantSpeed(row.speed)).Due(noon.Add(row.captured))
		require.Equal(t, Scheduled, standing)
		require.WithinDuration(t, after(row.want), at, 1, "%v at %v×", row.captured, row.speed)
	}
	at, _ := timeline(t, "1").Due(noon.Add(1000*time.Hour + 1))
	require.Equal(t, after(1000*time.Hour+1), at, "as captured, to the nanosecond")
}

func TestCommandsChangeTheTimelineFromTheirMomentOn(t *testing.T) {
	l := timeline(t, "1").Pause(after(10 * time.Second))
	require.Equal(t, 9*time.Second, due(t, l, 9*time.Second), "what was due before is so still")
	_, standing := l.Due(noon.Add(10 * time.Second))
	require.Equal(t, Held, standing)
	_, paused := l.Speed(after(11 * time.Second))
	require.True(t, paused)
	require.Equal(t, noon.Add(10*time.Second), l.Capture(after(time.Hour)), "captured time stands still")

	l = l.Resume(after(40 * time.Second))
	require.Equal(t, 9*time.Second, due(t, l, 9*time.Second))
	require.Equal(t, 40*time.Second, due(t, l, 10*time.Second))
	require.Equal(t, 45*time.Second, due(t, l, 15*time.Second))

	l = l.SetSpeed(after(50*time.Second), 5) // at 20 s of captured time
	require.Equal(t, 49*time.Second, due(t, l, 19*time.Second))
	require.Equal(t, 51*time.Second, due(t, l, 25*time.Second))

	l = l.Seek(after(60*time.Second), noon.Add(10*time.Minute)) // from 70 s
	require.Equal(t, 58*time.Second, due(t, l, 60*time.Second))
	for _, d := range []time.Duration{70 * time.Second, 10*time.Minute - 1} {
		_, standing = l.Due(noon.Add(d))
		require.Equal(t, Passed, standing)
	}
	require.Equal(t, 61*time.Second, due(t, l, 10*time.Minute+5*time.Second))
	require.Equal(t, l, l.Seek(after(65*time.Second), noon), "nothing leads back")

	l = l.SetSpeed(after(70*time.Second), 0)
	require.True(t, l.IsMax())
	at, standing := l.Due(noon.Add(20 * time.Minute))
	require.Equal(t, Free, standing)
	require.Equal(t, after(70*time.Second), at)
	require.Equal(t, l, l.SetSpeed(after(80*time.Second), 2), "nor from as fast as it can")
	require.True(t, l.Pause(after(80*time.Second)).Resume(after(90*time.Second)).IsMax())
}

func TestPauseKeepsWhatWasToCome(t *testing.T) {
	l := timeline(t, "1/10s,1..3/20s,4")
	require.Equal(t, 10*time.Second, due(t, l, 10*time.Second))
	require.Equal(t, 30*time.Second, due(t, l, 50*time.Second), "20 s at 2 in the mean")
	require.Equal(t, 31*time.Second, due(t, l, 54*time.Second))
	require.Equal(t, 20*time.Second, due(t, l, 25*time.Second), "half of the ramp: 10 s at 1.5 in the mean")

	p := l.Pause(after(20 * time.Second)).Resume(after(100 * time.Second))
	require.Equal(t, 20*time.Second-1, due(t, p, 25*time.Second-2).Round(2)-1)
	require.Equal(t, 110*time.Second, due(t, p, 50*time.Second), "the other half")
	require.Equal(t, 111*time.Second, due(t, p, 54*time.Second))
	speed, _ := p.Speed(after(105 * time.Second))
	require.InDelta(t, 2.5, speed, 1e-9)

	p = l.Pause(after(20*time.Second)).SetSpeed(after(50*time.Second), 2).Resume(after(100 * time.Second))
	require.Equal(t, 101*time.Second, due(t, p, 27*time.Second))
	p = l.Pause(after(20*time.Second)).Seek(after(50*time.Second), noon.Add(time.Hour)).Resume(after(100 * time.Second))
	_, standing := p.Due(noon.Add(time.Minute))
	require.Equal(t, Passed, standing)
	require.Equal(t, 100*time.Second, due(t, p, time.Hour))
}

func TestAMomentBeforeTheLastChangeIsThatOne(t *testing.T) {
	l := timeline(t, "2").SetSpeed(after(-time.Hour), 4) // before it began
	require.Equal(t, time.Second, due(t, l, 4*time.Second))
	l = l.Pause(after(10 * time.Second)).Resume(after(5 * time.Second))
	require.Equal(t, 11*time.Second, due(t, l, 44*time.Second), "a pause of no length")
	l = l.Pause(after(10 * time.Second))
	_, standing := l.Due(noon.Add(40 * time.Second))
	require.Equal(t, Held, standing)
	require.Equal(t, 9*time.Second, due(t, l, 36*time.Second))
}

func TestTheZeroTimelineHoldsEverything(t *testing.T) {
	var l Timeline
	_, standing := l.Due(noon)
	require.Equal(t, Held, standing)
	for _, same := range []Timeline{l.Pause(nine), l.Resume(nine), l.SetSpeed(nine, 2), l.Seek(nine, noon)} {
		require.Equal(t, l, same)
	}
	require.Zero(t, l.Capture(nine))
	require.Zero(t, l.Begins())
}

// Whatever is done to a timeline: due times keep the order of capture times, a moment's captured time is due at it, and
// nothing that was due before a change moves.
func TestTimelineProperties(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	profiles := []string{"1", "0.5", "5", "1..5/1m", "2/10s,2..0.1/30s,7", "5..1/5s,3/1s"}
	for range 3000 {
		l := timeline(t, profiles[random.IntN(len(profiles))])
		at := nine
		for range random.IntN(8) {
			at = at.Add(time.Duration(random.IntN(40_000)) * time.Millisecond)
			was := l
			switch random.IntN(4) {
			case 0:
				l = l.Pause(at)
			case 1:
				l = l.Resume(at)
			case 2:
				l = l.SetSpeed(at, []float64{0.3, 1, 2, 10}[random.IntN(4)])
			case 3:
				l = l.Seek(at, l.Capture(at).Add(time.Duration(random.IntN(60_000)-10_000)*time.Millisecond))
			}
			for range 10 {
				c := noon.Add(time.Duration(random.Int64N(int64(5 * time.Minute))))
				before, standing := was.Due(c)
				if standing == Scheduled && before.Before(at.Add(-time.Microsecond)) {
					now, standing := l.Due(c)
					require.Equal(t, Scheduled, standing)
					require.WithinDuration(t, before, now, time.Microsecond)
				}
			}
		}
		var last time.Time
		for d := time.Duration(0); d < 5*time.Minute; d += 700 * time.Millisecond {
			due, standing := l.Due(noon.Add(d))
			if standing == Held {
				break
			}
			if standing == Passed {
				continue
			}
			require.False(t, due.Before(last.Add(-time.Microsecond)), "%v after %v", due, last)
			last = due
			require.WithinDuration(t, noon.Add(d), l.Capture(due), 50*time.Microsecond)
		}
	}
}

func TestParseProfile(t *testing.T) {
	for s, want := range map[string]Profile{
		"2":                    {{2, 2, 0}},
		"max":                  {{0, 0, 0}},
		"1..5/10m":             {{1, 5, 10 * time.Minute}},
		"1/5m, 1..5/10m ,2.5x": {{1, 1, 5 * time.Minute}, {1, 5, 10 * time.Minute}, {2.5, 2.5, 0}},
		"5/90s":                {{5, 5, 90 * time.Second}},
	} {
		got, err := ParseProfile(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got)
		again, err := ParseProfile(got.String())
		require.NoError(t, err, got)
		require.Equal(t, got, again)
	}
	for _, s := range []string{
		"", "0", "1..5", "1/", "1/5", "1/-5m", "max/5m", "1..max/5m", "1,2", "1/5m,", ",", "1..2..3/1m", "/5m", "a/5m",
	} {
		_, err := ParseProfile(s)
		require.Error(t, err, s)
	}
	_, err := ParseProfile("1..5")
	require.ErrorContains(t, err, "has no time in which to get there")
	speed, ok := Profile{{5, 5, time.Minute}}.Constant()
	require.True(t, ok)
	require.Equal(t, 5.0, speed)
	_, ok = Profile{{1, 5, time.Minute}}.Constant()
	require.False(t, ok)
}

func FuzzParseProfile(f *testing.F) {
	for _, s := range []string{"1..5/10m", "1/5m,1..5/10m,2", "max", "1e300..1e-300/1ns"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseProfile(s)
		if err != nil {
			return
		}
		again, err := ParseProfile(p.String())
		require.NoError(t, err, p)
		require.Equal(t, p, again)
		l := NewTimeline(Base{Capture: noon, Wall: nine}, p)
		l = l.Pause(after(time.Second)).Seek(after(2*time.Second), noon.Add(time.Hour)).Resume(after(time.Minute)).SetSpeed(after(time.Hour), 3)
		l.Due(noon.Add(time.Minute))
		l.Capture(after(90 * time.Second))
	})
}

// What is due already is sent while the rest is put off, so that is no pause; and whatever is ordered meanwhile, the run goes on.
func TestPuttingOffIsNoPause(t *testing.T) {
	l := timeline(t, "1").PutOff(after(10*time.Second), 5*time.Second)
	require.Equal(t, 9*time.Second, due(t, l, 9*time.Second))
	require.Equal(t, 15*time.Second, due(t, l, 10*time.Second))
	require.Equal(t, 17*time.Second, due(t, l, 12*time.Second))
	speed, paused := l.Speed(after(12 * time.Second))
	require.False(t, paused)
	require.InDelta(t, 1, speed, 0)
	require.Equal(t, noon.Add(10*time.Second), l.Capture(after(12*time.Second)))
	require.Equal(t, noon.Add(15*time.Second), l.Capture(after(20*time.Second)))

	resumed := l.Pause(after(12 * time.Second)).Resume(after(20 * time.Second))
	require.Equal(t, 21*time.Second, due(t, resumed, 11*time.Second))
	require.Equal(t, 13*time.Second, due(t, l.SetSpeed(after(12*time.Second), 2), 12*time.Second))
	require.Equal(t, 16*time.Second, due(t, l.PutOff(after(12*time.Second), 4*time.Second), 10*time.Second))
	require.Equal(t, 13*time.Second, due(t, l.Seek(after(12*time.Second), noon.Add(30*time.Second)), 31*time.Second))

	ramp := timeline(t, "1..3/20s").PutOff(after(10*time.Second), time.Minute)
	require.Equal(t, 70*time.Second, due(t, ramp, 15*time.Second))
	speed, _ = ramp.Speed(after(80 * time.Second))
	require.InDelta(t, 3, speed, 1e-9, "what was to come is put off too")

	require.True(t, timeline(t, "1").Pause(after(time.Second)).PutOff(after(2*time.Second), time.Second).Paused())
	at, standing := timeline(t, "max").PutOff(after(time.Second), time.Hour).Due(noon.Add(time.Minute))
	require.Equal(t, Free, standing)
	require.Equal(t, nine, at)
}
