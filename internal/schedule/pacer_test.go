package schedule

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// inBubble runs f with a pacer on the bubble's time, which is exact.
func inBubble(t *testing.T, limit int, hand func(int), f func(ctx context.Context, p *Pacer[int])) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		p := newPacer(limit, hand, start, newTimerSleeper(start))
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { require.NoError(t, p.Run(ctx)) })
		f(ctx, p)
		cancel()
		run.Wait()
	})
}

func TestPacerHandsOverAtTheDueMoment(t *testing.T) {
	var at []time.Time
	inBubble(t, 0, func(int) { at = append(at, time.Now()) }, func(ctx context.Context, p *Pacer[int]) {
		start := time.Now()
		after := func(d time.Duration) Timed[int] { return Timed[int]{Due: start.Add(d)} }
		taken, err := p.Push(ctx, after(30*time.Millisecond), after(time.Microsecond), after(20*time.Second))
		require.NoError(t, err)
		require.Equal(t, 3, taken)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		require.Equal(t, []time.Time{start.Add(time.Microsecond), start.Add(30 * time.Millisecond), start.Add(20 * time.Second)}, at)
		require.Zero(t, int(p.count.Load()))
	})
}

func TestPacerNoticesAnEarlierOnePushedLater(t *testing.T) {
	var got []int
	var at []time.Time
	hand := func(v int) { got, at = append(got, v), append(at, time.Now()) }
	inBubble(t, 0, hand, func(ctx context.Context, p *Pacer[int]) {
		start := time.Now()
		_, err := p.Push(ctx, Timed[int]{Due: start.Add(9 * time.Millisecond), Value: 2})
		require.NoError(t, err)
		time.Sleep(time.Millisecond)
		_, err = p.Push(ctx, Timed[int]{Due: start.Add(2 * time.Millisecond), Value: 1})
		require.NoError(t, err)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []int{1, 2}, got)
		require.Equal(t, start.Add(2*time.Millisecond), at[0])
	})
}

func TestPacerHandsOverWhatIsDueAlreadyInDueOrder(t *testing.T) {
	var got []int
	inBubble(t, 0, func(v int) { got = append(got, v) }, func(ctx context.Context, p *Pacer[int]) {
		start := time.Now()
		items := make([]Timed[int], 1000)
		for i := range items {
			items[i] = Timed[int]{Due: start.Add(-time.Duration(1000-i/2) * time.Second), Value: i} // pairs
		}
		_, err := p.Push(ctx, items...)
		require.NoError(t, err)
		synctest.Wait()
		require.Len(t, got, 1000)
		require.True(t, slices.IsSorted(got), "the same moment: in the order of Push")
		require.Equal(t, start, time.Now(), "no sleep in between")
	})
}

func TestPushWaitsForRoom(t *testing.T) {
	handed := 0
	inBubble(t, 10, func(int) { handed++ }, func(ctx context.Context, p *Pacer[int]) {
		start := time.Now()
		items := make([]Timed[int], 100)
		for i := range items {
			items[i].Due = start.Add(time.Duration(i) * time.Second)
		}
		most := 0
		var watch sync.WaitGroup
		watch.Go(func() {
			for range 1000 {
				time.Sleep(100 * time.Millisecond)
				most = max(most, int(p.count.Load()))
			}
		})
		taken, err := p.Push(ctx, items...)
		require.NoError(t, err)
		require.Equal(t, 100, taken)
		require.Greater(t, time.Since(start), 85*time.Second, "it had room for ten only")
		watch.Wait()
		synctest.Wait()
		require.Equal(t, 100, handed)
		require.LessOrEqual(t, most, 10)
	})
}

func TestPushesShareTheRoom(t *testing.T) {
	handed := 0
	inBubble(t, 8, func(int) { handed++ }, func(ctx context.Context, p *Pacer[int]) {
		start := time.Now()
		var pushers sync.WaitGroup
		for range 5 {
			pushers.Go(func() {
				for i := range 40 {
					_, err := p.Push(ctx, Timed[int]{Due: start.Add(time.Duration(i) * time.Millisecond)})
					require.NoError(t, err)
				}
			})
		}
		pushers.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, 200, handed)
	})
}

