//go:build e2e

package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestImportOfAccessLogsEqualsTheirLines(t *testing.T) {
	for _, file := range caseFiles(t, "accesslog") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			lines := strings.Split(strings.TrimSpace(string(content)), "\n")
			stdout, code, stderr := printFile(t, file)
			require.Zero(t, code, stderr)
			got := readPrinted(t, stdout)
			require.Len(t, got, len(lines))
			for i, x := range got {
				require.Contains(t, lines[i], fmt.Sprintf(`"%s %s %s" %d `, x.Request.Method, x.Request.Target, x.Request.Protocol, x.Response.Status))
			}
		})
	}
}

func TestAnImportThatWasCutShortIsResumed(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	const lines = 300
	var log bytes.Buffer
	for i := range lines {
		fmt.Fprintf(&log, "10.0.0.7 - - [22/Nov/2026:13:42:%02d +0000] \"GET /p/%d HTTP/1.1\" 200 5 \"-\" \"curl\"\n", i/10, i)
	}
	file := filepath.Join(t.TempDir(), "access.log")
	require.NoError(t, os.WriteFile(file, log.Bytes(), 0o600))
	args := []string{
		"import", file, "--brokers", shared.broker.Addr(), "--topic-prefix", prefix, "--redact-key", "env:E2E_REDACT_KEY",
		"--shift-to", "2026-11-23T00:00:00Z", "--time-scale", "2",
	}
	// Not from the beginning: what partitions have when a process is killed lies anywhere.
	got := run(t, time.Minute, "tap", append(args, "--include", "GET /p/*7")...)
	require.Zero(t, got.Code, got.Stderr)
	require.Equal(t, lines/10, stored(t, names.Exchanges))

	got = run(t, time.Minute, "tap", append(args, "--resume")...)
	require.Zero(t, got.Code, got.Stderr)
	require.Contains(t, got.Stderr, `"stored_before":30`)
	require.Equal(t, lines, stored(t, names.Exchanges), "nothing twice")
	all := exchanges(t, names)
	require.Len(t, all, lines)
	start := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	require.Equal(t, start, all["/p/0"][0].CaptureTime)
	require.Equal(t, start.Add(58*time.Second), all["/p/299"][0].CaptureTime)

	got = run(t, time.Minute, "tap", append(args, "--resume")...)
	require.Zero(t, got.Code, got.Stderr)
	require.Equal(t, lines, stored(t, names.Exchanges))

	_, target := serveNothing(t)
	r := replay(t, time.Minute, replayArgs("run", prefix, target, "--run", "log", "--speed", "max")...)
	require.EqualValues(t, lines, r.Fired)
}
