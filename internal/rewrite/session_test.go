package rewrite_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/rewrite"
	"github.com/reprise-io/reprise/internal/traffic"
)

var t0 = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// play is one user's way through the sessions.
type play struct {
	*testing.T
	s   *rewrite.Sessions
	key string
	now time.Time
}

func answer(body string, headers ...string) *traffic.Response {
	return &traffic.Response{Status: 200, Headers: fields(append(headers, jsonType)...), Body: []byte(body), BodySize: int64(len(body))}
}

// sends one exchange: what was recorded, and what the target answers now; it returns what the target got.
func (p *play) sends(x *traffic.Exchange, recorded, now *traffic.Response) traffic.Request {
	p.Helper()
	got, _ := p.tries(x, recorded, now)
	return got
}

func (p *play) tries(x *traffic.Exchange, recorded, now *traffic.Response) (traffic.Request, bool) {
	p.Helper()
	x.Response = recorded
	trip, err := p.s.Plan(x, []byte(p.key), 3, recorded)
	require.NoError(p, err)
	got, _, missing, err := p.s.Dress(trip, x, x.Request, p.now)
	require.NoError(p, err)
	p.s.Learn(trip, &got, now, p.now)
	return got, missing
}

func TestASessionGoesOnWithWhatTheTargetGave(t *testing.T) {
	post := matcher(func(x *traffic.Exchange) bool { return string(x.Request.Target) == "/login" })
	order := matcher(func(x *traffic.Exchange) bool { return string(x.Request.Target) == "/orders" })
	p := &play{t, rewrite.NewSessions(rewrite.Options{Jar: true, Extract: []rewrite.Extract{
		{From: post, Place: place(t, "json $.token")}, {From: order, Place: place(t, "json $.id")},
	}}), "alice", t0}

	p.sends(request("POST", "/login", `{}`), answer(`{"token":"rec-token-0123456789"}`, "Set-Cookie: sid=rec-sid; Path=/; HttpOnly"),
		answer(`{"token":"new-token"}`, "Set-Cookie: sid=new-sid; Path=/", "Set-Cookie: lb=node-2"))
	got := p.sends(request("POST", "/orders", `{}`, "Authorization: Bearer rec-token-0123456789", "Cookie: theme=dark; sid=rec-sid"), answer(`{"id":17}`), answer(`{"id":23}`))
	require.Equal(t, []string{"Authorization: Bearer new-token", "Cookie: theme=dark; sid=new-sid; lb=node-2"}, lines(got.Headers),
		"its own cookie stays, the target's own is added")

	got = p.sends(request("PUT", "/orders/17/lines/170?order=17&n=170", `{"order":17,"17":"17","text":"17 pieces"}`, jsonType, "X-Order: 17"), answer(""), answer(""))
	require.Equal(t, "/orders/23/lines/170?order=23&n=170", string(got.Target))
	require.JSONEq(t, `{"order":23,"17":"23","text":"17 pieces"}`, string(got.Body))
	require.Contains(t, lines(got.Headers), "X-Order: 23")
	got = p.sends(request("POST", "/f", `order=17&x=1`, "Content-Type: application/x-www-form-urlencoded"), answer(""), answer(""))
	require.Equal(t, `order=23&x=1`, string(got.Body))

	// Another user's 17 is another one; the token is known wherever it is seen.
	other := &play{t, p.s, "bob", t0}
	got = other.sends(request("GET", "/orders/17", ""), answer(""), answer(""))
	require.Equal(t, "/orders/17", string(got.Target))
	moved := &play{t, p.s, "another connection", t0}
	got = moved.sends(request("GET", "/orders/17", "", "Authorization: Bearer rec-token-0123456789"), answer(""), answer(""))
	require.Equal(t, "/orders/23", string(got.Target))
	require.Equal(t, "Authorization: Bearer new-token", lines(got.Headers)[0])

	// Who was turned away stays without credentials.
	denied := answer("")
	denied.Status = 401
	got = p.sends(request("GET", "/orders/17", "", "Authorization: Bearer rec-token-0123456789", "Cookie: sid=rec-sid"), denied, denied)
	require.Equal(t, "/orders/23", string(got.Target))
	require.Equal(t, []string{"Authorization: Bearer rec-token-0123456789", "Cookie: sid=rec-sid"}, lines(got.Headers))

	// A partition that goes takes them along.
	p.s.Forget(2)
	require.Equal(t, 1, p.s.Len())
	p.s.Forget(3)
	require.Zero(t, p.s.Len())
	got = moved.sends(request("GET", "/orders/17", "", "Authorization: Bearer rec-token-0123456789"), answer(""), answer(""))
	require.Equal(t, "/orders/17", string(got.Target))
}

type matcher func(*traffic.Exchange) bool

func (m matcher) Match(x *traffic.Exchange) (bool, error) { return m(x), nil }

