package sample_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/sample"
	"github.com/reprise-io/reprise/internal/traffic"
)

func get(target string) *traffic.Exchange {
	return &traffic.Exchange{Request: traffic.Request{Method: []byte("GET"), Target: []byte(target)}}
}

func quota(t *testing.T, s string) *sample.Quota {
	t.Helper()
	keep, err := sample.ParseKeep(s)
	require.NoError(t, err)
	return sample.NewQuota(keep)
}

func TestKeepIsWrittenAsItIsRead(t *testing.T) {
	for text, want := range map[string]string{
		"1/s per route": "1/s per route", "10/m": "10/m per route", " 3 / h ": "3/h per route", "120/m": "2/s per route", "0.5/s": "30/m per route", "": "",
	} {
		k, err := sample.ParseKeep(text)
		require.NoError(t, err, text)
		require.Equal(t, want, k.String())
		again, err := sample.ParseKeep(k.String())
		require.NoError(t, err)
		require.Equal(t, k.String(), again.String())
	}
	for _, bad := range []string{"1", "s", "0/s", "-1/s", "1/d", "NaN/s", "1e9/s", "per route", "1/s per session", " "} {
		_, err := sample.ParseKeep(bad)
		require.Equal(t, fault.Usage, fault.Code(err), bad)
	}
}

// What is kept of a route is the larger one of the share and the quota, or all of it: never less than the quota, never more
// than the share and the quota together.
func TestRareRoutesAreKept(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	for range 30 {
		share, rate := random.Float64()/2, 0.2+random.Float64()*3
		q := quota(t, fmt.Sprintf("%.3f/s", rate))
		const seconds = 200
		now := time.Unix(1e9, 0)
		type tally struct{ seen, shared, rare int }
		routes := map[string]*tally{"/rare/one": {}, "/busy/one": {}, "/some/one": {}}
		for now.Before(time.Unix(1e9+seconds, 0)) {
			now = now.Add(time.Duration(random.ExpFloat64() * float64(20*time.Millisecond)))
			target := "/busy/one"
			switch n := random.IntN(100); {
			case n == 0:
				target = "/rare/one"
			case n < 8:
				target = "/some/one"
			}
			r, kept := routes[target], random.Float64() < share
			r.seen++
			if kept {
				r.shared++
			}
			if q.Take(get(target), kept, now) {
				require.False(t, kept, "what the share keeps is not kept by the quota")
				r.rare++
			}
		}
		for target, r := range routes {
			least := min(float64(r.seen), 0.8*rate*seconds)
			if target == "/rare/one" && float64(r.seen) < rate*seconds { // bursts may go beyond a rate that it has in the mean
				least = 0.4 * float64(r.seen)
			}
			require.GreaterOrEqual(t, float64(r.shared+r.rare), least, "%s: %+v at %.2f and %.2f/s", target, *r, share, rate)
			require.LessOrEqual(t, float64(r.rare), rate*seconds+max(1, rate)+1, "%s: %+v at %.2f/s", target, *r, rate)
		}
	}
}

func TestRouteThatTheShareServesCostsNothingMore(t *testing.T) {
	q := quota(t, "1/s")
	now := time.Unix(1e9, 0)
	rare := 0
	for i := range 10000 { // 100 a second, of which the share keeps every tenth
		now = now.Add(10 * time.Millisecond)
		if q.Take(get("/a"), i%10 == 0, now) {
			rare++
		}
	}
	require.Zero(t, rare)
}

func TestValuesInPathsAreOneRoute(t *testing.T) {
	q := quota(t, "1/s")
	now := time.Unix(1e9, 0)
	kept := 0
	for i := range 100 {
		if q.Take(get(fmt.Sprintf("/items/%d", i)), false, now) {
			kept++
		}
	}
	require.Equal(t, 1, kept)
	require.True(t, q.Take(get("/items/1/reviews"), false, now), "another route")
}

func TestRoutesAreBoundedAndForgotten(t *testing.T) {
	q := quota(t, "1/s")
	now := time.Unix(1e9, 0)
	words := func(i int) string { return string(rune('a'+i%26)) + string(rune('a'+i/26%26)) }
	for i := range 5000 { // as many as a tree of names may have
		q.Take(get("/"+words(i%70)+"/"+words(i/70)), false, now)
	}
	s := q.Stats()
	require.LessOrEqual(t, s.Routes, 1024)
	require.Positive(t, s.Overflow, "the others share an account, and that is counted")
	// After a second all are full again, and make room.
	now = now.Add(1100 * time.Millisecond)
	require.True(t, q.Take(get("/new/route"), false, now))
	require.Equal(t, s.Overflow, q.Stats().Overflow)
	require.Equal(t, 1, q.Stats().Routes)
}

func TestClockThatGoesBackGivesNothing(t *testing.T) {
	q := quota(t, "1/s")
	now := time.Unix(1e9, 0)
	require.True(t, q.Take(get("/a"), false, now))
	require.False(t, q.Take(get("/a"), false, now.Add(-time.Hour)))
	require.False(t, q.Take(get("/a"), false, now.Add(500*time.Millisecond)))
	require.True(t, q.Take(get("/a"), false, now.Add(time.Second)))
}

func BenchmarkQuota(b *testing.B) {
	keep, _ := sample.ParseKeep("1/s")
	q, x, now := sample.NewQuota(keep), get("/items/42/reviews?page=3"), time.Now()
	b.ReportAllocs()
	for b.Loop() {
		q.Take(x, false, now)
	}
}
