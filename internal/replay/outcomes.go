package replay

import (
	"bytes"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/compare"
	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/redact"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/traffic"
)

const (
	maxDetail     = 200       // bytes of an outcome's detail
	maxAnswerBody = 128 << 10 // bytes of a differing answer that are kept
)

// outcomes turns what became of exchanges into outcomes: counted, compared, stored, and their offsets done once that
// is so. It is safe for concurrent use.
type outcomes struct {
	run      string
	number   uint32 // the run's generation
	loop     uint32
	policy   ResultsPolicy
	timeout  time.Duration // of one attempt
	summary  *report.Summary
	metrics  *metrics
	redactor *redact.Redactor
	comparer compare.Comparer
	dresser  *dresser
	results  *results // nil: none are stored
}

// behind reports whether so many outcomes wait to be stored that nothing more should be fired.
func (c *outcomes) behind() bool { return c.results != nil && c.results.behind() }

// answered takes what the target did with an exchange that was begun.
func (c *outcomes) answered(it *item, a *fire.Answer) {
	c.health(it, a)
	o := c.fired(it, a)
	if a.Response == nil {
		o.Result, o.Reason = traffic.Failed, a.Reason
		if a.Err != nil {
			o.Detail = cut(a.Err.Error(), maxDetail)
		}
		c.metrics.failed(&o)
		c.finish(it, &o, 1)
		return
	}
	o.Verdict, o.Differences = c.judge(it, a.Response)
	c.keep(it, &o, a.Response)
}

// health counts what an answer, or its absence, tells of the target.
func (c *outcomes) health(it *item, a *fire.Answer) {
	if isError, tells := a.IsError(it.x.Response, c.timeout); tells {
		c.summary.Health(isError)
	}
}

// fired is the outcome of what was sent, as far as it is known before its answer is compared.
func (c *outcomes) fired(it *item, a *fire.Answer) traffic.Outcome {
	o := c.outcome(it)
	o.Attempt, o.FireTime = uint32(max(1, a.Attempts)), a.FireTime
	if res := a.Response; res != nil {
		o.Result, o.Status, o.BodySize, o.TTFB, o.Duration = traffic.Fired, res.Status, res.BodySize, res.TTFB, res.Duration
	}
	return o
}

// keep finishes the outcome of a whole answer, which it holds where that differs.
func (c *outcomes) keep(it *item, o *traffic.Outcome, res *traffic.Response) {
	if o.Verdict == traffic.StatusChanged || o.Verdict == traffic.BodyChanged {
		if len(res.Body) > maxAnswerBody {
			res.Body = res.Body[:maxAnswerBody]
		}
		o.Answer = res
	}
	c.metrics.fired(o)
	c.finish(it, o, 1)
}

// judge compares the answer with the recorded one, redacting it first in place unless they are equal as they are:
// then there is nothing in it that the record does not hold already.
//
// A clone is another user than the one whose answer was recorded: what was redacted there cannot be equal, and neither can
// the identities that were swapped.
func (c *outcomes) judge(it *item, res *traffic.Response) (traffic.Verdict, []traffic.Difference) {
	if was := it.x.Response; was != nil && c.differ(was, res) {
		c.clean(it, res)
	}
	return c.byRecorded(it, res)
}

// byRecorded compares an answer, which is redacted where it has to be, with the recorded one.
func (c *outcomes) byRecorded(it *item, res *traffic.Response) (traffic.Verdict, []traffic.Difference) {
	comparer := c.comparer
	comparer.OtherUser = it.clone > 0
	verdict, left := comparer.Compare(&it.x, res)
	if verdict != traffic.BodyChanged {
		return verdict, left
	}
	left, unsure := c.dresser.ownValues(it, res, left)
	if it.clone > 0 {
		var also bool
		left, also = ownValues(left, it.swaps)
		unsure = unsure || also
	}
	switch {
	case len(left) > 0:
		return verdict, left
	case unsure:
		return traffic.NoBaseline, nil
	}
	return traffic.Same, nil
}

// differ reports whether answers may differ in what is compared, so that they have to be redacted.
func (c *outcomes) differ(was, is *traffic.Response) bool {
	return was.Status != is.Status || !bytes.Equal(was.Body, is.Body) || grpcDiffers(was, is) || c.comparer.Rules.Redacts()
}

// clean redacts an answer in place.
func (c *outcomes) clean(it *item, res *traffic.Response) {
	if _, err := c.redactor.Response(&it.x.Request, res); err != nil {
		res.Headers, res.Trailers, res.Body = nil, nil, nil // its size stays: the status alone is compared
	}
	c.dresser.mask(res)
}

func grpcDiffers(was, is *traffic.Response) bool {
	before, known := was.GRPCStatus()
	now, alsoKnown := is.GRPCStatus()
	return before != now || known != alsoKnown
}

// leftOut takes an exchange that is not fired and has an outcome of its own. firing is 1 when it had been begun.
func (c *outcomes) leftOut(it *item, j judgement, firing int) {
	o := c.outcome(it)
	o.Result, o.Reason, o.Detail = j.result, j.reason, cut(j.detail, maxDetail)
	c.metrics.leftOut(j.result, j.reason, 1)
	c.finish(it, &o, firing)
}

// counted takes exchanges that are not fired and have no outcome of their own.
func (c *outcomes) counted(result traffic.Result, reason string, n int64) {
	c.metrics.leftOut(result, reason, n)
	c.summary.Count(result, reason, n)
}

func (c *outcomes) outcome(it *item) traffic.Outcome {
	x := &it.x
	o := traffic.Outcome{
		Run: c.run, Generation: c.number, Loop: c.loop, Clone: it.clone, ExchangeID: x.ID, Attempt: 1, Partition: it.part.id, Offset: it.offset,
		CaptureTime: x.CaptureTime, DueTime: it.due, Method: x.Request.Method,
	}
	if x.Response != nil {
		o.RecordedStatus, o.RecordedDuration = x.Response.Status, x.Response.Duration
	}
	return o
}

// finish counts an outcome and stores it if the policy wants it. Its offset is done when that is acknowledged.
func (c *outcomes) finish(it *item, o *traffic.Outcome, firing int) {
	if o.Result != traffic.BadRecord && o.Route == nil {
		o.Route = []byte(c.summary.Route(it.x.Request.Target))
	}
	c.summary.Add(o)
	if c.results == nil || !c.wanted(o) {
		it.part.done(firing, it.copies, it.offset)
		return
	}
	c.results.put(ticket{it.part, it.offset, firing, it.copies}, o)
}

// wanted reports whether the policy wants an outcome stored.
func (c *outcomes) wanted(o *traffic.Outcome) bool {
	switch c.policy {
	case AllResults:
		return true
	case DiffResults:
		if o.Verdict == traffic.StatusChanged || o.Verdict == traffic.BodyChanged {
			return true
		}
	case NoResults:
		return false
	}
	return o.Result == traffic.Failed || o.Result == traffic.Late || o.Result == traffic.BadRecord
}

func cut(s string, n int) string {
	s = strings.ToValidUTF8(s, "�") // a proto3 string
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}

// lateness of an outcome that had a due time.
func lateness(o *traffic.Outcome) (time.Duration, bool) {
	if o.DueTime.IsZero() || o.FireTime.IsZero() {
		return 0, false
	}
	return max(0, o.Lateness()), true
}
