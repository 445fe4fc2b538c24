package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/reprise-io/reprise/cmd/internal/cli"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// asInspect makes the test's own binary behave as inspect.
const asInspect = "REPRISE_TEST_AS_INSPECT"

func TestMain(m *testing.M) {
	if os.Getenv(asInspect) != "" {
		os.Exit(cli.Main(newRoot()))
	}
	os.Exit(m.Run())
}

func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, os.Args[0], args...)
	c.Env = append(os.Environ(), asInspect+"=1")
	return c
}

func run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	c := command(t, args...)
	var out, talk bytes.Buffer
	c.Stdout, c.Stderr = &out, &talk
	err := c.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else {
		require.NoError(t, err)
	}
	return out.String(), talk.String(), code
}

// kafka starts a broker with an empty topic, one of ten exchanges, and one of ten with a record that cannot be read.
func kafka(t *testing.T) (address string) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "empty.exchanges", "shop.exchanges", "bad.exchanges"))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	address = cluster.ListenAddrs()[0]
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for _, name := range []string{"shop.exchanges", "bad.exchanges"} {
		var records []*topic.Record
		for i := range 10 {
			x := &traffic.Exchange{
				ID: traffic.MakeID([16]byte{1}, uint64(i+1)), CaptureTime: time.Date(2026, 11, 22, 12, 0, i, 0, time.UTC),
				Source:  traffic.Source{Kind: traffic.Proxy},
				Request: traffic.Request{Method: []byte("GET"), Target: fmt.Appendf(nil, "/items/%d", i), Body: []byte("b"), BodySize: 1},
			}
			m := traffic.MetaOf(x, x.Request.Target)
			records = append(records, &topic.Record{
				Value: traffic.AppendExchange(nil, x), Headers: traffic.AppendMeta([]topic.Header(nil), &m), Time: x.CaptureTime,
			})
		}
		if name == "bad.exchanges" {
			records = append(records, &topic.Record{Value: []byte("\xff"), Time: time.Now()})
		}
		_, err := topic.Produce(ctx, topic.Config{Brokers: []string{address}}, name, records...)
		require.NoError(t, err)
	}
	return address
}

