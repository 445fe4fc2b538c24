package replay_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/replay"
	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

func TestEverythingIsFiredOnceAndStored(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 4)
	all := s.some(500, time.Millisecond)
	r := s.run(s.options(g))
	require.EqualValues(t, 500, r.Fired)
	require.EqualValues(t, 500, r.Read)
	require.EqualValues(t, 500, r.Answers.Same)
	got := g.byID()
	outcomes := s.outcomes()
	require.Len(t, outcomes, 500)
	for _, x := range all {
		require.Equal(t, 1, got[x.ID])
		o := outcomes[x.ID]
		require.Len(t, o, 1)
		require.Equal(t, traffic.Fired, o[0].Result)
		require.Equal(t, traffic.Same, o[0].Verdict)
		require.Equal(t, "/items/{id}", string(o[0].Route))
		require.Nil(t, o[0].Answer, "an answer that does not differ is not stored")
	}
	generation := s.state().Run("monday").Current()
	require.Equal(t, "finished", generation.End.GetState())
	require.Equal(t, string(r.JSON()), string(generation.End.GetReport()))
}

func TestScheduleAndOrderOverAllPartitions(t *testing.T) {
	t.Parallel()
	inBubble(t, 6, func(t *testing.T, s *stand, g *target) {
		start := time.Now().Add(-time.Hour)
		all := make([]*traffic.Exchange, 300)
		for i := range all {
			all[i] = s.exchange(start.Add(time.Duration(i) * 10 * time.Millisecond))
		}
		shuffled := slices.Clone(all)
		rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		s.write(shuffled...) // partitions are not sorted by time
		o := s.options(g)
		o.Profile = schedule.ConstantSpeed(2)
		r := s.run(o)
		require.EqualValues(t, 300, r.Fired)
		require.Zero(t, r.Reordered)
		require.InDelta(t, 2, r.Speed.Achieved, 0.01)
		require.Equal(t, "nothing", r.LimitedBy)
		require.Less(t, r.Lateness.P99, 1.0)
		// Each is fired at its own moment: sorted by due time is sorted by capture time.
		stored := s.outcomes()
		first := stored[all[0].ID][0]
		for i, x := range all {
			due := stored[x.ID][0].DueTime.Sub(first.DueTime)
			require.Equal(t, time.Duration(i)*5*time.Millisecond, due)
		}
	})
}

func TestSessionsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	inBubble(t, 3, func(t *testing.T, s *stand, g *target) {
		g.answers(func(http.ResponseWriter, *http.Request) bool {
			time.Sleep(time.Duration(rand.IntN(4)) * time.Millisecond)
			return false
		})
		start := time.Now().Add(-time.Minute)
		var all []*traffic.Exchange
		for i := range 200 {
			x := s.exchange(start.Add(time.Duration(i) * 10 * time.Millisecond))
			x.Session = fmt.Appendf(nil, "user-%d", i%5)
			all = append(all, x)
		}
		s.write(all...)
		s.run(s.options(g)) // at full speed, over 64 connections
		last := make(map[string]uint64)
		for _, a := range g.all() {
			session := fmt.Sprint((a.id.Seq() - 1) % 5)
			require.Greater(t, a.id.Seq(), last[session], "session %s", session)
			last[session] = a.id.Seq()
		}
		require.Len(t, g.all(), 200)
	})
}

func TestBadRecordIsAnOutcomeAndBlocksNothing(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 1)
	s.some(20, time.Millisecond)
	_, err := topic.Produce(t.Context(), s.cfg, s.names.Exchanges,
		&topic.Record{Value: []byte("\xff\xff no exchange"), Time: time.Now()}, &topic.Record{Time: time.Now()})
	require.NoError(t, err)
	s.some(20, time.Millisecond)
	r := s.run(s.options(g))
	require.EqualValues(t, 40, r.Fired)
	require.EqualValues(t, 2, r.BadTotal)
	require.EqualValues(t, 20, min(r.BadRecords[0].Offset, r.BadRecords[1].Offset))
	require.Contains(t, r.BadRecords[0].Reason, "corrupt")
	bad := s.outcomes()[traffic.ID{}]
	require.Len(t, bad, 2)
	require.Equal(t, traffic.BadRecord, bad[0].Result)
}

