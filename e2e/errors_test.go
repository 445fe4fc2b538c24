//go:build e2e

package e2e_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/feed"
	"github.com/reprise-io/reprise/e2e/shop"
	"github.com/reprise-io/reprise/internal/topic"
)

// requireExplained: an error says what, names the thing, and tells what to try or why.
func requireExplained(t *testing.T, stderr, program string, names ...string) {
	t.Helper()
	require.Contains(t, stderr, program+": ", "the program says who it is")
	require.Regexp(t, `(?m)^  (cause|try)   ? ?\S`, stderr, "what it was about, or what to try")
	for _, name := range names {
		require.Contains(t, stderr, name)
	}
	requireNoTrace(t, stderr)
}

func TestErrorsSayWhatAndWhatToTry(t *testing.T) {
	startKafka(t)
	broker := shared.broker.Addr()
	nobody := freeAddr(t)
	own := filepath.Join(t.TempDir(), "own.gor")
	require.NoError(t, os.WriteFile(own, []byte(gor(2)), 0o600))
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	busy := taken.Addr().String()

	prefix, names := newPrefix()
	_, err = feed.Made{Count: 5, Rate: 100, Seed: 41, Start: time.Now().Add(-time.Minute)}.Write(within(t, time.Minute), broker, names)
	require.NoError(t, err)
	there := "--brokers " + broker + " --topic-prefix " + prefix // a topic that is all right
	target, addr := serveNothing(t)
	allow := []string{"--target", "http://" + addr, "--allow-target", addr}
	args := func(parts ...any) []string {
		var all []string
		for _, p := range parts {
			switch p := p.(type) {
			case string:
				all = append(all, strings.Fields(p)...)
			case []string:
				all = append(all, p...)
			}
		}
		return all
	}

	for _, c := range []struct {
		name    string
		program string
		args    []string
		code    int
		says    []string
	}{
		{"replayer, wrong broker", "replayer", args("run --brokers "+nobody, allow), 1, []string{nobody, "--brokers"}},
		{"live, wrong broker", "replayer", args("live --brokers "+nobody, allow), 1, []string{nobody, "--brokers"}},
		{"inspect, wrong broker", "inspect", args("cat --brokers " + nobody), 1, []string{nobody, "--brokers"}},
		{"inspect topics, wrong broker", "inspect", args("topics --brokers " + nobody), 1, []string{nobody, "--brokers"}},
		{"import, wrong broker", "tap", args("import", own, "--brokers "+nobody), 1, []string{nobody, "--brokers"}},
		{"replayer, unknown topic", "replayer", args("run --topic-prefix nope --brokers "+broker, allow), 1, []string{"nope.exchanges", "--topic-prefix"}},
		{"inspect, unknown topic", "inspect", args("cat --topic-prefix nope --brokers " + broker), 1, []string{"nope.exchanges", "--topic-prefix"}},
		{"proxy, port in use", "tap", args("proxy --listen " + busy + " --upstream " + addr + " --brokers " + broker), 1, []string{busy, "in use"}},
		{"proxy, admin port in use", "tap", args("proxy --listen 127.0.0.1:0 --upstream " + addr + " --admin " + busy + " --brokers " + broker), 1, []string{busy, "in use"}},
		{"broker, port in use", "tap", args("broker --listen "+busy+" --data", t.TempDir()), 1, []string{busy, "in use"}},
		{"proxy, no upstream", "tap", args("proxy --listen 127.0.0.1:0"), 2, []string{"upstream"}},
		{"speed is no number", "replayer", args("run --speed fast "+there, allow), 2, []string{`"fast"`, "max"}},
		{"speed is zero", "replayer", args("run --speed 0 "+there, allow), 2, []string{`"0"`}},
		{"speed is negative", "replayer", args("run --speed=-1 "+there, allow), 2, []string{`"-1"`}},
		{"from is no time", "replayer", args("run --from soon "+there, allow), 2, []string{`"soon"`}},
		{"target is no URL", "replayer", args("run --target preprod --allow-target preprod " + there), 2, []string{"preprod"}},
		{"bad filter", "inspect", args("cat "+there+" --filter", []string{"method = = 1"}), 2, []string{"method"}},
		{"unknown command", "inspect", args("cta"), 2, []string{"cat"}},
		{"unknown flag", "replayer", args("run --sped 2"), 2, []string{"--sped"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := run(t, 2*time.Minute, c.program, c.args...)
			require.Equal(t, c.code, got.Code, "stdout %q stderr %q", got.Stdout, got.Stderr)
			require.Empty(t, got.Stdout, "stdout is data")
			requireExplained(t, got.Stderr, c.program, c.says...)
		})
	}
	require.Zero(t, target.Requests(), "nothing was sent")
}

func TestSameRunWithAnotherSpecIsRefused(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	_, err := feed.Made{Count: 20, Rate: 1000, Seed: 42, Start: time.Now().Add(-time.Minute)}.
		Write(within(t, time.Minute), shared.broker.Addr(), names)
	require.NoError(t, err)
	target, addr := serveNothing(t)
	r := replay(t, time.Minute, replayArgs("run", prefix, addr, "--run", "build-481", "--speed", "max")...)
	require.EqualValues(t, 20, r.Fired)
	before := target.Requests()

	other := run(t, time.Minute, "replayer", replayArgs("run", prefix, addr, "--run", "build-481", "--speed", "2")...)
	require.Equal(t, 2, other.Code, other.Stderr)
	requireExplained(t, other.Stderr, "replayer", "build-481")
	require.Equal(t, before, target.Requests(), "nothing was sent")

	r = replay(t, time.Minute, replayArgs("run", prefix, addr, "--run", "build-481", "--speed", "max", "--restart")...)
	require.EqualValues(t, 20, r.Fired)
	require.EqualValues(t, 2, r.Generation)
}

