package schedule

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
)

func TestParseOrder(t *testing.T) {
	for _, m := range []OrderMode{OrderSession, OrderConnection, OrderNone} {
		got, err := ParseOrder(m.String())
		require.NoError(t, err)
		require.Equal(t, m, got)
	}
	_, err := ParseOrder("strict")
	require.EqualError(t, err, `bad --order "strict": want session, connection or none`)
	require.Equal(t, fault.Usage, fault.Code(err))
}

type step = Step[string]

// of makes a step captured at a millisecond, whose answer ended at another; 0: not recorded.
func of(name, session, connection string, capture, end int64) *step {
	s := &step{Value: name, Session: []byte(session), Connection: []byte(connection), Capture: at(capture)}
	if end != 0 {
		s.End = at(end)
	}
	return s
}

func names(steps []*step) (out []string) {
	for _, s := range steps {
		out = append(out, s.Value)
	}
	return out
}

func TestOrderWaitsOnlyForWhatHadEnded(t *testing.T) {
	for _, row := range []struct {
		name          string
		mode          OrderMode
		first, second *step
		waits         bool
	}{
		{"one after the other", OrderSession, of("", "s", "", 100, 150), of("", "s", "", 200, 250), true},
		{"the end is the next one's beginning", OrderSession, of("", "s", "", 100, 150), of("", "s", "", 150, 250), true},
		{"parallel", OrderSession, of("", "s", "", 100, 201), of("", "s", "", 200, 250), false},
		{"other sessions", OrderSession, of("", "s", "c", 100, 150), of("", "r", "c", 200, 250), false},
		{"no session: by connection", OrderSession, of("", "", "c", 100, 150), of("", "", "c", 200, 250), true},
		{"a session is no connection", OrderSession, of("", "x", "", 100, 150), of("", "", "x", 200, 250), false},
		{"neither", OrderSession, of("", "", "", 100, 150), of("", "", "", 200, 250), false},
		{"session asked for connection only", OrderConnection, of("", "s", "c", 100, 150), of("", "s", "d", 200, 250), false},
		{"by connection", OrderConnection, of("", "s", "c", 100, 150), of("", "r", "c", 200, 250), true},
		{"none", OrderNone, of("", "s", "c", 100, 150), of("", "s", "c", 200, 250), false},
		{"no end recorded, soon: taken as parallel", OrderSession, of("", "s", "", 100, 0), of("", "s", "", 1099, 0), false},
		{"no end recorded, a second later", OrderSession, of("", "s", "", 100, 0), of("", "s", "", 1100, 0), true},
		{"no end recorded on a connection: one at a time", OrderConnection, of("", "", "c", 100, 0), of("", "", "c", 101, 0), true},
		{"the same instant, in the order of Admit", OrderConnection, of("", "", "c", 100, 0), of("", "", "c", 100, 0), true},
		{"an end before the capture is no end", OrderSession, of("", "s", "", 100, 50), of("", "s", "", 99, 250), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			o := NewOrder[string](OrderConfig{Mode: row.mode})
			require.True(t, o.Admit(row.first, at(0)))
			require.Equal(t, !row.waits, o.Admit(row.second, at(0)))
			free := o.Done(row.first, nil)
			if row.waits {
				require.Equal(t, []*step{row.second}, free)
			} else {
				require.Empty(t, free)
			}
			require.Empty(t, o.Done(row.second, nil))
			require.Empty(t, o.sessions)
			require.Empty(t, o.connections)
			require.Zero(t, o.Held())
		})
	}
}

func TestOrderWaitsForAllThatHadEnded(t *testing.T) {
	o := NewOrder[string](OrderConfig{})
	a, b := of("a", "s", "", 0, 100), of("b", "s", "", 10, 90) // parallel
	c, d := of("c", "s", "", 200, 300), of("d", "s", "", 210, 250)
	e := of("e", "s", "", 260, 400) // after d, parallel to c
	require.True(t, o.Admit(a, at(0)))
	require.True(t, o.Admit(b, at(0)))
	require.False(t, o.Admit(c, at(0)))
	require.False(t, o.Admit(d, at(0)))
	require.False(t, o.Admit(e, at(0)))
	require.Equal(t, 3, o.Held())
	require.Empty(t, o.Done(a, nil))
	require.Equal(t, []string{"c", "d"}, names(o.Done(b, nil)))
	require.Equal(t, []string{"e"}, names(o.Done(d, nil)))
	require.Empty(t, o.Done(d, nil), "a second Done does nothing")
	require.Empty(t, o.Done(e, nil))
	require.Empty(t, o.Done(c, nil))
	require.Empty(t, o.sessions)
}

func TestOrderGivesUpWaitingAfterOrderWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := NewOrder[string](OrderConfig{Wait: 3 * time.Second})
		slow, b, c := of("slow", "s", "", 0, 10), of("b", "s", "", 20, 30), of("c", "s", "", 40, 50)
		require.True(t, o.Admit(slow, time.Now()))
		require.False(t, o.Admit(b, time.Now()))
		time.Sleep(time.Second)
		require.False(t, o.Admit(c, time.Now()))
		start := time.Now()

		free, next := o.Expire(time.Now(), nil)
		require.Empty(t, free)
		time.Sleep(time.Until(next))
		require.Equal(t, 2*time.Second, time.Since(start))
		free, next = o.Expire(time.Now(), nil)
		require.Equal(t, []string{"b"}, names(free))
		require.Empty(t, o.Done(b, nil), "c still waits for the slow one")
		time.Sleep(time.Until(next))
		free, next = o.Expire(time.Now(), nil)
		require.Equal(t, []string{"c"}, names(free))
		require.True(t, next.IsZero())
		require.EqualValues(t, 2, o.Expired())
		require.Empty(t, o.Done(c, nil))
		require.Empty(t, o.Done(slow, nil))
		require.Empty(t, o.sessions)
	})
}

