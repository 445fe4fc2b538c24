//go:build e2e

package e2e_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

func startIngest(t *testing.T, prefix string, more ...string) *tapped {
	t.Helper()
	p := &tapped{addr: freeAddr(t), admin: freeAddr(t)}
	args := []string{
		"ingest", "--listen", p.addr, "--admin", p.admin, "--topic-prefix", prefix,
		"--redact-key", "env:E2E_REDACT_KEY", "--name", "e2e", "--brokers", shared.broker.Addr(),
	}
	p.Process = start(t, "tap", append(args, more...)...)
	require.NoError(t, p.Ready(within(t, 2*time.Minute), p.admin))
	return p
}

// startExample builds and runs the server that comes with middleware/nethttp, until stop: then it has sent its copies.
func startExample(t *testing.T, tap string, more ...string) (url string, stop func()) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "example")
	build := exec.CommandContext(within(t, 2*time.Minute), "go", "build", "-o", program, "./example")
	build.Dir = filepath.Join(shared.root, "middleware", "nethttp")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	addr := freeAddr(t)
	server := exec.Command(program, append([]string{"-listen", addr, "-tap", tap}, more...)...)
	stderr, err := server.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, server.Start())
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			require.NoError(t, server.Process.Signal(syscall.SIGTERM))
			_, _ = io.Copy(io.Discard, stderr)
			require.NoError(t, server.Wait())
		}
	}
	t.Cleanup(stop)
	line, err := bufio.NewReader(stderr).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "listening")
	return "http://" + addr, stop
}

func TestAServersOwnTrafficIsStoredWhole(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	tap := startIngest(t, prefix)
	url, stop := startExample(t, tap.url())
	const requests = 100
	for i := range requests {
		body := []byte(fmt.Sprintf(`{"n":%d,"password":"secret-%d"}`, i, i))
		if i%10 == 0 {
			body = append(bytes.Repeat([]byte{0xff, 0}, 100), byte(i))
		}
		req, err := http.NewRequest(http.MethodPost, fmt.Sprintf("%s/echo/%d?x=a%%20b", url, i), bytes.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		if i%10 == 0 {
			req.Header.Set("Content-Type", "application/octet-stream")
		}
		req.Header.Set("Authorization", fmt.Sprintf("Bearer token-%d", i))
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		got, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, http.StatusCreated, resp.StatusCode)
		require.Equal(t, body, got)
	}
	marked, err := http.NewRequest(http.MethodGet, url+"/marked", nil)
	require.NoError(t, err)
	marked.Header.Set("Reprise-Replay", "run;loop=0;clone=0")
	resp, err := http.DefaultClient.Do(marked)
	require.NoError(t, err)
	resp.Body.Close()
	stop()

	c := tap.settled(t, requests)
	require.Equal(t, requests, c.produced)
	all := exchanges(t, names)
	require.Len(t, all, requests)
	for i := range requests {
		x := all[fmt.Sprintf("/echo/%d?x=a%%20b", i)][0]
		require.Equal(t, traffic.Ingest, x.Source.Kind)
		require.Equal(t, http.StatusCreated, x.Response.Status)
		require.Zero(t, x.Flags)
		require.Equal(t, x.Request.BodySize, x.Response.BodySize)
		require.Positive(t, x.Response.Duration)
		require.NotEmpty(t, x.Connection.Client)
		token, _ := traffic.Get(x.Request.Headers, "Authorization")
		require.NotContains(t, string(token), "token-")
		if i%10 == 0 {
			require.Equal(t, append(bytes.Repeat([]byte{0xff, 0}, 100), byte(i)), x.Request.Body)
			continue
		}
		require.True(t, strings.HasPrefix(string(x.Response.Body), fmt.Sprintf(`{"n":%d,`, i)), string(x.Response.Body))
		require.NotContains(t, string(x.Request.Body)+string(x.Response.Body), "secret-")
	}
}

// What inspect writes, a tap takes again: the JSON form is one.
func TestWhatInspectWritesCanBeIngested(t *testing.T) {
	startKafka(t)
	from, _ := newPrefix()
	file := filepath.Join(t.TempDir(), "own.gor")
	require.NoError(t, os.WriteFile(file, []byte(gor(20)), 0o600))
	got := run(t, time.Minute, "tap", "import", file, "--brokers", shared.broker.Addr(), "--topic-prefix", from, "--redact", "off")
	require.Zero(t, got.Code, got.Stderr)
	cat := run(t, time.Minute, "inspect", "cat", "--brokers", shared.broker.Addr(), "--topic-prefix", from, "-o", "ndjson")
	require.Zero(t, cat.Code, cat.Stderr)

	to, names := newPrefix()
	tap := startIngest(t, to)
	resp, err := http.Post(tap.url()+"/v1/exchanges", "application/x-ndjson", strings.NewReader(cat.Stdout))
	require.NoError(t, err)
	answer, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusAccepted, resp.StatusCode)
	require.JSONEq(t, `{"accepted":20,"rejected":0,"shed":0,"marked":0}`, string(answer))
	require.Equal(t, 20, tap.settled(t, 20).produced)
	for target, xs := range exchanges(t, names) {
		require.Contains(t, target, "/own/")
		require.True(t, xs[0].Flags.Has(traffic.ClockReplaced), "a recording of last month has no time that can be now")
	}
}
