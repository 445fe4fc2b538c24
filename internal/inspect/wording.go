package inspect

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/reprise-io/reprise/internal/report"
)

// printable shows bytes from the wire: control characters and what is no UTF-8 are escaped, so that recorded traffic
// cannot drive the terminal.
func printable(b []byte) string { return report.Printable(string(b)) }

// printableText is printable, line by line.
func printableText(b []byte) string {
	lines := strings.Split(string(b), "\n")
	for i, line := range lines {
		parts := strings.Split(strings.TrimSuffix(line, "\r"), "\t")
		for j, part := range parts {
			parts[j] = report.Printable(part)
		}
		lines[i] = strings.Join(parts, "\t")
	}
	return strings.Join(lines, "\n")
}

// duration writes about three digits: "0.3 ms", "31 ms", "1.2 s", "4 m 39 s".
func duration(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case d <= 0:
		return "–"
	case ms < 9.95:
		return strings.TrimSuffix(strconv.FormatFloat(ms, 'f', 1, 64), ".0") + " ms"
	case ms < 999.5:
		return strconv.FormatFloat(ms, 'f', 0, 64) + " ms"
	case d < 10*time.Second:
		return strings.TrimSuffix(strconv.FormatFloat(d.Seconds(), 'f', 1, 64), ".0") + " s"
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', 0, 64) + " s"
	}
	d = d.Round(time.Second)
	return fmt.Sprintf("%d m %d s", d/time.Minute, d%time.Minute/time.Second)
}

// size writes a number of bytes: "11 B", "1.2 kB".
func size(n int64) string { return scaled(n, 1000, "B", "kB", "MB", "GB", "TB") }

// diskSize writes a number of bytes in binary units: "9.8 GiB".
func diskSize(n int64) string {
	if n < 0 {
		return "–"
	}
	return scaled(n, 1024, "B", "KiB", "MiB", "GiB", "TiB")
}

func scaled(n int64, step float64, units ...string) string {
	f, unit := float64(n), 0
	for f >= step-0.5 && unit < len(units)-1 {
		f /= step
		unit++
	}
	if unit == 0 || f >= 99.95 {
		return strconv.FormatFloat(f, 'f', 0, 64) + " " + units[unit]
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + " " + units[unit]
}

// percent writes a share with one digit behind the point.
func percent(n, of int64) string {
	if of == 0 {
		return "–"
	}
	return strconv.FormatFloat(100*float64(n)/float64(of), 'f', 1, 64) + " %"
}

// fit cuts s to width characters, with … at the end when something is missing. Width 0: no limit.
func fit(s string, width int) string {
	if width <= 0 || utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:max(0, width-1)]) + "…"
}

// left and right pad s to width characters.
func left(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}

func right(s string, width int) string {
	return strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s))) + s
}

// grid writes rows in columns that are as wide as their widest cell. right says which columns are set to the right.
func grid(b *strings.Builder, rows [][]string, toRight ...bool) {
	widths := make([]int, len(toRight))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			if i > 0 {
				line.WriteString("  ")
			}
			if toRight[i] {
				line.WriteString(right(cell, widths[i]))
			} else {
				line.WriteString(left(cell, widths[i]))
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
}

// span writes two moments of UTC, the date once when it is the same.
func span(from, to time.Time) string {
	const minute = "2006-01-02 15:04"
	from, to = from.UTC(), to.UTC()
	layout, end := minute, minute
	if to.Sub(from) < 10*time.Minute {
		layout, end = minute+":05", minute+":05"
	}
	if from.Format(time.DateOnly) == to.Format(time.DateOnly) {
		end = strings.TrimPrefix(end, "2006-01-02 ")
	}
	return from.Format(layout) + " – " + to.Format(end) + " UTC"
}