func TestWhatIsNotFiredIsCountedByReason(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 2)
	start := time.Now().Add(-time.Minute)
	post := s.exchange(start)
	post.Request.Method = []byte("POST")
	cart := s.exchange(start.Add(time.Millisecond))
	cart.Request.Method, cart.Request.Target = []byte("POST"), []byte("/cart")
	gap := s.exchange(start.Add(2 * time.Millisecond))
	gap.Flags = traffic.Gap
	early, late := s.exchange(start.Add(-time.Second)), s.exchange(start.Add(time.Hour))
	hidden := s.exchange(start.Add(3 * time.Millisecond))
	hidden.Request.Target = []byte("/health")
	split := s.exchange(start.Add(4 * time.Millisecond))
	split.Request.Target = []byte("/a\r\nX: y")
	good := s.exchange(start.Add(5 * time.Millisecond))
	s.write(post, cart, gap, early, late, hidden, split, good)

	reg := prometheus.NewRegistry()
	o := s.options(g)
	o.From, o.To = start.Add(-time.Millisecond), start.Add(time.Minute)
	o.Exclude = []string{"/health"}
	o.AllowWrites = []string{"POST /cart"}
	o.Registerer = reg
	r := s.run(o)
	require.EqualValues(t, 2, r.Fired)
	require.Equal(t, map[string]int64{"gap": 1, "outside_window": 2, "filter": 1}, r.Skipped)
	require.Equal(t, map[string]int64{"write_not_allowed": 1, "unsafe_bytes": 1}, r.Refused)
	require.EqualValues(t, 8, r.Read)
	for _, a := range g.all() {
		require.Contains(t, []traffic.ID{cart.ID, good.ID}, a.id)
	}
	refused := s.outcomes()[post.ID]
	require.Len(t, refused, 1, "what a guard refuses has an outcome")
	require.Equal(t, "write_not_allowed", refused[0].Reason)
	require.Empty(t, s.outcomes()[gap.ID], "what a rule leaves out has none")
	n, err := testutil.GatherAndCount(reg, "reprise_replay_refused_total")
	require.NoError(t, err)
	require.GreaterOrEqual(t, n, 7, "every reason has its series from the start")
}

func TestAnswersThatDifferAreStored(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 2)
	all := s.some(30, time.Millisecond)
	g.answers(func(w http.ResponseWriter, r *http.Request) bool {
		switch id, _ := traffic.ParseID(r.Header.Get("Reprise-Exchange-Id")); id {
		case all[3].ID:
			w.WriteHeader(http.StatusInternalServerError)
		case all[5].ID:
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Set-Cookie", "session=topsecretvalue")
			_, _ = w.Write([]byte(`{"item":"6","phone":"13800138000"}`))
		default:
			return false
		}
		return true
	})
	o := s.options(g)
	o.Results = replay.DiffResults
	r := s.run(o)
	require.EqualValues(t, 28, r.Answers.Same)
	require.EqualValues(t, 1, r.Answers.StatusChanged)
	require.EqualValues(t, 1, r.Answers.BodyChanged)
	outcomes := s.outcomes()
	require.Len(t, outcomes, 2, "only what differs")
	changed := outcomes[all[5].ID][0]
	require.Equal(t, []string{"/item type", "/phone extra"}, []string{
		changed.Differences[0].Path + " " + changed.Differences[0].Kind.String(),
		changed.Differences[1].Path + " " + changed.Differences[1].Kind.String(),
	})
	require.NotNil(t, changed.Answer)
	for _, leak := range []string{"13800138000", "topsecretvalue"} {
		require.NotContains(t, fmt.Sprintf("%s %s %s", changed.Answer.Body, changed.Answer.Headers, changed.Differences), leak)
	}
}

