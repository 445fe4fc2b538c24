package replay

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/reprise-io/reprise/internal/topic"
)

// starvedAfter is how long a run may have nothing to send, in flight or in hand, before it looks whether there is
// anything left to read.
const starvedAfter = 3 * time.Second

// starvation notices that a run waits for records.
type starvation struct{ since, looked time.Time }

// due reports whether it is time to look.
func (s *starvation) due(starved bool, now time.Time) bool {
	if !starved {
		*s = starvation{}
		return false
	}
	if s.since.IsZero() {
		s.since = now
	}
	if now.Sub(s.since) < starvedAfter || now.Sub(s.looked) < starvedAfter {
		return false
	}
	s.looked = now
	return true
}

// starved reports whether everything read is done while partitions are not at their ends.
func (r *run) starved() bool {
	return !r.opts.Live && r.ahead.empty() && r.intake.backlog.size() == 0 && r.volley.out.Load() == 0
}

// skipHoles ends the partitions in which nothing is left before their ends: a log can end with offsets that hold no
// record (transaction markers, compaction), which a member of a group is never told of.
func (r *run) skipHoles(ctx context.Context) {
	left := make(map[int32]*partition)
	from, to := make(map[int32]int64), make(map[int32]int64)
	for _, p := range r.intake.all() {
		if next, ended := p.reading(); !ended && p.end >= 0 {
			left[p.id], from[p.id], to[p.id] = p, next, p.end
		}
	}
	if len(left) == 0 {
		return
	}
	reader, err := topic.NewAssignReader(topic.AssignConfig{Config: r.opts.Kafka, Topic: r.names.Exchanges, From: from, To: to})
	if err != nil {
		return
	}
	defer reader.Close()
	ctx, cancel := context.WithTimeout(ctx, closingTimeout)
	defer cancel()
	for {
		batch, err := reader.Poll(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			r.opts.Logger.Warn("waiting for records of the run that do not come", "partitions", len(left), "error", err)
			return
		}
		for _, b := range batch.Partitions {
			delete(left, b.Partition) // they will come
		}
	}
	for _, p := range left {
		r.opts.Logger.Info("a partition ends with offsets that hold no record", "partition", p.id, "from", from[p.id], "to", p.end)
		p.finish()
		r.intake.backlog.finish(p.id)
		r.ahead.add(p, nil, time.Time{}, true)
	}
}
