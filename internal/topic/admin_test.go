package topic

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/reprise-io/reprise/internal/fault"
)

func newTestAdmin(t *testing.T, cfg Config) *Admin {
	t.Helper()
	adm, err := NewAdmin(cfg)
	require.NoError(t, err)
	t.Cleanup(adm.Close)
	return adm
}

func TestAdminSaysThatTheBrokerIsWrong(t *testing.T) {
	// Nothing listens there.
	adm := newTestAdmin(t, Config{Brokers: []string{"127.0.0.1:1"}})
	start := time.Now()
	requireFault(t, adm.Ping(t.Context()), "cannot reach Kafka at 127.0.0.1:1",
		"dial tcp 127.0.0.1:1: connect: connection refused", "--brokers HOST:PORT or REPRISE_BROKERS")
	_, err := adm.List(t.Context())
	requireFault(t, err, "cannot reach Kafka at 127.0.0.1:1", "", "--brokers HOST:PORT or REPRISE_BROKERS")
	_, err = adm.Describe(t.Context(), "x")
	requireFault(t, err, "cannot reach Kafka at 127.0.0.1:1", "", "--brokers HOST:PORT or REPRISE_BROKERS")
	_, err = Produce(t.Context(), Config{Brokers: []string{"127.0.0.1:1"}}, "x", numbered(1, 8))
	requireFault(t, err, "cannot reach Kafka at 127.0.0.1:1", "", "--brokers HOST:PORT or REPRISE_BROKERS")
	require.Less(t, time.Since(start), 2*time.Minute, "it does not wait for ever")

	// Something listens, and hangs up.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	adm = newTestAdmin(t, Config{Brokers: []string{ln.Addr().String()}})
	err = adm.Ping(t.Context())
	require.ErrorContains(t, err, "cannot reach Kafka at "+ln.Addr().String())

	// Something that is no Kafka and says nothing.
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		n.cluster(t)
		n.mute()
		adm := newTestAdmin(t, n.config())
		start := time.Now()
		requireFault(t, adm.Ping(t.Context()), "cannot reach Kafka at 127.0.0.1:9092", "no answer within 5s", "")
		require.LessOrEqual(t, time.Since(start), 5*time.Second+lookTimeout)
		start = time.Now()
		requireFault(t, adm.Ping(t.Context()), "cannot reach Kafka at 127.0.0.1:9092", "no answer within 5s", "")
		require.LessOrEqual(t, time.Since(start), 5*time.Second, "what is there was looked at")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, adm.Ping(ctx), context.Canceled, "who asked has gone")
	})
}

func TestAdminSaysWhichTopicsThereAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		n.cluster(t, kfake.SeedTopics(1, "payments", "orders"))
		adm := newTestAdmin(t, n.config())
		const what = `topic "reprise.exchanges" does not exist on 127.0.0.1:9092`
		const cause = "no tap has written with this prefix yet (topics there: orders, payments)"
		const try = "--topic-prefix NAME, or start a tap: tap proxy --listen :8080 --upstream 127.0.0.1:9000"
		_, err := adm.Describe(t.Context(), "reprise.exchanges")
		requireFault(t, err, what, cause, try)
		_, err = adm.Window(t.Context(), "reprise.exchanges", time.Time{})
		requireFault(t, err, what, cause, try)
		_, err = adm.OffsetsAfter(t.Context(), "reprise.exchanges", epoch)
		requireFault(t, err, what, cause, try)
		_, err = Produce(t.Context(), n.config(), "reprise.exchanges", numbered(1, 8))
		requireFault(t, err, what, cause, try)
	})
}

func TestAdminDescribes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		n.cluster(t, kfake.SeedTopics(3, "x", "y"))
		fill(t, n.config(), "x", 0, 90)
		adm := newTestAdmin(t, n.config())
		names, err := adm.List(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"x", "y"}, names)
		infos, err := adm.Describe(t.Context())
		require.NoError(t, err)
		require.Len(t, infos, 2)
		records, bytes := int64(0), int64(0)
		for i, p := range infos[0].Partitions {
			require.EqualValues(t, i, p.ID)
			records += p.End - p.Start
			bytes += p.Bytes
		}
		require.EqualValues(t, 90, records)
		require.Greater(t, bytes, int64(90*20))
		infos, err = adm.Describe(t.Context(), "y", "x")
		require.NoError(t, err)
		require.Equal(t, "y", infos[0].Name)
		require.Len(t, infos[0].Partitions, 3)
	})
}

func TestOffsetsAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		n.cluster(t, kfake.SeedTopics(1, "x"))
		fill(t, n.config(), "x", 0, 100)
		adm := newTestAdmin(t, n.config())
		for _, row := range []struct {
			t    time.Time
			want int64
		}{
			{time.Time{}, 0},
			{epoch.Add(-time.Hour), 0},
			{epoch.Add(30 * time.Second), 30},
			{epoch.Add(30*time.Second + 1), 30}, // Kafka has milliseconds: rather one too many
			{epoch.Add(30*time.Second + time.Millisecond), 31},
			{epoch.Add(time.Hour), 100}, // beyond the last: the end
			{time.Unix(-5, 0), 0},
		} {
			at, err := adm.OffsetsAfter(t.Context(), "x", row.t)
			require.NoError(t, err)
			require.Equal(t, map[int32]int64{0: row.want}, at, "%v", row.t)
		}
	})
}

func TestEnsureCreatesWithExplicitSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		n.virtual = new(kfake.VirtualNetwork)
		cluster, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.Ports(9092, 9093, 9094), kfake.ListenFn(n.virtual.Listen))
		require.NoError(t, err)
		defer cluster.Close()
		adm := newTestAdmin(t, n.config())
		names := NamesOf("p")
		require.NoError(t, cluster.CreateTopic("p.results", 2, nil)) // made by someone else: stays as it is
		specs := []Spec{ExchangesSpec(names, 0), ControlSpec(names), ResultsSpec(names, 0)}
		require.NoError(t, adm.Ensure(t.Context(), specs))
		require.NoError(t, adm.Ensure(t.Context(), specs))

		meta, err := adm.adm.Metadata(t.Context(), "p.exchanges", "p.control", "p.results")
		require.NoError(t, err)
		require.Len(t, meta.Topics["p.exchanges"].Partitions, 12)
		require.Len(t, meta.Topics["p.exchanges"].Partitions[0].Replicas, 3)
		require.Len(t, meta.Topics["p.control"].Partitions, 1)
		require.Len(t, meta.Topics["p.results"].Partitions, 2)
		require.Equal(t, map[string]string{
			"cleanup.policy": "delete", "retention.ms": "259200000", "retention.bytes": "10737418240",
			"max.message.bytes": "1048588", "message.timestamp.type": "CreateTime", "min.insync.replicas": "2",
			"segment.ms": "21600000", "segment.bytes": "268435456", "message.timestamp.before.max.ms": "9223372036854775807",
			"message.timestamp.after.max.ms": "9223372036854775807",
		}, explicit(t, adm, "p.exchanges"))
		require.Equal(t, "compact", explicit(t, adm, "p.control")["cleanup.policy"])
		require.Equal(t, "-1", explicit(t, adm, "p.control")["retention.ms"])
		require.Empty(t, explicit(t, adm, "p.results"))
	})
}

// explicit are the settings of a topic that are its own.
func explicit(t *testing.T, adm *Admin, topic string) map[string]string {
	t.Helper()
	configs, err := adm.adm.DescribeTopicConfigs(t.Context(), topic)
	require.NoError(t, err)
	out := make(map[string]string)
	for _, c := range configs[0].Configs {
		if c.Source.String() == "DYNAMIC_TOPIC_CONFIG" {
			out[c.Key] = c.MaybeValue()
		}
	}
	return out
}

func TestEnsureWorksOnBrokersThatDoNotKnowASetting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		cluster := n.cluster(t)
		cluster.ControlKey(19, func(kreq kmsg.Request) (kmsg.Response, error, bool) { // once: as Kafka before 3.6 answers
			req := kreq.(*kmsg.CreateTopicsRequest)
			resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
			rt := kmsg.NewCreateTopicsResponseTopic()
			rt.Topic, rt.ErrorCode = req.Topics[0].Topic, kerr.InvalidConfig.Code
			resp.Topics = append(resp.Topics, rt)
			return resp, nil, true
		})
		adm := newTestAdmin(t, n.config())
		require.NoError(t, adm.Ensure(t.Context(), []Spec{ResultsSpec(NamesOf("p"), 1)}))
		settings := explicit(t, adm, "p.results")
		require.Equal(t, "delete", settings["cleanup.policy"])
		require.NotContains(t, settings, timestampBefore)
		require.NotContains(t, settings, timestampAfter)
	})
}