func TestCookiesAreThoseOfABrowser(t *testing.T) {
	var count rewrite.Counters
	p := &play{t, rewrite.NewSessions(rewrite.Options{Jar: true, Counters: &count}), "alice", t0}
	cookies := func(target, cookie string) string {
		t.Helper()
		got := p.sends(request("GET", target, "", "Cookie: "+cookie), answer(""), answer(""))
		v, _ := traffic.Get(got.Headers, "Cookie")
		return string(v)
	}
	set := func(target string, sets ...string) {
		t.Helper()
		var all []string
		for _, s := range sets {
			all = append(all, "Set-Cookie: "+s)
		}
		p.sends(request("GET", target, "", "Cookie: a=rec; b=rec; c=rec; d=rec"), answer("", all...), answer("", all...))
	}
	set("/shop/cart", "a=1; Path=/", "b=2", "c=3; path=/other; Secure; SameSite=Lax", "d=4; Max-Age=60; Domain=.preprod.internal; Path=/")
	require.Equal(t, "a=1; b=rec; c=rec; d=4", cookies("/", "a=rec; b=rec; c=rec; d=rec"))
	require.Equal(t, "a=1; b=2; c=rec; d=4", cookies("/shop/x", "a=rec; b=rec; c=rec; d=rec"))
	require.Equal(t, "b=rec", cookies("/shopping", "b=rec"), "a path is no prefix of letters")
	require.Equal(t, "c=3; e=rec", cookies("/other?q", "c=rec; e=rec"))
	p.now = p.now.Add(time.Minute)
	require.Equal(t, "a=1", cookies("/", "a=rec; d=rec"), "it has expired")
	set("/", "a=; Path=/; Expires=Thu, 01-Jan-1970 00:00:00 GMT", "d=5; Max-Age=0; Domain=preprod.internal; Path=/")
	require.Empty(t, cookies("/", "a=rec; d=rec"), "the target took them away")
	set("/", "a=9; Path=/shop", "a=8; Path=/")
	require.Equal(t, "a=9", cookies("/shop/", "a=rec"), "the longest path counts")
	set("/", "no pair", "=x", "x=\x01")
	require.NotZero(t, count.Changed.Load())
}

func TestASessionThatGetsAnotherNameGoesOn(t *testing.T) {
	s := rewrite.NewSessions(rewrite.Options{
		Jar: true, Extract: []rewrite.Extract{{Place: place(t, "json $.token")}},
		SessionCookie: func(name []byte) bool { return string(name) == "sid" },
	})
	const consent = "consent=everybody-has-the-same"
	visit := func(key, old, rotated string) *play {
		p := &play{t, s, key, t0}
		x := request("GET", "/", "", "Cookie: sid="+old+"-0123456789abcdef")
		x.Session = []byte(key)
		p.sends(x, answer(`{"token":"shared-by-all-users"}`, "Set-Cookie: sid="+rotated+"-0123456789abcdef; Path=/", "Set-Cookie: "+consent),
			answer(`{"token":"now"}`, "Set-Cookie: sid=of-"+key+"; Path=/", "Set-Cookie: "+consent))
		return p
	}
	visit("alice", "a0", "a1")
	visit("bob", "b0", "b1")
	cookie := func(key, cookie string, more ...string) string {
		t.Helper()
		p := &play{t, s, key, t0}
		x := request("GET", "/", "", append([]string{"Cookie: " + cookie}, more...)...)
		x.Session = []byte(key)
		got := p.sends(x, answer(""), answer(""))
		v, _ := traffic.Get(got.Headers, "Cookie")
		return string(v)
	}
	require.Equal(t, "sid=of-bob", cookie("bob after the log-in", "sid=b1-0123456789abcdef"))
	require.Equal(t, "sid=of-alice", cookie("alice after the log-in", "sid=a1-0123456789abcdef"))
	require.Equal(t, "sid=of-alice", cookie("alice after the log-in", "sid=x"), "from now on by that name")
	require.Equal(t, "sid=x; "+consent, cookie("carol", "sid=x; "+consent, "Authorization: Bearer shared-by-all-users"), "what all have names nobody")
	s.Forget(3)
	require.Zero(t, s.Len())
}

