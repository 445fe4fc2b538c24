package topic

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// skipHoles moves the bounded partitions on over offsets that hold no record any more: compaction leaves holes, and empty
// batches, which the client passes over in silence, so that a reader would wait for ever for the last offset before its
// end. It only looks: what holds a record is left to the client.
func (r *AssignReader) skipHoles(ctx context.Context) error {
	if len(r.to) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	meta, err := r.admin.adm.Metadata(ctx, r.topic)
	if err != nil {
		return r.unlessPassing(ctx, err)
	}
	for partition := range r.next {
		if _, bounded := r.to[partition]; !bounded {
			continue
		}
		for r.next[partition] < r.to[partition] {
			next, err := r.peek(ctx, meta.Topics[r.topic], partition, r.next[partition])
			if err != nil {
				return r.unlessPassing(ctx, err)
			}
			if next == r.next[partition] {
				break
			}
			r.next[partition] = next
		}
		r.finish(partition)
	}
	return nil
}

// unlessPassing is nil for what the next poll may not meet any more.
func (r *AssignReader) unlessPassing(ctx context.Context, err error) error {
	if unreachable(err) || kerr.IsRetriable(err) || errors.Is(err, kerr.OffsetOutOfRange) { // the last: its poll says it better
		return nil
	}
	return r.cfg.translate(ctx, err, "read topic "+r.topic, 0)
}

// peek fetches one batch from offset on, and returns the first offset from there that may hold a record.
func (r *AssignReader) peek(ctx context.Context, topic kadm.TopicDetail, partition int32, offset int64) (int64, error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.MinBytes, req.MaxWaitMillis, req.IsolationLevel = 1, 0, 0, 1 // a broker sends one batch at least
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = r.topic, topic.ID
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes = partition, offset, 1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	answer, err := r.client.Broker(int(topic.Partitions[partition].Leader)).RetriableRequest(ctx, req)
	if err != nil {
		return offset, err
	}
	resp := answer.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return offset, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return offset, nil
	}
	p := resp.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
		return offset, err
	}
	return afterEmptyBatch(p.RecordBatches, offset), nil
}

// afterEmptyBatch reads the head of the first record batch: where it starts if it has records, where it ends if it has
// none; in either case not before offset.
func afterEmptyBatch(batch []byte, offset int64) int64 {
	const (
		magicAt       = 16
		lastDeltaAt   = 23
		recordCountAt = 57
		headLength    = 61
	)
	if len(batch) < headLength || batch[magicAt] != 2 {
		return offset
	}
	first := int64(binary.BigEndian.Uint64(batch))
	if binary.BigEndian.Uint32(batch[recordCountAt:]) > 0 {
		return max(offset, first)
	}
	return max(offset, first+int64(binary.BigEndian.Uint32(batch[lastDeltaAt:]))+1)
}