func TestExitCodesAndWords(t *testing.T) {
	broker := kafka(t)
	shop := []string{"--brokers", broker, "--topic-prefix", "shop"}
	for _, row := range []struct {
		args   []string
		code   int
		stdout int      // lines
		says   []string // on stderr
	}{
		{[]string{"cta"}, 2, 0, []string{`unknown command "cta"`, "inspect cat"}},
		{[]string{"cat", "--bogus"}, 2, 0, []string{"--bogus", "inspect cat --help"}},
		{[]string{"cat", "x"}, 2, 0, []string{"inspect: ", "inspect cat --help"}},
		{[]string{"get"}, 2, 0, []string{"inspect get --help"}},
		{[]string{"get", "zz"}, 2, 0, []string{`"zz"`, "48 hexadecimal digits"}},
		{[]string{"cat", "-o", "xml"}, 2, 0, []string{`"xml"`, "table, ndjson, json"}},
		{[]string{"cat", "-o", "raw"}, 2, 0, []string{`"raw"`, "table, ndjson, json, yaml"}},
		{[]string{"grep"}, 2, 0, []string{"inspect grep --help"}},
		{[]string{"export"}, 2, 0, []string{"no --format", "har, curl, gor, ndjson, k6 or raw"}},
		{[]string{"export", "--format", "xml"}, 2, 0, []string{`"xml"`, "--format har, curl, gor, ndjson, k6 or raw"}},
		{append([]string{"grep", "GET /items/3"}, shop...), 0, 1, nil},
		{append([]string{"grep", "GET /items/*", `path endsWith "4"`}, shop...), 0, 1, nil},
		{append([]string{"export", "--format", "curl", "-n", "3", "--target", "http://preprod:1"}, shop...), 0, 3, nil},
		{append([]string{"export", "--format", "ndjson"}, shop...), 0, 10, nil},
		{append([]string{"export", "--format", "curl"}, shop...), 0, 0, []string{"10 left out"}}, // no authority was recorded
		{append([]string{"runs"}, shop...), 1, 0, []string{"shop.control"}},
		{[]string{"cat", "--from", "soon"}, 2, 0, []string{`"soon"`, "RFC 3339"}},
		{[]string{"cat", "--from", "now", "--to", "now-1h"}, 2, 0, []string{"not before"}},
		{[]string{"cat", "-n", "-1"}, 2, 0, []string{"-1"}},
		{[]string{"cat", "--filter", "method = = 1"}, 2, 0, []string{"method"}},
		{[]string{"cat", "--partition", "9", "--brokers", broker, "--topic-prefix", "shop"}, 2, 0, []string{"no partition 9"}},
		{[]string{"cat", "--brokers", "127.0.0.1:1"}, 1, 0, []string{"127.0.0.1:1", "--brokers"}},
		{[]string{"stats", "--brokers", "127.0.0.1:1"}, 1, 0, []string{"127.0.0.1:1"}},
		{[]string{"topics", "--brokers", "127.0.0.1:1"}, 1, 0, []string{"127.0.0.1:1"}},
		{[]string{"cat", "--brokers", broker, "--topic-prefix", "nope"}, 1, 0, []string{"nope.exchanges", "shop.exchanges", "--topic-prefix"}},
		{append([]string{"get", "beef"}, shop...), 1, 0, []string{"no exchange beef in shop.exchanges"}},
		{[]string{"cat", "--brokers", broker, "--topic-prefix", "empty"}, 0, 0, []string{"topic empty.exchanges is empty"}},
		{[]string{"cat", "-o", "json", "--brokers", broker, "--topic-prefix", "empty"}, 0, 1, []string{"is empty"}},
		{[]string{"stats", "--brokers", broker, "--topic-prefix", "empty"}, 0, 1, []string{"is empty"}},
		{[]string{"cat", "--brokers", broker, "--topic-prefix", "bad"}, 4, 10, []string{"skipped partition 0 offset 10", "1 record of bad.exchanges"}},
		{[]string{"stats", "--brokers", broker, "--topic-prefix", "bad"}, 4, 1, []string{"partition 0 offset 10"}},
		{append([]string{"cat"}, shop...), 0, 10, nil},
		{append([]string{"cat", "-n", "3"}, shop...), 0, 3, nil},
		{append([]string{"cat", "-o", "table"}, shop...), 0, 11, nil},
		{append([]string{"cat", "--filter", "GET /items/[12]"}, shop...), 0, 0, []string{"none of 10 exchanges matched"}},
		{append([]string{"get", "000a"}, shop...), 0, 1, nil},
		{append([]string{"stats"}, shop...), 0, 1, nil},
		{[]string{"topics", "--brokers", broker}, 0, 3, nil},
		{append([]string{"lint"}, shop...), 0, 0, []string{"searched 10 exchanges"}},
		{append([]string{"lint", "--secrets", "/nowhere"}, shop...), 2, 0, []string{"/nowhere"}},
		{append([]string{"lint", "-o", "json"}, shop...), 0, 1, []string{"searched 10 exchanges"}},
		{append([]string{"lint", "-o", "raw"}, shop...), 2, 0, []string{"table, ndjson, json, yaml"}},
		{[]string{"lint", "/nowhere"}, 2, 0, []string{"/nowhere"}},
		{[]string{"lint", "--brokers", broker, "--topic-prefix", "bad"}, 4, 0, []string{"partition 0 offset 10"}},
		{[]string{"--version"}, 0, 1, nil},
	} {
		t.Run(strings.Join(row.args, " "), func(t *testing.T) {
			stdout, stderr, code := run(t, row.args...)
			_, stderr = audited(stderr)
			require.Equal(t, row.code, code, stderr)
			require.Equal(t, row.stdout, strings.Count(stdout, "\n"), stdout)
			for _, s := range row.says {
				require.Contains(t, stderr, s)
			}
			if row.says == nil {
				require.Empty(t, stderr, "nothing to say")
			}
			require.NotContains(t, stderr, "goroutine ", "no stack trace")
			require.NotContains(t, stderr, `"level"`, "no log lines")
		})
	}
}

// audited parts the lines that say who was shown bodies from the others.
func audited(stderr string) (audit []string, rest string) {
	for line := range strings.Lines(stderr) {
		if strings.Contains(line, "bodies shown") {
			audit = append(audit, line)
		} else {
			rest += line
		}
	}
	return audit, rest
}

