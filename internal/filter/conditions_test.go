package filter_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/traffic"
)

func TestConditionsMustAllHold(t *testing.T) {
	x := exchange("POST", "/api/things/7?q=1") // to Shop.example.com, 7 bytes, answered with 503, from a proxy
	x.Request.Headers = append(x.Request.Headers, traffic.Field{Name: []byte("X-Env"), Value: []byte("staging")},
		traffic.Field{Name: []byte("x-env"), Value: []byte("prod-2")})
	for _, c := range []struct {
		is   filter.Conditions
		want bool
	}{
		{filter.Conditions{}, true},
		{filter.Conditions{Methods: []string{"GET", "POST"}}, true},
		{filter.Conditions{Methods: []string{"GET"}}, false},
		{filter.Conditions{Paths: []string{"/x", "/api/**"}}, true},
		{filter.Conditions{Methods: []string{"POST"}, Paths: []string{"/x"}}, false},
		{filter.Conditions{Hosts: []string{"shop.EXAMPLE.com"}}, true},
		{filter.Conditions{Hosts: []string{"*.example.com"}}, true},
		{filter.Conditions{Hosts: []string{"example.com"}}, false},
		{filter.Conditions{Hosts: []string{"shop.example.com:8443"}}, false},
		{filter.Conditions{Headers: map[string]string{"x-env": "prod*"}}, true}, // one of the two
		{filter.Conditions{Headers: map[string]string{"X-Env": "*"}}, true},
		{filter.Conditions{Headers: map[string]string{"X-Env": "prod"}}, false},
		{filter.Conditions{Headers: map[string]string{"X-Env": "prod*", "X-None": "*"}}, false},
		{filter.Conditions{Status: []string{"404", "5xx"}}, true},
		{filter.Conditions{Status: []string{"200-399"}}, false},
		{filter.Conditions{Size: "<8"}, true},
		{filter.Conditions{Size: "<7B"}, false},
		{filter.Conditions{Size: ">=7"}, true},
		{filter.Conditions{Size: ">7"}, false},
		{filter.Conditions{Size: "1-1KiB"}, true},
		{filter.Conditions{Sources: []string{"mirror"}}, false},
		{filter.Conditions{Sources: []string{"mirror", "proxy"}}, true},
		{filter.Conditions{Expr: `query == "q=1"`}, true},
		{filter.Conditions{Methods: []string{"POST"}, Expr: `query == "q=2"`}, false},
	} {
		f, err := c.is.Compile()
		require.NoError(t, err, "%+v", c.is)
		got, err := f.Match(x)
		require.NoError(t, err)
		require.Equal(t, c.want, got, "%s", f)
	}
}

func TestHostIsComparedWithoutItsPortAndDot(t *testing.T) {
	f, err := (&filter.Conditions{Hosts: []string{"shop.example", "[::1]:80", "::1"}}).Compile()
	require.NoError(t, err)
	for authority, want := range map[string]bool{
		"shop.example": true, "SHOP.example:8443": true, "shop.example.": true, "shop.example.:80": true, "[::1]:80": true,
		"[::1]:81": false, "xshop.example": false, "shop.example.evil": false, "": false,
	} {
		x := exchange("GET", "/")
		x.Request.Authority = []byte(authority)
		got, err := f.Match(x)
		require.NoError(t, err)
		require.Equal(t, want, got, authority)
	}
}

func TestNoAnswerHasNoStatus(t *testing.T) {
	f, err := (&filter.Conditions{Status: []string{"100-999"}}).Compile()
	require.NoError(t, err)
	x := exchange("GET", "/")
	x.Response = nil
	got, err := f.Match(x)
	require.NoError(t, err)
	require.False(t, got)
}

