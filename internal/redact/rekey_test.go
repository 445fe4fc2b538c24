package redact

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

// redactedRequest is a request of a user as it is stored: with pseudonyms wherever a user can have secrets.
func redactedRequest(t *testing.T, user int, contentType, body string) *traffic.Exchange {
	t.Helper()
	x := &traffic.Exchange{Request: traffic.Request{
		Method: []byte("POST"), Authority: []byte("shop.example"),
		Target: fmt.Appendf(nil, "/u/1381234%04d/cart?phone=1391234%04d&user_id=4%05d&page=2&token=%%61bc%08d", user, user, user, user),
		Headers: []traffic.Field{
			field("Host", "shop.example"), field("Content-Type", contentType),
			field("Cookie", fmt.Sprintf("sid=%032x; theme=dark%d", user*77777, user)), field("Authorization", fmt.Sprintf("Bearer secret-%08d-token", user)),
			field("X-User-Id", fmt.Sprintf("4%05d", user)), field("Idempotency-Key", fmt.Sprintf("order-%08d", user)), field("Accept", "*/*"),
		},
		Body: []byte(body), BodySize: int64(len(body)),
	}}
	require.NoError(t, fixed(t).Exchange(x))
	return x
}

func copied(x *traffic.Exchange) *traffic.Exchange {
	c := *x
	c.Request.Headers = append([]traffic.Field(nil), x.Request.Headers...)
	return &c
}

func rekeyer(t *testing.T, seed string) *Rekeyer {
	t.Helper()
	k, err := NewRekeyer([]byte(seed), []Identity{{Header: "X-User-Id"}, {Field: "user_id"}})
	require.NoError(t, err)
	return k
}

func header(x *traffic.Exchange, name string) string {
	v, _ := traffic.Get(x.Request.Headers, name)
	return string(v)
}

func TestEveryCloneIsAnotherUserOfTheSameShape(t *testing.T) {
	body := `{"phone":"13912340007","userId":"400007","page":{"number":"n"},"note":"call 13712345678","cardNo":"4111111111111111","id":"11010519491231002X"}`
	x := redactedRequest(t, 7, "application/json", body)
	before := string(x.Request.Body) + string(x.Request.Target)
	d := newDetector(DefaultRules().Detectors)
	seen := map[string]int{}
	for clone := range uint32(20) {
		clone++
		c := copied(x)
		swaps, err := rekeyer(t, "seed").Request(c, clone, 0)
		require.NoError(t, err)
		q, was := &c.Request, &x.Request
		require.Len(t, q.Body, len(was.Body))
		require.Len(t, q.Target, len(was.Target))
		for _, v := range []string{string(q.Body), string(q.Target), header(c, "Cookie"), header(c, "Authorization"), header(c, "X-User-Id"), header(c, "Idempotency-Key")} {
			seen[v]++
			require.Equal(t, 1, seen[v], "clone %d is none before: %s", clone, v)
		}
		for i := range q.Headers {
			require.Len(t, q.Headers[i].Value, len(was.Headers[i].Value))
		}
		require.Regexp(t, `^sid=[0-9a-f]{32}; theme=[a-z]{4}\d$`, header(c, "Cookie"))
		require.Regexp(t, `^Bearer `, header(c, "Authorization"))
		require.Equal(t, []string{"shop.example", "application/json", "*/*"}, []string{header(c, "Host"), header(c, "Content-Type"), header(c, "Accept")})
		require.Regexp(t, `^/u/1[3-9]\d{9}/cart\?phone=1[3-9]\d{9}&user_id=[1-9]\d{5}&page=2&token=`, string(q.Target))
		require.Regexp(t, `^\{"phone":"1[3-9]\d{9}","userId":"[1-9]\d{5}","page":\{"number":"n"\},"note":"call 1[3-9]\d{9}","cardNo":"4111\d{12}","id":"\d{17}[\dX]"\}$`, string(q.Body))
		for at := 0; ; { // every value is still a valid one: Luhn and check digits
			s, ok := d.next(q.Body, at)
			if !ok {
				require.Greater(t, at, 100)
				break
			}
			at = s.to
		}
		// The same value is the same everywhere: the phone in query and body, the user in query, header and body.
		phone := string(q.Target[bytes.Index(q.Target, []byte("phone="))+6:][:11])
		require.Contains(t, string(q.Body), `"phone":"`+phone+`"`)
		user := header(c, "X-User-Id")
		require.Contains(t, string(q.Target), "user_id="+user+"&")
		require.Contains(t, string(q.Body), `"userId":"`+user+`"`)
		require.Contains(t, swaps, Swap{[]byte("400007"), []byte(user)})

		again := copied(x)
		_, err = rekeyer(t, "seed").Request(again, clone, 3)
		require.NoError(t, err)
		for i := range again.Request.Headers {
			if name := string(again.Request.Headers[i].Name); name == "Idempotency-Key" {
				require.NotEqual(t, header(c, name), header(again, name))
				again.Request.Headers[i] = field(name, header(c, name))
			}
		}
		require.Equal(t, c.Request, again.Request, "the same in another process and in every loop, but for what names one request")
		other := copied(x)
		_, err = rekeyer(t, "another run").Request(other, clone, 0)
		require.NoError(t, err)
		require.NotEqual(t, header(c, "Cookie"), header(other, "Cookie"))
	}
	require.Equal(t, before, string(x.Request.Body)+string(x.Request.Target), "what was recorded is not written to")
}

