package report

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/reprise-io/reprise/internal/traffic"
)

// TallyEvery is how often a process tells the others its tally while a run goes on; and at its end.
const TallyEvery = 10 * time.Second

// Tally is what thresholds are judged by: of one process, or added up of all processes that have worked on a run. The zero value is that
// of none.
type Tally struct {
	Sent                             int64 // with an answer or without
	Judged, Errors                   int64 // answers and missing ones that tell how the target is; those that tell that it is sick
	Same, StatusChanged, BodyChanged int64 // answers that could be compared
	Refused, LeftOutLate             int64 // not sent
	SentLate                         int64
	Missing                          int64 // bad records, and those that were gone or given up
	Target, Recorded, Lateness       Distribution
	Failed                           map[string]int64 // of those sent, without a whole answer, by reason
}

// Answered is how many requests had a whole answer, whatever it was.
func (t *Tally) Answered() int64 { return t.Sent - Total(t.Failed) }

func (t *Tally) compared() int64 { return t.Same + t.StatusChanged + t.BodyChanged }

// Distribution is how many times there were of each length, to three digits. The zero value has none.
type Distribution struct{ h *hdrhistogram.Histogram }

// Each calls f for every length in µs that there is, in rising order, with how many there are.
func (d Distribution) Each(f func(us, count int64)) {
	if d.h == nil {
		return
	}
	for _, bar := range d.h.Distribution() {
		if bar.Count > 0 {
			f(bar.From, bar.Count)
		}
	}
}

// Add adds count times of a length in µs. What is out of range counts as the nearest that is not; no count is below 0.
func (d *Distribution) Add(us, count int64) {
	if count <= 0 {
		return
	}
	if d.h == nil {
		d.h = precise()
	}
	_ = d.h.RecordValues(min(max(0, us), histogramTop), count) // cannot be out of range
}

// quantile returns it in ms, and of how many.
func (d Distribution) quantile(percent float64) (ms float64, of int64) {
	if d.h == nil || d.h.TotalCount() == 0 {
		return 0, 0
	}
	return float64(d.h.ValueAtQuantile(percent)) / 1000, d.h.TotalCount()
}

// Add adds another process's.
func (t *Tally) Add(o *Tally) {
	for _, n := range []struct{ to, from *int64 }{
		{&t.Sent, &o.Sent},
		{&t.Judged, &o.Judged},
		{&t.Errors, &o.Errors},
		{&t.Same, &o.Same},
		{&t.StatusChanged, &o.StatusChanged},
		{&t.BodyChanged, &o.BodyChanged},
		{&t.Refused, &o.Refused},
		{&t.LeftOutLate, &o.LeftOutLate},
		{&t.SentLate, &o.SentLate},
		{&t.Missing, &o.Missing},
	} {
		*n.to += *n.from
	}
	for _, d := range []struct{ to, from *Distribution }{{&t.Target, &o.Target}, {&t.Recorded, &o.Recorded}, {&t.Lateness, &o.Lateness}} {
		d.from.Each(d.to.Add)
	}
	for reason, n := range o.Failed {
		if t.Failed == nil {
			t.Failed = make(map[string]int64)
		}
		if _, known := t.Failed[reason]; !known && len(t.Failed) >= maxReasons {
			reason = "other"
		}
		t.Failed[reason] += n
	}
}

// Health counts an answer, or its absence, that tells how the target is: whether it is an error, as for --max-error-rate.
func (s *Summary) Health(isError bool) {
	s.judged.Add(1)
	if isError {
		s.errors.Add(1)
	}
}

// Tally returns how the run stands here. Bad records are among what is missing; what is gone or given up this does not know.
func (s *Summary) Tally() *Tally {
	t := new(Tally)
	s.mu.Lock()
	t.Sent = s.results[traffic.Fired] + s.results[traffic.Failed]
	t.Same, t.StatusChanged, t.BodyChanged = s.verdicts[traffic.Same], s.verdicts[traffic.StatusChanged], s.verdicts[traffic.BodyChanged]
	t.Refused, t.LeftOutLate, t.SentLate, t.Missing = s.results[traffic.Refused], s.results[traffic.Late], s.sentLate, s.results[traffic.BadRecord]
	t.Failed = s.why(traffic.Failed)
	target, recorded, lateness := s.service.Export(), s.recorded.Export(), s.lateness.Export()
	s.mu.Unlock()
	t.Judged, t.Errors = s.judged.Load(), s.errors.Load()
	t.Target, t.Recorded, t.Lateness = imported(target), imported(recorded), imported(lateness)
	return t
}

func imported(s *hdrhistogram.Snapshot) Distribution { return Distribution{hdrhistogram.Import(s)} }
