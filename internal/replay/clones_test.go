package replay_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/redact"
	"github.com/reprise-io/reprise/internal/replay"
	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/traffic"
)

// copyOf names one copy of one exchange.
type copyOf struct {
	id    traffic.ID
	clone string // "loop=0;clone=2"
}

// copies notes every request with its marks and who sent it.
type copies struct {
	mu   sync.Mutex
	seen map[copyOf]int
	who  map[copyOf]http.Header
	line map[string][]uint64 // exchanges by cookie, as they came
}

func (g *target) copies() *copies {
	c := &copies{seen: map[copyOf]int{}, who: map[copyOf]http.Header{}, line: map[string][]uint64{}}
	g.answers(func(_ http.ResponseWriter, r *http.Request) bool {
		id, _ := traffic.ParseID(r.Header.Get("Reprise-Exchange-Id"))
		_, clone, _ := strings.Cut(r.Header.Get("Reprise-Replay"), ";")
		c.mu.Lock()
		defer c.mu.Unlock()
		at := copyOf{id, clone}
		c.seen[at]++
		c.who[at] = r.Header
		cookie := r.Header.Get("Cookie")
		c.line[cookie] = append(c.line[cookie], id.Seq())
		return false
	})
	return c
}

// users writes n exchanges each gap, in turns of as many users.
func (s *stand) users(n, users int, gap time.Duration) []*traffic.Exchange {
	s.t.Helper()
	field := func(name, value string) traffic.Field { return traffic.Field{Name: []byte(name), Value: []byte(value)} }
	start := time.Now().Add(-time.Minute)
	r, err := redact.New(redact.Options{Key: []byte(testKey)})
	require.NoError(s.t, err)
	all := make([]*traffic.Exchange, n)
	for i := range all {
		x := s.exchange(start.Add(time.Duration(i) * gap))
		x.Session = fmt.Appendf(nil, "session-%d", i%users)
		x.Request.Headers = append(x.Request.Headers, field("Cookie", fmt.Sprintf("sid=%032x", i%users)),
			field("X-User-Id", fmt.Sprintf("user-%05d", i%users)), field("Idempotency-Key", fmt.Sprintf("request-%06d", i)))
		require.NoError(s.t, r.Exchange(x))
		all[i] = x
	}
	s.write(all...)
	return all
}

func (s *stand) cloning(g *target, n int) replay.Options { return cloned(s.options(g), n) }

func cloned(o replay.Options, n int) replay.Options {
	o.Clones, o.CloneJitter, o.CloneIDs = n, 300*time.Millisecond, []redact.Identity{{Header: "X-User-Id"}}
	return o
}

func TestClonesAreUsersOfTheirOwnWhoKeepTheirOrder(t *testing.T) {
	t.Parallel()
	inBubble(t, 3, func(t *testing.T, s *stand, g *target) {
		all := s.users(120, 6, 10*time.Millisecond)
		c := g.copies()
		o := s.cloning(g, 4)
		o.Profile = schedule.ConstantSpeed(2)
		r := s.run(o)
		require.EqualValues(t, 120, r.Read)
		require.EqualValues(t, 480, r.Fired)
		require.Equal(t, 4, r.Clones)
		require.EqualValues(t, 480, r.Answers.Same)

		require.Len(t, c.seen, 480)
		require.Len(t, c.line, 24, "6 users and 3 clones of each")
		for cookie, seqs := range c.line {
			require.Len(t, seqs, 20)
			require.IsIncreasing(t, seqs, cookie)
		}
		keys := map[string]bool{}
		for _, h := range c.who {
			keys[h.Get("Idempotency-Key")] = true
		}
		require.Len(t, keys, 480, "none is taken for another's")
		first := all[0]
		require.Equal(t, "user-00000", c.who[copyOf{first.ID, "loop=0;clone=0"}].Get("X-User-Id"))
		was, _ := traffic.Get(first.Request.Headers, "Cookie")
		require.Equal(t, string(was), c.who[copyOf{first.ID, "loop=0;clone=0"}].Get("Cookie"), "clone 0 is as recorded")
		require.Regexp(t, `^[a-z]{4}-\d{5}$`, c.who[copyOf{first.ID, "loop=0;clone=3"}].Get("X-User-Id"))

		// Each copy has an outcome; a clone is due at most the jitter later, and a session's all by the same.
		outcomes := s.outcomes()
		shift := map[string]time.Duration{}
		for i, x := range all {
			require.Len(t, outcomes[x.ID], 4)
			due := map[uint32]time.Time{}
			for _, one := range outcomes[x.ID] {
				due[one.Clone] = one.DueTime
			}
			require.Len(t, due, 4)
			for clone := uint32(1); clone < 4; clone++ {
				by := due[clone].Sub(due[0])
				require.GreaterOrEqual(t, by, time.Duration(0))
				require.LessOrEqual(t, by, 150*time.Millisecond, "of captured time, at twice its speed")
				who := fmt.Sprintf("%d/%d", i%6, clone)
				if was, known := shift[who]; known {
					require.InDelta(t, was, by, float64(2*time.Microsecond))
				}
				shift[who] = by
			}
		}
	})
}