func TestEmptyTopicSaysSo(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	admin, err := topic.NewAdmin(topic.Config{Brokers: []string{shared.broker.Addr()}})
	require.NoError(t, err)
	defer admin.Close()
	require.NoError(t, admin.Ensure(within(t, time.Minute), []topic.Spec{
		topic.ExchangesSpec(names, 3), topic.ControlSpec(names), topic.ResultsSpec(names, 3),
	}))
	target, addr := serveNothing(t)
	got := run(t, time.Minute, "replayer", replayArgs("run", prefix, addr, "--run", "empty")...)
	require.Equal(t, 1, got.Code, "stdout %q stderr %q", got.Stdout, got.Stderr)
	requireExplained(t, got.Stderr, "replayer", names.Exchanges)
	require.Zero(t, target.Requests())

	for _, command := range []string{"cat", "stats"} {
		got := run(t, time.Minute, "inspect", command, "--brokers", shared.broker.Addr(), "--topic-prefix", prefix)
		require.Zero(t, got.Code, "%s: %s", command, got.Stderr)
	}
}

func TestCorruptRecordIsCountedAndBlocksNothing(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	broker := shared.broker.Addr()
	_, err := feed.Made{Count: 30, Rate: 1000, Seed: 43, Partitions: 1, Start: time.Now().Add(-time.Minute)}.
		Write(within(t, time.Minute), broker, names)
	require.NoError(t, err)
	offsets, err := topic.Produce(within(t, time.Minute), topic.Config{Brokers: []string{broker}}, names.Exchanges,
		&topic.Record{Value: []byte("\xff\xff this is no exchange"), Time: time.Now()}, &topic.Record{Value: nil, Time: time.Now()})
	require.NoError(t, err)
	require.Equal(t, []int64{30, 31}, offsets)
	_, err = feed.Made{Count: 30, Rate: 1000, Seed: 44, Partitions: 1, Start: time.Now().Add(-30 * time.Second)}.
		Write(within(t, time.Minute), broker, names)
	require.NoError(t, err)

	target, addr := serveNothing(t)
	r := replay(t, time.Minute, replayArgs("run", prefix, addr, "--run", "corrupt", "--speed", "max")...)
	require.EqualValues(t, 60, r.Fired)
	require.Equal(t, 60, target.Requests())
	require.EqualValues(t, 2, r.BadTotal)
	require.Len(t, r.BadRecords, 2)
	require.EqualValues(t, 0, r.BadRecords[0].Partition)
	require.ElementsMatch(t, []int64{30, 31}, []int64{r.BadRecords[0].Offset, r.BadRecords[1].Offset})
	require.NotEmpty(t, r.BadRecords[0].Reason)

	cat := run(t, time.Minute, "inspect", "cat", "--brokers", broker, "--topic-prefix", prefix, "-o", "ndjson")
	require.Len(t, readPrinted(t, cat.Stdout), 60)
	require.Equal(t, 4, cat.Code, "incomplete: %s", cat.Stderr)
	require.Contains(t, cat.Stderr, "30")
}

func TestCommandsForPeopleWork(t *testing.T) {
	startKafka(t)
	prefix, _ := newPrefix()
	_, production := serveShop(t, shop.Options{})
	tap := startTap(t, prefix, production)
	visits, err := shop.Visit{URL: tap.url(), Rate: 500, Seed: 45, Requests: 300}.Run(t.Context())
	require.NoError(t, err)
	tap.settled(t, visits.Requests)
	kafka := []string{"--brokers", shared.broker.Addr(), "--topic-prefix", prefix}

	topics := run(t, time.Minute, "inspect", append([]string{"topics"}, kafka...)...)
	require.Zero(t, topics.Code, topics.Stderr)
	require.Contains(t, topics.Stdout, prefix+".exchanges")
	stats := run(t, time.Minute, "inspect", append([]string{"stats", "-o", "table"}, kafka...)...)
	require.Zero(t, stats.Code, stats.Stderr)
	require.Contains(t, stats.Stdout, "/items/{id}")
	require.Contains(t, stats.Stdout, "300")
	some := run(t, time.Minute, "inspect", append([]string{"cat", "-o", "ndjson", "--filter", `method == "POST" && status == 201`}, kafka...)...)
	require.Zero(t, some.Code, some.Stderr)
	require.Len(t, readPrinted(t, some.Stdout), visits.Status[201])
	some = run(t, time.Minute, "inspect", append([]string{"cat", "-o", "ndjson", "--filter", "POST /cart"}, kafka...)...)
	require.Len(t, readPrinted(t, some.Stdout), visits.Status[201], "the shorthand chooses the same")

	for _, program := range []string{"tap", "replayer", "inspect"} {
		help := run(t, 2*time.Minute, program, "--help")
		require.Zero(t, help.Code)
		require.Contains(t, help.Stdout, "Examples:")
		version := run(t, 2*time.Minute, program, "--version")
		require.Zero(t, version.Code)
		require.Contains(t, version.Stdout, program)
	}
}
