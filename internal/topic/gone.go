package topic

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/reprise-io/reprise/internal/fault"
)

// Gone are offsets of a partition that were to be read and are not in the log any more.
type Gone struct {
	Partition int32
	// [From, To) is gone. To is math.MaxInt64 when the log ends before From: what comes there one day is something else.
	From, To int64
}

// Err is the error for what is gone. end, when it is not negative, is where reading was to stop.
func (g Gone) Err(topic string, end int64) error {
	last, cause := g.To, "deleted by retention or by hand"
	if g.To == math.MaxInt64 {
		last, cause = end, "its log ends before them: it was truncated, or the topic was made anew"
	} else if end >= 0 {
		last = min(last, end)
	}
	which := fmt.Sprintf("offsets %d to %d", g.From, last-1)
	if last <= g.From {
		which = fmt.Sprintf("offsets from %d on", g.From)
	}
	return &fault.Error{
		What:  fmt.Sprintf("%s of %s, partition %d, are gone before they were read", which, topic, g.Partition),
		Cause: cause, Try: "--on-data-loss skip, or a longer retention.ms and retention.bytes of the topic",
		Code: fault.Incomplete, Err: kerr.OffsetOutOfRange,
	}
}

// add takes what was fetched of a partition.
func (r *GroupReader) add(b *Batch, p kgo.FetchPartition) {
	if n := len(p.Records); n > 0 {
		r.mu.Lock()
		if r.owned[p.Partition] {
			r.next[p.Partition] = p.Records[n-1].Offset + 1
		}
		r.mu.Unlock()
	}
	b.add(p)
}

// skipGone looks what became of the partitions whose place to read on from is not in the log, and moves them on where
// OnGone allows it. No rebalance happens meanwhile.
func (r *GroupReader) skipGone(ctx context.Context) error {
	parts := r.outOfRange
	r.outOfRange = nil
	window, err := r.admin.Window(ctx, r.topic, time.Time{})
	if err != nil {
		if ctx.Err() != nil || passingFault(err) {
			return nil // it is met again
		}
		return err
	}
	for _, p := range parts {
		r.mu.Lock()
		at, owned := r.next[p], r.owned[p]
		r.mu.Unlock()
		log := window[p]
		gone := Gone{p, at, log.Start}
		switch {
		case !owned || at >= log.Start && at <= log.End:
			continue // a leader that was not up to date
		case at > log.End:
			gone.To = math.MaxInt64
		}
		if r.gcfg.OnGone == nil {
			r.failed = gone.Err(r.topic, -1)
			return r.failed
		}
		if err := r.gcfg.OnGone(gone); err != nil {
			r.failed = err
			return err
		}
		if gone.To == math.MaxInt64 {
			r.pause([]int32{p})
			continue
		}
		r.mu.Lock()
		r.next[p] = gone.To
		r.mu.Unlock()
		r.client.SetOffsets(map[string]map[int32]kgo.EpochOffset{r.topic: {p: {Epoch: -1, Offset: gone.To}}})
	}
	return nil
}

// passingFault reports whether asking again may help.
func passingFault(err error) bool { return unreachable(err) || kerr.IsRetriable(err) }
