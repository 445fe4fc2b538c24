package fire_test

import (
	"bufio"
	"bytes"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/rewrite"
	"github.com/reprise-io/reprise/internal/traffic"
)

func rules(t testing.TB, sources ...string) (all []fire.Matcher) {
	for _, src := range sources {
		f, err := filter.Compile(src)
		require.NoError(t, err)
		all = append(all, f)
	}
	return all
}

// TestWritesAreJudgedAsTheyAreSent names what servers are known to make of requests that look harmless.
func TestWritesAreJudgedAsTheyAreSent(t *testing.T) {
	target := parseURL(t, "http://127.0.0.1:8080")
	g := guard(t, target, func(cfg *fire.GuardConfig) {
		cfg.AllowWrites = rules(t, "POST /api/**", "PUT /items/*", `method == "PATCH" && !(path startsWith "/admin")`)
	})
	s := sender(t, target, func(cfg *fire.SenderConfig) { cfg.Guard = g })
	for head, allowed := range map[string]bool{
		"POST /api/orders":                           true,
		"POST /api/a%20b/%E8%AE%A2":                  true,
		"POST /api/a%2Fb":                            true, // wherever the slash is
		"POST http://shop.example/api/x":             true,
		"PUT /items/7?x=/../..":                      true,
		"POST /orders":                               false,
		"POST /api/../orders":                        false,
		"POST /api/%2e%2e/orders":                    false,
		"POST /api/.%2E/orders":                      false,
		"POST /api/%252e%252e/orders":                false,
		"POST /api/..%2forders":                      false,
		"POST /api/..%5corders":                      false,
		`POST /api/..\orders`:                        false,
		"POST /api/..;/orders":                       false,
		"POST /api/..;a=b/orders":                    false,
		"POST /api/%2e%2e%3b/orders":                 false,
		"POST /api/x/..//../orders":                  false,
		"POST //api/../orders":                       false,
		"PUT /items/7%2Fcancel":                      false, // one segment for one, two for another
		"PUT /items/7%3fa/../../orders":              false,
		"PUT /items/7#/../../orders":                 false,
		"PATCH /users/1":                             true,
		"PATCH /%61dmin/users":                       false,
		"PATCH //admin/users":                        false,
		"PATCH /;x/admin":                            false,
		"PATCH /x/%2e%2e/admin":                      false,
		"GET /api/x?_method=DELETE":                  false,
		"GET /api/x?a=1&_method=get":                 true,
		"GET /api/x?%5fmeth%6fd=delete":              false,
		"GET /x?payment_method=card":                 true,
		"GET /x?filter%5Ba%5D=1":                     true,
		"POST /api/x?_method=delete":                 false,
		"POST /api/x?_method=put":                    false,
		"GET /x\nX-HTTP-Method: DELETE":              false,
		"POST /api/x\nX-Method-Override: delete":     false,
		"POST /api/x\nX-HTTP-Method-Override: PATCH": true,
		"POST /api/x\nX-Rewrite-URL: /orders":        true, // taken out
		"GET /x\nx-http-method-override: GET":        true,
	} {
		shot, reason := s.Prepare(exchange(head+"\nHost: shop.example", ""), fire.Mark{})
		if allowed {
			require.Empty(t, reason, head)
			require.NotNil(t, shot, head)
		} else {
			require.Equal(t, fire.WriteNotAllowed, reason, head)
			require.Nil(t, shot, head)
		}
	}
	for _, body := range [][2]string{
		{"application/x-www-form-urlencoded", "a=1&_method=delete"},
		{"application/x-www-form-urlencoded; charset=utf-8", "%5Fmethod=DELETE"},
		{"multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"_method\"\r\n\r\ndelete\r\n--x--\r\n"},
	} {
		_, reason := s.Prepare(exchange("POST /api/x\nHost: a\nContent-Type: "+body[0], body[1]), fire.Mark{})
		require.Equal(t, fire.WriteNotAllowed, reason, body[1])
		_, reason = s.Prepare(exchange("POST /api/x\nHost: a\nContent-Type: "+body[0], strings.ReplaceAll(strings.ToLower(body[1]), "delete", "patch")), fire.Mark{})
		require.Empty(t, reason, body[1])
	}
	set := sender(t, target, func(cfg *fire.SenderConfig) {
		cfg.Guard, cfg.SetHeaders = g, []traffic.Field{{Name: []byte("X-HTTP-Method-Override"), Value: []byte("DELETE")}}
	})
	_, reason := set.Prepare(get(), fire.Mark{})
	require.Equal(t, fire.WriteNotAllowed, reason, "what a flag sets is judged too")
	set = sender(t, target, func(cfg *fire.SenderConfig) {
		cfg.Guard, cfg.SetHeaders = g, []traffic.Field{{Name: []byte("X-Original-URL"), Value: []byte("/orders")}}
	})
	_, reason = set.Prepare(exchange("POST /api/x\nHost: a", ""), fire.Mark{})
	require.Equal(t, fire.WriteNotAllowed, reason, "and where it leads")
	removed := sender(t, target, func(cfg *fire.SenderConfig) { cfg.Guard, cfg.RemoveHeaders = g, []string{"X-HTTP-Method-Override"} })
	_, reason = removed.Prepare(exchange("GET /\nHost: a\nX-HTTP-Method-Override: DELETE", ""), fire.Mark{})
	require.Empty(t, reason, "what is taken out is not sent")
}

