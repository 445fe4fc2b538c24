package replay

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/reprise-io/reprise/internal/topic"
)

// starvedAfter is how long nothing may come before a run looks whether there is anything left to read.
const starvedAfter = 3 * time.Second

// starvation notices that records do not come any more. The zero value is ready.
type starvation struct {
	read int64     // records by then
	at   time.Time // when that had changed, or was looked into
}

// due reports whether it is time to look. wanting says that records are waited for, read how many have come so far.
func (s *starvation) due(wanting bool, read int64, now time.Time) bool {
	if !wanting || read != s.read || s.at.IsZero() {
		s.read, s.at = read, now
		return false
	}
	if now.Sub(s.at) < starvedAfter {
		return false
	}
	s.at = now
	return true
}

// wanting reports whether more should come: nothing is left to be sifted, and a partition is not at its end.
func (t *intake) wanting() bool {
	if t.live || t.backlog.size() > 0 {
		return false
	}
	for _, p := range t.all() {
		if !p.isEnded() {
			return true
		}
	}
	return false
}

// skipHoles ends the partitions in which nothing is left before their ends: a log can end with offsets that hold no
// record (transaction markers, compaction), which a member of a group is never told of.
//
// A log that ends before the window of the run does so by truncation, and what was there is gone.
func (r *run) skipHoles(ctx context.Context) error {
	left := make(map[int32]*partition)
	from, to := make(map[int32]int64), make(map[int32]int64)
	for _, p := range r.intake.all() {
		if next, ended := p.reading(); !ended && p.end >= 0 {
			left[p.id], from[p.id], to[p.id] = p, next, p.end
		}
	}
	if err := r.lookForTruncation(ctx, left); err != nil {
		return err
	}
	if len(left) == 0 {
		return nil
	}
	reader, err := topic.NewAssignReader(topic.AssignConfig{Config: r.opts.Kafka, Topic: r.names.Exchanges, From: from, To: to})
	if err != nil {
		return err
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
			return nil
		}
		for _, b := range batch.Partitions {
			delete(left, b.Partition) // they will come
		}
	}
	for _, p := range left {
		r.opts.Logger.Info("a partition ends with offsets that hold no record", "partition", p.id, "from", from[p.id], "to", p.end)
		p.finish()
		r.intake.backlog.finish(p)
		r.ahead.add(p, nil, time.Time{}, true)
	}
	return nil
}
