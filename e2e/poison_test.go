//go:build e2e

package e2e_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/reprise-io/reprise/e2e/feed"
	"github.com/reprise-io/reprise/e2e/sink"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// TestPoisonInEveryPartitionHoldsNothingUp: records that are no exchanges, 20 MB large, and of another schema, in every
// partition of a topic that takes them.
func TestPoisonInEveryPartitionHoldsNothingUp(t *testing.T) {
	const partitions = 4
	startKafka(t)
	prefix, names := newPrefix()
	cfg := topic.Config{Brokers: []string{shared.broker.Addr()}}
	admin, err := topic.NewAdmin(cfg)
	require.NoError(t, err)
	defer admin.Close()
	spec := topic.ExchangesSpec(names, partitions)
	spec.Config["max.message.bytes"] = "33554432"
	require.NoError(t, admin.Ensure(within(t, 2*time.Minute), []topic.Spec{spec}))
	made := feed.Made{Count: 1000, Rate: 1000, Seed: 5, Start: time.Now().Add(-time.Hour), Partitions: partitions}
	_, err = made.Write(within(t, time.Minute), shared.broker.Addr(), names)
	require.NoError(t, err)

	noise := make([]byte, 20<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	client, err := kgo.NewClient(kgo.SeedBrokers(shared.broker.Addr()), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(32<<20), kgo.BrokerMaxWriteBytes(64<<20))
	require.NoError(t, err)
	defer client.Close()
	poison := [][]byte{
		[]byte("\xff\xff no exchange"), nil, noise,
		traffic.AppendOutcome(nil, &traffic.Outcome{Run: "other", CaptureTime: time.Now(), Status: 200}),
	}
	for p := range int32(partitions) {
		for _, value := range poison {
			r := &kgo.Record{Topic: names.Exchanges, Partition: p, Value: value}
			require.NoError(t, client.ProduceSync(within(t, time.Minute), r).FirstErr())
		}
	}
	made.Seed, made.Start = 6, made.Start.Add(2*time.Second)
	_, err = made.Write(within(t, time.Minute), shared.broker.Addr(), names)
	require.NoError(t, err)

	target, stop := startSink(t, sink.Options{})
	r := replay(t, 3*time.Minute, replayArgs("run", prefix, target.Addr(), "--run", "poison", "--speed", "max", "--group-protocol", "consumer")...)
	stop()
	require.Equal(t, "finished", r.State)
	require.EqualValues(t, 2*made.Count, r.Fired)
	require.Len(t, arrivals(t, target), 2*made.Count)
	require.EqualValues(t, partitions*len(poison), r.BadTotal)
	in := make(map[int32]int)
	for _, b := range r.BadRecords {
		require.NotEmpty(t, b.Reason)
		in[b.Partition]++
	}
	require.Len(t, in, partitions)
	stored := 0
	require.NoError(t, feed.Records(within(t, time.Minute), shared.broker.Addr(), names.Results, func(r *topic.Record) error {
		o := new(traffic.Outcome)
		err := traffic.DecodeOutcome(r.Value, o)
		if o.Result == traffic.BadRecord && o.Reason != "" && o.Detail != "" {
			stored++
		}
		return err
	}))
	require.Equal(t, partitions*len(poison), stored, "outcomes say why")
}
