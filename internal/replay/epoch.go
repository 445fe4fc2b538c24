package replay

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// epoch returns the smallest capture time among the first wanted records of every partition: the moment of captured
// time at which the run begins. Partitions are not sorted, so each is read on until nothing captured earlier can come.
// Zero when no record is wanted.
func epoch(ctx context.Context, cfg topic.Config, name string, window map[int32]topic.Range, s *sieve, late time.Duration) (time.Time, error) {
	from, to := make(map[int32]int64, len(window)), make(map[int32]int64, len(window))
	for id, r := range window {
		if r.Start < r.End {
			from[id], to[id] = r.Start, r.End
		}
	}
	if len(from) == 0 {
		return time.Time{}, nil
	}
	reader, err := topic.NewAssignReader(topic.AssignConfig{
		Config: cfg, Topic: name, From: from, To: to,
		Fetch: topic.FetchBounds{MaxBytes: fetchBytes, MaxPartitionBytes: fetchPartitionBytes},
	})
	if err != nil {
		return time.Time{}, err
	}
	defer reader.Close()

	var first time.Time
	var it item
	var decoder traffic.Decoder
	earliest := make(map[int32]time.Time, len(from))
	for len(from) > 0 {
		batch, err := reader.Poll(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return time.Time{}, err
		}
		for _, part := range batch.Partitions {
			if _, open := from[part.Partition]; !open {
				continue
			}
			for i := range part.Records {
				if j := s.wanted(&part.Records[i], &it, &decoder, time.Time{}); j.result != 0 {
					continue
				}
				at, seen := earliest[part.Partition]
				if !seen || it.x.CaptureTime.Before(at) {
					at = it.x.CaptureTime
					earliest[part.Partition] = at
				}
				if first.IsZero() || at.Before(first) {
					first = at
				}
				if it.x.CaptureTime.Sub(at) > late {
					delete(from, part.Partition)
					reader.Pause(part.Partition)
					break
				}
			}
		}
	}
	return first, nil
}
