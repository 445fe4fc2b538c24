package report_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/traffic"
)

func thresholds(t *testing.T, texts ...string) (all []report.Threshold) {
	t.Helper()
	for _, s := range texts {
		one, err := report.ParseThreshold(s)
		require.NoError(t, err, s)
		all = append(all, one)
	}
	return all
}

func TestThresholdsAreWrittenAsTheyAreRead(t *testing.T) {
	for s, want := range map[string]string{
		"error_rate > 1%": "error_rate > 1%", " diff_rate>0.5 % ": "diff_rate > 0.5%", "p99 > 0.2s": "p99 > 200ms", "lateness_p99 > 1500µs": "lateness_p99 > 1.5ms",
		"p99_ratio > 1.2": "p99_ratio > 1.2", "missing > 0": "missing > 0",
	} {
		got := thresholds(t, s)[0]
		require.Equal(t, want, got.String())
		require.Equal(t, want, thresholds(t, got.String())[0].String())
	}
}

func TestThresholdThatCannotBeReadSaysWhatToTry(t *testing.T) {
	for s, says := range map[string]string{
		"":                     "it does not say of what",
		"1%":                   "it does not say of what",
		"error_rate 1%":        "want > behind error_rate",
		"error_rate >= 1%":     "want >",
		"error_rate > 1":       "percent",
		"error_rate > 100%":    "never above",
		"error_rate > -1%":     "never below 0",
		"error_rate > NaN%":    "no number",
		"error_rate > 1%/30s":  "--max-error-rate",
		"eror_rate > 1%":       "error_rate > 1%",
		"latency > 1ms":        "known are error_rate, diff_rate",
		"p99 > 200":            "such as 200ms",
		"p99_ratio > 120%":     "p99_ratio is a number",
		"missing > many":       "missing is a number",
		"error_rate > 1% > 2%": "no number",
	} {
		_, err := report.ParseThreshold(s)
		f, ok := errors.AsType[*fault.Error](err)
		require.True(t, ok, s)
		require.Equal(t, fault.Usage, fault.Code(err))
		require.Contains(t, f.What, "--fail-on")
		require.NotEmpty(t, f.Try)
		require.Contains(t, f.Cause+" "+f.Try, says, s)
	}
}

// What is measured is what the outcomes say, and of several processes what all of them say together.
func TestThresholdsAreJudgedOverAllProcesses(t *testing.T) {
	start := time.Unix(1e9, 0)
	outcome := func(took, late time.Duration, verdict traffic.Verdict) *traffic.Outcome {
		return &traffic.Outcome{
			Result: traffic.Fired, Status: 200, RecordedStatus: 200, Verdict: verdict, Duration: took, RecordedDuration: 10 * time.Millisecond,
			CaptureTime: start, DueTime: start, FireTime: start.Add(late), Method: []byte("GET"), Route: []byte("/"),
		}
	}
	sum := new(report.Tally)
	for process := range 2 {
		s := report.NewSummary(report.Run{Name: "monday"}, start)
		for i := range 50 {
			verdict := traffic.Same
			if process == 1 && i < 5 {
				verdict = traffic.StatusChanged
			}
			s.Add(outcome(time.Duration(1+50*process+i)*time.Millisecond, time.Duration(process)*2*time.Second, verdict))
			s.Health(process == 1 && i < 2)
		}
		s.Count(traffic.Refused, "write_not_allowed", 10)
		sum.Add(s.Tally())
	}
	sum.Missing = 1
	for s, want := range map[string]string{
		"error_rate > 2%":         "error_rate 2 %, not above 2%",
		"error_rate > 1.99%":      "error_rate 2 % > 1.99%",
		"diff_rate > 4.9%":        "diff_rate 5 % > 4.9%",
		"status_diff_rate > 5%":   "status_diff_rate 5 %, not above 5%",
		"p50 > 49ms":              "p50 50.02 ms > 49ms",
		"p95 > 96ms":              "p95 95.04 ms, not above 96ms",
		"p99 > 98ms":              "p99 99.01 ms > 98ms",
		"p99_ratio > 9":           "p99_ratio 9.894× > 9",
		"lateness_p99 > 1s":       "lateness_p99 2001 ms > 1000ms",
		"late_rate > 50%":         "late_rate 50 %, not above 50%",
		"refused_rate > 16%":      "refused_rate 16.67 % > 16%",
		"missing > 0":             "missing 1 > 0",
		"lateness_p99 > 2.0009s ": "lateness_p99 2001 ms, not above 2000.9ms",
	} {
		judged := sum.Judge(thresholds(t, s))[0]
		require.Equal(t, want, judged.String())
		require.Equal(t, strings.Contains(want, " > "), judged.Crossed, s)
	}
}

func TestNothingToMeasureIsNoPass(t *testing.T) {
	all := thresholds(t, "error_rate > 99%", "diff_rate > 99%", "p99 > 1h", "p99_ratio > 100", "lateness_p99 > 1h", "late_rate > 99%", "refused_rate > 99%", "missing > 9")
	for _, j := range new(report.Tally).Judge(all) {
		require.True(t, j.Crossed, j.Threshold)
		require.Nil(t, j.Measured)
		require.Contains(t, j.String(), "nothing to measure")
	}
}

func TestWhatWasToldOfLengthsIsTheSameAgain(t *testing.T) {
	var d, again report.Distribution
	for i := range int64(2000) {
		d.Add(i*i*i, 1+i%3)
	}
	d.Add(-5, 1)
	d.Add(math.MaxInt64, 1)
	d.Add(7, -1)
	before := int64(-1)
	d.Each(func(us, count int64) {
		require.Greater(t, us, before)
		before = us
		again.Add(us, count)
	})
	one, other := report.Tally{Target: d}, report.Tally{Target: again}
	for _, s := range thresholds(t, "p50 > 0s", "p95 > 0s", "p99 > 0s") {
		require.Equal(t, one.Judge([]report.Threshold{s}), other.Judge([]report.Threshold{s}))
	}
}

func FuzzParseThreshold(f *testing.F) {
	for _, s := range []string{"error_rate > 1%", "p99 > 200ms", "p99_ratio > 1.2", "missing > 0", "error_rate > 1%/30s", "p99 > -1ns"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		one, err := report.ParseThreshold(s)
		if err != nil {
			require.Equal(t, fault.Usage, fault.Code(err))
			return
		}
		j := new(report.Tally).Judge([]report.Threshold{one})
		require.True(t, j[0].Crossed)
		_ = j[0].String()
		again, err := report.ParseThreshold(one.String())
		require.NoError(t, err, "%q as %q", s, one)
		require.Equal(t, one.String(), again.String())
	})
}
