package report_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/report"
)

func TestWhatSparedTheTargetIsTold(t *testing.T) {
	limits := &report.Limits{
		Breaker:  &report.Breaker{OpenedByErrors: 2, OpenedByRetryAfter: 1, OpenMs: 12_340, LongestMs: 9_100, Probes: 9, Held: 1340, LongestHeldMs: 8_900},
		Adaptive: &report.Adaptive{Lowest: 4, Last: 31, Most: 256, Reached: .4},
	}
	r := report.NewSummary(report.Run{Name: "x", Target: "preprod:80", Speed: 2}, captured).Report(report.End{
		State: "stopped", Limits: limits, StoppedBy: "7.1 % of 412 requests failed within 30s, more than --max-error-rate 5%/30s", Time: captured.Add(time.Minute),
	})
	var text bytes.Buffer
	require.NoError(t, r.Text(&text))
	for _, line := range []string{
		"  because    7.1 % of 412 requests failed within 30s, more than --max-error-rate 5%/30s\n",
		"  breaker    open 12 s in 3 times (errors 2, Retry-After 1), at most 9.1 s   9 probes   1,340 requests waited, up to 8.9 s\n",
		"  adaptive   at most 31 of 256 at a time at the end, 4 at the lowest   reached for 40 % of the run\n",
	} {
		require.Contains(t, text.String(), line)
	}
	again, err := report.Parse(r.JSON())
	require.NoError(t, err)
	require.Equal(t, limits, again.Limits)
	require.Equal(t, r.StoppedBy, again.StoppedBy)

	quiet := report.NewSummary(report.Run{Name: "x"}, captured).Report(report.End{Limits: &report.Limits{Breaker: new(report.Breaker)}})
	text.Reset()
	require.NoError(t, quiet.Text(&text))
	require.NotContains(t, text.String(), "breaker", "it was never open")
}
