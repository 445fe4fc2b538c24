package broker_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/broker"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/topic"
)

func start(t *testing.T, dir, listen string) *broker.Broker {
	t.Helper()
	b, err := broker.Start(broker.Options{Data: dir, Listen: listen, Topics: topic.EmbeddedSpecs(topic.NamesOf("reprise"))})
	require.NoError(t, err)
	return b
}

func produce(t *testing.T, addr string, n int) {
	t.Helper()
	var rs []*topic.Record
	for i := range n {
		rs = append(rs, &topic.Record{Value: fmt.Append(nil, i), Time: time.Now()})
	}
	_, err := topic.Produce(context.Background(), topic.Config{Brokers: []string{addr}}, "reprise.exchanges", rs...)
	require.NoError(t, err)
}

func stored(t *testing.T, addr string) (n int64) {
	t.Helper()
	admin, err := topic.NewAdmin(topic.Config{Brokers: []string{addr}})
	require.NoError(t, err)
	defer admin.Close()
	infos, err := admin.Describe(context.Background(), "reprise.exchanges")
	require.NoError(t, err)
	require.Len(t, infos[0].Partitions, 4)
	for _, p := range infos[0].Partitions {
		n += p.End - p.Start
	}
	return n
}

func TestKeepsItsDataOverARestart(t *testing.T) {
	dir := t.TempDir()
	b := start(t, dir, "127.0.0.1:0")
	produce(t, b.Addr(), 100)
	require.NoError(t, b.Close())
	b = start(t, dir, "127.0.0.1:0")
	defer b.Close()
	require.EqualValues(t, 100, stored(t, b.Addr()))
}

// A killed process leaves its files as they are at that moment: so does a copy of them.
func TestKeepsItsDataOverAKill(t *testing.T) {
	dir, after := t.TempDir(), t.TempDir()
	b := start(t, dir, "127.0.0.1:0")
	defer b.Close()
	produce(t, b.Addr(), 100)
	require.NoError(t, os.CopyFS(filepath.Join(after, "data"), os.DirFS(dir)))

	again := start(t, filepath.Join(after, "data"), "127.0.0.1:0")
	defer again.Close()
	require.EqualValues(t, 100, stored(t, again.Addr()))
}

func TestOneBrokerToADirectory(t *testing.T) {
	dir := t.TempDir()
	b := start(t, dir, "127.0.0.1:0")
	defer b.Close()
	_, err := broker.Start(broker.Options{Data: dir, Listen: "127.0.0.1:0"})
	require.ErrorContains(t, err, "in use")
	require.Equal(t, fault.Failure, fault.Code(err), "as for a port that is in use")
}

func TestPortInUseIsSaid(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	_, err = broker.Start(broker.Options{Data: t.TempDir(), Listen: ln.Addr().String()})
	require.ErrorContains(t, err, ln.Addr().String())
	require.Equal(t, fault.Failure, fault.Code(err))
}

func TestAdvertisesAnAddressThatClientsCanUse(t *testing.T) {
	b := start(t, t.TempDir(), ":0")
	defer b.Close()
	host, _, err := net.SplitHostPort(b.Addr())
	require.NoError(t, err)
	require.NotContains(t, []string{"", "::", "0.0.0.0"}, host)
	produce(t, b.Addr(), 1)
}
