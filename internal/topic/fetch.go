package topic

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/reprise-io/reprise/internal/fault"
)

// FetchBounds limit what a reader may hold fetched and not polled: about MaxFetches times MaxBytes as compressed, plus the
// one batch a partition that is being decompressed. Zero values are the defaults.
type FetchBounds struct {
	MaxBytes          int32 // of one fetch from one broker; default 8 MiB
	MaxPartitionBytes int32 // of one partition in a fetch; default 1 MiB
	MaxFetches        int   // fetches on their way or waiting for Poll, each from one broker; default 2
	MaxRecords        int   // of one Poll; default 4096
}

func (b *FetchBounds) options() []kgo.Opt {
	setDefault(&b.MaxBytes, 8<<20)
	setDefault(&b.MaxPartitionBytes, min(1<<20, b.MaxBytes))
	setDefault(&b.MaxFetches, 2)
	setDefault(&b.MaxRecords, 4096)
	return []kgo.Opt{
		kgo.FetchMaxBytes(b.MaxBytes),
		kgo.FetchMaxPartitionBytes(b.MaxPartitionBytes),
		kgo.MaxConcurrentFetches(b.MaxFetches),
		kgo.FetchMaxWait(500 * time.Millisecond),
		kgo.MaxDecompressBatchBytes(64 << 20),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), // what is gone is an error, and never a silent jump
		kgo.KeepRetryableFetchErrors(),
		kgo.MetadataMinAge(250 * time.Millisecond),
		kgo.MetadataMaxAge(time.Minute),
	}
}

// goneAfter is how long a topic may be unknown to its brokers, as it is while leaders move, before it counts as deleted.
const goneAfter = 10 * time.Second

// fetcher is what both readers share: polling, and telling errors that pass from those that do not.
type fetcher struct {
	cfg    Config
	topic  string
	group  string // "": none
	client *kgo.Client
	admin  *Admin
	most   int // records of one poll

	keepsRange bool    // what is out of range is not final: it is in outOfRange
	outOfRange []int32 // partitions

	met    bool // Kafka has answered, and the topic is there
	failed error
	gone   time.Time // since when the topic is unknown
	link   *link
}

func newFetcher(cfg Config, topic, role string, bounds FetchBounds, more ...kgo.Opt) (*fetcher, error) {
	if topic == "" {
		return nil, fault.BadUsage("no topic to read", "", "--topic-prefix NAME")
	}
	watch := &link{cfg: cfg, log: cfg.logger()}
	all := append(bounds.options(), kgo.WithHooks(watch))
	opts, err := cfg.options(role+" "+topic, append(all, more...)...)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fault.BadUsage("bad Kafka settings", err.Error(), tryBrokers)
	}
	return &fetcher{
		cfg: cfg, topic: topic, client: client, admin: newAdmin(cfg, client), most: bounds.MaxRecords, link: watch,
	}, nil
}

// meet makes sure, once, that Kafka answers and the topic is there, so that a wrong address is an error and not a wait.
func (f *fetcher) meet(ctx context.Context) error {
	if f.met {
		return nil
	}
	if err := f.admin.Ping(ctx); err != nil {
		return err
	}
	_, err := call(ctx, f.admin, adminTimeout, "read topic "+f.topic, func(ctx context.Context) (struct{}, error) {
		meta, err := f.admin.adm.Metadata(ctx, f.topic)
		if err == nil {
			err = meta.Topics[f.topic].Err
		}
		switch {
		case isNotAuthorized(err):
			return struct{}{}, f.cfg.denied(readTopic(f.topic), err)
		case isUnknownTopic(err):
			return struct{}{}, f.admin.unknown(ctx, f.topic)
		case kerr.IsRetriable(err): // a topic made just now
			return struct{}{}, nil
		default:
			return struct{}{}, err
		}
	})
	f.met = err == nil
	return err
}

