package topic

import "github.com/twmb/franz-go/pkg/kgo"

// Batch is what one Poll returned. Keys, values and header values alias the fetched batches: they stay valid for as long
// as anyone holds them, each holding its whole decompressed batch (some 100 kB to 1 MB) in memory, and must not be
// changed. The Records slices belong to who polled.
type Batch struct {
	Partitions []PartitionBatch
}

// PartitionBatch is the part of a Batch from one partition, in offset order; offsets may have gaps. End is the partition's
// end as the fetch saw it: End - Offset of the last record is the lag.
type PartitionBatch struct {
	Partition int32
	End       int64
	Records   []Record
}

// Len returns the number of records.
func (b *Batch) Len() int {
	n := 0
	for i := range b.Partitions {
		n += len(b.Partitions[i].Records)
	}
	return n
}

// Each calls f for every record, partition by partition.
func (b *Batch) Each(f func(*Record)) {
	for i := range b.Partitions {
		rs := b.Partitions[i].Records
		for j := range rs {
			f(&rs[j])
		}
	}
}

// add appends what was fetched of a partition, without transaction markers. It copies the structures, once a partition,
// and no bytes.
func (b *Batch) add(p kgo.FetchPartition) {
	if len(p.Records) == 0 {
		return
	}
	out := PartitionBatch{Partition: p.Partition, End: p.HighWatermark, Records: make([]Record, 0, len(p.Records))}
	for _, r := range p.Records {
		if r.Attrs.IsControl() {
			continue
		}
		out.Records = append(out.Records, Record{
			Key: r.Key, Value: r.Value, Headers: r.Headers, Time: r.Timestamp,
			Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, LeaderEpoch: r.LeaderEpoch,
			Stamped: r.Attrs.TimestampType() == 1,
		})
	}
	b.Partitions = append(b.Partitions, out)
}
