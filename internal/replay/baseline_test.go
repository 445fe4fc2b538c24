package replay_test

import (
	"fmt"
	"net/http"
	"net/url"
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
	"github.com/reprise-io/reprise/internal/rewrite"
	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/traffic"
)

// against are the options of a run that compares with an old build.
func (s *stand) against(g, old *target) replay.Options {
	o := s.options(g)
	o.Baseline = address(s.t, old)
	o.AllowTarget = append(o.AllowTarget, o.Baseline.Host)
	return o
}

func address(t *testing.T, g *target) *url.URL {
	t.Helper()
	u, err := url.Parse(g.server.URL)
	require.NoError(t, err)
	return u
}

// says answers every request with what f makes of its number.
func says(f func(n uint64) string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		id, _ := traffic.ParseID(r.Header.Get("Reprise-Exchange-Id"))
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, f(id.Seq()))
		return true
	}
}

func TestAnswersAreComparedWithTheOldBuilds(t *testing.T) {
	t.Parallel()
	inBubble(t, 2, func(t *testing.T, s *stand, g *target) {
		all := s.some(40, time.Millisecond)
		old := s.target(t, 8081)
		// Neither answers what was recorded: that is told beside.
		old.answers(says(func(n uint64) string { return fmt.Sprintf(`{"item":%d,"phone":"13812345678","v":1}`, n) }))
		g.answers(says(func(n uint64) string { return fmt.Sprintf(`{"item":%d,"phone":"13812345678","v":%d}`, n, 1+n%4/3) }))
		o := s.against(g, old)
		o.SetHeaders = []traffic.Field{{Name: []byte("X-Tenant"), Value: []byte("test")}}
		o.Rewrite = rewrite.Rules{BasePath: "/v2"}
		reg := prometheus.NewRegistry()
		o.Registerer = reg
		r := s.run(o)
		require.EqualValues(t, 40, r.Fired)
		require.EqualValues(t, 30, r.Answers.Same)
		require.EqualValues(t, 10, r.Answers.BodyChanged)
		require.NotNil(t, r.Baseline)
		require.Equal(t, o.Baseline.Host, r.Baseline.Target)
		require.EqualValues(t, 40, r.Baseline.Compared)
		require.Empty(t, r.Baseline.Uncompared)
		require.EqualValues(t, 40, r.Baseline.Recorded.BodyChanged)
		require.Len(t, r.Differences, 1)
		d := r.Differences[0]
		require.Equal(t, "/v value 1 2", strings.Join([]string{d.Path, d.Kind, d.Example.Recorded, d.Example.Got}, " "))
		require.Empty(t, d.Chance, "nothing is known of noise")

		require.Equal(t, g.byID(), old.byID(), "each once, under the same id")
		for _, a := range old.all() {
			require.True(t, strings.HasPrefix(a.path, "/v2/items/"), a.path)
		}
		outcome := s.outcomes()[all[2].ID][0]
		require.Equal(t, traffic.BodyChanged, outcome.Verdict)
		require.Equal(t, 200, outcome.Baseline.Status)
		require.NotContains(t, string(outcome.Answer.Body), "13812345678")
		require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP reprise_replay_baseline_compared_total Answers that were compared with the old build's (--baseline-target).
# TYPE reprise_replay_baseline_compared_total counter
reprise_replay_baseline_compared_total 40
`), "reprise_replay_baseline_compared_total"))
	})
}

func TestAnOldBuildThatFailsLeavesAnswersUncomparedAndTheRunAlone(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(t *testing.T, s *stand, g *target) {
		all := s.some(30, time.Second)
		old := s.target(t, 8081)
		old.answers(func(w http.ResponseWriter, r *http.Request) bool {
			switch id, _ := traffic.ParseID(r.Header.Get("Reprise-Exchange-Id")); {
			case id == all[4].ID:
				<-r.Context().Done() // never
			case id == all[5].ID:
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			default:
				return false
			}
			return true
		})
		o := s.against(g, old)
		o.Profile = schedule.ConstantSpeed(1)
		o.Timeout = 40 * time.Second // longer than all that follows
		r := s.run(o)
		require.EqualValues(t, 30, r.Fired)
		require.Empty(t, r.Failed)
		require.EqualValues(t, 28, r.Answers.Same)
		require.EqualValues(t, 2, r.Answers.NoBaseline)
		require.EqualValues(t, 28, r.Baseline.Compared)
		require.Equal(t, map[string]int64{"timeout": 1, "closed": 1}, r.Baseline.Uncompared)
		require.EqualValues(t, 30, r.Baseline.Recorded.Same, "what was recorded is there for all")
		require.Less(t, r.Lateness.Max, 1000.0, "the target's schedule is not the old build's")
		require.Less(t, r.Service.Max, 1000.0)
		require.Len(t, s.outcomes(), 30)
		require.Equal(t, "timeout", s.outcomes()[all[4].ID][0].Baseline.Reason)
	})
}

func TestWhatTheOldBuildCannotTakeIsLeftOutAndNothingWaits(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(t *testing.T, s *stand, g *target) {
		s.some(300, time.Millisecond)
		old := s.target(t, 8081)
		var ready sync.WaitGroup
		ready.Add(1)
		old.answers(func(http.ResponseWriter, *http.Request) bool {
			ready.Wait() // until the target has had everything
			return false
		})
		go func() {
			<-g.came(300)
			time.Sleep(time.Second)
			ready.Done()
		}()
		o := s.against(g, old)
		o.Concurrency = 2
		r := s.run(o)
		require.EqualValues(t, 300, r.Fired)
		require.EqualValues(t, 300, r.Baseline.Compared+r.Baseline.Uncompared["behind"])
		require.Positive(t, r.Baseline.Uncompared["behind"])
		require.LessOrEqual(t, r.Baseline.Compared, int64(2*(64+1)+2), "two on their way, and what may wait behind them")
		require.Len(t, old.all(), int(r.Baseline.Compared))
	})
}

func TestTheOldBuildIsUnderTheSameGuards(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 1)
	old := newTarget(t, nil)
	some := s.some(20, time.Millisecond)
	post := s.exchange(some[0].CaptureTime)
	post.Request.Method = []byte("POST")
	here := s.exchange(some[0].CaptureTime)
	here.Request.Authority = []byte(address(t, old).Host) // recorded at the old build itself
	here.Request.Headers[0].Value = here.Request.Authority
	s.write(post, here)

	o := s.against(g, old)
	o.AllowTarget = o.AllowTarget[:1]
	fails(t, g, o, fault.Usage, "refused: target "+o.Baseline.Host+" is not allowed")
	o = s.against(g, old)
	o.Production = []fire.Address{{HostPort: o.Baseline.Host, Origin: "the shop"}}
	fails(t, g, o, fault.Usage, "refused: target "+o.Baseline.Host, "is the shop", "--baseline-target and --allow-target")
	o = s.against(g, old)
	o.Handshake = &fire.Handshake{Header: "X-Preprod", Value: "yes"}
	g.answers(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("X-Preprod", "yes")
		return false
	})
	_, err := replay.Run(t.Context(), o)
	require.ErrorContains(t, err, o.Baseline.Host)
	for _, a := range append(g.all(), old.all()...) {
		require.Equal(t, "HEAD", a.method, "nothing but the question")
	}

	o = s.against(g, old)
	o.Run = "tuesday"
	r := s.run(o)
	require.EqualValues(t, 1, r.Refused["write_not_allowed"])
	require.EqualValues(t, 21, r.Fired)
	require.EqualValues(t, 20, r.Baseline.Compared)
	require.Equal(t, map[string]int64{"authority_is_target": 1}, r.Baseline.Uncompared)
	for _, a := range old.all() {
		require.NotEqual(t, "POST", a.method)
	}

	o.Baseline = o.Target
	o.Run = "wednesday"
	fails(t, g, o, fault.Usage, "--baseline-target is the target itself")
	o.Baseline, o.Noise = nil, address(t, old)
	fails(t, g, o, fault.Usage, "--noise-target needs --baseline-target")
}

func TestTheOldBuildIsPartOfTheRun(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(t *testing.T, s *stand, g *target) {
		s.some(20, time.Millisecond)
		old := s.target(t, 8081)
		o := s.against(g, old)
		o.MaxTotal = 10
		_, _ = s.ends(o, fault.Finding) // stopped
		without := o
		without.Baseline = nil
		fails(t, g, without, fault.Usage, "set of options", "baseline-target")
		noisy := o
		noisy.Noise = o.Baseline
		fails(t, g, noisy, fault.Usage, "noise-target")
		plan, err := replay.MakePlan(t.Context(), without)
		require.NoError(t, err)
		require.True(t, plan.Allowed)
		without.Baseline, without.AllowTarget = o.Baseline, o.AllowTarget[:1]
		plan, err = replay.MakePlan(t.Context(), without)
		require.NoError(t, err)
		require.False(t, plan.Allowed)
		require.Contains(t, plan.Refusal, o.Baseline.Host)
	})
}

func TestTheKillSwitchStopsTheOldBuildToo(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(t *testing.T, s *stand, g *target) {
		s.some(200, 100*time.Millisecond)
		old := s.target(t, 8081)
		o := s.against(g, old)
		o.Profile = schedule.ConstantSpeed(1)
		kill := make(chan string, 1)
		o.Kill = kill
		go func() {
			<-old.came(50)
			kill <- "signal"
		}()
		r, err := replay.Run(t.Context(), o)
		require.ErrorContains(t, err, "kill switch")
		require.Less(t, len(old.all()), 60)
		require.EqualValues(t, len(s.outcomes()), r.Fired, "what the target has answered is not lost")
	})
}

func TestEachBuildHasSessionsOfItsOwn(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(t *testing.T, s *stand, g *target) {
		old := s.target(t, 8081)
		build := func(name string) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				w.Header().Set("Content-Type", "application/json")
				switch {
				case r.URL.Path == "/login":
					fmt.Fprintf(w, `{"token":"%s-token-of-its-own"}`, name)
				case r.Header.Get("X-Token") != name+"-token-of-its-own":
					w.WriteHeader(http.StatusUnauthorized)
				default:
					fmt.Fprintf(w, `{"hello":"%s-token-of-its-own"}`, name)
				}
				return true
			}
		}
		g.answers(build("new"))
		old.answers(build("old"))
		start := time.Now().Add(-time.Minute)
		var all []*traffic.Exchange
		for i := range 12 {
			x := s.exchange(start.Add(time.Duration(i) * 10 * time.Millisecond))
			x.Session = []byte("s1")
			x.Request.Headers = append(x.Request.Headers, traffic.Field{Name: []byte("X-Token"), Value: []byte("recorded-token")})
			body := `{"hello":"recorded-token"}`
			if i == 0 {
				x.Request.Target, body = []byte("/login"), `{"token":"recorded-token"}`
			}
			x.Response.Body, x.Response.BodySize = []byte(body), int64(len(body))
			all = append(all, x)
		}
		s.write(all...)
		o := s.against(g, old)
		place, err := rewrite.ParsePlace("json $.token")
		require.NoError(t, err)
		o.Session.Extract = []rewrite.Extract{{Place: place}}
		r := s.run(o)
		require.Equal(t, map[string]int64{"200": 12}, r.Statuses)
		require.EqualValues(t, 12, r.Baseline.Compared, "%v", r.Baseline)
		require.EqualValues(t, 12, r.Answers.Same, "each build's own token is no difference: %+v", r.Differences)
	})
}

func TestWhereTheOldBuildDiffersFromItselfIsNoise(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(t *testing.T, s *stand, g *target) {
		all := s.some(200, time.Millisecond)
		old, again := s.target(t, 8081), s.target(t, 8082)
		build := func(at, price int) func(http.ResponseWriter, *http.Request) bool {
			return says(func(n uint64) string {
				return fmt.Sprintf(`{"item":%d,"at":%d,"rare":%d,"price":%d}`, n, at, n%uint64(10+at)/9, price)
			})
		}
		old.answers(build(1, 5))
		again.answers(build(2, 5))
		g.answers(build(3, 6))
		o := s.against(g, old)
		o.Noise = address(t, again)
		o.AllowTarget = append(o.AllowTarget, o.Noise.Host)
		r := s.run(o)
		require.EqualValues(t, 200, r.Fired)
		require.EqualValues(t, 200, r.Baseline.Twice)
		require.EqualValues(t, 200, r.Answers.BodyChanged, "the price")
		require.NotEmpty(t, r.Differences)
		d := r.Differences[0]
		require.Equal(t, "/price value more", strings.Join([]string{d.Path, d.Kind, d.Chance}, " "))
		require.EqualValues(t, 200, d.Count)
		for _, d := range r.Differences[1:] {
			require.Equal(t, "/rare", d.Path, "%+v", d)
			require.NotEqual(t, "more", d.Chance)
		}
		require.Equal(t, "/at", r.Baseline.Places[0].Path)
		require.EqualValues(t, 200, r.Baseline.Places[0].Own)
		require.EqualValues(t, 200, r.Baseline.Places[0].Left)
		outcome := s.outcomes()[all[0].ID][0]
		require.True(t, outcome.Baseline.Twice)
		require.Equal(t, "/at", outcome.Baseline.Noise[0].Path)
		require.Empty(t, outcome.Baseline.Noise[0].Recorded, "what stood there is not stored")
	})
}

func TestNothingIsLeftWhenTheSameBuildIsAskedThrice(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(t *testing.T, s *stand, g *target) {
		s.some(50, time.Millisecond)
		old := s.target(t, 8081)
		var mu sync.Mutex
		clock := 0
		tick := says(func(uint64) string {
			mu.Lock()
			defer mu.Unlock()
			clock++
			return fmt.Sprintf(`{"at":%d}`, clock)
		})
		g.answers(tick)
		old.answers(tick)
		o := s.against(g, old)
		o.Noise = o.Baseline
		r := s.run(o)
		require.EqualValues(t, 50, r.Answers.Same)
		require.Empty(t, r.Differences)
		require.Len(t, old.all(), 100)
		require.Len(t, g.all(), 50)
	})
}
