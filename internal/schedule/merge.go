package schedule

import "time"

// MergeConfig says when a Merge lets go and how much it may hold.
type MergeConfig struct {
	// Window is how much later than its capture time a record can be appended to its partition: the longest
	// --response-wait of the taps, and a second.
	Window time.Duration
	// MaxBytes bounds what is held: above it the oldest leaves before its time. 0: 64 MiB.
	MaxBytes int64
	// Live lets the caller's horizon decide instead of the partitions' progress.
	Live bool
}

// Item is one value of a Merge.
type Item[T any] struct {
	Value     T
	Partition int32
	Bytes     int
	Capture   time.Time
	Forced    bool // left early because MaxBytes was reached
	Late      bool // arrived after one captured later had left
}

// Merge sorts what several partitions hold by capture time. Partitions are not sorted themselves: a record is appended
// when its answer has ended. It is not safe for concurrent use.
type Merge[T any] struct {
	cfg MergeConfig
}

// NewMerge returns an empty merge.
func NewMerge[T any](cfg MergeConfig) *Merge[T] { return &Merge[T]{cfg: cfg} }

// Open makes the merge wait for a partition before anything of it was read. Push and Advance open it as well.
func (m *Merge[T]) Open(partition int32) {}

// Push adds a value of the given size in bytes.
func (m *Merge[T]) Push(partition int32, capture time.Time, bytes int, v T) {}

// Advance says that the partition was read up to a record that is not wanted.
func (m *Merge[T]) Advance(partition int32, capture time.Time) {}

// Finish says that the partition was read to its end. What it holds stays.
func (m *Merge[T]) Finish(partition int32) {}

// Remove forgets a partition that was taken away, and calls each, which may be nil, for every value it held.
func (m *Merge[T]) Remove(partition int32, each func(T)) {}

// Next returns the earliest value if it may leave. horizon counts only in live mode: what was captured by then leaves.
func (m *Merge[T]) Next(horizon time.Time) (item Item[T], ok bool) { return item, false }

// Peek returns the capture time of the earliest value.
func (m *Merge[T]) Peek() (capture time.Time, ok bool) { return capture, false }

// Gates returns the partitions to stop and to go on fetching since the last call. The slices are valid until the next.
func (m *Merge[T]) Gates() (pause, resume []int32) { return nil, nil }

// Len returns how many values are held.
func (m *Merge[T]) Len() int { return 0 }

// Bytes returns how many bytes are held.
func (m *Merge[T]) Bytes() int64 { return 0 }

// Finished reports whether every partition has been read to its end and nothing is held.
func (m *Merge[T]) Finished() bool { return false }

// Reordered returns how many values left forced or late.
func (m *Merge[T]) Reordered() uint64 { return 0 }
