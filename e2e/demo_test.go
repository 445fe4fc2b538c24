//go:build e2e

package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/proc"
)

func TestDemoShowsEverythingAndLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	demo := filepath.Join(dir, "demo")
	build := exec.Command("go", "build", "-o", demo, "./e2e/demo")
	build.Dir, build.Stderr = shared.root, os.Stderr
	require.NoError(t, build.Run())

	// Names of its own for the programs, so that whatever else runs from the same folder is not taken for the demo's.
	bin := filepath.Join(dir, "bin")
	require.NoError(t, os.Symlink(shared.bin, bin))
	begin := time.Now()
	got, err := proc.Run(within(t, 5*time.Minute), proc.Options{
		Path: demo, Args: []string{"-bin", bin, "-dir", filepath.Join(dir, "data"), "-traffic", "6s", "-any-ports"},
	})
	require.NoError(t, err)
	require.Zero(t, got.Code, got.Stderr)
	t.Log("\n" + got.Stdout)
	t.Logf("it took %s", time.Since(begin).Round(time.Millisecond))
	for _, want := range []string{
		"captured", " 0 dropped", "redacted:", "live", "lag ", "refused", "0 reached pre-production", "run at 2×",
		"/items/{id}", "price missing", "/search", "bin/inspect stats --brokers 127.0.0.1:",
	} {
		require.Contains(t, got.Stdout, want)
	}
	requireNoProcess(t, dir)

	// What it says to type next works: a broker on the recorded data, with everything still there.
	addr := freeAddr(t)
	again := start(t, "tap", "broker", "--data", filepath.Join(dir, "data", "kafka"), "--listen", addr)
	_, err = again.WaitLine(within(t, 2*time.Minute), "listening on "+addr)
	require.NoError(t, err)
	captured := regexp.MustCompile(`captured +([\d,]+) exchanges`).FindStringSubmatch(got.Stdout)
	require.NotNil(t, captured)
	stats := run(t, time.Minute, "inspect", "stats", "--brokers", addr, "-o", "table")
	require.Zero(t, stats.Code, stats.Stderr)
	require.Contains(t, stats.Stdout, captured[1]+" exchanges")
	second, err := proc.Run(within(t, 2*time.Minute), options("tap", "broker", "--data", filepath.Join(dir, "data", "kafka"), "--listen", freeAddr(t)))
	require.NoError(t, err)
	require.NotZero(t, second.Code, "two brokers on one folder would spoil it")
	requireExplained(t, second.Stderr, "tap", filepath.Join(dir, "data", "kafka"))
	code, err := again.Stop(time.Minute)
	require.NoError(t, err)
	require.Equal(t, 130, code)
}

// requireNoProcess: no program from that folder runs, nor one with data in it.
func requireNoProcess(t *testing.T, folder string) {
	t.Helper()
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, file := range commands {
		b, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(b), folder+"/") && !strings.Contains(file, "/self/") {
			t.Errorf("still runs: %s", strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
}