func TestOrderLetsGoOfAStepThatIsGivenUp(t *testing.T) {
	o := NewOrder[string](OrderConfig{})
	a, b, c := of("a", "s", "", 0, 10), of("b", "s", "", 20, 30), of("c", "s", "", 40, 50)
	require.True(t, o.Admit(a, at(0)))
	require.False(t, o.Admit(b, at(0)))
	require.False(t, o.Admit(c, at(0)))
	require.Empty(t, o.Done(b, nil), "given up while held back")
	require.Equal(t, 1, o.Held())
	require.Equal(t, []string{"c"}, names(o.Done(a, nil)))
	free, next := o.Expire(at(1e9), nil)
	require.Empty(t, free)
	require.True(t, next.IsZero())
}

// Whatever is recorded and however long the answers take, every step goes once, none before one of its session whose
// answer had ended, all go in the end, and nothing is kept.
func TestOrderKeepsAnySessionInOrder(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 3))
		steps := make([]*step, 200)
		for i := range steps {
			capture := r.Int64N(1000) + 1
			steps[i] = of(fmt.Sprint(i), fmt.Sprint(r.IntN(4)), "", capture, capture+r.Int64N(200))
		}
		if seed%4 != 0 { // else: as late arrivals would come
			slices.SortStableFunc(steps, func(a, b *step) int { return a.Capture.Compare(b.Capture) })
		}
		o := NewOrder[string](OrderConfig{})
		gone, done := map[*step]bool{}, map[*step]bool{}
		var flying []*step
		admitted := 0
		gather := func(free []*step) {
			for _, s := range free {
				require.False(t, gone[s], "seed %d: twice", seed)
				gone[s] = true
				for _, before := range steps[:admitted] {
					if before != s && string(before.Session) == string(s.Session) && before.seq < s.seq &&
						!before.End.After(s.Capture) {
						if !done[before] {
							t.Fatalf("seed %d: %s before %s", seed, s.Value, before.Value)
						}
					}
				}
				flying = append(flying, s)
			}
		}
		for len(done) < len(steps) {
			if admitted < len(steps) && (len(flying) == 0 || r.IntN(2) == 0) {
				s := steps[admitted]
				admitted++
				if o.Admit(s, at(0)) {
					gather([]*step{s})
				}
				continue
			}
			require.NotEmpty(t, flying, "seed %d: all wait for each other", seed)
			i := r.IntN(len(flying))
			s := flying[i]
			flying = slices.Delete(flying, i, i+1)
			done[s] = true
			gather(o.Done(s, nil))
		}
		require.Zero(t, o.Held(), "seed %d", seed)
		require.Empty(t, o.sessions)
		require.Nil(t, o.oldest)
	}
}

func TestOrderServesManyGoroutines(t *testing.T) {
	o := NewOrder[int](OrderConfig{})
	var mu sync.Mutex
	var finished []*Step[int]
	work := make(chan *Step[int], 5000)
	var workers, all sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for s := range work {
				mu.Lock()
				finished = append(finished, s)
				mu.Unlock()
				for _, next := range o.Done(s, nil) {
					work <- next
				}
				all.Done()
			}
		})
	}
	for i := range 5000 {
		s := &Step[int]{Value: i, Session: fmt.Append(nil, i%7), Capture: at(int64(10 * i)), End: at(int64(10*i + 5))}
		all.Add(1)
		if o.Admit(s, at(0)) {
			work <- s
		}
	}
	all.Wait()
	close(work)
	workers.Wait()
	require.Len(t, finished, 5000)
	last := map[string]int{}
	for _, s := range finished {
		require.GreaterOrEqual(t, s.Value, last[string(s.Session)])
		last[string(s.Session)] = s.Value
	}
	require.Empty(t, o.sessions)
}

// One session with everything in it, and a target that answers nothing: a call still costs little.
func BenchmarkOrderOneHotSession(b *testing.B) {
	o := NewOrder[int](OrderConfig{})
	const outstanding = 10_000
	session := []byte("all")
	steps := make([]Step[int], outstanding)
	for i := range steps {
		steps[i] = Step[int]{Session: session, Capture: at(int64(i)), End: at(int64(i))}
		o.Admit(&steps[i], at(0))
	}
	b.ReportAllocs()
	var free []*Step[int]
	for i := 0; b.Loop(); i++ {
		s := &steps[i%outstanding]
		free = o.Done(s, free[:0])
		s.Capture, s.End = at(int64(outstanding+i)), at(int64(outstanding+i))
		o.Admit(s, at(0))
	}
}

func BenchmarkOrderManySessions(b *testing.B) {
	o := NewOrder[int](OrderConfig{})
	steps := make([]Step[int], 4096)
	for i := range steps {
		steps[i].Session = fmt.Append(nil, "session-", i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s := &steps[i%len(steps)]
		s.Capture, s.End = at(int64(i)), at(int64(i+3))
		o.Admit(s, at(0))
		o.Done(s, nil)
	}
}
