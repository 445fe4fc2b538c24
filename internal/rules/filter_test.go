package rules_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/rules"
	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/yamlfile"
)

func TestFilterIsALineOrKeys(t *testing.T) {
	f, err := rules.Parse("rules.yaml", `
filter:
  include:
    - GET /api/**
    - {name: writes, method: [POST, PUT], host: '*.shop.example', path: /cart/**, header: {X-Env: 'prod*'}, status: 2xx, size: <64KiB, source: proxy, expr: query == ""}
  exclude: {name: health, path: [/api/health, /api/ready]}
`)
	require.NoError(t, err)
	set, err := f.Filter.Set()
	require.NoError(t, err)
	write := &traffic.Exchange{
		Source: traffic.Source{Kind: traffic.Proxy},
		Request: traffic.Request{
			Method: []byte("PUT"), Target: []byte("/cart/7"), Authority: []byte("eu.shop.example:8443"), BodySize: 100,
			Headers: []traffic.Field{{Name: []byte("x-env"), Value: []byte("prod-1")}},
		},
		Response: &traffic.Response{Status: 201},
	}
	for _, c := range []struct {
		x    *traffic.Exchange
		keep bool
		by   filter.Decision
	}{
		{write, true, filter.Decision{List: "include", Rule: "writes"}},
		{&traffic.Exchange{Request: traffic.Request{Method: []byte("GET"), Target: []byte("/api/ready")}}, false, filter.Decision{List: "exclude", Rule: "health"}},
		{&traffic.Exchange{Request: traffic.Request{Method: []byte("GET"), Target: []byte("/api/7")}}, true, filter.Decision{List: "include", Rule: "1"}},
		{&traffic.Exchange{Request: traffic.Request{Method: []byte("PUT"), Target: []byte("/cart/7")}}, false, filter.Decision{}},
	} {
		keep, by := set.Decide(c.x)
		by.Source = ""
		require.Equal(t, c.keep, keep)
		require.Equal(t, c.by, by)
	}
}

func TestFlawsOfAFilterHaveTheirPlaces(t *testing.T) {
	_, err := rules.Parse("rules.yaml", `filter:
  include:
    - {name: 'a b', method: get}
    - {}
    - {path: api, status: [200, teapot], size: big}
    - {name: x, source: pigeon, header: {'a b': c}}
    - {name: x, host: a/b, expr: stat > 1}
sample: {keep: 1/s per user}
`)
	bad, ok := errors.AsType[*yamlfile.Bad](err)
	require.True(t, ok)
	places := make([]string, len(bad.Flaws))
	for i, flaw := range bad.Flaws {
		place, _, _ := strings.Cut(strings.TrimPrefix(flaw, "rules.yaml:"), ": ")
		places[i] = place
	}
	require.Equal(t, []string{
		"3:14", "3:29", "4:7", "5:14", "5:27", "5:48", "6:25", "6:41", "7:14", "7:23", "7:34", "8:16",
	}, places, "%s", strings.Join(bad.Flaws, "\n"))
}

// A line of a file has nobody to type it again for: what to try stands behind what is wrong.
func TestABadShorthandIsToldWhatWasMeant(t *testing.T) {
	_, err := rules.Parse("rules.yaml", "filter:\n  exclude: [GET api/**]\nwrites:\n  caps: [{route: post /api, most: 5}]\n")
	bad, ok := errors.AsType[*yamlfile.Bad](err)
	require.True(t, ok)
	require.Len(t, bad.Flaws, 2, "%q", bad.Flaws)
	require.Contains(t, bad.Flaws[0], `rules.yaml:2:13: bad filter "GET api/**": column 5: a path begins with "/"; try 'GET /api/**'`)
	require.Contains(t, bad.Flaws[1], `methods are in capitals, with commas between them; try 'POST /api'`)
}
