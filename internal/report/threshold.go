package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/threshold"
)

// Threshold is what a run must not be above: "error_rate > 1%".
type Threshold struct {
	measure *measure
	limit   float64 // in the measure's unit
}

// measure is something of a run that a threshold may be about.
type measure struct {
	name, unit string
	means      string
	// of returns what it was, and of how many that is; 0: there was nothing to measure.
	of func(*Tally) (value float64, of int64)
}

// The units of measures. Those of limits are theirs, and for times every one that Go reads.
const (
	percents = "%"
	millisec = "ms"
	multiple = "×"
	pieces   = ""
)

// measures returns all there are, in the order in which they are told.
func measures() []measure {
	return []measure{
		{"error_rate", percents, "requests without a whole answer, or with 5xx or 429 where production had none, as for --max-error-rate", func(t *Tally) (float64, int64) {
			return percentage(t.Errors, t.Judged)
		}},
		{"diff_rate", percents, "compared answers that differ from the recorded ones", func(t *Tally) (float64, int64) {
			return percentage(t.StatusChanged+t.BodyChanged, t.compared())
		}},
		{"status_diff_rate", percents, "compared answers with another status", func(t *Tally) (float64, int64) {
			return percentage(t.StatusChanged, t.compared())
		}},
		{"p50", millisec, "the target's time, from sending to the answer's last byte", func(t *Tally) (float64, int64) { return t.Target.quantile(50) }},
		{"p95", millisec, "", func(t *Tally) (float64, int64) { return t.Target.quantile(95) }},
		{"p99", millisec, "", func(t *Tally) (float64, int64) { return t.Target.quantile(99) }},
		{"p99_ratio", multiple, "the target's p99 to the recorded one", func(t *Tally) (float64, int64) {
			is, n := t.Target.quantile(99)
			was, recorded := t.Recorded.quantile(99)
			if was <= 0 {
				return 0, 0
			}
			return is / was, min(n, recorded)
		}},
		{"lateness_p99", millisec, "how late requests were sent", func(t *Tally) (float64, int64) { return t.Lateness.quantile(99) }},
		{"late_rate", percents, "requests that were sent late (--late-after), or left out because late", func(t *Tally) (float64, int64) {
			return percentage(t.SentLate+t.LeftOutLate, t.Sent+t.LeftOutLate)
		}},
		{"refused_rate", percents, "requests that a safety guard refused, such as writes", func(t *Tally) (float64, int64) {
			return percentage(t.Refused, t.Sent+t.LeftOutLate+t.Refused)
		}},
		{"missing", pieces, "records of the run that could not be read, or were not in Kafka any more, or were given up", func(t *Tally) (float64, int64) {
			return float64(t.Missing), t.Sent + t.LeftOutLate + t.Refused + t.Missing
		}},
	}
}

func percentage(n, of int64) (float64, int64) { return 100 * float64(n) / float64(max(1, of)), of }

// Measures names what thresholds may be about, with the meaning of each, for help texts.
func Measures() string {
	var b strings.Builder
	for _, m := range measures() {
		if m.means == "" { // as the one before
			continue
		}
		name := m.name
		if name == "p50" {
			name = "p50, p95, p99"
		}
		fmt.Fprintf(&b, "  %-17s %-2s  %s\n", name, m.unit, m.means)
	}
	return b.String()
}

// ParseThreshold reads a value of --fail-on.
func ParseThreshold(s string) (Threshold, error) {
	text, err := threshold.Split(s)
	switch {
	case err != nil:
		return Threshold{}, badThreshold(s, err.Error(), "")
	case text.Name == "":
		return Threshold{}, badThreshold(s, "it does not say of what", "")
	}
	all := measures()
	names := make([]string, len(all))
	for i := range all {
		m := &all[i]
		if names[i] = m.name; m.name != text.Name {
			continue
		}
		if text.Windowed {
			return Threshold{}, badThreshold(s, "it is judged at the end, over the whole run: there is no window",
				text.Name+" > "+text.Value+"; --max-error-rate 5%/30s stops a run that goes on")
		}
		limit, err := m.read(text.Value)
		if err != nil {
			return Threshold{}, badThreshold(s, err.Error(), "")
		}
		return Threshold{m, limit}, nil
	}
	try := ""
	if near, ok := fault.Nearest(text.Name, names); ok {
		try = near + " > " + text.Value
	}
	return Threshold{}, badThreshold(s, "known are "+strings.Join(names, ", "), try)
}

