package shop_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/shop"
)

func TestPreProductionLosesThePriceOfAnItem(t *testing.T) {
	for build, want := range map[string]bool{"production": true, "pre-production": false} {
		o := shop.Options{}
		if build == "pre-production" {
			o = shop.PreProduction()
		}
		server := httptest.NewServer(shop.New(o))
		defer server.Close()
		resp, err := http.Get(server.URL + "/items/42")
		require.NoError(t, err)
		defer resp.Body.Close()
		var item map[string]any
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&item))
		require.Equal(t, want, item["price"] != nil, build)
		require.InDelta(t, 42, item["id"], 0)
	}
}

func TestVisitorsGetAnswers(t *testing.T) {
	s := shop.New(shop.Options{})
	server := httptest.NewServer(s)
	defer server.Close()
	got, err := shop.Visit{URL: server.URL, Rate: 2000, Seed: 7, Requests: 1000}.Run(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1000, got.Requests)
	require.Zero(t, got.Failed)
	require.EqualValues(t, got.Requests, s.Requests())
	require.EqualValues(t, got.Writes, s.Writes())
	require.NotZero(t, got.Status[http.StatusCreated], "somebody bought something")
	require.NotZero(t, got.Status[http.StatusNotFound], "somebody followed an old link")
	require.NotZero(t, got.Status[http.StatusNotModified], "somebody came back")
	require.Less(t, got.Elapsed, 20*time.Second)
}

func TestStreamsWithATrailer(t *testing.T) {
	server := httptest.NewServer(shop.New(shop.Options{}))
	defer server.Close()
	resp, err := http.Get(server.URL + "/stream/3")
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "line 0\nline 1\nline 2\n", string(body))
	require.Equal(t, "3", resp.Trailer.Get("X-Lines"))
}