func TestAHostThatBecomesProductionIsNotSent(t *testing.T) {
	target := parseURL(t, "http://127.0.0.1:8080")
	g := guard(t, target, nil)
	s := sender(t, target, func(cfg *fire.SenderConfig) { cfg.Guard, cfg.Host = g, "shop.example" })
	_, reason := s.Prepare(get(), fire.Mark{})
	require.Empty(t, reason)
	require.NoError(t, g.SetProduction(t.Context(), []fire.Address{{HostPort: "shop.example:443"}}))
	_, reason = s.Prepare(get(), fire.Mark{})
	require.Equal(t, fire.HostNotAllowed, reason)

	// Production beside pre-production, on another port of the address that is allowed.
	require.NoError(t, g.SetProduction(t.Context(), []fire.Address{{HostPort: "127.0.0.1:9000"}}))
	for _, host := range []string{"127.0.0.1:9000", "0x7f.1:9000", "[::ffff:127.0.0.1]:9000"} {
		_, err := fire.NewSender(fire.SenderConfig{Target: target, Run: "test", Guard: g, Host: host})
		require.ErrorContains(t, err, "is a name of production", host)
	}
	sender(t, target, func(cfg *fire.SenderConfig) { cfg.Guard, cfg.Host = g, "127.0.0.1:8081" })
}

// asServersMay is what servers may make of a request, told by other means than the guard's.
func asServersMay(r *http.Request) (methods, paths []string) {
	methods = []string{r.Method}
	for _, name := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"} {
		for _, v := range r.Header.Values(name) {
			methods = append(methods, strings.ToUpper(strings.TrimSpace(v)))
		}
	}
	if m := r.URL.Query().Get("_method"); m != "" {
		methods = append(methods, strings.ToUpper(m))
	}
	raw, _, _ := strings.Cut(r.RequestURI, "?")
	once, err := url.PathUnescape(raw)
	if err != nil {
		once = raw
	}
	twice, err := url.PathUnescape(once)
	if err != nil {
		twice = once
	}
	for _, p := range []string{raw, once, twice} {
		p = strings.ReplaceAll(p, `\`, "/")
		var tomcat []string
		for s := range strings.SplitSeq(p, "/") {
			s, _, _ = strings.Cut(s, ";")
			tomcat = append(tomcat, s)
		}
		paths = append(paths, path.Clean("/"+p), path.Clean("/"+strings.Join(tomcat, "/")))
	}
	return methods, paths
}

// FuzzNothingIsSentThatNoRuleAllows changes a recorded request by a rule of each kind, as values of the target do too, and reads what would be
// written as servers may.
func FuzzNothingIsSentThatNoRuleAllows(f *testing.F) {
	f.Add("GET", "/items/1?a=b", "^/items", "/api/../orders", "X-HTTP-Method-Override", "DELETE", "..%2forders", uint8(1))
	f.Add("POST", "/api/x", "x", "%2e%2e/orders", "X-Original-URL", "/orders", "../orders", uint8(2))
	f.Add("POST", "/api/x/y", "^/api", "/", "X-Method-Override", "put", "..;/orders", uint8(3))
	f.Add("PUT", "//api//x", "/+", "http://127.0.0.1/", "A", "b\r\nX-HTTP-Method: PUT", `..\..\orders`, uint8(2))
	f.Add("POST", "http://production/api/x", ".", "$0", "Host", "production", "%252e%252e", uint8(1))
	f.Add("HEAD", "/?q", "", "\r\n\r\nPOST /orders HTTP/1.1", "_", "", "", uint8(0))
	target := &url.URL{Scheme: "http", Host: "127.0.0.1:8080"}
	g := guard(f, target, func(cfg *fire.GuardConfig) { cfg.AllowWrites = rules(f, "POST /api/**") })
	s := sender(f, target, func(cfg *fire.SenderConfig) { cfg.Guard = g })
	f.Fuzz(func(t *testing.T, method, to, from, with, name, value, segment string, n uint8) {
		x := exchange("GET /\nHost: shop.example", "")
		x.Request.Method, x.Request.Target = []byte(method), []byte(to)
		var changes rewrite.Rules
		if re, err := regexp.Compile(from); err == nil {
			changes.Paths = []rewrite.PathRule{{From: re, To: with}}
		}
		for place, v := range map[string]string{"header " + name: value, "segment " + strconv.Itoa(int(n%8)): segment, "query " + name: value} {
			if p, err := rewrite.ParsePlace(place); err == nil {
				changes.Edits = append(changes.Edits, rewrite.Edit{Place: p, Value: []byte(v)})
			}
		}
		sent, err := changes.Apply(x, 0, 0)
		if err != nil {
			return
		}
		x.Request = sent
		shot, reason := s.Prepare(x, fire.Mark{})
		if shot == nil {
			require.NotEmpty(t, reason)
			return
		}
		defer s.Recycle(shot)
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(shot.Bytes())))
		if err != nil {
			return // what no server takes
		}
		require.Equal(t, target.Host, r.Host)
		methods, paths := asServersMay(r)
		if !slices.ContainsFunc(methods, func(m string) bool { return m != "GET" && m != "HEAD" && m != "OPTIONS" }) {
			return
		}
		for _, m := range methods {
			require.Contains(t, []string{"GET", "HEAD", "OPTIONS", "POST"}, m, "%q", shot.Bytes())
		}
		for _, p := range paths {
			require.True(t, p == "/api" || strings.HasPrefix(p, "/api/"), "%q of %q", p, shot.Bytes())
		}
	})
}