// poll waits for one fetch. The batch may be empty. An error that does not pass is kept, and returned once everything that
// came with it was.
func (f *fetcher) poll(ctx context.Context, each func(*Batch, kgo.FetchPartition)) (*Batch, error) {
	if f.failed != nil {
		return nil, f.failed
	}
	batch := &Batch{}
	fetches := f.client.PollRecords(ctx, f.most)
	if err := ctx.Err(); err != nil && fetches.NumRecords() == 0 {
		return batch, err
	}
	failing := false
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if p.Err != nil {
			failing = true
			f.note(p.Partition, p.Err)
		}
		each(batch, p.FetchPartition)
	})
	switch {
	case len(batch.Partitions) > 0:
		f.gone = time.Time{}
	case f.failed != nil:
		return batch, f.failed
	case failing: // the client asks again at once
		sleep(ctx, 100*time.Millisecond)
	}
	return batch, nil
}

// note keeps an error that does not pass.
func (f *fetcher) note(partition int32, err error) {
	session, _ := errors.AsType[*kgo.ErrGroupSession](err)
	lost, _ := errors.AsType[*kgo.ErrDataLoss](err)
	var final error
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
	case errors.Is(err, kgo.ErrClientClosed):
		final = errClosed
	case errors.Is(err, kerr.OffsetOutOfRange) && f.keepsRange:
		if !slices.Contains(f.outOfRange, partition) {
			f.outOfRange = append(f.outOfRange, partition)
		}
	case errors.Is(err, kerr.OffsetOutOfRange), lost != nil:
		final = dataLoss(f.topic, partition, err)
	case isUnknownTopic(err):
		if f.gone.IsZero() {
			f.gone = time.Now()
		}
		if time.Since(f.gone) >= goneAfter {
			final = dataLoss(f.topic, partition, err)
		}
	case isNotAuthorized(err):
		final = f.denied(err)
	case errors.Is(err, kerr.FencedInstanceID):
		final = &fault.Error{
			What:  "another replica has taken this one's place in group " + f.group,
			Cause: "it runs with the same --instance", Try: "another --instance for each replica", Err: err,
		}
	case kerr.IsRetriable(err), unreachable(err):
	case session != nil && passes(err):
		f.cfg.logger().Warn("kafka group membership lost; joining again", "cause", rootCause(err))
	default:
		final = f.cfg.translate(context.Background(), err, fmt.Sprintf("read topic %s, partition %d,", f.topic, partition), 0)
	}
	if final != nil && f.failed == nil {
		f.failed = final
	}
}

func (f *fetcher) denied(err error) error {
	if errors.Is(err, kerr.GroupAuthorizationFailed) {
		return f.cfg.denied(joinGroup(f.group), err)
	}
	return f.cfg.denied(readTopic(f.topic), err)
}

var errClosed = errors.New("the reader is closed")

// passes reports whether joining the group again can help.
func passes(err error) bool {
	for _, e := range []error{
		kerr.InconsistentGroupProtocol, kerr.FencedInstanceID, kerr.InvalidSessionTimeout, kerr.GroupMaxSizeReached,
		kerr.InvalidGroupID, kerr.UnsupportedVersion,
	} {
		if errors.Is(err, e) {
			return false
		}
	}
	return true
}

func (f *fetcher) pause(partitions []int32) {
	f.client.PauseFetchPartitions(map[string][]int32{f.topic: partitions})
}

func (f *fetcher) resume(partitions []int32) {
	f.client.ResumeFetchPartitions(map[string][]int32{f.topic: partitions})
}

// link tells people once that brokers cannot be reached, and once that they can again.
type link struct {
	cfg     Config
	log     *slog.Logger
	trouble trouble
}

var _ kgo.HookBrokerConnect = (*link)(nil)

// OnBrokerConnect is called by the client.
func (l *link) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		l.trouble.begin(time.Now(), l.cfg.atSight(err))
		l.trouble.say(l.log, time.Now(), "kafka cannot be reached; reading waits")
	} else if err == nil {
		l.trouble.over(l.log, time.Now(), "kafka is reached again")
	}
}
