package replay

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// beginning is what has to be known of a window before its schedule can be proposed.
type beginning struct {
	first time.Time // when the first wanted exchange was captured; zero: none is wanted
	gaps  schedule.Gaps
}

// survey reads that. The first is the smallest capture time among the first wanted records of every partition, which are not
// sorted, so that each is read on until nothing captured earlier can come; with --gap-max all of them are read to their ends.
func survey(ctx context.Context, o *Options, name string, window map[int32]topic.Range, s *sieve, late time.Duration) (b beginning, err error) {
	var finder *schedule.GapFinder
	if o.GapMax > 0 {
		finder = schedule.NewGapFinder(o.GapMax)
	}
	from, to := make(map[int32]int64, len(window)), make(map[int32]int64, len(window))
	for id, r := range window {
		if r.Start < r.End {
			from[id], to[id] = r.Start, r.End
		}
	}
	if len(from) == 0 {
		return b, nil
	}
	reader, err := topic.NewAssignReader(topic.AssignConfig{
		Config: o.Kafka, Topic: name, From: from, To: to,
		Fetch: topic.FetchBounds{MaxBytes: fetchBytes, MaxPartitionBytes: fetchPartitionBytes},
	})
	if err != nil {
		return b, err
	}
	defer reader.Close()

	var it item
	var decoder traffic.Decoder
	earliest := make(map[int32]time.Time, len(from))
	for len(from) > 0 {
		batch, err := reader.Poll(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return b, err
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
				if b.first.IsZero() || at.Before(b.first) {
					b.first = at
				}
				if finder != nil {
					finder.Add(it.x.CaptureTime)
					continue
				}
				if it.x.CaptureTime.Sub(at) > late {
					delete(from, part.Partition)
					reader.Pause(part.Partition)
					break
				}
			}
		}
	}
	if finder != nil {
		b.gaps = finder.Gaps()
	}
	return b, nil
}
