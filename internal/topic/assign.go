package topic

import "context"

// FetchBounds limit what a reader may hold fetched and not polled. Zero values are the defaults.
type FetchBounds struct {
	MaxBytes          int32 // of one fetch from one broker; default 8 MiB
	MaxPartitionBytes int32 // of one fetch from one partition; default 1 MiB
	MaxFetches        int   // fetches in flight or waiting for Poll; default 2
	MaxRecords        int   // of one Poll; default 4096
}

// AssignConfig says what an AssignReader reads.
type AssignConfig struct {
	Config
	Topic string
	From  map[int32]int64 // first offset of each partition to read
	To    map[int32]int64 // where to stop (exclusive), by partition; a partition without is followed for ever
	Fetch FetchBounds
}

// AssignReader reads partitions it was told to, outside of any group.
type AssignReader struct{}

// NewAssignReader connects lazily.
func NewAssignReader(cfg AssignConfig) (*AssignReader, error) { return &AssignReader{}, nil }

// Poll returns the next records, at least one, or io.EOF when every partition was read to its end; it blocks until then or
// until ctx ends. Offsets no longer in the log are an error.
func (r *AssignReader) Poll(ctx context.Context) (*Batch, error) { return nil, nil }

// Close ends the reader. It must not be called while Poll runs.
func (r *AssignReader) Close() {}

// Pause stops fetching the partitions; what was fetched of them is dropped and fetched again after Resume.
func (r *AssignReader) Pause(partitions ...int32) {}

// Resume undoes Pause.
func (r *AssignReader) Resume(partitions ...int32) {}