func TestFailuresHaveTheirReason(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 1)
	s.some(5, time.Millisecond)
	g.answers(func(w http.ResponseWriter, _ *http.Request) bool {
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = c.Close()
		}
		return true
	})
	o := s.options(g)
	o.Results = replay.ErrResults
	r, err := s.start(o).ends()
	require.ErrorContains(t, err, "none of 5 requests had an answer")
	require.Equal(t, "finished", r.State)
	require.Zero(t, r.Fired)
	require.Equal(t, map[string]int64{"closed": 5}, r.Failed)
	require.Len(t, s.outcomes(), 5)
}

func TestNoResultsWritesNone(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 1)
	s.some(5, time.Millisecond)
	o := s.options(g)
	o.Results = replay.NoResults
	require.EqualValues(t, 5, s.run(o).Fired)
	admin, err := topic.NewAdmin(s.cfg)
	require.NoError(t, err)
	defer admin.Close()
	topics, err := admin.List(t.Context())
	require.NoError(t, err)
	require.NotContains(t, topics, s.names.Results)
}

// fails asserts that a run cannot begin.
func fails(t *testing.T, g *target, o replay.Options, code int, what ...string) {
	t.Helper()
	before := len(g.all())
	_, err := replay.Run(t.Context(), o)
	var f *fault.Error
	require.ErrorAs(t, err, &f)
	require.Equal(t, code, fault.Code(err), err)
	for _, w := range what {
		require.Contains(t, f.What+" "+f.Cause+" "+f.Try, w)
	}
	require.NotEmpty(t, f.Try)
	require.Len(t, g.all(), before, "nothing is sent")
}

func TestRunNameBelongsToOneSpec(t *testing.T) {
	t.Parallel()
	inBubble(t, 2, func(t *testing.T, s *stand, g *target) {
		s.some(10, time.Millisecond)
		o := s.options(g)
		s.run(o)
		fails(t, g, o, fault.Usage, `"monday"`, "finished", "--restart")

		s.some(5, time.Millisecond)
		again := o
		again.Restart = true
		r := s.run(again)
		require.EqualValues(t, 15, r.Fired, "a new window up to now")
		require.EqualValues(t, 2, r.Generation)
		told := make(map[uint32]int)
		for _, all := range s.outcomes() {
			for _, o := range all {
				told[o.Generation]++
			}
		}
		require.Equal(t, map[uint32]int{1: 10, 2: 15}, told, "each outcome names its start of the run")

		// Unfinished, and asked for with another spec.
		o.Run, o.Profile = "tuesday", schedule.ConstantSpeed(0.001)
		p := s.start(o)
		p.begins()
		p.interrupt()
		for what, change := range map[string]func(*replay.Options){
			"speed":      func(o *replay.Options) { o.Profile = schedule.ConstantSpeed(2) },
			"options":    func(o *replay.Options) { o.AllowWrites = []string{"POST /cart"} },
			"set-header": func(o *replay.Options) { o.SetHeaders = []traffic.Field{{Name: []byte("X-A"), Value: []byte("b")}} },
			"target": func(o *replay.Options) {
				u := *o.Target
				u.Host = "localhost:1"
				o.Target, o.AllowTarget = &u, []string{"localhost"}
			},
			"kind":            func(o *replay.Options) { o.Live = true },
			"rules":           func(o *replay.Options) { o.RulesDigest = []byte{1, 2} }, // of a rules file
			"key":             func(o *replay.Options) { o.RedactKey = []byte("another key of 16") },
			"target-protocol": func(o *replay.Options) { o.Protocol = fire.OnlyHTTP2 },
		} {
			other := o
			change(&other)
			fails(t, g, other, fault.Usage, `"tuesday"`, what)
		}
	})
}

func TestCredentialsAreNotInTheRunsRecord(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 1)
	s.some(1, time.Millisecond)
	o := s.options(g)
	o.SetHeaders = []traffic.Field{{Name: []byte("Authorization"), Value: []byte("Bearer verysecret")}}
	s.run(o)
	s.each(s.names.Control, func(r *topic.Record) { require.NotContains(t, string(r.Value), "verysecret") })
}