func TestBodiesAreHiddenOrAudited(t *testing.T) {
	shop := []string{"--brokers", kafka(t), "--topic-prefix", "shop"}
	for _, row := range []struct {
		args   []string
		bodies bool
		says   []string
	}{
		{[]string{"cat", "--filter", "GET /items/*", "--from", "2026-11-22"}, true, []string{`"command":"cat"`, `"filter":["GET /items/*"]`, `"from":"2026-11-22"`}},
		{[]string{"cat", "--show-bodies=false"}, false, nil},
		{[]string{"cat", "-o", "json", "--show-bodies"}, true, []string{`"topic":"shop.exchanges"`}},
		{[]string{"cat", "-o", "table"}, false, nil},
		{[]string{"get", "01:a"}, true, []string{`"command":"get"`, `"id":"01:a"`}},
		{[]string{"get", "01:a", "-o", "json", "--show-bodies=false"}, false, nil},
		{[]string{"get", "01:a", "-o", "table"}, false, nil},
		{[]string{"get", "01:a", "-o", "table", "--show-bodies"}, true, []string{`"command":"get"`}},
		{[]string{"get", "01:a", "-o", "raw"}, true, nil},
	} {
		t.Run(strings.Join(row.args, " "), func(t *testing.T) {
			stdout, stderr, code := run(t, append(row.args, shop...)...)
			require.Zero(t, code, stderr)
			audit, _ := audited(stderr)
			if !row.bodies {
				require.Empty(t, audit)
				require.NotContains(t, stdout, `"body"`)
				return
			}
			require.Len(t, audit, 1)
			for _, want := range append(row.says, `"audit":true`, fmt.Sprintf(`"uid":%d`, os.Getuid()), `"user":`, `"time":`) {
				require.Contains(t, audit[0], want)
			}
		})
	}
}

func TestDataGoesToStdoutAsNDJSONWhereThereIsNoTerminal(t *testing.T) {
	broker := kafka(t)
	stdout, _, _ := run(t, "cat", "--brokers", broker, "--topic-prefix", "shop")
	for line := range strings.Lines(stdout) {
		require.True(t, json.Valid([]byte(line)), line)
	}
	stdout, _, code := run(t, "get", "01:a", "-o", "raw", "--brokers", broker, "--topic-prefix", "shop")
	require.Zero(t, code)
	var d traffic.Decoder
	var x traffic.Exchange
	require.NoError(t, d.Decode([]byte(stdout), &x))
	require.Equal(t, "/items/9", string(x.Request.Target))

	stdout, _, _ = run(t, "get", "01:a", "-o", "table", "--brokers", broker, "--topic-prefix", "shop")
	require.Contains(t, stdout, "GET /items/9")
	require.Contains(t, stdout, "(1 byte, hidden; --show-bodies shows them)")
	stdout, _, _ = run(t, "get", "01:a", "-o", "table", "--show-bodies", "--brokers", broker, "--topic-prefix", "shop")
	require.Contains(t, stdout, "\n\nb\n")
}

func TestAReaderThatGoesAwayIsNoError(t *testing.T) {
	broker := kafka(t)
	c := command(t, "cat", "--brokers", broker, "--topic-prefix", "shop")
	r, w, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, r.Close())
	var talk bytes.Buffer
	c.Stdout, c.Stderr = w, &talk
	require.NoError(t, c.Run())
	require.NoError(t, w.Close())
	_, rest := audited(talk.String())
	require.Empty(t, rest)
}

func TestTailFollowsUntilInterrupted(t *testing.T) {
	broker := kafka(t)
	c := command(t, "tail", "-n", "2", "--brokers", broker, "--topic-prefix", "shop")
	stdout, err := c.StdoutPipe()
	require.NoError(t, err)
	var talk bytes.Buffer
	c.Stderr = &talk
	require.NoError(t, c.Start())
	lines := bufio.NewScanner(stdout)
	for _, want := range []string{"/items/8", "/items/9"} {
		require.True(t, lines.Scan())
		require.Contains(t, lines.Text(), want)
	}
	x := &traffic.Exchange{ID: traffic.ID{2}, CaptureTime: time.Now(), Request: traffic.Request{Target: []byte("/new")}}
	_, err = topic.Produce(context.Background(), topic.Config{Brokers: []string{broker}}, "shop.exchanges",
		&topic.Record{Value: traffic.AppendExchange(nil, x), Time: time.Now()})
	require.NoError(t, err)
	require.True(t, lines.Scan())
	require.Contains(t, lines.Text(), "/new")
	require.NoError(t, c.Process.Signal(os.Interrupt))
	require.False(t, lines.Scan())
	exit, ok := errors.AsType[*exec.ExitError](c.Wait())
	require.True(t, ok)
	require.Equal(t, 130, exit.ExitCode())
	_, rest := audited(talk.String())
	require.Empty(t, rest)
}

func TestHelpHasExamples(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"cat", "--help"}, {"tail", "--help"}, {"get", "--help"}, {"stats", "--help"}, {"topics", "--help"}, {"lint", "--help"}} {
		stdout, _, code := run(t, args...)
		require.Zero(t, code)
		require.Contains(t, stdout, "Examples:")
	}
	stdout, _, _ := run(t, "--help")
	require.Contains(t, stdout, "Exit codes:")
}
