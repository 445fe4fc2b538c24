package broker

import (
	"context"
	"crypto/rand"
	"io/fs"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/topic"
)

func TestDiskStaysWithinTheTopicsLimit(t *testing.T) {
	dir := t.TempDir()
	const limit, segment = 1 << 20, 256 << 10
	b, err := Start(Options{Data: dir, Listen: "127.0.0.1:0", Topics: []topic.Spec{{
		Name: "x", Partitions: 1, Config: map[string]string{
			"retention.bytes": strconv.Itoa(limit), "segment.bytes": strconv.Itoa(segment),
		},
	}}})
	require.NoError(t, err)
	defer b.Close()
	p, err := topic.NewProducer(topic.Config{Brokers: []string{b.Addr()}}, "x")
	require.NoError(t, err)
	defer p.Close()
	for range 40 { // 4 MiB that do not compress
		value := make([]byte, 100<<10)
		_, _ = rand.Read(value)
		_, err := p.Produce(context.Background(), &topic.Record{Value: value, Time: time.Now()})
		require.NoError(t, err)
	}
	require.Greater(t, size(t, dir), int64(3<<20))
	b.cluster.ApplyRetention()
	require.LessOrEqual(t, size(t, dir), int64(limit+2*segment))

	require.NoError(t, b.Close())
	require.NoError(t, b.Close(), "a second time does nothing")
}

func size(t *testing.T, dir string) (bytes int64) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			bytes += info.Size()
		}
		return err
	}))
	return bytes
}
