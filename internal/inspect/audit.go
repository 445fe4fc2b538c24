package inspect

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// Audit compares what taps say of themselves with what the topic holds.
type Audit struct {
	Topic      string     `json:"topic"`
	Taps       []TapAudit `json:"taps"`
	Unreported int        `json:"ids_without_report"` // imports, and taps that are not in the control topic (any more)
	Closes     bool       `json:"closes"`
}

// States of a tap.
const (
	TapStopped = "stopped" // it has written its final report
	TapRunning = "running" // its last report is recent
	TapKilled  = "killed"  // it has neither: what it did after its last report cannot be known
)

// TapAudit is one tap's. Missing = Counted + AfterReport + Unexplained.
type TapAudit struct {
	TapID    string    `json:"tap_id"`
	Name     string    `json:"name"`
	Host     string    `json:"host"`
	State    string    `json:"state"`
	Started  time.Time `json:"started"`
	Reported time.Time `json:"reported"` // when it wrote the counters

	Counters  AuditCounters `json:"counters"`
	LastSeq   uint64        `json:"last_seq"`   // as it reported
	LastFound uint64        `json:"last_found"` // the highest number in the topic, or in the window of it

	Found      uint64 `json:"found"`      // different numbers in the topic
	Duplicates uint64 `json:"duplicates"` // records that were there already
	CutOff     uint64 `json:"cut_off"`    // numbers that may have gone with the beginning of a partition: not judged

	Missing     uint64 `json:"missing"`
	Counted     uint64 `json:"counted"`      // by the tap: as dropped after they had a number, unknown, spooled or pending
	AfterReport uint64 `json:"after_report"` // above last_seq of a tap without a final report
	Unexplained uint64 `json:"unexplained"`

	Gaps     []Gap  `json:"gaps"` // the first of them
	GapCount uint64 `json:"gap_count"`
	Judged   bool   `json:"judged"` // false: the topic holds too little, or too much, to tell what is missing
	Balanced bool   `json:"balanced"`
	Closes   bool   `json:"closes"`
	Note     string `json:"note,omitempty"`
}

// AuditCounters are a tap's, with the sum that they have to make: seen + recovered = all the others.
type AuditCounters struct {
	Seen       uint64            `json:"seen"`
	Recovered  uint64            `json:"recovered"`
	Produced   uint64            `json:"produced"`
	Filtered   uint64            `json:"filtered"`
	Marked     uint64            `json:"marked"` // of those, that a replay had caused
	SampledOut uint64            `json:"sampled_out"`
	Dropped    map[string]uint64 `json:"dropped"`
	Unknown    uint64            `json:"unknown"`
	Pending    uint64            `json:"pending"`
	Spooled    uint64            `json:"spooled"`
}

// Gap is a span of missing numbers, both included. The times are those of exchanges around it, to within 4,096 of them.
type Gap struct {
	First  uint64     `json:"first"`
	Last   uint64     `json:"last"`
	After  *time.Time `json:"after,omitempty"`
	Before *time.Time `json:"before,omitempty"`
	Cause  string     `json:"cause"` // counted, after_report, unexplained
}

// Causes of gaps.
const (
	GapCounted     = "counted"
	GapAfterReport = "after_report"
	GapUnexplained = "unexplained"
)

const (
	mostGaps  = 1000
	silentFor = 30 * time.Second // three reports
)

// AuditQuery says what is audited.
type AuditQuery struct {
	From, To time.Time // by capture time; zero: open
	Taps     []string  // names or beginnings of ids; none: all
}

