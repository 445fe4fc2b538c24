package topic

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/reprise-io/reprise/internal/fault"
)

// Admin looks at a cluster and creates topics. Its errors are *fault.Error with what to try, or the context's own. Every
// call is bounded in time: Ping by 5 s, the others by 15 s.
type Admin struct {
	cfg    Config
	client *kgo.Client
	adm    *kadm.Client
	calls  sync.WaitGroup

	known   atomic.Bool           // that it is Kafka, or what it is instead: nobody looks a second time
	foreign atomic.Pointer[error] // what it is instead, when it answers nothing
}

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

const (
	pingTimeout  = 5 * time.Second
	adminTimeout = 15 * time.Second
)

// NewAdmin connects lazily: an error is about the configuration only.
func NewAdmin(cfg Config) (*Admin, error) {
	opts, err := cfg.options("",
		kgo.MetadataMinAge(50*time.Millisecond), // answers are for a person, and must not be from a cache
		kgo.RequestRetries(5),
		kgo.RetryTimeout(max(pingTimeout, cfg.Patience)),
	)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fault.BadUsage("bad Kafka settings", err.Error(), tryBrokers)
	}
	return newAdmin(cfg, client), nil
}

// newAdmin uses a client that belongs to someone else, who closes it.
func newAdmin(cfg Config, client *kgo.Client) *Admin {
	return &Admin{cfg: cfg, client: client, adm: kadm.NewClient(client)}
}

// Close ends all connections.
func (a *Admin) Close() {
	a.client.Close()
	a.calls.Wait()
}

// Ping asks any broker for an answer.
func (a *Admin) Ping(ctx context.Context) error { return a.ping(ctx, pingTimeout) }

func (a *Admin) ping(ctx context.Context, timeout time.Duration) error {
	_, err := call(ctx, a, timeout, "get an answer", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, a.askAny(ctx)
	})
	return err
}

