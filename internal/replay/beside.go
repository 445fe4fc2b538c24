package replay

import (
	"time"

	"github.com/reprise-io/reprise/internal/compare"
	"github.com/reprise-io/reprise/internal/redact"
	"github.com/reprise-io/reprise/internal/rewrite"
	"github.com/reprise-io/reprise/internal/traffic"
)

// beside takes what the target and the old build have answered. again is a second answer of the old build; nil: none was wanted.
func (c *outcomes) beside(p *pair, old sent, again *sent, noise *compare.Noise) {
	o := c.fired(p.it, &p.answer)
	o.Route = []byte(c.summary.Route(p.it.x.Request.Target))
	o.Verdict, o.Baseline = traffic.NoBaseline, &traffic.Baseline{Reason: old.reason, Status: status(old.answer.Response), Duration: took(old.answer.Response)}
	cleaned := old.reason == "" && c.against(p, &o, old, again, noise)
	if cleaned {
		o.Baseline.Recorded, _ = c.byRecorded(p.it, p.answer.Response)
	} else {
		o.Baseline.Recorded, _ = c.judge(p.it, p.answer.Response)
	}
	c.metrics.beside(o.Baseline)
	c.keep(p.it, &o, p.answer.Response)
}

// status of an answer; 0: there is none.
func status(r *traffic.Response) int {
	if r == nil {
		return 0
	}
	return r.Status
}

func took(r *traffic.Response) time.Duration {
	if r == nil {
		return 0
	}
	return r.Duration
}

// against judges the target's answer by the old build's. All are redacted first, in place, unless they are equal as they came: cleaned.
func (c *outcomes) against(p *pair, o *traffic.Outcome, old sent, again *sent, noise *compare.Noise) (cleaned bool) {
	it, res, was := p.it, p.answer.Response, old.answer.Response
	twice := again != nil && again.reason == ""
	if cleaned = c.differ(was, res) || twice && c.differ(was, again.answer.Response); cleaned {
		c.clean(it, res)
		c.clean(it, was)
		if twice {
			c.clean(it, again.answer.Response)
		}
	}
	values := old.by.values(old.trip, was)
	o.Verdict, o.Differences = c.pair(it, was, res, swaps(values, c.dresser.values(it, res)))
	if o.Verdict == traffic.NoBaseline {
		o.Baseline.Reason = notComparable
		return cleaned
	}
	if again == nil {
		return cleaned
	}
	var own []traffic.Difference
	if twice {
		var verdict traffic.Verdict
		verdict, own = c.pair(it, was, again.answer.Response, swaps(values, again.by.values(again.trip, again.answer.Response)))
		o.Baseline.Twice = verdict != traffic.NoBaseline
	}
	left, out := noise.Pair(string(o.Method)+" "+string(o.Route), o.Differences, own, o.Baseline.Twice)
	o.Baseline.Own, o.Baseline.Noise = places(own), places(out)
	switch {
	case len(left) > 0 || len(o.Differences) == 0:
	case o.Verdict == traffic.StatusChanged: // of the bodies nothing is known
		o.Verdict, o.Baseline.Reason = traffic.NoBaseline, statusIsNoise
	default:
		o.Verdict = traffic.Same
	}
	o.Differences = left
	return cleaned
}

// pair compares two answers to one request, whoever gave them. Values of their own, by which the targets call the same thing, are no
// difference.
func (c *outcomes) pair(it *item, was, is *traffic.Response, swaps []redact.Swap) (traffic.Verdict, []traffic.Difference) {
	x := it.x
	x.Response, x.Redactions, x.Flags = was, nil, 0
	verdict, all := compare.Comparer{KeyID: c.comparer.KeyID, Rules: c.comparer.Rules}.Compare(&x, is)
	if verdict != traffic.BodyChanged {
		return verdict, all
	}
	left, unsure := ownValues(all, swaps)
	switch {
	case len(left) > 0:
		return verdict, left
	case unsure:
		return traffic.NoBaseline, nil
	}
	return traffic.Same, nil
}

// swaps joins what two targets gave in the place of the same recorded values: there may be several of one, as a value is known as it came
// and as it was redacted.
func swaps(was, is []rewrite.Value) (all []redact.Swap) {
	now, both := make(map[string][][]byte, len(is)), make(map[string]bool, len(was))
	for _, v := range is {
		now[string(v.Recorded)] = append(now[string(v.Recorded)], v.Now)
	}
	for _, v := range was {
		both[string(v.Recorded)] = true
		to := now[string(v.Recorded)]
		if to == nil {
			to = [][]byte{v.Recorded}
		}
		for _, one := range to {
			all = append(all, redact.Swap{Was: v.Now, Is: one})
		}
	}
	for _, v := range is {
		if !both[string(v.Recorded)] {
			all = append(all, redact.Swap{Was: v.Recorded, Is: v.Now})
		}
	}
	return all
}

// places returns where and how, without what stood there.
func places(all []traffic.Difference) (short []traffic.Difference) {
	for _, d := range all {
		short = append(short, traffic.Difference{Path: d.Path, Kind: d.Kind})
	}
	return short
}
