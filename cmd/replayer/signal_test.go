package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/reprise-io/reprise/internal/fault"
)

// asReplayer makes this test binary the replayer.
const asReplayer = "REPRISE_TEST_AS_REPLAYER"

func TestMain(m *testing.M) {
	if os.Getenv(asReplayer) != "" {
		main()
	}
	os.Exit(m.Run())
}

// A terminal that goes away, or somebody who expects a reload: what is under way is seen through and told, as at SIGTERM.
func TestHangUpDrains(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "reprise.exchanges"))
	require.NoError(t, err)
	defer cluster.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, os.Args[0], "live", "--brokers", cluster.ListenAddrs()[0], "--target", "http://127.0.0.1:1",
		"--allow-target", "127.0.0.1:1", "-o", "json")
	c.Env = append(os.Environ(), asReplayer+"=1")
	talk, err := c.StderrPipe()
	require.NoError(t, err)
	var out strings.Builder
	c.Stdout = &out
	handled := make(chan os.Signal, 1) // a child ignores what this process does, as under nohup, and gets the default for what it handles
	signal.Notify(handled, syscall.SIGHUP)
	defer signal.Stop(handled)
	require.NoError(t, c.Start())
	lines := bufio.NewScanner(talk)
	for lines.Scan() && !strings.Contains(lines.Text(), "following reprise.exchanges") {
		t.Log(lines.Text())
	}
	require.NoError(t, c.Process.Signal(syscall.SIGHUP))
	_, _ = io.Copy(io.Discard, talk)
	_ = c.Wait()
	require.Equal(t, fault.Interrupted, c.ProcessState.ExitCode())
	require.Contains(t, out.String(), `"state":"stopped"`)
}
