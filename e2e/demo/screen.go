package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/reprise-io/reprise/internal/report"
)

// show prints what happened, and what to type next. It is an error when the demo did not show what it is there for.
func (d *demo) show(w io.Writer) error {
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s %s\n", label, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(&b, "shop (production) %s ── tap ──▶ embedded Kafka ──▶ replayer ──▶ shop (pre-production) %s\n\n",
		port(d.at.shop), port(d.at.next))
	dropped := int64(d.tap.Sum("reprise_tap_exchanges_total", `result="dropped"`) +
		d.tap.Sum("reprise_tap_exchanges_total", `result="unknown"`))
	captured := int64(d.tap.Sum("reprise_tap_exchanges_total", `result="produced"`))
	line("captured", "%s exchanges in %.1f s   %s dropped   redacted: %s",
		report.Number(captured), d.visits.Elapsed.Seconds(), report.Number(dropped), d.redacted())
	line("live", "%s fired   lag %.1f s   lateness p50 %s  p99 %s",
		report.Number(d.live.Fired), d.lag.Seconds(), ms(d.live.Lateness.P50), ms(d.live.Lateness.P99))
	line("refused", "%s writes (POST /cart, POST /login: no rule allows them), %s reached pre-production",
		report.Number(report.Total(d.live.Refused)), report.Number(d.writes))
	line("run at 2×", "%s fired in %.1f s (asked %.1f×, achieved %.1f×)   lateness p99 %s", report.Number(d.fast.Fired),
		d.fast.Window.To.Sub(d.fast.Window.From).Seconds()/cmp.Or(d.fast.Speed.Achieved, 1),
		d.fast.Speed.Asked, d.fast.Speed.Achieved, ms(d.fast.Lateness.P99))
	for i, differs := range d.differences() {
		line(first(i, "differs"), "%s", differs)
	}
	b.WriteString("\n")
	for i, next := range []string{
		fmt.Sprintf("bin/tap broker --data %s --listen %s &", d.data(), d.at.broker),
		"bin/inspect stats --brokers " + d.at.broker,
		fmt.Sprintf(".cache/bin/demo shop -pre-production -listen %s &", d.at.next),
		fmt.Sprintf("bin/replayer run --brokers %s --target http://%s --allow-target %s --speed 5", d.at.broker, d.at.next, d.at.next),
	} {
		line(first(i, "next"), "%s", next)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	if d.live.Fired == 0 || d.fast.Fired == 0 || captured == 0 {
		return fmt.Errorf("nothing was replayed: run it again with -v to see what the programs say")
	}
	return nil
}

// differences are the places where pre-production answers otherwise, and the routes that became slow there.
func (d *demo) differences() []string {
	var all []string
	width := 0
	for _, r := range d.fast.Routes {
		width = max(width, len(r.Route))
	}
	for _, x := range d.fast.Differences[:min(len(d.fast.Differences), 6)] {
		all = append(all, fmt.Sprintf("%-*s   %s %s in %s of %s answers", width, x.Route, strings.TrimPrefix(x.Path, "/"), x.Kind,
			report.Number(x.Count), report.Number(x.Compared)))
	}
	for _, r := range d.fast.Routes {
		// The median decides: on a busy machine the p99 of any route may double.
		if r.Fired >= 50 && r.Service.P50 > 2*r.Recorded.P50 && r.Service.P50-r.Recorded.P50 >= 20 {
			all = append(all, fmt.Sprintf("%-*s   p99 %s → %s", width, r.Route, ms(r.Recorded.P99), ms(r.Service.P99)))
		}
	}
	if len(all) == 0 {
		return []string{"nothing"}
	}
	return all
}

// redacted tells how many values the tap replaced, most first.
func (d *demo) redacted() string {
	rules := slices.SortedFunc(maps.Keys(d.hidden), func(a, b string) int {
		return cmp.Or(cmp.Compare(d.hidden[b], d.hidden[a]), cmp.Compare(a, b))
	})
	if len(rules) == 0 {
		return "nothing"
	}
	parts := make([]string, 0, len(rules))
	for _, rule := range rules {
		parts = append(parts, report.Number(int64(d.hidden[rule]))+" "+rule)
	}
	return strings.Join(parts, ", ")
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':'):] }

func first(i int, label string) string {
	if i == 0 {
		return label
	}
	return ""
}

func ms(v float64) string {
	if v < 10 {
		return fmt.Sprintf("%.1f ms", v)
	}
	return fmt.Sprintf("%.0f ms", v)
}