func TestConditionsThatKafkaHeadersTellNeedNoRecord(t *testing.T) {
	m := filter.Meta{Method: "GET", Path: "/api/1", Status: 404}
	for _, c := range []struct {
		is         filter.Conditions
		headerOnly bool
		want       bool
	}{
		{filter.Conditions{Methods: []string{"GET"}, Paths: []string{"/api/*"}, Status: []string{"4xx"}}, true, true},
		{filter.Conditions{Status: []string{"2xx"}}, true, false},
		{filter.Conditions{Paths: []string{"/x"}, Expr: "status == 404"}, true, false},
		{filter.Conditions{Paths: []string{"/api/*"}, Expr: "status == 404"}, true, true},
		{filter.Conditions{Hosts: []string{"*"}}, false, false},
		{filter.Conditions{Headers: map[string]string{"A": "b"}}, false, false},
		{filter.Conditions{Size: ">0"}, false, false},
		{filter.Conditions{Sources: []string{"proxy"}}, false, false},
		{filter.Conditions{Expr: `host == "a"`}, false, false},
	} {
		f, err := c.is.Compile()
		require.NoError(t, err)
		require.Equal(t, c.headerOnly, f.HeaderOnly(), "%s", f)
		if c.headerOnly {
			got, err := f.MatchHeaders(m)
			require.NoError(t, err)
			require.Equal(t, c.want, got, "%s", f)
		}
	}
}

func TestAllBadConditionsAreTold(t *testing.T) {
	_, err := (&filter.Conditions{
		Methods: []string{"get"}, Hosts: []string{"a b"}, Paths: []string{"api"}, Headers: map[string]string{"a b": "c"},
		Status: []string{"teapot", "9xx", "300-200"}, Size: "huge", Sources: []string{"carrier pigeon"}, Expr: "stat > 1",
	}).Compile()
	var fields []string
	for _, wrong := range filter.FieldErrors(err) {
		fields = append(fields, wrong.Field)
	}
	require.Equal(t, []string{"method", "host", "path", "header", "status", "status", "status", "size", "source", "expr"}, fields)
	for _, size := range []string{"<0", "2-1", "-1", "1KiB-", "> x", "<=-1"} {
		_, err := (&filter.Conditions{Size: size}).Compile()
		require.Error(t, err, size)
	}
}

func TestSetCountsByRule(t *testing.T) {
	api, err := filter.Compile("GET /api/**")
	require.NoError(t, err)
	all, err := filter.Compile("/**")
	require.NoError(t, err)
	health, err := filter.Compile("/api/health")
	require.NoError(t, err)
	s := filter.NewSet([]*filter.Rule{{Name: "api", Filter: api}, {Filter: all}}, []*filter.Rule{{Filter: health}})
	for _, target := range []string{"/api/1", "/api/2", "/x", "/api/health"} {
		s.Keep(exchange("GET", target))
	}
	require.Equal(t, []filter.Count{{"include", "api", 2}, {"include", "2", 1}, {"exclude", "1", 1}}, s.Counts())

	// Whoever asks by the headers first asks again when they want it.
	keep, _ := s.KeepHeaders(filter.Meta{Method: "GET", Path: "/api/1"})
	require.True(t, keep)
	keep, _ = s.KeepHeaders(filter.Meta{Method: "GET", Path: "/api/health"})
	require.False(t, keep)
	require.Equal(t, []filter.Count{{"include", "api", 2}, {"include", "2", 1}, {"exclude", "1", 2}}, s.Counts())

	quiet := s.Uncounted()
	quiet.Keep(exchange("GET", "/api/health"))
	require.EqualValues(t, 2, s.Counts()[2].Decided)
}

func TestNoSetWantsEverything(t *testing.T) {
	var s *filter.Set
	keep, _ := s.Keep(exchange("GET", "/"))
	require.True(t, keep)
	require.True(t, s.HeaderOnly())
	require.Empty(t, s.Counts())
	require.Nil(t, s.Uncounted())
}

func FuzzConditions(f *testing.F) {
	f.Add("GET", "*.example.com", "/api/**", "X-Env", "prod*", "2xx", "<1KiB", "proxy", "status > 1")
	f.Add("", "[::1]:80", "/**/*", "", "", "100-200", "1-2", "", "")
	x := exchange("GET", "/a/b?c=d")
	f.Fuzz(func(t *testing.T, method, host, path, header, value, status, size, source, expr string) {
		c := filter.Conditions{
			Methods: []string{method}, Hosts: []string{host}, Paths: []string{path}, Headers: map[string]string{header: value},
			Status: []string{status}, Size: size, Sources: []string{source}, Expr: expr,
		}
		r, err := c.Compile()
		if err == nil {
			_, _ = r.Match(x)
			return
		}
		require.NotEmpty(t, filter.FieldErrors(err))
	})
}
