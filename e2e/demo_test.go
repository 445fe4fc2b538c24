//go:build e2e

package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
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
	got, err := proc.Run(within(t, 2*time.Minute), proc.Options{
		Path: demo, Args: []string{"-bin", bin, "-dir", filepath.Join(dir, "data"), "-traffic", "6s"},
	})
	require.NoError(t, err)
	require.Zero(t, got.Code, got.Stderr)
	t.Log("\n" + got.Stdout)
	require.Less(t, time.Since(begin), 40*time.Second)
	for _, want := range []string{
		"captured", " 0 dropped", "redacted:", "live", "lag 3", "refused", "0 reached pre-production", "run at 2×",
		"/items/{id}", "price missing", "/search", "bin/inspect stats --brokers 127.0.0.1:",
	} {
		require.Contains(t, got.Stdout, want)
	}
	requireNoProcess(t, dir)
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
