package inspect

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// Differing is an exchange whose answer was not the recorded one, or to which no whole answer came.
type Differing struct {
	Exchange    string        `json:"exchange"`
	Generation  uint32        `json:"generation"` // which start of the run; 0: stored by a version that did not say
	Loop        uint32        `json:"loop"`
	Clone       uint32        `json:"clone"`
	Attempt     uint32        `json:"attempt"`
	Time        time.Time     `json:"time"` // when it was captured
	Method      string        `json:"method"`
	Route       string        `json:"route"`
	Result      string        `json:"result"`           // "fired" or "failed"
	Reason      string        `json:"reason,omitempty"` // why it failed
	Detail      string        `json:"detail,omitempty"`
	Verdict     string        `json:"verdict"`         // "status_changed", "body_changed"; of what failed "unspecified"
	Recorded    int           `json:"recorded_status"` // 0: none
	Status      int           `json:"status"`          // 0: none
	RecordedNs  int64         `json:"recorded_duration_ns"`
	DurationNs  int64         `json:"duration_ns"`
	Differences []DifferentAt `json:"differences"`
	Baseline    *OldBuild     `json:"baseline,omitempty"` // what the old build answered; absent: compared with what was recorded
	Kafka       Place         `json:"kafka"`              // of the outcome
}

// DifferentAt is one place where it differs.
type DifferentAt struct {
	Path     string `json:"path"` // "status", "body", or a path in a JSON body
	Kind     string `json:"kind"` // "value", "type", "missing", "extra"
	Recorded string `json:"recorded,omitempty"`
	Got      string `json:"got,omitempty"`
}

// OldBuild is what the old build answered.
type OldBuild struct {
	Status     int           `json:"status"` // 0: none
	DurationNs int64         `json:"duration_ns"`
	Reason     string        `json:"reason,omitempty"` // why its answer was not compared
	Noise      []DifferentAt `json:"noise,omitempty"`  // places where the target's answer differs too, and the old build from itself
}

// Place is where a record lies.
type Place struct {
	Partition int32 `json:"partition"`
	Offset    int64 `json:"offset"`
}

// DiffQuery says which differences of a run are wanted.
type DiffQuery struct {
	RunQuery
	Limit int64 // 0: all
}

// Diff calls show for every exchange of a run whose answer differs from the recorded one, or has failed. When there is one the error at the
// end is a fault.Finding.
func (r *Reader) Diff(ctx context.Context, names topic.Names, q DiffQuery, show func(*Differing) error) error {
	g, state, err := r.generation(ctx, names.Control, q.Run, q.Generation)
	if err != nil {
		return err
	}
	var noise map[string]map[string]bool
	var unsure error // not all of what is noise could be read
	if q.Noise != "" {
		var rep, old *report.Report
		if rep, old, unsure = r.both(ctx, names, q.RunQuery); old == nil {
			return unsure
		}
		noise = rep.NoiseOf(old)
	}
	var fired, differ, left int64
	n, err := r.outcomes(ctx, names.Results, q.Run, g, nextStart(state, q.Run, g), func(o *traffic.Outcome, rec *topic.Record) error {
		if o.Result == traffic.Fired {
			fired++
		}
		if o.Result != traffic.Failed && o.Verdict != traffic.StatusChanged && o.Verdict != traffic.BodyChanged {
			return nil
		}
		if all := len(o.Differences); all > 0 && noise != nil {
			at := noise[string(o.Method)+" "+string(o.Route)]
			o.Differences = slices.DeleteFunc(o.Differences, func(d traffic.Difference) bool { return at[d.Path] })
			if len(o.Differences) == 0 {
				left++
				return nil
			}
		}
		if differ++; q.Limit > 0 && differ > q.Limit {
			return nil
		}
		return show(differing(o, rec))
	})
	if !HasData(err) {
		return err
	}
	if more := differ - q.Limit; q.Limit > 0 && more > 0 {
		r.note(fmt.Sprintf("and %s more", report.Number(more)))
	}
	if left > 0 {
		r.note(fmt.Sprintf("%s differ only where answers of run %s do, about as often", report.Number(left), q.Noise))
	}
	r.note(fmt.Sprintf("%s of %s differ or failed", report.Number(differ), report.Count(n, "stored outcome")))
	if err == nil {
		err = unsure
	}
	if err == nil && differ > 0 {
		return &fault.Error{
			What: fmt.Sprintf("run %s: %s not as recorded", q.Run, isOrAre(differ)), Try: "inspect report " + q.Run + " for the whole", Code: fault.Finding,
		}
	}
	return err
}

