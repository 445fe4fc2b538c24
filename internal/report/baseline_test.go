package report_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/traffic"
)

// besideOld is a run of 400 that was compared with an old build: it differs from itself in /at always, in /order in every tenth. The target
// differs in /price in every answer, in /order in some more than the old build, and once in /odd.
func besideOld() *report.Report {
	s := report.NewSummary(report.Run{Name: "build-481", Generation: 1, Target: "new:8080", Partitions: 1, Baseline: "old:8080", Noise: "old-2:8080"}, captured)
	at := func(paths ...string) (all []traffic.Difference) {
		for _, p := range paths {
			all = append(all, traffic.Difference{Path: p, Kind: traffic.ValueDiffers, Recorded: []byte("1"), Got: []byte("2")})
		}
		return all
	}
	for i := range 400 {
		o := fired(i, 0, "/items/{id}")
		o.Baseline = &traffic.Baseline{Status: 200, Duration: 4 * time.Millisecond, Twice: true, Own: at("/at"), Noise: at("/at"), Recorded: traffic.StatusChanged}
		o.Verdict, o.Differences = traffic.BodyChanged, at("/price")
		if i%10 == 0 {
			o.Baseline.Own = at("/at", "/order")
		}
		if i%8 == 1 {
			o.Differences = at("/price", "/order")
		}
		switch i {
		case 7:
			o.Differences = at("/price", "/odd")
		case 8, 9:
			o.Verdict, o.Differences, o.Baseline = traffic.NoBaseline, nil, &traffic.Baseline{Reason: "timeout"}
		}
		s.Add(o)
	}
	return s.Report(report.End{State: "finished", Time: captured.Add(time.Minute)})
}

func TestDifferencesAreHeldAgainstTheOldBuildsOwn(t *testing.T) {
	r := besideOld()
	told := map[string]string{}
	for _, d := range r.Differences {
		told[d.Path] = d.Chance
	}
	require.Equal(t, map[string]string{"/price": "more", "/order": "chance", "/odd": "few"}, told)
	require.Equal(t, []report.Noise{
		{Route: "GET /items/{id}", Path: "/at", Own: 398, Twice: 398, Left: 398},
		{Route: "GET /items/{id}", Path: "/order", Own: 40, Twice: 398, Left: 0},
	}, r.Baseline.Places)
	require.Equal(t, report.Answers{StatusChanged: 398}, r.Baseline.Recorded)
	again, err := report.Parse(r.JSON())
	require.NoError(t, err)
	require.Equal(t, r, again)
	require.NotContains(t, string(report.NewSummary(report.Run{Name: "a"}, captured).Report(report.End{}).JSON()), `"baseline"`, "a run without one is as before")
}

func TestEveryFormOfTheReportShowsTheOldBuild(t *testing.T) {
	r := besideOld()
	var text, page, junit bytes.Buffer
	require.NoError(t, r.Text(&text))
	golden(t, "baseline.txt", text.Bytes())
	require.NoError(t, r.HTML(&page))
	for _, want := range []string{"<th>old build</th>", "<h2>Noise</h2>", "398 of 398", "no more than noise"} {
		require.Contains(t, page.String(), want)
	}
	require.NoError(t, r.JUnit(&junit))
	for _, want := range []string{"/order changed in 49 of 398 answers   no more than noise", "old:8080   compared 398   not compared 2 (timeout 2)"} {
		require.Contains(t, junit.String(), want)
	}
}

func TestNoiseIsBoundedAndMovesWithItsRoute(t *testing.T) {
	s := report.NewSummary(report.Run{Baseline: "old:1", Noise: "old:1"}, captured)
	for i := range 150 {
		o := fired(i, 0, s.Route([]byte("/tags/"+string(rune('a'+i/26))+string(rune('a'+i%26))+"/posts")))
		o.Baseline = &traffic.Baseline{Twice: true, Own: []traffic.Difference{{Path: "/at"}}}
		for j := range 80 {
			o.Baseline.Own = append(o.Baseline.Own, traffic.Difference{Path: "/" + strings.Repeat("x", j)})
		}
		s.Add(o)
	}
	r := s.Report(report.End{})
	require.Len(t, r.Baseline.Places, 50)
	require.EqualValues(t, 150, r.Baseline.Places[0].Own)
	require.EqualValues(t, 150, r.Baseline.Places[0].Twice)
}
