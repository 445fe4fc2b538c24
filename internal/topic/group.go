package topic

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/reprise-io/reprise/internal/fault"
)

// Position is how far a partition was read.
type Position struct {
	Offset      int64  // the next to read
	LeaderEpoch int32  // of the last record read; 0 or -1: not known
	Metadata    string // stored with the offset, at most 4 KiB: Ledger.Ranges
}

// GroupConfig says what a GroupReader reads and whom it tells.
type GroupConfig struct {
	Config
	Group, Topic   string
	InstanceID     string          // static membership when given: no rebalance when this one restarts in time
	ServerSide     bool            // the broker assigns (KIP-848, Kafka 4.0 and later), and its session timeout counts
	Start          map[int32]int64 // where to start a partition nothing is committed for; one that is not in it: its log start
	SessionTimeout time.Duration   // after which a dead member's partitions go to others; default 10 s
	DrainTimeout   time.Duration   // how long OnRevoked may take; default 60 s
	Fetch          FetchBounds

	// OnAssigned is called when partitions are new to this member, before any record of them is polled, with the position
	// each is read from and the metadata committed with it.
	OnAssigned func(ctx context.Context, parts map[int32]Position)
	// OnRevoked is called before partitions go to another member, and by Close: stop, drain, Commit, return. No Poll
	// returns while it runs.
	OnRevoked func(ctx context.Context, parts []int32)
	// OnLost is called when the partitions may already be someone else's: stop, and do not commit; Commit refuses.
	OnLost func(parts []int32)
	// OnGone is called from within Poll when offsets of a partition that were to be read are not in the log any more: reading
	// goes on at to, which is math.MaxInt64 when the log ends before from. An error ends the reader; nil: it is one.
	OnGone func(gone Gone) error
}

// GroupReader reads a topic as one member of a consumer group, whose members share the partitions. The callbacks come one
// at a time, from a goroutine of the client. Poll is for one goroutine; the other methods for any.
type GroupReader struct {
	*fetcher
	gcfg GroupConfig

	ready      chan struct{} // closed once fetcher is set: the client joins, and calls back, while it is made
	committing chan struct{} // held by the commit on its way
	lines      *lines
	hangUp     atomic.Pointer[time.Timer] // set by Close

	mu      sync.Mutex
	owned   map[int32]bool
	next    map[int32]int64    // to be polled
	fetched map[int32]Position // what the latest OffsetFetch told
}

const (
	commitTimeout = 5 * time.Second
	leaveTimeout  = 5 * time.Second // for the broker to answer before, and again after, OnRevoked
)

// NewGroupReader returns a reader that joins its group in the background, from now on: Close it. An error is about the
// configuration only.
func NewGroupReader(cfg GroupConfig) (*GroupReader, error) {
	if cfg.Group == "" {
		return nil, fault.BadUsage("no consumer group given", "", "--run NAME")
	}
	setDefault(&cfg.SessionTimeout, 10*time.Second)
	setDefault(&cfg.DrainTimeout, time.Minute)
	heartbeat := min(3*time.Second, cfg.SessionTimeout/3)
	r := &GroupReader{
		gcfg: cfg, owned: make(map[int32]bool), next: make(map[int32]int64), committing: make(chan struct{}, 1), ready: make(chan struct{}),
		// As long as the session may last: after that the partitions may be another's, and OnLost must come.
		lines: newLines(cfg.dialer(), cfg.SessionTimeout-heartbeat),
	}
	opts := []kgo.Opt{
		kgo.ConsumerGroup(cfg.Group),
		kgo.ConsumeTopics(cfg.Topic),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(), // else records polled just now could be fired after their partition was revoked
		kgo.SessionTimeout(cfg.SessionTimeout),
		kgo.HeartbeatInterval(heartbeat),
		kgo.RebalanceTimeout(cfg.DrainTimeout),
		kgo.Dialer(r.lines.dial),
		kgo.OnOffsetsFetched(r.offsetsFetched),
		kgo.AdjustFetchOffsetsFn(r.assigned),
		kgo.OnPartitionsRevoked(r.revoked),
		kgo.OnPartitionsLost(r.lost),
	}
	if cfg.ServerSide {
		opts = append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer())) // which names the broker's "uniform"
	}
	if cfg.InstanceID != "" {
		opts = append(opts, kgo.InstanceID(cfg.InstanceID))
	}
	f, err := newFetcher(cfg.Config, cfg.Topic, "group reader", cfg.Fetch, opts...)
	if err != nil {
		return nil, err
	}
	f.group, f.keepsRange = cfg.Group, true
	r.fetcher = f
	close(r.ready)
	return r, nil
}