func TestInjectPutsNamedValuesWhereTheyAreWanted(t *testing.T) {
	p := &play{t, rewrite.NewSessions(rewrite.Options{
		Extract: []rewrite.Extract{{Name: "csrf", Place: place(t, "header X-CSRF")}, {Name: "n", Place: place(t, `body n=(\d+)`)}},
		Inject: []rewrite.Inject{
			{Value: "csrf", Into: place(t, "header X-CSRF")},
			{Value: "csrf", Into: place(t, "json $.form.csrf"), As: "t:${}"},
			{Value: "n", Into: place(t, "segment 2")},
			{Value: "n", Into: place(t, "query n")},
			{Value: "csrf", Into: place(t, "cookie csrf")},
		},
	}), "alice", t0}
	got, missing := p.tries(request("GET", "/a/b", ""), answer("n=1", "X-CSRF: rec"), answer("n=7", "X-CSRF: now"))
	require.True(t, missing)
	require.Equal(t, "/a/b", string(got.Target))
	got, missing = p.tries(request("POST", "/a/b/c", `{"form":{}}`, jsonType, "X-CSRF: rec", "Cookie: x=1"), answer(""), answer(""))
	require.False(t, missing)
	require.Equal(t, "/a/7/c?n=7", string(got.Target))
	require.JSONEq(t, `{"form":{"csrf":"t:now"}}`, string(got.Body))
	require.Equal(t, []string{jsonType, "X-CSRF: now", "Cookie: x=1; csrf=now"}, lines(got.Headers))
}

// The guard has judged the path as it was recorded: no answer of the target leads a request out of it.
func TestAnAnswerDoesNotLeadARequestElsewhere(t *testing.T) {
	for _, bad := range []string{"..", ".", "x/../../admin", `x\\..\\..\\admin`, "%2e%2e", "x%2f..%2fadmin", ""} {
		p := &play{t, rewrite.NewSessions(rewrite.Options{Extract: []rewrite.Extract{{Place: place(t, "json $.id")}}}), "alice", t0}
		p.sends(request("POST", "/api/orders", ""), answer(`{"id":"rec-1"}`), answer(`{"id":"`+bad+`"}`))
		got, _ := p.tries(request("POST", "/api/rec-1/pay", ""), answer(""), answer(""))
		require.Equal(t, "/api/rec-1/pay", string(got.Target), bad)
	}
	p := &play{t, rewrite.NewSessions(rewrite.Options{Extract: []rewrite.Extract{{Place: place(t, "json $.id")}}}), "alice", t0}
	p.sends(request("POST", "/api/orders", ""), answer(`{"id":"rec-1"}`), answer(`{"id":"a/b.c=="}`))
	got, _ := p.tries(request("POST", "/api/rec-1/pay", ""), answer(""), answer(""))
	require.Equal(t, "/api/a%2Fb.c==/pay", string(got.Target), "what is an id is put in")
}

func TestAValueThatDidNotComeIsMissing(t *testing.T) {
	p := &play{t, rewrite.NewSessions(rewrite.Options{Extract: []rewrite.Extract{{Place: place(t, "json $.id")}}}), "alice", t0}
	p.sends(request("POST", "/orders", ""), answer(`{"id":"rec-1"}`), answer(`{"error":"sold out"}`))
	got, missing := p.tries(request("GET", "/orders/rec-1", ""), answer(""), answer(""))
	require.True(t, missing)
	require.Equal(t, "/orders/rec-1", string(got.Target))
	_, missing = p.tries(request("GET", "/orders/rec-2", ""), answer(""), answer(""))
	require.False(t, missing, "nobody was to bring that one")
	p.sends(request("POST", "/orders", ""), answer(`{"id":"rec-3"}`), nil)
	_, missing = p.tries(request("GET", "/orders/rec-3", ""), answer(""), answer(""))
	require.True(t, missing)
}

func TestSessionsAreBounded(t *testing.T) {
	var count rewrite.Counters
	s := rewrite.NewSessions(rewrite.Options{
		Jar: true, Extract: []rewrite.Extract{{Place: place(t, "json $.id")}}, Sessions: 10, Bytes: 1 << 20, Counters: &count,
	})
	for i := range 100 {
		p := &play{t, s, fmt.Sprint("user", i), t0}
		p.sends(request("GET", "/", ""), answer(fmt.Sprintf(`{"id":"recorded id %d"}`, i)), answer(`{"id":"y"}`, "Set-Cookie: a=b"))
		require.LessOrEqual(t, s.Len(), 10)
	}
	require.EqualValues(t, 90, count.Evicted.Load())
	p := &play{t, s, "user0", t0}
	require.Equal(t, "/recorded id 0", string(p.sends(request("GET", "/recorded id 0", ""), answer(""), answer("")).Target), "it was forgotten")
	p = &play{t, s, "user99", t0}
	require.Equal(t, "/y", string(p.sends(request("GET", "/recorded id 99", ""), answer(""), answer("")).Target))

	large := rewrite.NewSessions(rewrite.Options{Extract: []rewrite.Extract{{Place: place(t, "json $.id")}}, Bytes: 64 << 10, Counters: &count})
	for i := range 2000 {
		p := &play{t, large, fmt.Sprint("user", i%100), t0}
		long := strings.Repeat("x", 2000)
		p.sends(request("GET", "/", ""), answer(fmt.Sprintf(`{"id":"%d %s"}`, i, long)), answer(`{"id":"`+long+`"}`))
		require.Less(t, large.Len(), 17)
	}
}

