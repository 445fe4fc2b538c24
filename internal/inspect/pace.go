package inspect

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// Pace is how fast runs have sent lately and how near to their times, by the outcomes that they stored.
type Pace struct {
	From        time.Time `json:"from"`         // when the first column begins
	StepSeconds float64   `json:"step_seconds"` // length of a column
	Runs        []RunPace `json:"runs"`         // those that have sent something, by name
	Partial     bool      `json:"partial"`      // so much was stored that the earliest of it is left out
}

// RunPace is the pace of one run, all of its starts.
type RunPace struct {
	Run     string       `json:"run"`
	Columns []PaceColumn `json:"columns"`
}

// PaceColumn is what was sent within one span of time, and had an outcome stored. Without any the times are 0.
type PaceColumn struct {
	Sent        int64   `json:"sent"`
	LatenessP50 float64 `json:"lateness_p50_ms"`
	LatenessP99 float64 `json:"lateness_p99_ms"`
	Lag         float64 `json:"lag_seconds"` // from capture to sending, the median: of a live run how far it is behind
}

// Bounds of a Pace.
const (
	paceColumns = 60
	mostPaced   = 200_000 // outcomes that are looked at
)

// Pace reads what was stored since then. Where no results are, nobody has sent anything.
func (r *Reader) Pace(ctx context.Context, results string, since time.Duration) (*Pace, error) {
	now := r.now()
	step := since / paceColumns
	p := &Pace{From: now.Add(-since).UTC(), StepSeconds: step.Seconds(), Runs: []RunPace{}}
	c := &Reader{cfg: r.cfg, topic: results, admin: r.admin, note: r.note, now: r.now}
	spans, err := c.spans(ctx, p.From, AllPartitions)
	switch {
	case topic.IsMissing(err):
		return p, nil
	case err != nil:
		return nil, err
	}
	for id, s := range spans {
		if first := s.End - mostPaced/int64(len(spans)); s.Start < first {
			s.Start, p.Partial = first, true
			spans[id] = s
		}
	}
	sent := make(map[string]*[paceColumns][]sending)
	var o traffic.Outcome
	err = c.scan(ctx, spans, func(rec *topic.Record) error {
		if err := traffic.DecodeOutcome(rec.Value, &o); err != nil {
			c.skip(rec, err)
			return nil
		}
		i := int(o.FireTime.Sub(p.From) / step)
		if o.FireTime.Before(p.From) || i >= paceColumns || o.Result != traffic.Fired && o.Result != traffic.Failed {
			return nil
		}
		columns := sent[o.Run]
		if columns == nil {
			columns = new([paceColumns][]sending)
			sent[o.Run] = columns
		}
		columns[i] = append(columns[i], sending{o.Lateness(), o.FireTime.Sub(o.CaptureTime)})
		return nil
	}, nil)
	if err != nil {
		return nil, err
	}
	for run, columns := range sent {
		one := RunPace{Run: run, Columns: make([]PaceColumn, 0, paceColumns)}
		for _, all := range columns {
			one.Columns = append(one.Columns, column(all))
		}
		p.Runs = append(p.Runs, one)
	}
	slices.SortFunc(p.Runs, func(a, b RunPace) int { return strings.Compare(a.Run, b.Run) })
	return p, c.verdict()
}

// sending is when one request was sent.
type sending struct{ lateness, lag time.Duration }

// column sums up what was sent within one.
func column(all []sending) PaceColumn {
	if len(all) == 0 {
		return PaceColumn{}
	}
	lateness, lag := make([]time.Duration, len(all)), make([]time.Duration, len(all))
	for i, s := range all {
		lateness[i], lag[i] = s.lateness, s.lag
	}
	slices.Sort(lateness)
	slices.Sort(lag)
	at := func(sorted []time.Duration, percent int) time.Duration { return sorted[(len(sorted)-1)*percent/100] }
	millis := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
	return PaceColumn{
		Sent: int64(len(all)), LatenessP50: millis(at(lateness, 50)), LatenessP99: millis(at(lateness, 99)),
		Lag: at(lag, 50).Round(time.Millisecond).Seconds(),
	}
}