func TestPushPassesRoomOnToOthers(t *testing.T) {
	inBubble(t, 4, func(int) {}, func(ctx context.Context, p *Pacer[int]) {
		start := time.Now()
		soon, late := Timed[int]{Due: start.Add(time.Second)}, Timed[int]{Due: start.Add(time.Minute)}
		_, err := p.Push(ctx, soon, soon, soon, soon)
		require.NoError(t, err)
		var pushers sync.WaitGroup
		for range 4 {
			pushers.Go(func() {
				_, err := p.Push(ctx, late)
				require.NoError(t, err)
			})
		}
		pushers.Wait()
		require.Equal(t, time.Second, time.Since(start), "all four had room at once")
	})
}

func TestPushEndsWithItsContextAndSaysHowManyItTook(t *testing.T) {
	inBubble(t, 3, func(int) {}, func(ctx context.Context, p *Pacer[int]) {
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		due := time.Now().Add(time.Hour)
		taken, err := p.Push(short, slices.Repeat([]Timed[int]{{Due: due}}, 5)...)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 3, taken)
	})
}

func TestDrainGivesWhatRunLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		p := newPacer(0, func(int) {}, start, newTimerSleeper(start))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = p.Run(ctx) }()
		_, err := p.Push(ctx, Timed[int]{Due: start.Add(time.Hour), Value: 2}, Timed[int]{Due: start.Add(time.Minute), Value: 1})
		require.NoError(t, err)
		synctest.Wait()
		cancel()
		<-done
		require.Equal(t, start, time.Now(), "Run ends at once, whatever it sleeps for")
		_, err = p.Push(t.Context(), Timed[int]{Value: 3})
		require.NoError(t, err)
		require.ElementsMatch(t, []int{1, 2, 3}, p.Drain())
		require.Empty(t, p.Drain())
		require.Zero(t, int(p.count.Load()))
	})
}

// With the machine's own clock and thread: none is early, none is lost, whatever order they are pushed in.
func TestPacerIsNeverEarly(t *testing.T) {
	const n = 2000
	var mu sync.Mutex
	var early time.Duration
	got := make(map[int]bool, n)
	done := make(chan struct{})
	start := time.Now()
	due := make([]time.Time, n)
	p := NewPacer(100, func(i int) {
		now := time.Now()
		mu.Lock()
		defer mu.Unlock()
		early = max(early, due[i].Sub(now))
		if got[i] = true; len(got) == n {
			close(done)
		}
	})
	for i := range due {
		due[i] = start.Add(rand.N(300 * time.Millisecond))
	}
	slices.SortFunc(due[n/2:], time.Time.Compare) // half of them come mixed
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error)
	go func() { ended <- p.Run(ctx) }()
	for i := range due {
		_, err := p.Push(ctx, Timed[int]{Due: due[i], Value: i})
		require.NoError(t, err)
	}
	select {
	case <-done:
	case <-ctx.Done():
		t.Fatal("some were never handed over")
	}
	require.Zero(t, early)
	cancel()
	require.NoError(t, <-ended)
}

// The due times come without a monotonic reading from the control topic; the pacer compares them once with the clock.
func TestPacerTakesDueTimesWithoutMonotonicReading(t *testing.T) {
	var at time.Time
	inBubble(t, 0, func(int) { at = time.Now() }, func(ctx context.Context, p *Pacer[int]) {
		due := time.Now().Add(1500 * time.Millisecond).Round(0)
		_, err := p.Push(ctx, Timed[int]{Due: due})
		require.NoError(t, err)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.True(t, at.Equal(due))
	})
}

func TestSleepIsCutShortByWake(t *testing.T) {
	for name, s := range map[string]sleeper{
		"system": newSleeper(time.Now()), "timer": newTimerSleeper(time.Now()),
	} {
		t.Run(name, func(t *testing.T) {
			s.wake() // before the sleep
			s.until(time.Hour)
			done := make(chan struct{})
			go func() { defer close(done); s.until(time.Hour) }()
			for {
				select {
				case <-done:
					return
				case <-time.After(time.Millisecond):
					s.wake()
				}
			}
		})
	}
}