func TestRequestsWaitForTheAnswersThatBringTheirValues(t *testing.T) {
	s := rewrite.NewSessions(rewrite.Options{Jar: true, Extract: []rewrite.Extract{{Place: place(t, "json $.id")}}})
	w := rewrite.NewWaits[string](10 * time.Second)
	at := t0
	trip := func(key string, x *traffic.Exchange, recorded *traffic.Response) *rewrite.Trip {
		at = at.Add(time.Second)
		x.CaptureTime, x.Response = at, recorded
		recorded.Duration = time.Second / 2
		got, err := s.Plan(x, []byte(key), 0, recorded)
		require.NoError(t, err)
		return got
	}
	login := trip("conn-1", request("POST", "/login", ""), answer("", "Set-Cookie: sid=0123456789abcdef"))
	order := trip("alice", request("POST", "/orders", "", "Cookie: sid=0123456789abcdef"), answer(`{"id":"17"}`))
	view := trip("alice", request("GET", "/orders/17", "", "Cookie: sid=0123456789abcdef"), answer(""))
	bob := trip("bob", request("GET", "/orders/17", ""), answer(""))
	a := w.Enter(login)
	require.True(t, w.Ready(login, a, "login", t0))
	b := w.Enter(order)
	require.False(t, w.Ready(order, b, "order", t0), "its cookie comes from another session")
	c := w.Enter(view)
	require.False(t, w.Ready(view, c, "view", t0.Add(time.Second)))
	require.True(t, w.Ready(bob, w.Enter(bob), "bob", t0), "the 17 of others does not matter")
	require.Equal(t, []string{"order"}, w.Done(a, nil))
	require.Empty(t, w.Done(a, nil), "once")
	require.Empty(t, w.Expire(t0.Add(10*time.Second), nil))
	require.Equal(t, []string{"view"}, w.Expire(t0.Add(11*time.Second), nil))
	require.Empty(t, w.Done(b, nil), "it has left")
	require.True(t, w.Ready(view, c, "view", t0), "what has come is not waited for")

	// A cookie that every answer sets again makes nobody wait, nor does an answer that had not ended.
	again := trip("alice", request("GET", "/", "", "Cookie: sid=0123456789abcdef"), answer("", "Set-Cookie: sid=0123456789abcdef"))
	w.Enter(again)
	next := trip("alice", request("GET", "/", "", "Cookie: sid=0123456789abcdef"), answer(""))
	require.True(t, w.Ready(next, w.Enter(next), "next", t0))
	slow := trip("alice", request("POST", "/slow", ""), answer(`{"id":"18"}`))
	at = at.Add(-9 * time.Second / 10)
	parallel := trip("alice", request("GET", "/orders/18", ""), answer(""))
	w.Enter(slow)
	require.True(t, w.Ready(parallel, w.Enter(parallel), "parallel", t0), "it cannot have known the 18 of that answer")
}

func TestMaskTakesATokenOutOfAnAnswer(t *testing.T) {
	secret := []byte("minted-token")
	a := answer(`{"echo":"Bearer minted-token"}`, "X-Echo: minted-token")
	rewrite.Mask(a, secret)
	require.JSONEq(t, `{"echo":"Bearer ************"}`, string(a.Body))
	require.Equal(t, "X-Echo: ************", lines(a.Headers)[0])
	a = answer(zipped("minted-token"), "Content-Encoding: gzip")
	rewrite.Mask(a, secret)
	require.Empty(t, a.Body)
	a = answer(zipped("something else"), "Content-Encoding: gzip")
	rewrite.Mask(a, secret)
	require.NotEmpty(t, a.Body)
}

func FuzzSetCookie(f *testing.F) {
	f.Add("sid=1; Path=/a; Max-Age=60; Domain=.x; Secure", "sid=rec; a=b", "/a/b?c")
	f.Add("=;Expires=Wed, 21-Oct-15 07:28:00 GMT", ";;=", "http://x")
	f.Fuzz(func(t *testing.T, set, cookie, target string) {
		p := &play{t, rewrite.NewSessions(rewrite.Options{Jar: true, Extract: []rewrite.Extract{{Place: place(t, "cookie sid")}}}), "alice", t0}
		p.sends(request("GET", target, ""), answer("", "Set-Cookie: "+set), answer("", "Set-Cookie: "+set, "Set-Cookie: mine=1"))
		got := p.sends(request("GET", target, "", "Cookie: "+cookie), answer(""), answer(""))
		for _, h := range got.Headers {
			require.False(t, strings.ContainsAny(string(h.Value), "\r\n\x00") && !strings.ContainsAny(cookie, "\r\n\x00"), "%q", h.Value)
		}
	})
}
