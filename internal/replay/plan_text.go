package replay

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/report"
)

// JSON returns the plan as one line.
func (p *Plan) JSON() []byte {
	b, err := json.Marshal(p)
	if err != nil {
		return []byte("{}") // no field can fail
	}
	return b
}

// bars draws the curve, as high as its highest step.
func (p *Plan) bars() string {
	levels := []rune("▁▂▃▄▅▆▇█")
	var b strings.Builder
	for _, at := range p.Curve {
		b.WriteRune(levels[min(len(levels)-1, int(at.PerSec/max(p.peakStep(), 1e-9)*float64(len(levels))))])
	}
	return b.String()
}

func (p *Plan) peakStep() (most float64) {
	for _, at := range p.Curve {
		most = max(most, at.PerSec)
	}
	return most
}

// Text writes the plan for people.
func (p *Plan) Text(w io.Writer) error {
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "  %-10s %s\n", label, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(&b, "plan: nothing was sent\n")
	if p.Allowed {
		line("target", "%s   allowed", p.Target)
	} else {
		line("target", "%s   REFUSED: %s", p.Target, p.Refusal)
		if p.Try != "" {
			line("", "try %s", p.Try)
		}
	}
	line("records", "%s in %d partitions", report.Number(p.Read), p.Window.Partitions)
	if p.Sample != "" {
		line("sample", "%s of the recorded sessions, and connections without one", p.Sample)
	}
	if p.Clones > 1 {
		line("clones", "%d users for each one recorded, up to %s later", p.Clones, p.jitter)
	}
	line("fire", "%s   skip %s   refuse %s", report.Number(p.Fire), reasonText(p.Skipped), reasonText(p.Refused))
	if p.MaxTotal > 0 && p.Fire*int64(max(1, p.Loops)) > p.MaxTotal {
		line("stop", "after %s (--max-total), exit code 3", report.Number(p.MaxTotal))
	}
	if p.Fire > 0 {
		line("captured", "%s – %s UTC", p.Window.From.UTC().Format(time.DateTime), p.Window.To.UTC().Format(time.DateTime))
	}
	switch {
	case p.profile.IsMax():
		line("speed", "max: as fast as the target takes it")
	case p.Seconds > 0:
		line("speed", "%s   %s   %.0f/s on average, %.0f/s in the busiest second", p.profile,
			time.Duration(p.Seconds*float64(time.Second)).Round(100*time.Millisecond), p.PerSec, p.Peak)
		switch {
		case p.Loops == Forever:
			line("loops", "of that until the run is stopped, %s between two", headStart)
		case p.Loops > 1:
			line("loops", "%d of that, %s between two: %s", p.Loops, headStart, time.Duration(p.Total*float64(time.Second)).Round(100*time.Millisecond))
		}
		line("rate", "%s   0 to %.0f/s", p.bars(), p.peakStep())
	}
	if p.BadTotal > 0 {
		line("bad", "%s records could not be read", report.Number(p.BadTotal))
		for _, bad := range p.BadRecords[:min(len(p.BadRecords), 5)] {
			line("", "partition %d offset %d: %s", bad.Partition, bad.Offset, bad.Reason)
		}
	}
	label := "routes"
	for i, r := range p.Routes {
		if i == 12 {
			line("", "… %d more", len(p.Routes)-i)
			break
		}
		what := "fire " + report.Number(r.Fire)
		if r.Refused > 0 {
			what += "   refuse " + report.Number(r.Refused) + " (" + strings.ReplaceAll(r.Reason, "_", " ") + ")"
		}
		line(label, "%-32s %s", report.Printable(r.Route), what)
		label = ""
	}
	label = "first"
	for _, e := range p.Examples {
		line(label, "%s  %s %s", e.Time.UTC().Format("15:04:05.000"), report.Printable(e.Method), report.Printable(e.Target))
		label = ""
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func reasonText(by map[string]int64) string {
	total := report.Total(by)
	if total == 0 {
		return "0"
	}
	return report.Number(total) + " (" + report.Reasons(by) + ")"
}
