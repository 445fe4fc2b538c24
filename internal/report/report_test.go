package report_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/traffic"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "go test -update writes it anew")
}

var captured = time.Date(2026, 11, 22, 13, 42, 10, 0, time.UTC)

const started = 24 * time.Hour // after capture

// fired is the i-th outcome of a run at 2×, one request each 10 ms of captured time, lateness as given.
func fired(i int, late time.Duration, path string) *traffic.Outcome {
	at := captured.Add(time.Duration(i) * 10 * time.Millisecond)
	due := captured.Add(started + time.Duration(i)*5*time.Millisecond)
	return &traffic.Outcome{
		Run: "yesterday-build-481", ExchangeID: traffic.MakeID([16]byte{1}, uint64(i+1)), Attempt: 1, Partition: int32(i % 12), Offset: int64(i),
		Result: traffic.Fired, CaptureTime: at, DueTime: due, FireTime: due.Add(late),
		TTFB: 5 * time.Millisecond, Duration: 6 * time.Millisecond, Status: 200, RecordedStatus: 200, RecordedDuration: 5 * time.Millisecond,
		Verdict: traffic.Same, Method: []byte("GET"), Route: []byte(path),
	}
}

func summary() *report.Summary {
	s := report.NewSummary(report.Run{
		Name: "yesterday-build-481", Generation: 1, Target: "preprod.internal:8080", Speed: 2, Partitions: 12,
	}, captured.Add(started))
	for i := range 2000 {
		late := 100 * time.Microsecond
		if i%100 == 0 {
			late = 900 * time.Microsecond
		}
		o := fired(i, late, s.Route([]byte("/items/42")))
		switch {
		case i < 1131:
			o.Verdict = traffic.BodyChanged
			o.Differences = []traffic.Difference{{Path: "/price", Kind: traffic.Missing, Recorded: []byte("12.50")}}
		case i < 1200:
			o.Route = []byte("/search")
			o.RecordedDuration, o.Duration = 12*time.Millisecond, 118*time.Millisecond
		case i < 1203:
			o.Status, o.Verdict = 500, traffic.StatusChanged
			o.Differences = []traffic.Difference{{Path: "status", Kind: traffic.ValueDiffers, Recorded: []byte("200"), Got: []byte("500")}}
		case i < 1205:
			o.Verdict, o.RecordedDuration, o.RecordedStatus = traffic.NoBaseline, 0, 0
		case i == 1300:
			o.FireTime = o.DueTime.Add(38 * time.Second)
		}
		s.Add(o)
	}
	s.Count(traffic.Skipped, "filter", 12_001)
	s.Count(traffic.Skipped, "truncated_request", 869)
	for range 804 {
		s.Add(&traffic.Outcome{Result: traffic.Refused, Reason: "write_not_allowed"})
	}
	s.Add(&traffic.Outcome{Result: traffic.Failed, Reason: "connection_refused", Method: []byte("GET"), Route: []byte("/")},
		&traffic.Outcome{Result: traffic.Late, Reason: "late"},
		&traffic.Outcome{Result: traffic.BadRecord, Reason: "corrupt", Detail: "corrupt record: exchange: unexpected EOF", Partition: 3, Offset: 77})
	s.Resumed(5)
	return s
}

func end() report.End {
	return report.End{
		State: "finished", LimitedBy: "target (concurrency 256 reached for 71 % of the run)", Read: 15_681, Reordered: 2,
		Time: captured.Add(started + 10*time.Second),
	}
}

func TestTextIsWhatPeopleSee(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, summary().Report(end()).Text(&b))
	golden(t, "report.txt", b.Bytes())
}

func TestJSONNamesAreStable(t *testing.T) {
	got := summary().Report(end()).JSON()
	golden(t, "report.json", append(got, '\n'))
	r, err := report.Parse(got)
	require.NoError(t, err)
	require.Equal(t, summary().Report(end()), r)
}

func TestEmptyRunSaysSo(t *testing.T) {
	var b bytes.Buffer
	s := report.NewSummary(report.Run{Name: "live", Generation: 1, Live: true, Target: "127.0.0.1:1"}, captured)
	r := s.Report(report.End{State: "stopped", Time: captured})
	require.NoError(t, r.Text(&b))
	golden(t, "empty.txt", b.Bytes())
	require.NotContains(t, string(r.JSON()), "null")
}

func TestAllReasonsAddUpToTheTotal(t *testing.T) {
	s := report.NewSummary(report.Run{}, captured)
	for i := range 100 {
		s.Add(&traffic.Outcome{Result: traffic.Failed, Reason: fmt.Sprintf("reason_%d", i)})
	}
	s.Add(&traffic.Outcome{Result: traffic.Failed})
	r := s.Report(report.End{})
	require.LessOrEqual(t, len(r.Failed), 65)
	require.Equal(t, int64(101), report.Total(r.Failed))
}

func TestRoutesAreBoundedAndRegrouped(t *testing.T) {
	s := report.NewSummary(report.Run{}, captured)
	for i := range 150 {
		// Names at first; after the hundredth they turn out to be values.
		s.Add(fired(i, 0, s.Route(fmt.Appendf(nil, "/tags/%c%c/posts", 'a'+i/26, 'a'+i%26))))
	}
	r := s.Report(report.End{})
	require.Len(t, r.Routes, 1)
	require.Equal(t, "GET /tags/{id}/posts", r.Routes[0].Route)
	require.Equal(t, int64(150), r.Routes[0].Fired)

	for i := range 500 {
		s.Add(fired(i, 0, s.Route(fmt.Appendf(nil, "/%c/%c%c/posts", 'a'+i/26, 'a'+i/26, 'a'+i%26))))
	}
	r = s.Report(report.End{})
	require.LessOrEqual(t, len(r.Routes), 201)
	var fired int64
	for _, route := range r.Routes {
		fired += route.Fired
	}
	require.Equal(t, int64(650), fired)
}

func TestBadRecordsAreBoundedButCounted(t *testing.T) {
	s := report.NewSummary(report.Run{}, captured)
	for i := range 300 {
		s.Add(&traffic.Outcome{Result: traffic.BadRecord, Reason: "corrupt", Offset: int64(i)})
	}
	r := s.Report(report.End{})
	require.Len(t, r.BadRecords, 100)
	require.Equal(t, int64(300), r.BadTotal)
}

func TestAddIsSafeFromManyGoroutines(t *testing.T) {
	s := report.NewSummary(report.Run{}, captured)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 500 {
				s.Add(fired(i, 0, s.Route(fmt.Appendf(nil, "/a/%d", i))))
				s.Counts()
			}
		})
	}
	wg.Wait()
	require.Equal(t, int64(2000), s.Counts().Fired)
}

func TestPrintableKeepsTerminalsSafe(t *testing.T) {
	require.Equal(t, `a\x1b[31m"b`, report.Printable("a\x1b[31m\"b"))
}

func BenchmarkAdd(b *testing.B) {
	s := report.NewSummary(report.Run{}, captured)
	o := fired(1, time.Millisecond, "/items/{id}")
	for b.Loop() {
		o.Route = []byte(s.Route([]byte("/items/42?x=1")))
		s.Add(o)
	}
}
