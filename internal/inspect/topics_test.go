package inspect

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/reprise-io/reprise/internal/topic"
)

func TestTopicsTellsWhatIsThere(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, exchanges, "shop.results", "orders"))
	require.NoError(t, err)
	defer cluster.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cfg := topic.Config{Brokers: cluster.ListenAddrs()}
	for i := range 5 {
		_, err := topic.Produce(ctx, cfg, exchanges, &topic.Record{Value: []byte("x"), Time: noon.Add(time.Duration(i) * time.Hour)})
		require.NoError(t, err)
	}
	infos, err := Topics(ctx, cfg, false, func(string) {})
	require.NoError(t, err)
	require.Len(t, infos, 2)
	require.Equal(t, exchanges, infos[0].Name)
	require.EqualValues(t, 5, infos[0].Records)
	require.Equal(t, noon, *infos[0].First)
	require.Equal(t, noon.Add(4*time.Hour), *infos[0].Last)
	require.Nil(t, infos[1].First)

	infos[0].Bytes, infos[1].Bytes = new(int64), nil
	*infos[0].Bytes = 10 << 20
	var b strings.Builder
	require.NoError(t, WriteTopics(&b, infos))
	require.Equal(t, `
topic              partitions  records      size  first (UTC)          last (UTC)
reprise.exchanges           2        5  10.0 MiB  2026-11-22 12:00:00  2026-11-22 16:00:00
shop.results                2        0         –  –                    –
`[1:], b.String())

	infos, err = Topics(ctx, cfg, true, func(string) {})
	require.NoError(t, err)
	require.Len(t, infos, 3)
}

func TestTopicsOfAClusterWithoutOurs(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	require.NoError(t, err)
	defer cluster.Close()
	var notes []string
	infos, err := Topics(context.Background(), topic.Config{Brokers: cluster.ListenAddrs()}, false, func(l string) { notes = append(notes, l) })
	require.NoError(t, err)
	require.NotNil(t, infos)
	require.Empty(t, infos)
	require.Equal(t, []string{"no topic of Reprise is there yet; 1 topic of others (--all lists them)"}, notes)
	var b strings.Builder
	require.NoError(t, WriteTopics(&b, infos))
	require.Empty(t, b.String())
}