func TestNothingToReplaySaysSo(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 2)
	fails(t, g, s.options(g), fault.Failure, s.names.Exchanges, "empty", "no tap has written there yet")
	s.some(3, time.Millisecond)
	o := s.options(g)
	o.From = time.Now().Add(time.Hour)
	fails(t, g, o, fault.Failure, "nothing", "what was recorded is older")
	o.Prefix = "nope"
	fails(t, g, o, fault.Failure, "nope.exchanges")
	require.Nil(t, s.state().Run("monday"), "no record of a run that never was")
}

func TestProductionIsRefused(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 1)
	s.some(3, time.Millisecond)
	s.report(&reprisev1.TapReport{TapId: []byte{1}, Name: "gateway-2", HostId: "here", Upstream: []string{g.server.Listener.Addr().String()}})
	o := s.options(g)
	_, err := s.start(o).ends()
	require.ErrorContains(t, err, "gateway-2")
	require.NotZero(t, fault.Code(err))
	require.Empty(t, g.all())
	require.Nil(t, s.state().Run("monday"))
	o.AllowTarget = []string{"other.example"}
	fails(t, g, o, fault.Usage, "--allow-target")
}

func TestRateLimitHoldsForCatchUpAndFullSpeed(t *testing.T) {
	t.Parallel()
	inBubble(t, 3, func(t *testing.T, s *stand, g *target) {
		s.some(400, time.Millisecond)
		o := s.options(g)
		o.RateLimit = 200
		r := s.run(o)
		require.EqualValues(t, 400, r.Fired)
		require.Contains(t, r.LimitedBy, "--rate-limit 200")
		at := g.all()
		require.GreaterOrEqual(t, at[399].at.Sub(at[0].at), 1500*time.Millisecond)
		o.Run, o.Profile = "tuesday", schedule.ConstantSpeed(10)
		r = s.run(o)
		require.EqualValues(t, 400, r.Fired)
		require.Contains(t, r.LimitedBy, "--rate-limit 200")
		require.Less(t, r.Speed.PerSecond, 300.0)
	})
}

// standsStill makes the target answer nothing for two seconds, once a request for /items/1… has come.
func (g *target) standsStill() {
	stuck := make(chan struct{})
	var once sync.Once
	g.answers(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/items/1") {
			once.Do(func() { time.AfterFunc(2*time.Second, func() { close(stuck) }) })
			<-stuck
		}
		return false
	})
}

// What waits for a sender becomes late too, however punctual the pacing was.
func TestLatePolicyDropCountsWaitingForASender(t *testing.T) {
	t.Parallel()
	inBubble(t, 3, func(t *testing.T, s *stand, g *target) {
		s.some(600, 10*time.Millisecond)
		g.standsStill()
		o := s.options(g)
		o.Profile, o.Late, o.LateAfter, o.Concurrency, o.Order = schedule.ConstantSpeed(1), replay.DropLate, 300*time.Millisecond, 4, schedule.OrderNone
		r := s.run(o)
		require.Greater(t, r.Late, int64(20))
		accounted := r.Fired + r.Late
		for _, n := range r.Failed { // none, unless this machine stands still
			accounted += n
		}
		require.EqualValues(t, 600, accounted)
	})
}

// A target that stands still for a while puts the rest of the run off, and nothing is made up for.
func TestLatePolicySlowPutsTheRestOff(t *testing.T) {
	t.Parallel()
	inBubble(t, 3, func(t *testing.T, s *stand, g *target) {
		all := s.some(900, 10*time.Millisecond)
		g.standsStill()
		o := s.options(g)
		o.Profile, o.Late, o.LateAfter, o.Concurrency, o.Order = schedule.ConstantSpeed(1), replay.SlowLate, 300*time.Millisecond, 4, schedule.OrderNone
		r := s.run(o)
		require.EqualValues(t, 900, r.Fired)
		require.NotEmpty(t, r.Commands)
		require.Equal(t, "slow", r.Commands[0].Verb)
		outcomes := s.outcomes()
		first, last := outcomes[all[0].ID][0], outcomes[all[899].ID][0]
		require.Greater(t, last.DueTime.Sub(first.DueTime), 9*time.Second, "its time itself is later")
		require.Less(t, last.Lateness(), 2*time.Second)
	})
}