// Poll returns the next records, at least one, or an error that does not pass: no broker at the first call, no such topic,
// offsets no longer in the log. It waits until then or until ctx ends.
//
// From its return on the group's rebalances wait, so that the records can be put where OnRevoked finds them, until
// AllowRebalance or the next Poll.
func (r *GroupReader) Poll(ctx context.Context) (*Batch, error) {
	r.AllowRebalance()
	if err := r.meet(ctx); err != nil {
		return nil, err
	}
	for {
		batch, err := r.poll(ctx, r.add)
		if err == nil && len(r.outOfRange) > 0 {
			err = r.skipGone(ctx)
		}
		switch {
		case len(batch.slices()) > 0:
			return batch, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			return nil, err
		}
		r.AllowRebalance()
	}
}

// AllowRebalance ends the wait that Poll began. Call it as soon as the polled records are queued: a member that holds a
// rebalance up for longer than DrainTimeout is thrown out.
func (r *GroupReader) AllowRebalance() { r.client.AllowRebalance() }

// offsetsFetched keeps what was committed, with its metadata, for assigned, which comes next.
func (r *GroupReader) offsetsFetched(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	fetched := make(map[int32]Position)
	for _, g := range resp.Groups {
		for _, t := range g.Topics { // of which there is one
			for _, p := range t.Partitions {
				if p.ErrorCode != 0 || p.Offset < 0 {
					continue
				}
				at := Position{Offset: p.Offset, LeaderEpoch: p.LeaderEpoch}
				if p.Metadata != nil {
					at.Metadata = *p.Metadata
				}
				fetched[p.Partition] = at
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fetched = fetched
	return nil
}

// assigned decides where new partitions are read from, before they are.
func (r *GroupReader) assigned(
	ctx context.Context, offsets map[string]map[int32]kgo.Offset,
) (map[string]map[int32]kgo.Offset, error) {
	<-r.ready
	parts := offsets[r.topic]
	at := make(map[int32]Position, len(parts))
	var starts map[int32]int64
	for p := range parts {
		if committed, ok := r.committed(p); ok {
			at[p] = committed // parts has it already, with the epoch as the broker supports it
			continue
		}
		start, given := r.gcfg.Start[p]
		if !given {
			if starts == nil {
				listed, err := r.admin.OffsetsAfter(ctx, r.topic, time.Time{})
				if err != nil {
					return nil, err
				}
				starts = listed
			}
			start = starts[p]
		}
		at[p] = Position{Offset: start, LeaderEpoch: -1}
		parts[p] = kgo.NewOffset().At(start)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.resume(slices.Collect(maps.Keys(at))) // the client remembers what was paused when they were here before
	r.mu.Lock()
	for p := range at {
		r.owned[p], r.next[p] = true, at[p].Offset
	}
	r.mu.Unlock()
	if r.gcfg.OnAssigned != nil && len(at) > 0 {
		r.gcfg.OnAssigned(ctx, at)
	}
	return offsets, nil
}

func (r *GroupReader) committed(partition int32) (Position, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.fetched[partition]
	return at, ok
}

func (r *GroupReader) revoked(ctx context.Context, _ *kgo.Client, parts map[string][]int32) {
	mine := r.known(parts)
	if len(mine) > 0 && r.gcfg.OnRevoked != nil {
		closing := r.hangUp.Load()
		if closing != nil {
			closing.Stop() // draining takes its own time
		}
		r.gcfg.OnRevoked(ctx, mine) // still owned: it commits
		if closing != nil {
			closing.Reset(leaveTimeout)
		}
	}
	r.disown(mine)
}

func (r *GroupReader) lost(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
	mine := r.known(parts)
	r.disown(mine)
	if len(mine) > 0 && r.gcfg.OnLost != nil {
		r.gcfg.OnLost(mine)
	}
}

// known are those of parts that OnAssigned was told of: a session can end before its offsets were fetched.
func (r *GroupReader) known(parts map[string][]int32) []int32 {
	<-r.ready
	r.mu.Lock()
	defer r.mu.Unlock()
	var mine []int32
	for _, p := range parts[r.topic] {
		if r.owned[p] {
			mine = append(mine, p)
		}
	}
	slices.Sort(mine)
	return mine
}

func (r *GroupReader) disown(parts []int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range parts {
		delete(r.owned, p)
	}
}

// Assigned returns the partitions this member has now, sorted.
func (r *GroupReader) Assigned() []int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.owned))
}

// Commit stores positions, and waits until they are stored, for at most 5 s. If one of the partitions is not this
// member's, nothing is stored. A commit in the middle of a rebalance may fail: the next one, or OnRevoked's, makes up
// for it.
func (r *GroupReader) Commit(ctx context.Context, at map[int32]Position) error {
	if len(at) == 0 {
		return nil
	}
	offsets := make(map[int32]kgo.EpochOffset, len(at))
	r.mu.Lock()
	for p, pos := range at {
		if !r.owned[p] {
			r.mu.Unlock()
			return fmt.Errorf("commit of partition %d, which this member of group %s does not have", p, r.gcfg.Group)
		}
		epoch := pos.LeaderEpoch
		if epoch == 0 {
			epoch = -1 // which no broker checks
		}
		offsets[p] = kgo.EpochOffset{Epoch: epoch, Offset: pos.Offset}
	}
	r.mu.Unlock()

	at = maps.Clone(at) // the commit may be left behind, and read it later
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		for i := range req.Topics {
			for j := range req.Topics[i].Partitions {
				p := &req.Topics[i].Partitions[j]
				p.Metadata = kmsg.StringPtr(at[p.Partition].Metadata)
			}
		}
		return nil
	})
	if err := r.commit(ctx, offsets); err != nil {
		return fmt.Errorf("commit to group %s: %w", r.gcfg.Group, err)
	}
	return nil
}