// askAny asks one broker after the other until one answers. It is the client's own Ping with a request for each: that one
// gives the next broker a request which the connection to the last may still be looking at.
func (a *Admin) askAny(ctx context.Context) (err error) {
	for _, b := range append(a.client.DiscoveredBrokers(), a.client.SeedBrokers()...) {
		req := kmsg.NewPtrMetadataRequest()
		req.Topics = []kmsg.MetadataRequestTopic{} // none: only the brokers
		if _, err = b.Request(ctx, req); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// call bounds f in time and makes its error readable. The bound holds even where the client's does not: it does not look
// at the context while it sets a connection up. f then ends later, with the client at the latest.
func call[T any](
	ctx context.Context, a *Admin, timeout time.Duration, doing string, f func(context.Context) (T, error),
) (T, error) {
	type result struct {
		value T
		err   error
	}
	start := time.Now()
	bounded, cancel := context.WithTimeout(ctx, max(timeout, a.cfg.Patience))
	defer cancel()
	done := make(chan result, 1)
	a.calls.Go(func() {
		value, err := f(bounded)
		done <- result{value, err}
	})
	var r result
	select {
	case r = <-done:
	case <-bounded.Done():
		r.err = bounded.Err()
	}
	waited := time.Since(start)
	if f := a.unlike(ctx, r.err); f != nil {
		return r.value, f
	}
	return r.value, a.cfg.translate(ctx, r.err, doing, waited)
}

// unlike returns the error for what is no Kafka and waits for something else than Kafka's requests; nil when that is not it. Only who never
// had an answer has a look, and once: it takes a while, and Kafka that answers nothing is to be found again soon.
func (a *Admin) unlike(ctx context.Context, err error) error {
	answer, _ := errors.AsType[*kerr.Error](err)
	switch {
	case err == nil || answer != nil:
		a.known.Store(true)
		a.foreign.Store(nil)
		return nil
	case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
		return nil
	case !a.known.Swap(true):
		if found := a.cfg.look(ctx); found != nil && found.http {
			f := notKafka(found.address, err)
			a.foreign.Store(&f)
		}
	}
	if f := a.foreign.Load(); f != nil {
		return *f
	}
	return nil
}

// List returns the names of all topics but internal ones, sorted.
func (a *Admin) List(ctx context.Context) ([]string, error) {
	return call(ctx, a, adminTimeout, "list topics", a.list)
}

func (a *Admin) list(ctx context.Context) ([]string, error) {
	details, err := a.adm.ListTopics(ctx) // without internal ones
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(details.Names(), func(n string) bool {
		return strings.HasPrefix(n, "__") || details[n].Err != nil // asked for just now, and not there
	}), nil
}

// Describe returns the topics in the order asked for; all of them but internal ones, sorted, when none is named.
func (a *Admin) Describe(ctx context.Context, topics ...string) ([]Info, error) {
	return call(ctx, a, adminTimeout, "describe topics", func(ctx context.Context) ([]Info, error) {
		return a.describe(ctx, topics)
	})
}

func (a *Admin) describe(ctx context.Context, topics []string) ([]Info, error) {
	if len(topics) == 0 {
		names, err := a.list(ctx)
		if err != nil || len(names) == 0 {
			return nil, err
		}
		topics = names
	}
	starts, err := a.listed(ctx, a.adm.ListStartOffsets, topics...)
	if err != nil {
		return nil, err
	}
	ends, err := a.listed(ctx, a.adm.ListCommittedOffsets, topics...)
	if err != nil {
		return nil, err
	}
	sizes := a.sizes(ctx)
	infos := make([]Info, 0, len(topics))
	for _, t := range topics {
		info := Info{Name: t}
		for id, start := range starts[t] {
			bytes := int64(-1)
			if b, ok := sizes[partitionKey{t, id}]; ok {
				bytes = b
			}
			info.Partitions = append(info.Partitions, PartitionInfo{id, start, max(start, ends[t][id]), bytes})
		}
		slices.SortFunc(info.Partitions, func(x, y PartitionInfo) int { return int(x.ID - y.ID) })
		infos = append(infos, info)
	}
	return infos, nil
}

type partitionKey struct {
	topic     string
	partition int32
}

// sizes are what the fullest replica of each partition takes on disk. Not every broker tells, and not everyone may ask.
func (a *Admin) sizes(ctx context.Context) map[partitionKey]int64 {
	sizes := make(map[partitionKey]int64)
	dirs, err := a.adm.DescribeAllLogDirs(ctx, nil) // of all: a topic without its partitions named has none
	if err != nil {
		a.cfg.logger().Debug("kafka does not tell the sizes of partitions", "err", err)
	}
	dirs.Each(func(d kadm.DescribedLogDir) {
		d.Topics.Each(func(p kadm.DescribedLogDirPartition) {
			key := partitionKey{p.Topic, p.Partition}
			sizes[key] = max(sizes[key], p.Size)
		})
	})
	return sizes
}

// listed asks for an offset of every partition. A topic that is not there, or a partition that does not answer, is an error.
func (a *Admin) listed(
	ctx context.Context, list func(context.Context, ...string) (kadm.ListedOffsets, error), topics ...string,
) (map[string]map[int32]int64, error) {
	for {
		offsets, err := list(ctx, topics...)
		if err != nil {
			return nil, a.cfg.unlessDenied(err, readTopic(topics[0]))
		}
		var settling error
		out := make(map[string]map[int32]int64, len(topics))
		for _, t := range topics {
			out[t] = make(map[int32]int64, len(offsets[t]))
			for p, o := range offsets[t] {
				switch {
				case isNotAuthorized(o.Err):
					return nil, a.cfg.denied(readTopic(t), o.Err)
				case isUnknownTopic(o.Err) && p < 0:
					return nil, a.unknown(ctx, t)
				case kerr.IsRetriable(o.Err):
					settling = fmt.Errorf("topic %s, partition %d: %w", t, p, o.Err)
				case o.Err != nil:
					return nil, fmt.Errorf("topic %s, partition %d: %w", t, p, o.Err)
				default:
					out[t][p] = o.Offset
				}
			}
		}
		if settling == nil {
			return out, nil
		}
		// A topic just made, or a leader on the move: it settles within moments, or the context ends.
		if !sleep(ctx, 100*time.Millisecond) {
			return nil, settling
		}
	}
}

func (a *Admin) unknown(ctx context.Context, topic string) error {
	there, err := a.list(ctx)
	if err != nil {
		return err
	}
	return a.cfg.unknownTopic(topic, there)
}

// TopicID returns what tells a topic from another one that was made under its name later; zeros from brokers that do not tell.
func (a *Admin) TopicID(ctx context.Context, topic string) (id [16]byte, err error) {
	return call(ctx, a, adminTimeout, "describe topics", func(ctx context.Context) (id [16]byte, err error) {
		meta, err := a.adm.Metadata(ctx, topic)
		if err == nil {
			err = meta.Topics[topic].Err
		}
		return meta.Topics[topic].ID, err
	})
}

// OffsetsAfter returns for each partition the first offset whose timestamp is not before t, or the log's end when there
// is none. A zero t gives the log's start.
func (a *Admin) OffsetsAfter(ctx context.Context, topic string, t time.Time) (map[int32]int64, error) {
	return call(ctx, a, adminTimeout, "look up offsets by time", func(ctx context.Context) (map[int32]int64, error) {
		return a.offsetsAfter(ctx, topic, t)
	})
}

func (a *Admin) offsetsAfter(ctx context.Context, topic string, t time.Time) (map[int32]int64, error) {
	list := a.adm.ListStartOffsets
	if !t.IsZero() {
		list = func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error) {
			return a.adm.ListOffsetsAfterMilli(ctx, max(0, t.UnixMilli()), topics...)
		}
	}
	offsets, err := a.listed(ctx, list, topic)
	return offsets[topic], err
}

// Window returns for each partition the span that holds everything stamped from that time on (zero: from the log's start)
// up to the log's end now. An upper time cannot be an offset, since partitions are not sorted by time: whoever reads must
// look at each record.
func (a *Admin) Window(ctx context.Context, topic string, from time.Time) (map[int32]Range, error) {
	return call(ctx, a, adminTimeout, "look up a window", func(ctx context.Context) (map[int32]Range, error) {
		starts, err := a.offsetsAfter(ctx, topic, from)
		if err != nil {
			return nil, err
		}
		ends, err := a.listed(ctx, a.adm.ListCommittedOffsets, topic)
		if err != nil {
			return nil, err
		}
		spans := make(map[int32]Range, len(starts))
		for p, start := range starts {
			spans[p] = Range{Start: start, End: max(start, ends[topic][p])}
		}
		return spans, nil
	})
}

// Committed returns what a group has committed of a topic, without joining it. Partitions without a commit are absent.
func (a *Admin) Committed(ctx context.Context, group, topic string) (map[int32]Position, error) {
	return call(ctx, a, adminTimeout, "fetch the commits of group "+group,
		func(ctx context.Context) (map[int32]Position, error) { return a.committed(ctx, group, topic) })
}

func (a *Admin) committed(ctx context.Context, group, topic string) (map[int32]Position, error) {
	resp, err := a.adm.FetchOffsetsForTopics(ctx, group, topic)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return map[int32]Position{}, nil
	}
	if err != nil {
		return nil, a.cfg.unlessDenied(err, joinGroup(group))
	}
	at := make(map[int32]Position, len(resp[topic]))
	for p, o := range resp[topic] {
		switch {
		case isUnknownTopic(o.Err):
			return nil, a.unknown(ctx, topic)
		case isNotAuthorized(o.Err):
			return nil, a.cfg.denied(readTopic(topic), o.Err)
		case o.Err != nil:
			return nil, fmt.Errorf("partition %d: %w", p, o.Err)
		case o.At >= 0:
			at[p] = Position{Offset: o.At, LeaderEpoch: o.LeaderEpoch, Metadata: o.Metadata}
		}
	}
	return at, nil
}

// sleep reports whether the whole time has passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// DeleteGroup forgets a group and what it has committed. A group that has members stays, with an error.
func (a *Admin) DeleteGroup(ctx context.Context, group string) error {
	_, err := call(ctx, a, adminTimeout, "delete group "+group, func(ctx context.Context) (struct{}, error) {
		resp, err := a.adm.DeleteGroup(ctx, group)
		if err == nil {
			err = resp.Err
		}
		if errors.Is(err, kerr.GroupIDNotFound) {
			err = nil
		}
		return struct{}{}, err
	})
	return err
}