func isOrAre(n int64) string {
	if n == 1 {
		return "1 answer is"
	}
	return report.Number(n) + " answers are"
}

func differing(o *traffic.Outcome, rec *topic.Record) *Differing {
	d := &Differing{
		Exchange: o.ExchangeID.String(), Generation: o.Generation, Loop: o.Loop, Clone: o.Clone, Attempt: o.Attempt, Time: o.CaptureTime.UTC(), Method: text(o.Method),
		Route: text(o.Route), Result: o.Result.String(), Reason: o.Reason, Detail: o.Detail, Verdict: o.Verdict.String(), Recorded: o.RecordedStatus,
		Status: o.Status, RecordedNs: int64(o.RecordedDuration), DurationNs: int64(o.Duration), Differences: []DifferentAt{},
		Kafka: Place{rec.Partition, rec.Offset},
	}
	d.Differences = append(d.Differences, places(o.Differences)...)
	if b := o.Baseline; b != nil {
		d.Baseline = &OldBuild{Status: b.Status, DurationNs: int64(b.Duration), Reason: b.Reason, Noise: places(b.Noise)}
	}
	return d
}

func places(all []traffic.Difference) (at []DifferentAt) {
	for _, d := range all {
		at = append(at, DifferentAt{d.Path, d.Kind.String(), text(d.Recorded), text(d.Got)})
	}
	return at
}

func text(b []byte) string { return strings.ToValidUTF8(string(b), "�") }

// DiffPrinter writes differences one after another.
type DiffPrinter struct{ objects }

// NewDiffPrinter writes to w, as Table, NDJSON, JSON or YAML.
func NewDiffPrinter(w io.Writer, form Form) *DiffPrinter {
	return &DiffPrinter{objects{w: bufio.NewWriter(w), form: form}}
}

// Print writes one: as a table a line for the exchange, and one for each place:
//
//	GET /items/{id}   200 → 500   id 9f3c…
//	    price    missing    was 12
func (p *DiffPrinter) Print(d *Differing) error {
	if p.form != Table {
		return p.add(d)
	}
	_, err := p.w.WriteString(d.lines())
	return err
}

func (d *Differing) lines() string {
	var b strings.Builder
	status := func(n int) string {
		if n == 0 {
			return "–"
		}
		return fmt.Sprint(n)
	}
	was := d.Recorded
	if d.Baseline != nil {
		was = d.Baseline.Status
	}
	fmt.Fprintf(&b, "%s %s   %s → %s", report.Printable(d.Method), report.Printable(d.Route), status(was), status(d.Status))
	if d.Clone > 0 || d.Loop > 0 {
		fmt.Fprintf(&b, "   loop %d clone %d", d.Loop, d.Clone)
	}
	fmt.Fprintf(&b, "   id %s\n", d.Exchange)
	if d.Reason != "" {
		fmt.Fprintf(&b, "    %s   %s\n", strings.ReplaceAll(d.Reason, "_", " "), report.Printable(d.Detail))
	}
	for _, at := range d.Differences {
		if at.Path == "status" {
			continue
		}
		fmt.Fprintf(&b, "    %s %s   %s → %s\n", report.Printable(at.Path), at.Kind, quoted(at.Recorded), quoted(at.Got))
	}
	return b.String()
}

func quoted(s string) string {
	if s == "" {
		return "–"
	}
	return report.Printable(s)
}

// Close ends the output and flushes it.
func (p *DiffPrinter) Close() error { return p.close() }
