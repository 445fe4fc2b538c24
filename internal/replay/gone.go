package replay

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/topic"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// shortLooks is how often a log must be seen to end before the run's window until that counts: a new leader may not know
// its end at once.
const shortLooks = 3

// onGone takes what was to be read and is not in the log any more.
func (t *intake) onGone(g topic.Gone) error {
	p := t.partition(g.Partition)
	if p == nil {
		return nil // taken away meanwhile
	}
	return t.lose(p, g)
}

// lose takes that of a partition that was this process's when it was looked at.
func (t *intake) lose(p *partition, g topic.Gone) error {
	if p.isGone() {
		return nil // whoever has it finds that too
	}
	n := p.missing(g)
	switch {
	case n == 0:
		return nil
	case !t.skipsGone, p.end < 0 && g.To == math.MaxInt64:
		return g.Err(t.topic, p.end)
	}
	t.log.Warn("records of the run are gone and are skipped", "partition", p.id, "from", g.From, "offsets", n)
	t.gone.Add(n)
	t.metrics.gone.Add(float64(n))
	if p.end >= 0 && g.To >= p.end {
		t.backlog.end(p)
	}
	return nil
}

// missing returns how many offsets of the run, and not finished by an earlier start, are among those that are gone.
func (p *partition) missing(g topic.Gone) (n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	to := g.To
	if p.end >= 0 {
		to = min(to, p.end)
	} else if to == math.MaxInt64 {
		return 1 // nobody knows
	}
	if p.ended || to <= g.From {
		return 0
	}
	n = to - g.From
	for _, r := range p.before {
		n -= max(0, min(r.End, to)-max(r.Start, g.From))
	}
	return n
}

// lookForTruncation takes partitions whose logs end before the run's window out of those from which something is still to
// come. It is called when nothing was fetched for a while.
func (r *run) lookForTruncation(ctx context.Context, left map[int32]*partition) error {
	if len(left) == 0 {
		return nil
	}
	window, err := r.admin.Window(ctx, r.names.Exchanges, time.Time{})
	if err != nil {
		return nil //nolint:nilerr // who reads them says it
	}
	if r.short == nil {
		r.short = make(map[int32]int)
	}
	for id, p := range left {
		if log, ok := window[id]; !ok || log.End >= p.end {
			delete(r.short, id)
			continue
		}
		delete(left, id)
		if r.short[id]++; r.short[id] < shortLooks {
			continue
		}
		next, _ := p.reading()
		if err := r.intake.lose(p, topic.Gone{Partition: id, From: max(next, window[id].End), To: math.MaxInt64}); err != nil {
			return err
		}
	}
	return nil
}

// madeAnew reports whether the topic is another one than that which the run began with, so that nothing of the run is left.
// It is an error unless that is to be skipped.
func (r *run) madeAnew(ctx context.Context) (bool, error) {
	was := r.generation.Spec.GetTopicId()
	id, err := r.admin.TopicID(ctx, r.names.Exchanges)
	if err != nil || len(was) == 0 || bytes.Equal(was, id[:]) || bytes.Equal(was, make([]byte, len(was))) {
		return false, err
	}
	f := &fault.Error{
		What:  fmt.Sprintf("topic %s was made anew since run %s began: what was left of the run is gone", r.names.Exchanges, r.opts.Run),
		Cause: "the same offsets are other records now", Try: "--restart to begin with what is there now", Code: fault.Incomplete,
	}
	if r.opts.OnDataLoss == SkipDataLoss && !r.opts.Live {
		r.opts.Logger.Warn(f.What)
		return true, nil
	}
	return true, f
}

// nothingLeft ends a run of which nothing is left to be fired.
func (r *run) nothingLeft(ctx context.Context, failed error) (*report.Report, error) {
	if failed != nil {
		return nil, failed
	}
	at, err := r.admin.Committed(ctx, r.group, r.names.Exchanges)
	if err != nil {
		return nil, err
	}
	end := report.End{State: finished, Time: time.Now()}
	for id, w := range r.intake.windows {
		p, err := newPartition(id, w, topic.Position{Offset: max(w.Start, at[id].Offset), Metadata: at[id].Metadata}, 1)
		end.Gone += p.missing(topic.Gone{Partition: id, From: p.next, To: math.MaxInt64})
		failed = errors.Join(failed, err)
	}
	if failed != nil {
		return nil, failed
	}
	rep := r.summary.Report(end)
	t := r.summary.Tally()
	t.Missing += end.Gone
	if err := r.registry.write(ctx, r.registry.author().Tally(r.told(t))); err != nil {
		return nil, err
	}
	failed = r.judge(ctx, rep)
	record := &reprisev1.RunEnd{Run: r.opts.Run, Generation: r.generation.Number, State: finished, Report: rep.JSON()}
	return rep, cmp.Or(r.registry.write(ctx, r.registry.author().End(record)), failed)
}
