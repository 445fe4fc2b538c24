package replay_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/credential"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/redact"
	"github.com/reprise-io/reprise/internal/replay"
	"github.com/reprise-io/reprise/internal/rewrite"
	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/secret"
	"github.com/reprise-io/reprise/internal/traffic"
)

// account is a target that gives tokens, cookies and ids of its own, and knows no others.
type account struct {
	mu     sync.Mutex
	n      int
	users  map[string]string // by cookie: its token
	orders map[string]string // by id: whose cookie
	bodies []string
}

func (a *account) serve(w http.ResponseWriter, r *http.Request) bool {
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bodies = append(a.bodies, string(body))
	a.n++
	w.Header().Set("Content-Type", "application/json")
	sid := ""
	if c, err := r.Cookie("sid"); err == nil {
		sid = c.Value
	}
	if r.URL.Path == "/login" {
		sid, token := fmt.Sprintf("target-session-%d", a.n), fmt.Sprintf("target-token-%030d", a.n)
		a.users[sid] = token
		http.SetCookie(w, &http.Cookie{Name: "sid", Value: sid, Path: "/"})
		fmt.Fprintf(w, `{"token":%q}`, token)
		return true
	}
	if token, known := a.users[sid]; !known || r.Header.Get("Authorization") != "Bearer "+token {
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	switch {
	case r.URL.Path == "/orders":
		id := fmt.Sprintf("target-%d", a.n)
		a.orders[id] = sid
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"id":%q}`, id)
	case r.URL.Path == "/logout":
		delete(a.users, sid)
		http.SetCookie(w, &http.Cookie{Name: "sid", MaxAge: -1, Path: "/"})
		w.WriteHeader(http.StatusNoContent)
	default:
		id := strings.TrimPrefix(r.URL.Path, "/orders/")
		var in struct{ Order string }
		if a.orders[id] != sid || json.Unmarshal(body, &in) != nil || in.Order != id {
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		fmt.Fprintf(w, `{"id":%q,"state":"paid"}`, id)
	}
	return true
}

// recordAccounts writes what n users did: log in, order, pay what they ordered, log out, and look again, which is refused.
// The login was on a connection that had no session yet.
func (s *stand) recordAccounts(n, steps int) (statuses map[traffic.ID]int) {
	s.t.Helper()
	r, err := redact.New(redact.Options{Key: []byte(testKey)})
	require.NoError(s.t, err)
	statuses = make(map[traffic.ID]int)
	var all []*traffic.Exchange
	start := time.Now().Add(-time.Minute)
	for u := range n {
		sid, token, order := fmt.Sprintf("sid-%030d", u), fmt.Sprintf("token-%030d", u), fmt.Sprintf("rec-%d", u)
		for i, step := range []struct {
			method, path, body, answer string
			status                     int
			set                        string
		}{
			{"POST", "/login", `{"user":"u"}`, `{"token":"` + token + `"}`, 200, "sid=" + sid + "; Path=/"},
			{"POST", "/orders", `{"item":1}`, `{"id":"` + order + `"}`, 201, ""},
			{"PUT", "/orders/" + order, `{"order":"` + order + `"}`, `{"id":"` + order + `","state":"paid"}`, 200, ""},
			{"POST", "/logout", ``, ``, 204, "sid=; Max-Age=0; Path=/"},
			{"PUT", "/orders/" + order, `{"order":"` + order + `"}`, ``, 401, ""},
		}[:steps] {
			x := s.exchange(start.Add(time.Duration(i*20+u) * time.Millisecond))
			q := &x.Request
			q.Method, q.Target, q.Body, q.BodySize = []byte(step.method), []byte(step.path), []byte(step.body), int64(len(step.body))
			q.Headers = append(q.Headers, field("Content-Type", "application/json"))
			x.Connection.ID = fmt.Appendf(nil, "c%d", u)
			if i > 0 {
				x.Session = fmt.Appendf(nil, "session-%d", u)
				q.Headers = append(q.Headers, field("Cookie", "theme=dark; sid="+sid), field("Authorization", "Bearer "+token))
			}
			x.Response.Status, x.Response.Body, x.Response.BodySize = step.status, []byte(step.answer), int64(len(step.answer))
			if step.set != "" {
				x.Response.Headers = append(x.Response.Headers, field("Set-Cookie", step.set))
			}
			require.NoError(s.t, r.Exchange(x))
			statuses[x.ID] = step.status
			all = append(all, x)
		}
	}
	s.write(all...)
	return statuses
}

func field(name, value string) traffic.Field {
	return traffic.Field{Name: []byte(name), Value: []byte(value)}
}

func where(t *testing.T, s string) *filter.Filter {
	t.Helper()
	f, err := filter.Compile(s)
	require.NoError(t, err)
	return f
}

func at(t *testing.T, s string) rewrite.Place {
	t.Helper()
	p, err := rewrite.ParsePlace(s)
	require.NoError(t, err)
	return p
}

func TestSessionsGoOnAtATargetThatKnowsNoRecordedToken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		order   schedule.OrderMode
		clones  int
		without bool
		steps   int
	}{
		{name: "session", steps: 5},
		{name: "clones", clones: 3, steps: 5},
		{name: "without rules", without: true, steps: 5},
		{name: "no order but that of values", order: schedule.OrderNone, steps: 3}, // a log-out would come at any time
	} {
		t.Run(c.name, func(t *testing.T) {
			s, g := newStand(t, 1)
			shop := &account{users: map[string]string{}, orders: map[string]string{}}
			g.answers(shop.serve)
			recorded := s.recordAccounts(8, c.steps)
			o := s.options(g)
			o.AllowWrites = []string{"POST /**", "PUT /**"}
			o.Order, o.Clones = c.order, c.clones
			if !c.without {
				o.Session.Jar = true
				o.Session.Extract = []rewrite.Extract{
					{From: where(t, "POST /login"), Place: at(t, "json $.token")}, {From: where(t, "POST /orders"), Place: at(t, "json $.id")},
				}
			}
			r := s.run(o)
			differ := 0
			for id, all := range s.outcomes() {
				for _, out := range all {
					if out.Status != recorded[id] {
						differ++
					}
				}
			}
			if c.without {
				require.Equal(t, 8*3, differ, "or this test could not fail")
				require.Nil(t, r.Sessions)
				return
			}
			n := max(1, c.clones)
			require.Zero(t, differ)
			require.EqualValues(t, 8*c.steps*n, r.Fired)
			require.Zero(t, r.Answers.BodyChanged, "other tokens and ids are no difference: %+v", r.Differences)
			require.EqualValues(t, 8*n*2, r.Sessions.Extracted)
			require.Zero(t, r.Sessions.Missing)
			require.Zero(t, r.Sessions.TimedOut)
			require.Zero(t, r.Sessions.Lost)
		})
	}
}

func TestWhatDependsOnAValueThatDoesNotComeIsSentOrRefused(t *testing.T) {
	t.Parallel()
	for _, refuse := range []bool{false, true} {
		s, g := newStand(t, 1)
		g.answers(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/login" {
				w.WriteHeader(http.StatusServiceUnavailable)
				return true
			}
			return false
		})
		s.recordAccounts(1, 5)
		o := s.options(g)
		o.AllowWrites = []string{"POST /**", "PUT /**"}
		o.Session.Refuse = refuse
		o.Session.Extract = []rewrite.Extract{{From: where(t, "POST /login"), Place: at(t, "json $.token")}}
		r := s.run(o)
		require.EqualValues(t, 3, r.Sessions.Missing, "what was refused with 401 needs none")
		if refuse {
			require.EqualValues(t, 3, r.Refused["session_value_missing"])
			require.EqualValues(t, 2, r.Fired)
		} else {
			require.EqualValues(t, 5, r.Fired)
		}
	}
}

func TestWhoWaitsInVainIsLate(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(t *testing.T, s *stand, g *target) {
		came := make(chan struct{})
		once := sync.OnceFunc(func() { close(came) })
		g.answers(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/login" {
				once()
				return false
			}
			select { // it answers only when somebody has come without waiting any longer
			case <-came:
			case <-r.Context().Done():
			}
			return false
		})
		s.recordAccounts(1, 2)
		o := s.options(g)
		o.AllowWrites = []string{"POST /**"}
		o.Profile, o.Order = schedule.ConstantSpeed(1), schedule.OrderNone
		o.Session.Jar, o.Session.Wait = true, 300*time.Millisecond
		r := s.run(o)
		require.EqualValues(t, 2, r.Fired)
		require.EqualValues(t, 1, r.Sessions.TimedOut)
		require.GreaterOrEqual(t, r.Lateness.Max, 250.0, "the wait shows")
	})
}

func TestMintedTokensGoToTheTargetAndNowhereElse(t *testing.T) {
	const token = "minted-0123456789-for-preprod"
	t.Setenv("TEST_TOKEN", token)
	s, g := newStand(t, 1)
	var mu sync.Mutex
	seen := map[string]int{}
	g.answers(func(w http.ResponseWriter, r *http.Request) bool { // it echoes what it must not
		mu.Lock()
		defer mu.Unlock()
		seen[r.URL.Path+" "+r.Header.Get("X-Auth")]++
		w.Header().Set("X-Auth", r.Header.Get("X-Auth"))
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintf(w, "you are %s", r.Header.Get("X-Auth"))
		return true
	})
	ref, err := secret.Parse("token", "env:TEST_TOKEN")
	require.NoError(t, err)
	s.recordAccounts(1, 5)
	o := s.options(g)
	o.AllowWrites = []string{"POST /**", "PUT /**"}
	o.Session.Credentials = []replay.CredentialOptions{{
		Config: credential.Config{Name: "preprod", Kind: credential.Static, Secret: ref}, Into: at(t, "header X-Auth"), As: "Key ${}",
		Where: where(t, "status != 204"),
	}}
	r := s.run(o)
	require.EqualValues(t, 5, r.Fired)
	require.EqualValues(t, 1, r.Sessions.Tokens)
	for line, n := range map[string]int{"/login Key " + token: 1, "/orders Key " + token: 1, "/orders/rec-0 Key " + token: 1, "/orders/rec-0 ": 1, "/logout ": 1} {
		require.Equal(t, n, seen[line], "%s in %v", line, seen)
	}
	answers := 0
	for _, all := range s.outcomes() {
		for _, out := range all {
			text, err := json.Marshal(out)
			require.NoError(t, err)
			require.NotContains(t, string(text), token)
			if out.Answer != nil {
				answers++
				require.NotContains(t, string(out.Answer.Body), token)
				for _, f := range out.Answer.Headers {
					require.NotContains(t, string(f.Value), token)
				}
			}
		}
	}
	require.Equal(t, 5, answers)

	require.NoError(t, os.Unsetenv("TEST_TOKEN"))
	o.Run = "tuesday"
	_, err = s.start(o).ends()
	require.ErrorContains(t, err, `credential "preprod" cannot be got`)
}

func TestRewritesReachTheTargetAndThePlan(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 1)
	s.some(3, time.Millisecond)
	o := s.options(g)
	o.Rewrite = rewrite.Rules{BasePath: "/v2", Edits: []rewrite.Edit{{Place: at(t, "query ref"), Remove: true}}}
	plan, err := replay.MakePlan(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, "/v2/items/1", plan.Examples[0].Target)
	r := s.run(o)
	require.EqualValues(t, 3, r.Fired)
	for _, a := range g.all() {
		require.True(t, strings.HasPrefix(a.path, "/v2/items/"), a.path)
	}
	require.Len(t, r.Routes, 1)
	require.Equal(t, "GET /items/{id}", r.Routes[0].Route, "routes are those that were recorded")
}

func TestWhatIsSentIsJudgedAndCountedAsItIsSent(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 1)
	s.recordAccounts(4, 3)
	o := s.options(g)
	o.AllowWrites = []string{"POST /v2/orders", "PUT /v2/orders/*"}
	o.Caps = []replay.Cap{{Route: "PUT /v2/orders/*", Most: 3}, {Route: "PUT /orders/*", Most: 0}}
	o.Rewrite = rewrite.Rules{BasePath: "/v2", Edits: []rewrite.Edit{
		{Place: at(t, "header X-HTTP-Method-Override"), Value: []byte("delete"), Where: where(t, "POST /login")},
	}}
	plan, err := replay.MakePlan(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"write_not_allowed": 4, "route_cap": 1}, plan.Refused)
	r := s.run(o)
	require.Equal(t, map[string]int64{"write_not_allowed": 4, "route_cap": 1}, r.Refused)
	require.EqualValues(t, 7, r.Fired)
	for _, a := range g.all() {
		require.True(t, strings.HasPrefix(a.path, "/v2/orders"), a.path)
	}

	// A value of the target that leads elsewhere, put in when the guard would have judged what was recorded.
	g.answers(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/orders" {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"id":"x;/../../admin"}`)
		return true
	})
	o = s.options(g)
	o.Run, o.AllowWrites = "tuesday", []string{"POST /orders", "PUT /orders/*"}
	o.Session.Extract = []rewrite.Extract{{From: where(t, "POST /orders"), Place: at(t, "json $.id")}}
	r = s.run(o)
	require.EqualValues(t, 4, r.Sessions.Extracted)
	for _, a := range g.all() {
		require.NotContains(t, a.path, "admin")
	}
}

func TestAPartitionThatIsTakenUpInItsMiddleIsTold(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 1)
	shop := &account{users: map[string]string{}, orders: map[string]string{}}
	s.recordAccounts(8, 4)
	ctx, interrupt := context.WithCancelCause(t.Context())
	var n atomic.Int32
	g.answers(func(w http.ResponseWriter, r *http.Request) bool {
		if n.Add(1) == 12 {
			interrupt(fault.New("interrupted", "", ""))
		}
		return shop.serve(w, r)
	})
	o := s.options(g)
	o.AllowWrites, o.Concurrency, o.Session.Jar = []string{"POST /**", "PUT /**"}, 1, true
	r, err := replay.Run(ctx, o)
	require.ErrorContains(t, err, "interrupted")
	require.Zero(t, r.Sessions.TakenUp)
	r = s.run(o)
	require.EqualValues(t, 1, r.Sessions.TakenUp)
	var text strings.Builder
	require.NoError(t, r.Text(&text))
	require.Contains(t, text.String(), "taken up in their middle")
}
