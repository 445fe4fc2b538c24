package replay

import (
	"context"
	"time"

	"github.com/reprise-io/reprise/internal/topic"
)

// settleEvery is how far apart the commits are that go before what is fired, with --delivery at-most-once and a schedule.
const settleEvery = 50 * time.Millisecond

// settle commits exchanges as done before they are fired, and marks those for which that did not work. It tries for as long
// as they are ours and ctx lasts: what is neither committed nor fired is lost to nobody.
func (t *intake) settle(ctx context.Context, all []leaving) {
	parts := make(map[*partition]topic.Ranges)
	for i := range all {
		if l := &all[i]; l.judgement.result == 0 {
			l.part.done(0, 1, l.offset) // there are no clones then
			parts[l.part] = nil
		}
	}
	for len(parts) > 0 && ctx.Err() == nil {
		ours := make([]*partition, 0, len(parts))
		for p := range parts {
			if !p.isGone() {
				ours = append(ours, p)
			}
		}
		err := t.commit(ctx, ours)
		if err == nil {
			break
		}
		t.log.Warn("nothing is fired until it can be committed (--delivery at-most-once)", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(retryEvery):
		}
	}
	for p := range parts {
		parts[p] = p.settled()
	}
	for i := range all {
		if l := &all[i]; l.judgement.result == 0 {
			l.unsettled = l.part.isGone() || !parts[l.part].Contains(l.offset)
		}
	}
}

// settled returns the offsets that are committed as done. What did not fit into the metadata is not among them.
func (p *partition) settled() topic.Ranges {
	p.mu.Lock()
	defer p.mu.Unlock()
	beyond, err := topic.ParseRanges(p.committed.Metadata)
	if err != nil {
		beyond = nil
	}
	return append(topic.Ranges{{Start: 0, End: p.committed.Offset}}, beyond...)
}