func badThreshold(s, cause, try string) error {
	if try == "" {
		try = "'error_rate > 1%', 'p99 > 200ms', 'p99_ratio > 1.2' or 'missing > 0'"
	}
	return fault.BadUsage("bad --fail-on "+strconv.Quote(s), cause, try)
}

// read reads a limit in the measure's unit.
func (m *measure) read(value string) (limit float64, err error) {
	switch m.unit {
	case percents:
		if limit, err = threshold.Percent(value); err == nil && limit >= 100 {
			err = fmt.Errorf("%s is never above that", m.name)
		}
	case millisec:
		d, failed := time.ParseDuration(value)
		if limit = float64(d) / float64(time.Millisecond); failed != nil {
			err = fmt.Errorf("%s is a time, such as 200ms", m.name)
		}
	default:
		if limit, err = threshold.Number(value); err != nil {
			err = fmt.Errorf("%s is a number", m.name)
		}
	}
	if err == nil && limit < 0 {
		err = fmt.Errorf("%s is never below 0", m.name)
	}
	return limit, err
}

// String returns it as ParseThreshold reads it.
func (t Threshold) String() string {
	limit := strconv.FormatFloat(t.limit, 'f', -1, 64)
	switch t.measure.unit {
	case percents, millisec:
		limit += t.measure.unit
	}
	return t.measure.name + " > " + limit
}

// Judgement is what became of a threshold.
type Judgement struct {
	Threshold string   `json:"threshold"` // "error_rate > 1%"
	Measured  *float64 `json:"measured"`  // in Unit; null: there was nothing to measure
	Unit      string   `json:"unit"`      // "%", "ms", "×", or "" for a number
	Of        int64    `json:"of"`        // requests, answers or records that it was measured of
	Crossed   bool     `json:"crossed"`   // also when there was nothing to measure: nobody knows then that it holds
}

// Judge holds thresholds against what a run came to.
func (t *Tally) Judge(all []Threshold) []Judgement {
	judged := make([]Judgement, 0, len(all))
	for _, one := range all {
		j := Judgement{Threshold: one.String(), Unit: one.measure.unit, Crossed: true}
		value, of := one.measure.of(t)
		if j.Of = of; of > 0 {
			j.Measured, j.Crossed = &value, value > one.limit
		}
		judged = append(judged, j)
	}
	return judged
}

// Crossed returns those that were.
func Crossed(all []Judgement) (some []Judgement) {
	for _, j := range all {
		if j.Crossed {
			some = append(some, j)
		}
	}
	return some
}

// String says it: "error_rate 12.5 % > 1 %", with what it was measured of.
func (j Judgement) String() string {
	name, limit, _ := strings.Cut(j.Threshold, " > ")
	switch {
	case j.Measured == nil:
		return j.Threshold + ": there was nothing to measure it of"
	case j.Crossed:
		return name + " " + j.value() + " > " + limit
	}
	return name + " " + j.value() + ", not above " + limit
}

func (j Judgement) value() string {
	v := strconv.FormatFloat(*j.Measured, 'g', 4, 64)
	if *j.Measured >= 1000 {
		v = strconv.FormatFloat(*j.Measured, 'f', 0, 64)
	}
	switch j.Unit {
	case percents, millisec:
		return v + " " + j.Unit
	case multiple:
		return v + j.Unit
	}
	return v
}

// thresholdLines says what --fail-on came to.
func (r *Report) thresholdLines(line liner) {
	held, crossed := "held", "exit"
	for _, j := range r.Thresholds {
		if j.Crossed {
			line(crossed, "%d: %s", fault.Finding, j)
			crossed = ""
		}
	}
	for _, j := range r.Thresholds {
		if !j.Crossed {
			line(held, "%s", j)
			held = ""
		}
	}
	if r.Failure != "" && crossed != "" {
		line(crossed, "%d: %s", fault.Failure, "the target answered nothing")
	}
	if r.Unheard > 0 {
		line("unheard", "%s without its last figures: up to %s of what each sent is not judged", Count(int64(r.Unheard), "process"), TallyEvery)
	}
}
