package topic

import (
	"context"
	"time"
)

// Admin looks at a cluster and creates topics. Its errors are *fault.Error with what to try.
type Admin struct{}

// Info describes a topic.
type Info struct {
	Name       string
	Partitions []PartitionInfo // by ID
}

// PartitionInfo describes a partition. Offsets [Start, End) are in the log; Bytes is -1 when the broker does not tell.
type PartitionInfo struct {
	ID         int32
	Start, End int64
	Bytes      int64
}

// NewAdmin connects lazily: an error is about the configuration only.
func NewAdmin(cfg Config) (*Admin, error) { return &Admin{}, nil }

// Close ends all connections.
func (a *Admin) Close() {}

// Ping asks any broker for an answer, for at most 5 s.
func (a *Admin) Ping(ctx context.Context) error { return nil }

// Ensure creates the topics that are missing. Existing ones are used as they are.
func (a *Admin) Ensure(ctx context.Context, specs []Spec) error { return nil }

// Describe returns the topics in the order asked for; all of them, without internal ones, when none is named.
func (a *Admin) Describe(ctx context.Context, topics ...string) ([]Info, error) { return nil, nil }

// List returns the names of all topics but internal ones, sorted.
func (a *Admin) List(ctx context.Context) ([]string, error) { return nil, nil }

// OffsetsAfter returns for each partition the first offset whose timestamp is not before t, or the log's end. A zero t
// gives the log's start.
func (a *Admin) OffsetsAfter(ctx context.Context, topic string, t time.Time) (map[int32]int64, error) {
	return nil, nil
}

// Window returns for each partition where to start to see everything from that time on (zero: the log's start), and the
// log's end now. An upper time is no offset: partitions are not sorted by time, so it is for the reader to filter.
func (a *Admin) Window(ctx context.Context, topic string, from time.Time) (map[int32]Range, error) {
	return nil, nil
}

// Committed returns what a group has committed of a topic, without joining it. Partitions without a commit are absent.
func (a *Admin) Committed(ctx context.Context, group, topic string) (map[int32]Position, error) {
	return nil, nil
}