func TestEnsureSaysWhatToDoWhenItMayNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		n.cluster(t)
		adm := newTestAdmin(t, n.config())
		err := adm.Ensure(t.Context(), []Spec{{Name: "x", Partitions: 3, Replication: 3, Config: map[string]string{"retention.ms": "-1", "cleanup.policy": "compact"}}})
		requireFault(t, err, `cannot create topic "x" on 127.0.0.1:9092`, "",
			"create it beforehand: kafka-topics.sh --bootstrap-server 127.0.0.1:9092 --create --topic x --partitions 3 --replication-factor 3 "+
				"--config cleanup.policy=compact --config min.insync.replicas=2 --config retention.ms=-1")
	})
}

func TestEmbeddedSpecsStayWithinOneGibibyte(t *testing.T) {
	total := int64(64 << 20) // the control topic's share
	for _, s := range EmbeddedSpecs(NamesOf("p")) {
		require.Equal(t, "16777216", s.Config["segment.bytes"])
		if s.Config["cleanup.policy"] != "compact" {
			total += int64(s.Partitions) * parse(t, s.Config["retention.bytes"])
			require.EqualValues(t, 4, s.Partitions)
		}
	}
	require.LessOrEqual(t, total, int64(1<<30))
	require.Equal(t, "10737418240", ExchangesSpec(NamesOf("p"), 4).Config["retention.bytes"], "the originals are left alone")
}

func parse(t *testing.T, s string) (n int64) {
	t.Helper()
	for _, c := range s {
		n = n*10 + int64(c-'0')
	}
	return n
}

func TestProduceReturnsOffsetsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		n.cluster(t, kfake.SeedTopics(1, "x"))
		p, err := NewProducer(n.config(), "x")
		require.NoError(t, err)
		defer p.Close()
		for round := range int64(3) {
			old := &Record{Value: []byte("a"), Time: time.Unix(1, 0)} // long before any timeout
			offsets, err := p.Produce(t.Context(), old, numbered(1, 8), numbered(2, 8))
			require.NoError(t, err)
			require.Equal(t, []int64{3 * round, 3*round + 1, 3*round + 2}, offsets)
			require.Equal(t, "x", old.Topic)
			require.Equal(t, 3*round, old.Offset)
		}
		_, err = p.Produce(t.Context(), numbered(3, 2_000_000))
		requireFault(t, err, `a record is too large for topic "x"`, "", "")
	})
}

func TestClientsShareARegistererWithoutHarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		n.cluster(t, kfake.SeedTopics(1, "x"))
		cfg := n.config()
		cfg.Registerer = prometheus.NewRegistry()
		for range 2 { // at once, and one after the other
			first, err := NewProducer(cfg, "x")
			require.NoError(t, err)
			second, err := NewProducer(cfg, "x")
			require.NoError(t, err)
			_, err = first.Produce(t.Context(), numbered(1, 8))
			require.NoError(t, err)
			_, err = second.Produce(t.Context(), numbered(1, 8))
			require.NoError(t, err)
			second.Close()
			families, err := cfg.Registerer.(*prometheus.Registry).Gather()
			require.NoError(t, err)
			require.NotEmpty(t, families)
			for _, f := range families {
				require.Contains(t, f.GetName(), "reprise_kafka_")
				require.Equal(t, "producer x", f.GetMetric()[0].GetLabel()[0].GetValue())
			}
			first.Close()
		}
	})
}

func TestUsageErrorsHaveTheUsageCode(t *testing.T) {
	for _, brokers := range [][]string{nil, {""}, {"http://x:9092"}} {
		_, err := NewAdmin(Config{Brokers: brokers})
		require.Equal(t, fault.Usage, fault.Code(err), "%v", brokers)
	}
	_, err := NewProducer(Config{Brokers: []string{"x:1"}, Compression: "rar"}, "x")
	require.Equal(t, fault.Usage, fault.Code(err))
}
