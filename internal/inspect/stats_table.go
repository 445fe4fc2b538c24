package inspect

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/report"
)

// shownRoutes is how many routes the table has; JSON has all.
const shownRoutes = 20

// WriteStats writes the statistics for a terminal.
func WriteStats(w io.Writer, s *Stats) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s   %s   %s", s.Topic, report.Count(int64(s.Partitions), "partition"), report.Count(s.Exchanges, "exchange"))
	if s.First != nil {
		fmt.Fprintf(&b, "   %s", span(*s.First, *s.Last))
	}
	if s.Bytes != nil {
		fmt.Fprintf(&b, "   %s", diskSize(*s.Bytes))
	}
	b.WriteByte('\n')
	if s.Exchanges > 0 {
		fmt.Fprintf(&b, " rate     %s    peak %s/s at %s\n", sparkline(s.Rate.Columns), report.Number(int64(s.Rate.Peak+0.5)),
			s.Rate.PeakStart.UTC().Format(peakLayout(s)))
		routeTable(&b, s)
	}
	b.WriteString(flagLine(s))
	_, err := io.WriteString(w, b.String())
	return err
}

// peakLayout has the date only where there is more than one.
func peakLayout(s *Stats) string {
	if s.First.UTC().Format(time.DateOnly) == s.Last.UTC().Format(time.DateOnly) {
		return "15:04:05"
	}
	return "2006-01-02 15:04:05"
}

func routeTable(b *strings.Builder, s *Stats) {
	rows := [][]string{{" route", "count", "share", "p50", "p99", "4xx", "5xx"}}
	grpc := slices.ContainsFunc(s.Routes, func(r RouteStats) bool { return r.GRPCErrors != nil })
	if grpc {
		rows[0] = append(rows[0], "grpc")
	}
	for i, r := range s.Routes {
		if i == shownRoutes && len(s.Routes) > shownRoutes+1 {
			break
		}
		method, path, _ := strings.Cut(r.Route, " ")
		row := []string{
			" " + left(method, 4) + " " + fit(path, 60), report.Number(r.Count), percent(r.Count, s.Exchanges),
			duration(time.Duration(r.P50 * float64(time.Millisecond))), duration(time.Duration(r.P99 * float64(time.Millisecond))),
			percent(r.ClientErrors, r.Answered), percent(r.ServerErrors, r.Answered),
		}
		switch {
		case r.GRPCErrors != nil:
			row = append(row, percent(*r.GRPCErrors, r.Answered))
		case grpc:
			row = append(row, "–")
		}
		rows = append(rows, row)
	}
	grid(b, rows, false, true, true, true, true, true, true, true)
	if hidden := len(s.Routes) - (len(rows) - 1); hidden > 0 {
		fmt.Fprintf(b, " … and %d more routes (-o json has them)\n", hidden)
	}
}

func flagLine(s *Stats) string {
	parts := []string{}
	counted := map[string]bool{}
	add := func(name string, n int64) { parts = append(parts, name+" "+report.Number(n)) }
	for _, common := range []struct {
		name  string
		flags []string
	}{
		{"truncated", []string{"TRUNCATED_REQUEST", "TRUNCATED_RESPONSE"}}, {"no response", []string{"NO_RESPONSE"}}, {"gap", []string{"GAP"}},
	} {
		var n int64
		for _, f := range common.flags {
			n += s.Flags[f]
			counted[f] = true
		}
		add(common.name, n)
	}
	for _, name := range sortedNames(s.Flags) {
		if !counted[name] {
			add(strings.ToLower(strings.ReplaceAll(name, "_", " ")), s.Flags[name])
		}
	}
	line := " flags    " + strings.Join(parts, "   ") + fmt.Sprintf("      taps %d", s.Taps)
	if s.Imports > 0 {
		line += fmt.Sprintf("   imports %d", s.Imports)
	}
	switch {
	case s.Missing != nil:
		line += "   missing by sequence " + report.Number(int64(*s.Missing))
	case s.Taps > 0:
		line += "   missing by sequence not known"
	}
	if s.Unreadable > 0 {
		line += "   unreadable " + report.Number(s.Unreadable)
	}
	return line + "\n"
}