// Audit reads the reports of names.Control and then, without decoding, the records of the reader's topic. Its error may be
// Incomplete, with the audit: the books do not close, or something could not be read.
func (r *Reader) Audit(ctx context.Context, controlTopic string, q AuditQuery) (*Audit, error) {
	reports, err := r.reports(ctx, controlTopic)
	if err != nil {
		return nil, err
	}
	taps := make(map[[16]byte]*TapAudit)
	chosen := make(map[[16]byte]*reprisev1.TapReport)
	for _, t := range reports {
		if len(t.Report.GetTapId()) == 16 && q.wants(t.Report) {
			id := [16]byte(t.Report.GetTapId())
			chosen[id], taps[id] = t.Report, r.newTapAudit(t)
		}
	}
	if len(q.Taps) > 0 && len(taps) == 0 {
		return nil, fault.New(fmt.Sprintf("no tap %s has reported", strings.Join(q.Taps, ", ")), "",
			"inspect audit without --tap shows all that have")
	}
	spans, err := r.spans(ctx, q.From, AllPartitions)
	if err != nil {
		return nil, err
	}
	seen := newSequences()
	strangers := make(map[[16]byte]bool)
	var meta traffic.Meta
	err = r.scan(ctx, spans, func(rec *topic.Record) error {
		if err := traffic.ParseMeta(rec.Headers, &meta); err != nil {
			r.skip(rec, err)
			return nil
		}
		if !q.To.IsZero() && !meta.CaptureTime.Before(q.To) || meta.CaptureTime.Before(q.From) {
			return nil
		}
		id := meta.ID.Tap()
		t := taps[id]
		switch {
		case t == nil && len(strangers) < mostStrangers:
			strangers[id] = true
		case t == nil:
		case seen.note(id, rec.Partition, meta.ID.Seq(), false, meta.CaptureTime.UnixNano()):
			t.Duplicates++
		}
		return nil
	}, nil)
	if err != nil {
		return nil, err
	}
	a := &Audit{Topic: r.topic, Taps: []TapAudit{}, Closes: true}
	if len(q.Taps) == 0 {
		a.Unreported = len(strangers)
	}
	cut := cutPartitions(spans)
	for id, t := range taps {
		t.judge(chosen[id], seen, id, cut, !q.To.IsZero())
		a.Taps = append(a.Taps, *t)
		a.Closes = a.Closes && t.Closes
	}
	slices.SortFunc(a.Taps, func(x, y TapAudit) int {
		if c := x.Started.Compare(y.Started); c != 0 {
			return c
		}
		return strings.Compare(x.TapID, y.TapID)
	})
	return a, errors.Join(a.verdict(), r.verdict())
}

const mostStrangers = 10_000

func (q *AuditQuery) wants(t *reprisev1.TapReport) bool {
	if len(q.Taps) == 0 {
		return true
	}
	id := hex.EncodeToString(t.GetTapId())
	return slices.ContainsFunc(q.Taps, func(s string) bool { return s == t.GetName() || s != "" && strings.HasPrefix(id, s) })
}

// reports reads the newest report of every tap.
func (r *Reader) reports(ctx context.Context, name string) ([]*control.Tap, error) {
	state, err := r.control(ctx, name)
	if err != nil {
		return nil, err
	}
	return state.Taps(), nil
}

func (r *Reader) newTapAudit(t *control.Tap) *TapAudit {
	c := t.Report.GetCounters()
	a := &TapAudit{
		TapID: hex.EncodeToString(t.Report.GetTapId()), Name: t.Report.GetName(), Host: t.Report.GetHost(),
		Started: time.Unix(0, int64(t.Report.GetStartedUnixNano())).UTC(), Reported: t.Time, LastSeq: c.GetLastSeq(), Gaps: []Gap{},
		Counters: AuditCounters{
			Seen: c.GetSeen(), Recovered: c.GetRecovered(), Produced: c.GetProduced(), Filtered: c.GetFiltered(), Marked: c.GetMarked(),
			SampledOut: c.GetSampledOut(), Dropped: c.GetDropped(), Unknown: c.GetUnknown(), Pending: c.GetPending(), Spooled: c.GetSpooled(),
		},
	}
	if a.Counters.Dropped == nil {
		a.Counters.Dropped = map[string]uint64{}
	}
	switch {
	case t.Report.GetFinal():
		a.State = TapStopped
	case r.now().Sub(t.Time) < silentFor:
		a.State = TapRunning
	default:
		a.State = TapKilled
		a.Note = "no final report: what it saw after " + t.Time.Format("15:04:05.000") + " and did not send cannot be known"
	}
	return a
}

// early are the reasons for which an exchange is dropped before it has a number: they explain none that is missing. All of
// wire's losses are among them.
func early() []string {
	return []string{
		"memory", "behind", "self_protection", "malformed", "header_too_large", "panic", "streams", "redaction", "incomplete", "ambiguous",
	}
}