func TestClonesNeverShareAValueWithEachOtherOrTheRecorded(t *testing.T) {
	k := rekeyer(t, "seed")
	owner := map[string]string{}
	for user := range 50 {
		x := redactedRequest(t, user, "application/x-www-form-urlencoded", fmt.Sprintf("password=Secret-%08d-word&x=1", user))
		for clone := range uint32(8) {
			c := copied(x)
			if clone > 0 {
				_, err := k.Request(c, clone, 0)
				require.NoError(t, err)
			}
			who := fmt.Sprintf("user %d clone %d", user, clone)
			cookie, _, _ := strings.Cut(header(c, "Cookie"), ";")
			for _, v := range []string{cookie, header(c, "Authorization"), header(c, "Idempotency-Key"), string(c.Request.Body)} {
				require.Empty(t, owner[v], "%s and %s", owner[v], who)
				owner[v] = who
			}
		}
	}
}

func TestAClonesBodyIsMadeAnewWhereverPseudonymsStand(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(z, `{"password":"Secret-00000001-word","n":1}`)
	require.NoError(t, z.Close())
	for _, c := range []struct{ contentType, coding, body string }{
		{"application/json", "", `[{"a":{"token":"abcdefgh12345678"}},{"a":{"token":"ijklmnop12345678"}}]`},
		{"application/json", "", `{"token":"a\u0062cdefgh12345678","token":"twice-12345678"}`},
		{"application/json", "gzip", zipped.String()},
		{"multipart/form-data; boundary=xx", "", "--xx\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nSecret-1-word\r\n--xx--\r\n"},
		{"application/x-www-form-urlencoded", "", "a=%7B%22token%22%3A%22abcdefgh12345678%22%7D"},
		{"text/plain", "", "ring 13812345678 or https://shop.example/?token=abcdefgh12345678"},
	} {
		x := &traffic.Exchange{Request: traffic.Request{
			Method: []byte("POST"), Target: []byte("/"), Headers: []traffic.Field{field("Content-Type", c.contentType)},
			Body: []byte(c.body), BodySize: int64(len(c.body)),
		}}
		if c.coding != "" {
			x.Request.Headers = append(x.Request.Headers, field("Content-Encoding", c.coding))
		}
		require.NoError(t, fixed(t).Exchange(x))
		require.NotEmpty(t, x.Redactions)
		stored := string(x.Request.Body)
		one := copied(x)
		_, err := rekeyer(t, "seed").Request(one, 1, 0)
		require.NoError(t, err)
		require.NotEqual(t, stored, string(one.Request.Body), c.body)
		if c.coding == "" {
			require.Len(t, one.Request.Body, len(stored))
		}
		require.NoError(t, fixed(t).Exchange(one))
		require.Len(t, one.Redactions, len(x.Redactions), "everything stands where the list says, and nothing else is to be redacted: %s", one.Request.Body)
	}
}

func TestTheNextLoopIsAsRecordedButForWhatNamesOneRequest(t *testing.T) {
	x := redactedRequest(t, 7, "application/json", `{"password":"Secret-00000001-word"}`)
	seen := map[string]bool{header(x, "Idempotency-Key"): true}
	for loop := uint32(1); loop < 5; loop++ {
		c := copied(x)
		_, err := rekeyer(t, "seed").Request(c, 0, loop)
		require.NoError(t, err)
		key := header(c, "Idempotency-Key")
		require.False(t, seen[key])
		seen[key] = true
		require.Regexp(t, `^[a-z]{5}-\d{8}$`, key)
		require.Equal(t, x.Request.Target, c.Request.Target)
		require.Equal(t, x.Request.Body, c.Request.Body)
		for _, name := range []string{"Cookie", "Authorization", "X-User-Id"} {
			require.Equal(t, header(x, name), header(c, name))
		}
	}
}