// A target that never keeps up puts the rest off again and again, each time by what is newly late: what is late already is sent meanwhile.
func TestLatePolicySlowDoesNotPutOffWhatItHasPutOff(t *testing.T) {
	t.Parallel()
	inBubble(t, 3, func(t *testing.T, s *stand, g *target) {
		all := s.some(600, 10*time.Millisecond)
		one := make(chan struct{}, 1)
		g.answers(func(http.ResponseWriter, *http.Request) bool {
			one <- struct{}{}
			time.Sleep(15 * time.Millisecond) // the target can do 66 a second, and is asked for 100
			<-one
			return false
		})
		o := s.options(g)
		o.Profile, o.Late, o.LateAfter, o.Concurrency, o.Order = schedule.ConstantSpeed(1), replay.SlowLate, 300*time.Millisecond, 4, schedule.OrderNone
		r := s.run(o)
		require.EqualValues(t, 600, r.Fired)
		require.NotEmpty(t, r.Commands)
		outcomes := s.outcomes()
		first, last := outcomes[all[0].ID][0], outcomes[all[599].ID][0]
		took := last.FireTime.Sub(first.FireTime)
		require.Less(t, last.DueTime.Sub(first.DueTime), took+took/2, "the schedule is not slower than the target")
	})
}

// An hour in which nothing was captured takes a second, in every partition alike; the plan says so too.
func TestGapMaxShortensWhatNobodyAskedIn(t *testing.T) {
	t.Parallel()
	inBubble(t, 3, func(t *testing.T, s *stand, g *target) {
		start := time.Now().Add(-3 * time.Hour)
		var all []*traffic.Exchange
		for i := range 60 {
			at := start.Add(time.Duration(i) * 10 * time.Millisecond)
			if i >= 30 {
				at = at.Add(time.Hour)
			}
			all = append(all, s.exchange(at))
		}
		s.write(all...)
		o := s.options(g)
		o.Profile, o.GapMax = schedule.ConstantSpeed(1), time.Second
		plan, err := replay.MakePlan(t.Context(), o)
		require.NoError(t, err)
		require.InDelta(t, 1.58, plan.Seconds, 0.02)

		r := s.run(o)
		require.EqualValues(t, 60, r.Fired)
		require.InDelta(t, 1, r.Speed.Asked, 0.01, "without what was left out")
		outcomes := s.outcomes()
		due := func(i int) time.Time { return outcomes[all[i].ID][0].DueTime }
		for i := 1; i < 60; i++ {
			want := 10 * time.Millisecond
			if i == 30 {
				want = time.Second
			}
			require.InDelta(t, want, due(i).Sub(due(i-1)), float64(time.Millisecond), "%d", i)
		}
	})
}

// Who has mistaken the day must see more than a run that went well.
func TestAWindowInWhichNothingWasCapturedIsSaidToBe(t *testing.T) {
	s, g := newStand(t, 2)
	s.some(20, time.Millisecond)
	o := s.options(g)
	o.From, o.To = time.Now().AddDate(-2, 0, 0), time.Now().AddDate(-1, 0, 0)
	var log bytes.Buffer
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	r := s.run(o)
	require.Zero(t, r.Fired)
	require.EqualValues(t, 20, r.Skipped["outside_window"])
	require.Contains(t, log.String(), "nothing was captured between --from and --to")
}

// One user's requests that wait for each other are no fault of the replayer's.
func TestAReportNamesTheOrderAsWhatLimits(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(t *testing.T, s *stand, g *target) {
		g.answer = func(http.ResponseWriter, *http.Request) bool {
			time.Sleep(50 * time.Millisecond)
			return false
		}
		start := time.Now().Add(-time.Minute)
		for i := range 200 {
			x := s.exchange(start.Add(time.Duration(i) * 10 * time.Millisecond))
			x.Session = []byte("alone")
			s.write(x)
		}
		r := s.run(s.options(g))
		require.EqualValues(t, 200, r.Fired)
		require.Contains(t, r.LimitedBy, "order (")
	})
}
