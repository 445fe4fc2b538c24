package topic

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/reprise-io/reprise/internal/fault"
)

// Producer writes and waits: for control records and imports, whose callers want to know. The traffic path has the Writer.
type Producer struct {
	cfg    Config
	topic  string
	client *kgo.Client
	met    atomic.Bool // Kafka has answered
}

const produceTimeout = 30 * time.Second

// NewProducer connects lazily: an error is about the configuration only.
func NewProducer(cfg Config, topic string) (*Producer, error) {
	codecs, err := cfg.codecs()
	if err != nil {
		return nil, err
	}
	opts, err := cfg.options("producer "+topic,
		kgo.DefaultProduceTopicAlways(),
		kgo.DefaultProduceTopic(topic),
		kgo.MaxBufferedBytes(32<<20),
		kgo.ProducerLinger(0),
		kgo.ProducerBatchMaxBytes(defaultBatchMaxBytes),
		kgo.ProducerBatchCompression(codecs...),
		kgo.AllowIdempotentProduceCancellation(),
		// No RecordDeliveryTimeout: the client counts it from the record's timestamp, which for us is the past.
		kgo.ProduceRequestTimeout(5*time.Second),
		kgo.UnknownTopicRetries(3),
		kgo.MetadataMinAge(100*time.Millisecond),
	)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fault.BadUsage("bad Kafka settings", err.Error(), tryBrokers)
	}
	return &Producer{cfg: cfg, topic: topic, client: client}, nil
}

// Produce writes the records and returns their offsets, in order, once all are stored: -1 for one that is not, and then
// the first error. After an error any record may have been stored. It waits for at most 30 s; the first call says within
// 5 s when no broker answers. Safe for concurrent use. Topic, Partition and Offset of stored records are set.
func (p *Producer) Produce(ctx context.Context, rs ...*Record) (offsets []int64, err error) {
	if !p.met.Load() {
		if err := newAdmin(p.cfg, p.client).Ping(ctx); err != nil {
			return nil, err
		}
		p.met.Store(true)
	}
	krs := make([]*kgo.Record, len(rs))
	for i, r := range rs {
		krs[i] = &kgo.Record{Key: r.Key, Value: r.Value, Headers: r.Headers, Timestamp: r.Time}
	}
	start := time.Now()
	bounded, cancel := context.WithTimeout(ctx, max(produceTimeout, p.cfg.Patience))
	defer cancel()
	offsets = make([]int64, len(rs))
	errs := make(map[*kgo.Record]error)
	for _, result := range p.client.ProduceSync(bounded, krs...) {
		if result.Err != nil {
			errs[result.Record] = result.Err
		}
	}
	for i, kr := range krs {
		if failed := errs[kr]; failed != nil {
			offsets[i] = -1
			if err == nil {
				err = p.explain(ctx, failed, time.Since(start))
			}
			continue
		}
		offsets[i] = kr.Offset
		rs[i].Topic, rs[i].Partition, rs[i].Offset = kr.Topic, kr.Partition, kr.Offset
	}
	return offsets, err
}

func (p *Producer) explain(ctx context.Context, err error, waited time.Duration) error {
	switch {
	case isUnknownTopic(err):
		there, listErr := newAdmin(p.cfg, p.client).List(ctx)
		if listErr != nil {
			return listErr
		}
		return p.cfg.unknownTopic(p.topic, there)
	case errors.Is(err, kerr.MessageTooLarge):
		return &fault.Error{
			What:  fmt.Sprintf("a record is too large for topic %q", p.topic),
			Cause: err.Error(), Try: "a smaller --body-max, or a larger max.message.bytes of the topic", Err: err,
		}
	case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded), errors.Is(err, kgo.ErrRecordRetries):
		if pingErr := newAdmin(p.cfg, p.client).Ping(ctx); pingErr != nil {
			return pingErr // says more than that it took too long
		}
	}
	return p.cfg.translate(ctx, p.cfg.unlessDenied(err, writeTopic(p.topic)), "write to topic "+p.topic, waited)
}

// Close ends the connections.
func (p *Producer) Close() { p.client.Close() }

// Produce is Producer.Produce with a connection of its own: for a record now and then.
func Produce(ctx context.Context, cfg Config, topic string, rs ...*Record) (offsets []int64, err error) {
	p, err := NewProducer(cfg, topic)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	return p.Produce(ctx, rs...)
}
