package replay_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/reprise-io/reprise/internal/traffic"
)

func TestRunEndsAtATransactionMarker(t *testing.T) {
	t.Parallel()
	s, g := newStand(t, 1)
	client, err := kgo.NewClient(kgo.SeedBrokers(s.cfg.Brokers...), kgo.TransactionalID("copy"), kgo.DefaultProduceTopic(s.names.Exchanges))
	require.NoError(t, err)
	defer client.Close()
	require.NoError(t, client.BeginTransaction())
	for range 5 {
		x := s.exchange(time.Now())
		client.Produce(t.Context(), &kgo.Record{Value: traffic.AppendExchange(nil, x)}, nil)
	}
	require.NoError(t, client.Flush(t.Context()))
	require.NoError(t, client.EndTransaction(t.Context(), kgo.TryCommit))

	r := s.run(s.options(g)) // the log's last offset holds the marker: no record will come from there
	require.EqualValues(t, 5, r.Fired)
}
