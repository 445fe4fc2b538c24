package inspect

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// noon is when the exchanges of the tests were captured.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const exchanges = "reprise.exchanges"

// rig is a Kafka with a topic of exchanges, and a reader of it.
type rig struct {
	t      *testing.T
	cfg    topic.Config
	client *kgo.Client
	reader *Reader
	notes  []string
}

func newRig(t *testing.T, partitions int32) *rig {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, exchanges))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(t, err)
	t.Cleanup(client.Close)
	r := &rig{t: t, cfg: topic.Config{Brokers: cluster.ListenAddrs()}, client: client}
	r.reader, err = NewReader(r.cfg, exchanges, func(line string) { r.notes = append(r.notes, line) })
	require.NoError(t, err)
	t.Cleanup(r.reader.Close)
	return r
}

func (r *rig) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	r.t.Cleanup(cancel)
	return ctx
}

// exchange is what a tap records of one GET.
func exchange(seq int, after time.Duration, target string, status int) *traffic.Exchange {
	x := &traffic.Exchange{
		ID:          traffic.MakeID([16]byte{0x9f, 0x3c}, uint64(seq)),
		CaptureTime: noon.Add(after),
		TimeSource:  traffic.OwnClock,
		Source:      traffic.Source{Kind: traffic.Proxy, Name: []byte("gateway-1")},
		Request: traffic.Request{
			Method: []byte("GET"), Scheme: []byte("http"), Authority: []byte("shop.example.com"), Target: []byte(target),
			Protocol: []byte("HTTP/1.1"), Headers: []traffic.Field{{Name: []byte("Host"), Value: []byte("shop.example.com")}},
		},
	}
	if status != 0 {
		x.Response = &traffic.Response{
			Status: status, Protocol: []byte("HTTP/1.1"), TTFB: 3 * time.Millisecond, Duration: 4 * time.Millisecond,
		}
	}
	return x
}

// put stores exchanges in a partition as a tap does.
func (r *rig) put(partition int32, xs ...*traffic.Exchange) {
	r.t.Helper()
	for _, x := range xs {
		m := traffic.MetaOf(x, x.Request.Target)
		r.produce(partition, &kgo.Record{
			Value: traffic.AppendExchange(nil, x), Headers: traffic.AppendMeta([]kgo.RecordHeader(nil), &m),
			Timestamp: x.CaptureTime,
		})
	}
}

func (r *rig) produce(partition int32, rec *kgo.Record) {
	r.t.Helper()
	rec.Topic, rec.Partition = exchanges, partition
	require.NoError(r.t, r.client.ProduceSync(r.context(), rec).FirstErr())
}

// cat returns the targets of what Cat shows.
func (r *rig) cat(q Query) ([]string, error) {
	targets := []string{}
	err := r.reader.Cat(r.context(), q, func(e Entry) error {
		targets = append(targets, string(e.Exchange.Request.Target))
		return nil
	})
	return targets, err
}

func all() Query { return Query{Partition: AllPartitions} }

func targets(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("/%d", i))
	}
	return list
}
