package inspect

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/report"
)

// shownGaps is how many gaps of a tap the table has; JSON has more.
const shownGaps = 10

// WriteAudit writes the audit for a terminal.
func WriteAudit(w io.Writer, a *Audit) error {
	var b strings.Builder
	closes := "the sum closes"
	switch {
	case !a.Closes:
		closes = "THE SUM DOES NOT CLOSE"
	case len(a.Taps) == 0:
		closes = "no tap has reported: there is nothing to judge"
	}
	fmt.Fprintf(&b, "%s   %s   %s\n", a.Topic, report.Count(int64(len(a.Taps)), "tap"), closes)
	for i := range a.Taps {
		writeTap(&b, &a.Taps[i])
	}
	if a.Unreported > 0 {
		fmt.Fprintf(&b, "\n%s without a report (imports, or taps whose reports are gone): not judged\n", report.Count(int64(a.Unreported), "id"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func number(n uint64) string { return report.Number(int64(n)) }

func writeTap(b *strings.Builder, t *TapAudit) {
	c := &t.Counters
	fmt.Fprintf(b, "\n%s on %s   %s   started %s, last report %s\n", report.Printable(t.label()), report.Printable(t.Host), t.State,
		t.Started.Format("2006-01-02 15:04:05"), t.Reported.Format("15:04:05"))
	fmt.Fprintf(b, " told     %s seen + %s recovered = %s produced + %s filtered + %s sampled out + %s dropped + %s unknown + %s pending + %s spooled",
		number(c.Seen), number(c.Recovered), number(c.Produced), number(c.Filtered), number(c.SampledOut), number(c.dropped()),
		number(c.Unknown), number(c.Pending), number(c.Spooled))
	if !t.Balanced {
		b.WriteString("   DOES NOT ADD UP")
	}
	b.WriteByte('\n')
	for _, reason := range sortedCounts(c.Dropped) {
		fmt.Fprintf(b, "          dropped for %s: %s\n", report.Printable(reason), number(c.Dropped[reason]))
	}
	fmt.Fprintf(b, " found    %s of numbers up to %s, %s\n", number(t.Found), number(max(t.LastSeq, t.LastFound)),
		report.Count(int64(t.Duplicates), "duplicate"))
	switch {
	case !t.Judged:
		b.WriteString(" missing  cannot be told\n")
	case t.Missing == 0:
		b.WriteString(" missing  none\n")
	default:
		fmt.Fprintf(b, " missing  %s = %s counted by the tap + %s after its last report + %s unexplained\n", number(t.Missing),
			number(t.Counted), number(t.AfterReport), number(t.Unexplained))
	}
	if t.CutOff > 0 {
		fmt.Fprintf(b, "          the first %s may be out of the topic's retention, or of the window: not judged\n", number(t.CutOff))
	}
	for i, g := range t.Gaps {
		if i == shownGaps && t.GapCount > shownGaps+1 {
			fmt.Fprintf(b, "          … and %s more gaps (-o json has them)\n", number(t.GapCount-shownGaps))
			break
		}
		fmt.Fprintf(b, "          %d–%d (%s) %s: %s\n", g.First, g.Last, number(g.Last-g.First+1), around(g), strings.ReplaceAll(g.Cause, "_", " "))
	}
	if t.Note != "" {
		fmt.Fprintf(b, " note     %s\n", t.Note)
	}
}

func around(g Gap) string {
	at := func(t *time.Time) string { return t.Format("15:04:05.000") }
	switch {
	case g.After != nil && g.Before != nil:
		return "between " + at(g.After) + " and " + at(g.Before)
	case g.After != nil:
		return "after " + at(g.After)
	case g.Before != nil:
		return "before " + at(g.Before)
	}
	return "at a time that is not known"
}

func (c *AuditCounters) dropped() (n uint64) {
	for _, of := range c.Dropped {
		n += of
	}
	return n
}

func sortedCounts(m map[string]uint64) []string {
	names := make(map[string]int64, len(m))
	for name := range m {
		names[name] = 1
	}
	return sortedNames(names)
}
