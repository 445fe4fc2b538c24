package topic

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// AssignConfig says what an AssignReader reads.
type AssignConfig struct {
	Config
	Topic string
	From  map[int32]int64 // the partitions to read, and the first offset of each
	To    map[int32]int64 // where to stop (exclusive), by partition; one that is not in it is followed for ever
	Fetch FetchBounds
}

// AssignReader reads the partitions it was told to, outside of any group. It is not safe for concurrent use.
type AssignReader struct {
	*fetcher
	next map[int32]int64 // what to read next, of the partitions not read to their end
	to   map[int32]int64
}

// idle is how long nothing may come before a bounded reader asks what is left.
const idle = time.Second

// NewAssignReader connects lazily: an error is about the configuration only.
func NewAssignReader(cfg AssignConfig) (*AssignReader, error) {
	next, offsets := make(map[int32]int64), make(map[int32]kgo.Offset)
	for p, from := range cfg.From {
		if to, bounded := cfg.To[p]; bounded && from >= to {
			continue // nothing to read
		}
		next[p] = from
		offsets[p] = kgo.NewOffset().At(from)
	}
	f, err := newFetcher(cfg.Config, cfg.Topic, "reader", cfg.Fetch,
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{cfg.Topic: offsets}),
		kgo.KeepControlRecords(), // they are offsets too, perhaps the last
	)
	if err != nil {
		return nil, err
	}
	return &AssignReader{fetcher: f, next: next, to: cfg.To}, nil
}

// Poll returns the next records, at least one; io.EOF when every partition was read to its end; or an error that does not
// pass: no broker at the first call, no such topic, offsets no longer in the log. It waits until then or until ctx ends.
func (r *AssignReader) Poll(ctx context.Context) (*Batch, error) {
	if err := r.meet(ctx); err != nil {
		return nil, err
	}
	for {
		if len(r.next) == 0 {
			return nil, io.EOF
		}
		bounded, cancel := context.WithTimeout(ctx, idle)
		batch, err := r.poll(bounded, r.add)
		cancel()
		switch {
		case len(batch.slices()) > 0:
			return batch, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			err = r.skipHoles(ctx)
		}
		if err != nil {
			return nil, err
		}
	}
}

// slices is nil for no batch and for one without records.
func (b *Batch) slices() []PartitionBatch {
	if b == nil || b.Len() == 0 {
		return nil
	}
	return b.Partitions
}

// add takes what lies before the partition's end.
func (r *AssignReader) add(b *Batch, p kgo.FetchPartition) {
	n := len(p.Records)
	if _, wanted := r.next[p.Partition]; !wanted || n == 0 {
		return
	}
	r.next[p.Partition] = p.Records[n-1].Offset + 1
	if to, bounded := r.to[p.Partition]; bounded {
		for n > 0 && p.Records[n-1].Offset >= to {
			n--
		}
		p.Records = p.Records[:n]
		r.finish(p.Partition)
	}
	b.add(p)
}

// finish stops reading a partition that was read to its end.
func (r *AssignReader) finish(partition int32) {
	if r.next[partition] >= r.to[partition] {
		delete(r.next, partition)
		r.pause([]int32{partition})
	}
}

// Next returns what will be read next of a partition: its end once that is reached.
func (r *AssignReader) Next(partition int32) int64 {
	if next, ok := r.next[partition]; ok {
		return next
	}
	return r.to[partition]
}

// Pause stops fetching the partitions. What was fetched of them and not polled is dropped, and fetched again after Resume:
// to pause and resume often costs bandwidth.
func (r *AssignReader) Pause(partitions ...int32) { r.pause(partitions) }

// Resume undoes Pause.
func (r *AssignReader) Resume(partitions ...int32) { r.resume(partitions) }

// Close ends the reader and its connections.
func (r *AssignReader) Close() { r.client.Close() }
