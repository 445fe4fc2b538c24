package topic

import (
	"context"
	"time"
)

// Position is how far a partition was read: Offset is the next to read, Metadata what was stored with it (Kafka's limit is
// 4 KiB).
type Position struct {
	Offset      int64
	LeaderEpoch int32 // of the last record read; -1 or 0: not known
	Metadata    string
}

// GroupConfig says what a GroupReader reads and whom it tells.
type GroupConfig struct {
	Config
	Group, Topic   string
	InstanceID     string          // static membership when given
	Start          map[int32]int64 // where to start a partition nothing is committed for; absent: its log start
	SessionTimeout time.Duration   // default 10 s
	Fetch          FetchBounds

	// OnAssigned is called before records of the new partitions are polled; Position is where each will be read from, with
	// the committed metadata.
	OnAssigned func(ctx context.Context, parts map[int32]Position)
	// OnRevoked is called before the partitions go to another member: stop, drain, Commit, return, within DrainTimeout of the group (its rebalance timeout, 60 s).
	OnRevoked func(ctx context.Context, parts []int32)
	// OnLost is called when the partitions are already someone else's: stop, and do not commit.
	OnLost func(parts []int32)
}

// GroupReader reads a topic as a member of a consumer group.
type GroupReader struct{}

// NewGroupReader connects lazily; the group is joined by the first Poll's connection.
func NewGroupReader(cfg GroupConfig) (*GroupReader, error) { return &GroupReader{}, nil }

// Poll returns the next records, at least one; it blocks until then or until ctx ends.
func (r *GroupReader) Poll(ctx context.Context) (*Batch, error) { return nil, nil }

// Commit stores positions. Partitions that are not assigned are an error, and nothing is stored for them.
func (r *GroupReader) Commit(ctx context.Context, at map[int32]Position) error { return nil }

// Pause stops fetching the partitions.
func (r *GroupReader) Pause(partitions ...int32) {}

// Resume undoes Pause.
func (r *GroupReader) Resume(partitions ...int32) {}

// Close calls OnRevoked for what is assigned, then leaves the group.
func (r *GroupReader) Close() {}
