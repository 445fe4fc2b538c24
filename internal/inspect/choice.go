package inspect

import (
	"fmt"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// choice tells which records a Query wants: from their Kafka headers where these suffice, and by decoding otherwise.
type choice struct {
	from, to time.Time
	byHeader []*filter.Filter
	byValue  []*filter.Filter
	decoder  traffic.Decoder
	meta     traffic.Meta
	x        traffic.Exchange
}

func newChoice(q Query) *choice {
	c := &choice{from: q.From, to: q.To}
	for _, f := range q.Filters {
		if f.HeaderOnly() {
			c.byHeader = append(c.byHeader, f)
		} else {
			c.byValue = append(c.byValue, f)
		}
	}
	return c
}

// wants reports whether a record is wanted, and its capture time. The error is about the record, and wraps
// traffic.ErrCorrupt, or about a filter.
func (c *choice) wants(rec *topic.Record) (at time.Time, wanted bool, err error) {
	if traffic.ParseMeta(rec.Headers, &c.meta) != nil {
		return c.wantsValue(rec, c.byHeader, c.byValue) // written by someone else: only the value can tell
	}
	at = c.meta.CaptureTime
	if !c.inside(at) {
		return at, false, nil
	}
	if len(c.byHeader) > 0 {
		m := filter.Meta{
			Method: string(c.meta.Method), Path: string(c.meta.Path), Status: c.meta.Status, Flags: c.meta.Flags, Time: at,
		}
		for _, f := range c.byHeader {
			if ok, err := f.MatchHeaders(m); err != nil || !ok {
				return at, false, filterError(f, rec, err)
			}
		}
	}
	if len(c.byValue) == 0 {
		return at, true, nil
	}
	return c.wantsValue(rec, c.byValue)
}

func (c *choice) wantsValue(rec *topic.Record, lists ...[]*filter.Filter) (at time.Time, wanted bool, err error) {
	if err := c.decoder.Decode(rec.Value, &c.x); err != nil {
		return at, false, err
	}
	at = c.x.CaptureTime
	if !c.inside(at) {
		return at, false, nil
	}
	for _, list := range lists {
		for _, f := range list {
			if ok, err := f.Match(&c.x); err != nil || !ok {
				return at, false, filterError(f, rec, err)
			}
		}
	}
	return at, true, nil
}

func (c *choice) inside(at time.Time) bool {
	return !at.Before(c.from) && (c.to.IsZero() || at.Before(c.to))
}

func filterError(f *filter.Filter, rec *topic.Record, err error) error {
	if err == nil {
		return nil
	}
	where := "an exchange of the file"
	if rec != nil {
		where = fmt.Sprintf("partition %d offset %d", rec.Partition, rec.Offset)
	}
	return &fault.Error{
		What:  fmt.Sprintf("filter %q fails on %s", f.String(), where),
		Cause: err.Error(), Try: "a filter that holds for every exchange", Code: fault.Usage, Err: err,
	}
}
