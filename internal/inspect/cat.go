package inspect

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// An exchange is appended to its partition when its answer has ended, so partitions are sorted only about. mergeWindow is
// how much later than its capture it may have been appended and still come in its place; mergeBytes bounds what is held
// to sort the partitions into one another.
const (
	mergeWindow = 5 * time.Second
	mergeBytes  = 128 << 20
)

// Cat calls show for what is wanted of the records that are in the topic now, by capture time. Where that would need more
// memory than there is to spend, or a record was stored long after its capture, the order is only about right, and a note
// says so.
func (r *Reader) Cat(ctx context.Context, q Query, show func(Entry) error) error {
	spans, err := r.spans(ctx, q.From, q.Partition)
	if err != nil {
		return err
	}
	c := &catalogue{
		reader: r, choice: newChoice(q), show: show, limit: q.Limit, open: make(map[int32]int64),
		merge: newMerge(mergeBytes),
	}
	for p, s := range spans {
		if s.Start < s.End {
			c.open[p] = s.End
			c.merge.Open(p)
		}
	}
	if err := r.scan(ctx, spans, c.take, c.advance); err != nil {
		return err
	}
	if err := c.finish(); err != nil && !errors.Is(err, errEnough) {
		return err
	}
	switch n := c.merge.Reordered(); {
	case c.shown == 0:
		r.noteNothing(ctx, length(spans), q)
	case n > 0:
		r.note(fmt.Sprintf("%s not in order of time", report.Count(int64(n), "exchange")))
	}
	return r.verdict()
}

func newMerge(most int64) *schedule.Merge[*topic.Record] {
	return schedule.NewMerge[*topic.Record](schedule.MergeConfig{Window: mergeWindow, MaxBytes: most})
}

// catalogue sorts what is wanted of several partitions.
type catalogue struct {
	reader  *Reader
	choice  *choice
	merge   *schedule.Merge[*topic.Record]
	open    map[int32]int64 // partitions not read to their end, and that end
	decoder traffic.Decoder
	x       traffic.Exchange
	show    func(Entry) error
	shown   int64
	limit   int64
}

func (c *catalogue) take(rec *topic.Record) error {
	at, wanted, err := c.choice.wants(rec)
	switch {
	case errors.Is(err, traffic.ErrCorrupt):
		c.reader.skip(rec, err)
	case err != nil:
		return err
	case wanted:
		c.merge.Push(rec.Partition, at, len(rec.Value)+recordSize, rec)
	default:
		c.merge.Advance(rec.Partition, at)
	}
	return nil
}

// recordSize is what a record takes beside its value: structs, key and headers.
const recordSize = 512

// advance shows what can be shown after a batch.
func (c *catalogue) advance(reader *topic.AssignReader) error {
	for p, end := range c.open {
		if reader.Next(p) >= end {
			c.merge.Finish(p)
			delete(c.open, p)
		}
	}
	if err := c.drain(); err != nil {
		return err
	}
	pause, resume := c.merge.Gates()
	reader.Pause(pause...)
	reader.Resume(resume...)
	return nil
}

func (c *catalogue) finish() error {
	for p := range c.open {
		c.merge.Finish(p)
	}
	return c.drain()
}

func (c *catalogue) drain() error {
	for {
		if c.limit > 0 && c.shown >= c.limit {
			return errEnough
		}
		item, ok := c.merge.Next(time.Time{})
		if !ok {
			return nil
		}
		if err := c.decoder.Decode(item.Value.Value, &c.x); err != nil {
			c.reader.skip(item.Value, err)
			continue
		}
		c.shown++
		if err := c.show(Entry{&c.x, item.Value}); err != nil {
			return err
		}
	}
}