func TestAStrictGuardAndAFilterCountEveryClone(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 1)
	post := s.exchange(time.Now().Add(-time.Minute))
	post.Request.Method = []byte("POST")
	s.write(post)
	s.some(4, time.Millisecond)
	o := s.cloning(g, 3)
	o.Exclude = []string{"GET /items/2"}
	plan, err := replay.MakePlan(t.Context(), o)
	require.NoError(t, err)
	r := s.run(o)
	require.EqualValues(t, 9, r.Fired)
	require.Equal(t, map[string]int64{"write_not_allowed": 3}, r.Refused)
	require.Equal(t, map[string]int64{"filter": 3}, r.Skipped)
	require.Equal(t, r.Fired, plan.Fire)
	require.Equal(t, r.Refused, plan.Refused)
	require.Equal(t, r.Skipped, plan.Skipped)
	for _, a := range g.all() {
		require.Equal(t, http.MethodGet, a.method)
	}
}

func TestCloneIdentitiesInAnswersAreNoDifference(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 1)
	x := s.exchange(time.Now().Add(-time.Minute))
	x.Request.Headers = append(x.Request.Headers, traffic.Field{Name: []byte("X-User-Id"), Value: []byte("user-00042")})
	x.Response.Body = []byte(`{"for":"user-00042","price":3}`)
	s.write(x)
	price := 3
	g.answers(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"for":%q,"price":%d}`, r.Header.Get("X-User-Id"), price)
		return true
	})
	o := s.cloning(g, 3)
	require.EqualValues(t, 3, s.run(o).Answers.Same)
	price, o.Restart = 4, true
	r := s.run(o)
	require.EqualValues(t, 3, r.Answers.BodyChanged)
	require.Len(t, r.Differences, 1)
	require.Equal(t, "/price", r.Differences[0].Path)
}

func TestClonesOfAStoppedRunAreTheSameUsersAfterwards(t *testing.T) {
	t.Parallel()
	inBubble(t, 3, func(t *testing.T, s *stand, g *target) {
		s.users(200, 5, 10*time.Millisecond)
		c := g.copies()
		o := s.cloning(g, 3)
		o.Profile = schedule.ConstantSpeed(2)
		first := s.runUntil(g, 150, o)
		changed := o
		changed.Clones = 4
		_, err := s.start(changed).ends()
		require.ErrorContains(t, err, "set of options")
		again := s.run(o)
		// Copies that were not fired when the others of their exchange were have all come again.
		require.GreaterOrEqual(t, first.Fired+again.Fired, int64(600))
		require.Len(t, c.seen, 600)
		require.Len(t, c.line, 15, "no clone became somebody else")
	})
}

func TestReplicasAgreeOnTheClones(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 6)
	s.users(300, 12, 10*time.Millisecond)
	c := g.copies()
	o := s.cloning(g, 3)
	o.Profile = schedule.ConstantSpeed(1)
	reports := finish(s.startAll(2, o))
	require.Len(t, c.seen, 900)
	require.Len(t, c.line, 36)
	require.GreaterOrEqual(t, reports[0].Fired+reports[1].Fired, int64(900))
}

func TestAKilledRunMissesNoCloneOfNoLoop(t *testing.T) {
	t.Parallel()
	if os.Getenv(crashBrokers) != "" {
		s := crashStand(t)
		o := cloned(s.optionsFor(os.Getenv(crashTarget)), 3)
		o.Profile, o.Loops = schedule.ConstantSpeed(1), 2
		_, err := replay.Run(t.Context(), o)
		require.NoError(t, err)
		return
	}
	s, g := newStand(t, 4)
	all := s.users(200, 7, 8*time.Millisecond)
	c := g.copies()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAKilledRunMissesNoCloneOfNoLoop$", "-test.timeout=10m")
	child.Env = append(os.Environ(), crashBrokers+"="+strings.Join(s.cfg.Brokers, ","), crashTarget+"="+g.server.URL)
	require.NoError(t, child.Start())
	<-g.came(620) // at the beginning of the second loop
	require.NoError(t, child.Process.Kill())
	ended := child.Wait()
	g.goneQuiet(t)
	killed := len(g.all())
	if ended == nil {
		t.Log("the run was over before it was killed")
		c.are(t, marked(all, 2, 3))
		return
	}
	o := s.cloning(g, 3)
	o.Profile, o.Loops = schedule.ConstantSpeed(1), 2
	r := s.run(o)
	c.are(t, marked(all, 2, 3))
	require.Len(t, c.line, 21, "of the same users")
	t.Logf("killed after %d, fired %d more, %d records were known as finished", killed, r.Fired, r.Resumed)
}
