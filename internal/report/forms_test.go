package report_test

import (
	"encoding/xml"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/report"
)

func bad() *report.Report {
	return &report.Report{
		Run: "build-1", State: "finished", LimitedBy: "nothing", Fired: 3, Statuses: map[string]int64{"200": 3},
		Thresholds: []report.Judgement{{Threshold: "error_rate > 1%", Crossed: true, Unit: "%"}, {Threshold: "p99 > 1ms", Unit: "ms"}},
		Routes: []report.Route{
			{Route: "GET /<script>alert(1)</script>", Fired: 2, Compared: 2, BodyChanged: 1}, {Route: "GET /same", Fired: 1, Compared: 1},
		},
		Differences: []report.Difference{{
			Route: "GET /<script>alert(1)</script>", Path: "/a", Kind: "value", Count: 1, Compared: 2, Example: report.Example{Recorded: "<b>\x1b", Got: "&", Exchange: "9f"},
		}},
	}
}

func TestJUnitFailsWhereTheRunDoes(t *testing.T) {
	var b strings.Builder
	require.NoError(t, bad().JUnit(&b))
	var suites struct {
		Suite struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
			Errors   int `xml:"errors,attr"`
			Cases    []struct {
				Name    string `xml:"name,attr"`
				Failure *struct {
					Message string `xml:"message,attr"`
				} `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	require.NoError(t, xml.Unmarshal([]byte(b.String()), &suites), b.String())
	s := suites.Suite
	require.Equal(t, []int{5, 2, 0}, []int{s.Tests, s.Failures, s.Errors})
	var failed []string
	for _, c := range s.Cases {
		if c.Failure != nil {
			failed = append(failed, c.Name)
		}
	}
	require.Equal(t, []string{"error_rate > 1%", "GET /<script>alert(1)</script>"}, failed)

	stopped := bad()
	stopped.State = "stopped"
	b.Reset()
	require.NoError(t, stopped.JUnit(&b))
	require.Contains(t, b.String(), `errors="1"`)
}

func TestHTMLShowsWhatCameFromTheWireAsText(t *testing.T) {
	var b strings.Builder
	require.NoError(t, bad().HTML(&b))
	page := b.String()
	require.NotContains(t, page, "<script")
	require.NotContains(t, page, "\x1b")
	require.Contains(t, page, "&lt;script&gt;alert(1)")
	require.Contains(t, page, "error_rate &gt; 1%")
	require.NotContains(t, page, "http-equiv")
	b.Reset()
	require.NoError(t, (&report.Report{Run: "empty"}).HTML(&b))
	require.Contains(t, b.String(), "nothing was sent")
}