// unsent is how many numbers the tap itself says may be missing.
func (c *AuditCounters) unsent() uint64 {
	n := c.Unknown + c.Spooled + c.Pending
	for reason, dropped := range c.Dropped {
		if !slices.Contains(early(), reason) {
			n += dropped
		}
	}
	return n
}

func (c *AuditCounters) balanced() bool {
	sum := c.Produced + c.Filtered + c.SampledOut + c.Unknown + c.Pending + c.Spooled
	for _, n := range c.Dropped {
		sum += n
	}
	return sum == c.Seen+c.Recovered
}

// judge finds what is missing and explains it.
func (a *TapAudit) judge(report *reprisev1.TapReport, seen *sequences, id [16]byte, cut []int32, ends bool) {
	a.Balanced = a.Counters.balanced()
	a.Closes = a.Balanced
	if seen.full {
		a.Note = "the topic holds more holes than can be kept in memory: a narrower --from and --to, or --tap"
		return
	}
	t := seen.taps[id]
	if t == nil {
		t = new(sequence)
	}
	a.LastFound = t.last
	from, ok := t.certain(cut)
	to := a.LastSeq
	if ends || t.last > to {
		to = t.last
	}
	if t.last > 0 {
		a.Found = t.present(1, t.last)
	}
	if !ok {
		return // all of a partition may have been cut off
	}
	a.Judged, a.CutOff = true, from-1
	allowed := a.Counters.unsent()
	t.gaps(from, max(to, from-1), func(first, last uint64, after, before int64) {
		// A gap across the last reported number is two.
		if first <= a.LastSeq && last > a.LastSeq {
			a.gap(Gap{First: first, Last: a.LastSeq, After: moment64(after)}, &allowed, report.GetFinal())
			first, after = a.LastSeq+1, 0
		}
		a.gap(Gap{First: first, Last: last, After: moment64(after), Before: moment64(before)}, &allowed, report.GetFinal())
	})
	a.Closes = a.Closes && a.Unexplained == 0
}

func (a *TapAudit) gap(g Gap, allowed *uint64, final bool) {
	n := g.Last - g.First + 1
	a.Missing += n
	a.GapCount++
	switch counted := min(n, *allowed); {
	case g.First > a.LastSeq && !final:
		g.Cause = GapAfterReport
		a.AfterReport += n
	default:
		g.Cause = GapCounted
		*allowed -= counted
		a.Counted += counted
		if counted < n {
			g.Cause = GapUnexplained
			a.Unexplained += n - counted
		}
	}
	if len(a.Gaps) < mostGaps {
		a.Gaps = append(a.Gaps, g)
	}
}

func moment64(ns int64) *time.Time {
	if ns == 0 {
		return nil
	}
	t := time.Unix(0, ns).UTC()
	return &t
}

// verdict is nil when all books close.
func (a *Audit) verdict() error {
	var missing uint64
	var of, unbalanced, unjudged []string
	for i := range a.Taps {
		t := &a.Taps[i]
		missing += t.Unexplained
		if t.Unexplained > 0 {
			of = append(of, t.label())
		}
		if !t.Balanced {
			unbalanced = append(unbalanced, t.label())
		}
		if !t.Judged && t.Note != "" && t.State != TapKilled {
			unjudged = append(unjudged, t.label())
		}
	}
	switch {
	case missing > 0:
		return &fault.Error{
			What:  fmt.Sprintf("%s missing from %s, and no counter accounts for them", report.Count(int64(missing), "exchange"), a.Topic),
			Cause: "of tap " + strings.Join(of, ", "), Code: fault.Incomplete,
			Try: "look whether records were deleted, or the topic lost a leader, at the times of the gaps (-o json has them all)",
		}
	case len(unbalanced) > 0:
		return &fault.Error{
			What: "the counters of tap " + strings.Join(unbalanced, ", ") + " do not add up", Code: fault.Incomplete,
			Try: "a bug in the tap: report it with inspect audit -o json",
		}
	case len(unjudged) > 0:
		return &fault.Error{
			What: "too many holes to say what is missing of tap " + strings.Join(unjudged, ", "), Code: fault.Incomplete,
			Try: "a narrower --from and --to, or one --tap",
		}
	}
	return nil
}

// label names a tap for people.
func (a *TapAudit) label() string {
	if a.Name == "" {
		return a.TapID[:8]
	}
	return a.Name + " " + a.TapID[:8]
}