// commit keeps to the bound of ctx, which the client does not while it connects; one that is left behind is still the only
// one on its way, and so can never overwrite a later one.
func (r *GroupReader) commit(ctx context.Context, offsets map[int32]kgo.EpochOffset) error {
	select {
	case r.committing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	done := make(chan error, 1)
	go func() { // ends with the client at the latest, which Close waits for
		defer func() { <-r.committing }()
		r.client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{r.topic: offsets},
			func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
				done <- commitError(resp, err)
			})
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func commitError(resp *kmsg.OffsetCommitResponse, err error) error {
	if err != nil || resp == nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("partition %d: %w", p.Partition, err)
			}
		}
	}
	return nil
}

// Pause stops fetching the partitions for as long as they are this member's. What was fetched of them and not polled is dropped, and fetched again after Resume:
// to pause and resume often costs bandwidth.
func (r *GroupReader) Pause(partitions ...int32) { r.pause(partitions) }

// Resume undoes Pause.
func (r *GroupReader) Resume(partitions ...int32) { r.resume(partitions) }

// Close calls OnRevoked for the partitions assigned, then leaves the group; besides OnRevoked it takes no more than about
// 10 s, whatever the broker does. It must not be called from a callback, nor while Poll runs.
func (r *GroupReader) Close() {
	r.lines.close()
	timer := time.AfterFunc(leaveTimeout, r.lines.hangUp)
	r.hangUp.Store(timer)
	r.client.CloseAllowingRebalance()
	timer.Stop()
	r.committing <- struct{}{} // a commit left behind ends with the client
	<-r.committing
}
