package rules_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/rules"
	"github.com/reprise-io/reprise/internal/yamlfile"
)

func TestWritesAndProduction(t *testing.T) {
	f, err := rules.Parse("rules.yaml", `writes:
  allow: ['POST /api/**', 'method == "PUT"']
  caps: [{route: 'POST /orders/**', most: 100}, {route: '/login', most: 0}]
  total: 5000
production: [shop.example, '10.0.0.7:443', 10.1.0.0/16, '*.shop.example', '[fd00::1]:80']
`)
	require.NoError(t, err)
	require.Equal(t, []string{"POST /api/**", `method == "PUT"`}, f.Writes.Filters())
	require.Equal(t, []rules.Cap{{"POST /orders/**", 100}, {"/login", 0}}, f.Writes.Caps)
	require.EqualValues(t, 5000, f.Writes.Total)
	all, err := f.Production.Addresses()
	require.NoError(t, err)
	require.Len(t, all, 5)
	require.Equal(t, "named as production (production)", all[0].Origin)
	require.Empty(t, all[0].HostID, "whoever writes this means it here too")

	none := rules.Empty()
	require.Empty(t, none.Writes.Filters())
	all, err = none.Production.Addresses()
	require.NoError(t, err)
	require.Empty(t, all)
}

func TestFlawsOfWritesAndProduction(t *testing.T) {
	_, err := rules.Parse("rules.yaml", `writes:
  allow: ['POST /api/**', 'stat == 1']
  caps: [{route: '(', most: 1}, {route: 'POST /a', most: -1}, {route: 'POST /b'}, {path: /c, most: 1}]
production: ['http://shop.example', 10.0.0.0/99, shop:x]
`)
	bad, ok := errors.AsType[*yamlfile.Bad](err)
	require.True(t, ok)
	for _, want := range []string{
		`:2:27: bad filter "stat == 1"`, `:3:18: bad filter "("`, "most cannot be -1", "most is missing", `unknown key "path"`,
		`:4:14: bad production "http://shop.example"`, `bad production "10.0.0.0/99"`, `bad production "shop:x"`,
	} {
		require.True(t, slices.ContainsFunc(bad.Flaws, func(flaw string) bool { return strings.Contains(flaw, want) }), "%s in %q", want, bad.Flaws)
	}
	_, err = rules.Parse("rules.yaml", "writes: {total: -1}\n")
	require.ErrorContains(t, err, "total cannot be -1")
}
