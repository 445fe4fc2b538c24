package paths_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/paths"
)

func TestTemplate(t *testing.T) {
	var routes paths.Templates
	for target, want := range map[string]string{
		"/":                   "/",
		"/items":              "/items",
		"/items/":             "/items/",
		"/items/42?ref=home":  "/items/{id}",
		"/items/42/reviews":   "/items/{id}/reviews",
		"/api/v1/users":       "/api/v1/users", // a version is a name
		"/orders/order-20261": "/orders/{id}",
		"/f/9f3c1a2b7":        "/f/{id}",
		"/f/deadbeef":         "/f/deadbeef", // could as well be a word
		"/cafe/facade":        "/cafe/facade",
		"/d/2026-11-22":       "/d/{id}",
		"/u/a@b.example":      "/u/{id}",
		"/u/123e4567-e89b-12d3-a456-426614174000/x": "/u/{id}/x",
		"http://shop.example/items/7?a=b":           "/items/{id}",
		"http://shop.example":                       "/",
		"*":                                         "*",
		"shop.example:443":                          "*",
		"//double":                                  "//double",
		"/t/averyveryveryveryveryveryveryverylongsegment": "/t/{id}",
	} {
		require.Equal(t, want, routes.Template([]byte(target)), target)
		require.Equal(t, want, routes.Template([]byte(want)), "a template is its own template: %s", want)
	}
}

func TestManyNamesAtOnePlaceAreValues(t *testing.T) {
	var routes paths.Templates
	for i := range 200 {
		routes.Template(fmt.Appendf(nil, "/search/word%c%c/page", 'a'+i/26, 'a'+i%26))
	}
	require.Equal(t, "/search/{id}/page", routes.Template([]byte("/search/hello/page")))
	require.Equal(t, "/other/hello", routes.Template([]byte("/other/hello")))
}

func TestDeepPathsAreCut(t *testing.T) {
	var routes paths.Templates
	path := []byte{}
	for range 40 {
		path = append(path, "/a"...)
	}
	got := routes.Template(path)
	require.Len(t, got, 16*2+len("/…"))
}

func FuzzTemplate(f *testing.F) {
	f.Add([]byte("/items/42?x=1"), []byte("http://h/p"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var routes paths.Templates
		for _, target := range [][]byte{a, b, a} {
			require.NotContains(t, routes.Template(target), "?")
		}
	})
}