func TestUsersInPathsAreTheSameAsElsewhere(t *testing.T) {
	k, err := NewRekeyer([]byte("seed"), []Identity{{Path: "/users/*"}, {Path: "/v2/*/a/*"}, {Header: "X-User-Id"}})
	require.NoError(t, err)
	for _, c := range []struct{ target, want string }{
		{"/users/48213/orders/48213", `^/users/U/orders/48213$`},
		{"/users/48213", `^/users/U$`},
		{"/users/48213?user=48213", `^/users/U\?user=48213$`},
		{"/users/48213;v=1/x", `^/users/U;v=1/x$`},
		{"/users/%34%38213/x", `^/users/U/x$`},
		{"http://shop.example/users/48213", `^http://shop.example/users/U$`},
		{"/users/", `^/users/$`},
		{"/users", `^/users$`},
		{"/user/48213", `^/user/48213$`},
		{"/x/users/48213", `^/x/users/48213$`},
		{"/v2/48213/a/48213/b", `^/v2/U/a/U/b$`},
		{"/v2/48213/b/48213", `^/v2/48213/b/48213$`},
	} {
		x := &traffic.Exchange{Request: traffic.Request{
			Method: []byte("GET"), Target: []byte(c.target), Headers: []traffic.Field{field("X-User-Id", "48213")},
		}}
		require.NoError(t, fixed(t).Exchange(x))
		one := copied(x)
		_, err := k.Request(one, 1, 0)
		require.NoError(t, err)
		user, got := header(one, "X-User-Id"), string(one.Request.Target)
		for i := range 2 { // what was percent-encoded is again
			got = strings.ReplaceAll(got, fmt.Sprintf("%%%X", user[i]), user[i:i+1])
		}
		require.Regexp(t, strings.ReplaceAll(c.want, "U", user), got, c.target)
		again := copied(x)
		_, err = k.Request(again, 0, 1)
		require.NoError(t, err)
		require.Equal(t, c.target, string(again.Request.Target), "clone 0 is as recorded")
	}
	for _, bad := range []string{"users/*", "/users", "/a*", "/" + strings.Repeat("a/", 32) + "*"} {
		_, err := NewRekeyer(nil, []Identity{{Path: bad}})
		require.ErrorContains(t, err, "as in /users/*", bad)
	}
}

func TestIdentitiesThatCannotBe(t *testing.T) {
	_, err := NewRekeyer(nil, []Identity{{Header: "Cookie"}})
	require.ErrorContains(t, err, "credentials and cookies are made anew as they are")
	_, err = NewRekeyer(nil, []Identity{{Field: "7"}})
	require.ErrorContains(t, err, "no letter")
}

// Whatever a record holds: no panic, the same length where no coding is in between, and nothing is lost.
func FuzzRekey(f *testing.F) {
	f.Add("/a?token=abcdefgh&user_id=7", "sid=abc; t=1", "application/json", `{"password":"x","user_id":[1,{"a":2}]}`)
	f.Add("/13812345678;jsessionid=abc", "=;;a", "text/plain", "token=1&b")
	f.Fuzz(func(t *testing.T, target, cookie, contentType, body string) {
		x := &traffic.Exchange{Request: traffic.Request{
			Method: []byte("POST"), Target: []byte(target), Body: []byte(body), BodySize: int64(len(body)),
			Headers: []traffic.Field{field("Cookie", cookie), field("Content-Type", contentType)},
		}}
		if fixed(t).Exchange(x) != nil {
			return
		}
		k, err := NewRekeyer([]byte("seed"), []Identity{{Field: "user_id"}, {Path: "/*/a"}})
		require.NoError(t, err)
		c := copied(x)
		if _, err := k.Request(c, 1+rand.Uint32N(9), rand.Uint32N(3)); err != nil {
			return
		}
		require.Len(t, c.Request.Target, len(x.Request.Target))
		require.Len(t, header(c, "Cookie"), len(header(x, "Cookie")))
		require.Equal(t, len(x.Request.Body) == 0, len(c.Request.Body) == 0)
	})
}
