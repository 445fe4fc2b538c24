package topic

// Batch is what one Poll returned. Keys, values and header values alias the fetch buffers: they may be kept as long as
// they are needed (the garbage collector sees to them), at the price of keeping the whole fetched batch alive, and must
// not be changed. The Records slices are the caller's.
type Batch struct {
	Partitions []PartitionBatch
}

// PartitionBatch is the part of a Batch from one partition, in offset order; offsets may have gaps.
type PartitionBatch struct {
	Partition int32
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
