package main

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/replay"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/traffic"
)

func TestBadFlagsSayWhatToTry(t *testing.T) {
	const good = "http://127.0.0.1:8080"
	for name, c := range map[string]struct {
		change func(*options)
		says   string
	}{
		"no target":        {func(o *options) { o.target = "" }, "--target"},
		"no scheme":        {func(o *options) { o.target = "preprod:8080" }, "preprod"},
		"other scheme":     {func(o *options) { o.target = "ftp://preprod" }, "http://"},
		"a path":           {func(o *options) { o.target = good + "/v2" }, "/v2"},
		"credentials":      {func(o *options) { o.target = "http://me:secret@preprod" }, "xxxxx"},
		"baseline":         {func(o *options) { o.baseline = "old:8080" }, "bad --baseline-target"},
		"noise with path":  {func(o *options) { o.noise = good + "/v1" }, "bad --noise-target"},
		"protocol":         {func(o *options) { o.protocol = "h3" }, "http1 or h2"},
		"TLS over http":    {func(o *options) { o.tls.Insecure = true }, "https"},
		"TLS file":         {func(o *options) { o.target, o.tls.CA = "https://preprod", "/no/such" }, "/no/such"},
		"speed":            {func(o *options) { o.speed = "fast" }, `"fast"`},
		"speed zero":       {func(o *options) { o.speed = "0" }, `"0"`},
		"sample":           {func(o *options) { o.sample = "ten" }, "0% to 100%"},
		"sample of none":   {func(o *options) { o.sample = "0%" }, "nothing would be sent"},
		"threshold":        {func(o *options) { o.failOn = []string{"eror_rate > 1%"} }, "error_rate > 1%"},
		"loop":             {func(o *options) { o.loops = -2 }, "--loop 3"},
		"clone id":         {func(o *options) { o.cloneIDs = []string{"body:x"} }, "header:NAME, field:NAME"},
		"clone cookie":     {func(o *options) { o.cloneIDs = []string{"cookie:sid"} }, "cookies of its own"},
		"order":            {func(o *options) { o.order = "user" }, "session"},
		"from":             {func(o *options) { o.from = "soon" }, `"soon"`},
		"to":               {func(o *options) { o.to = "later" }, `"later"`},
		"group protocol":   {func(o *options) { o.groupProtocol = "share" }, "consumer"},
		"production":       {func(o *options) { o.production = []string{"10.0.0.0/40"} }, "--production"},
		"handshake":        {func(o *options) { o.handshake = "X-Preprod" }, "'Name: value'"},
		"handshake path":   {func(o *options) { o.handshake, o.handshakePath = "X-Preprod: yes", "healthz" }, "--handshake-path"},
		"header":           {func(o *options) { o.setHeaders = []string{"X-Test"} }, "Name: value"},
		"key on the line":  {func(o *options) { o.RedactKey = "mysecretkey" }, "env:NAME"},
		"unset key":        {func(o *options) { o.RedactKey = "env:REPRISE_NO_SUCH_KEY" }, "REPRISE_NO_SUCH_KEY"},
		"unknown loglevel": {func(o *options) { o.LogLevel = "loud" }, "debug"},
	} {
		t.Run(name, func(t *testing.T) {
			o := options{target: good, speed: "1", order: "session"}
			o.LogLevel, o.LogFormat = "info", "text"
			_, err := o.resolve(io.Discard)
			require.NoError(t, err)
			c.change(&o)
			_, err = o.resolve(io.Discard)
			var f *fault.Error
			require.ErrorAs(t, err, &f)
			require.Equal(t, fault.Usage, fault.Code(err))
			text := f.What + " " + f.Cause + " " + f.Try
			require.Contains(t, text, c.says)
			require.NotContains(t, text, "secret@")
			require.NotContains(t, text, "mysecretkey")
		})
	}
}

func TestNumbersOutOfRangeAreNotReplacedByDefaults(t *testing.T) {
	for _, command := range [][]string{
		{"run", "--run", ""},
		{"run", "--sample", ""},
		{"run", "--clone", "0"},
		{"plan", "--clone", "-1"},
		{"run", "--wait-replicas", "0"},
		{"run", "--concurrency", "-1"},
		{"live", "--retries", "-1"},
		{"run", "--timeout", "0s"},
		{"run", "--order-wait", "-1s"},
		{"run", "--late-after", "0s"},
		{"run", "--look-ahead", "1"},
		{"live", "--lag", "0s"},
		{"live", "--max-stale", "-1m"},
		{"live", "--duration", "-1s"},
	} {
		root := newRoot()
		root.SetArgs(append(command, "--target", "http://127.0.0.1:1", "--allow-target", "127.0.0.1", "--brokers", "127.0.0.1:1"))
		err := root.Execute()
		require.ErrorContains(t, err, "bad "+command[1]+" ", command)
		require.Equal(t, fault.Usage, fault.Code(err))
	}
}

func TestHelpOfEveryCommandHasExamples(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"run", "--help"}, {"live", "--help"}, {"plan", "--help"}} {
		root := newRoot()
		var out bytes.Buffer
		root.SetOut(&out)
		root.SetArgs(args)
		require.NoError(t, root.Execute())
		require.Contains(t, out.String(), "--allow-target preprod:8080")
	}
}

func TestOrdersSayWhatTheyDo(t *testing.T) {
	for _, c := range newOrderCommands() {
		require.Contains(t, c.Example, "replayer "+c.Name()+" build-481")
		about := "All replicas of the run obey at the same moment"
		if c.Name() == "stop" {
			about = "Each replica of the run obeys as soon as it reads the order"
		}
		require.Contains(t, c.Long, about)
	}
	for _, args := range [][]string{
		{"pause"}, {"pause", "a", "b"}, {"speed", "a"}, {"speed", "a", "fast"}, {"seek", "a", "soon"}, {"stop", "a", "--brokers"},
	} {
		root := newRoot()
		root.SetArgs(args)
		root.SetOut(new(bytes.Buffer))
		root.SetErr(new(bytes.Buffer))
		require.Error(t, root.Execute(), args)
	}
}

func TestSpeedCommandSpeaksOfItself(t *testing.T) {
	root := newRoot()
	root.SetArgs([]string{"speed", "a", "1..5/10m"})
	e, ok := errors.AsType[*fault.Error](root.Execute())
	require.True(t, ok)
	require.Equal(t, `bad speed "1..5/10m"`, e.What)
	require.Equal(t, "replayer speed RUN 2", e.Try)
}

func TestMarksThatAreReplayedNevertheless(t *testing.T) {
	f, err := parseFlagged([]string{"truncated-request", "GAP", "REDACTION_FAILED"})
	require.NoError(t, err)
	require.Equal(t, traffic.TruncatedRequest|traffic.Gap|traffic.RedactionFailedRequest, f)
	for _, bad := range []string{"", "GAB", "NO_RESPONSE", "FLAG_GAP"} {
		_, err := parseFlagged([]string{bad})
		require.Equal(t, fault.Usage, fault.Code(err), bad)
	}
	_, err = parseFlagged([]string{"GAB"})
	require.ErrorContains(t, err, "GAP")
}

func TestOnlyARunThatCanGoOnIsToldToBeResumable(t *testing.T) {
	stopped := &report.Report{State: "stopped"}
	require.True(t, resumable(stopped, nil))
	require.True(t, resumable(stopped, &fault.Error{What: "run x was stopped", Err: errors.New("kill switch")}))
	require.False(t, resumable(stopped, &fault.Error{What: "run x was stopped", Err: replay.ErrMaxTotal}))
	require.False(t, resumable(&report.Report{State: "finished"}, nil))
}

func TestRunsThatNobodyHasNamedAreRunsOfTheirOwn(t *testing.T) {
	now := time.Date(2026, 3, 2, 1, 30, 0, 0, time.FixedZone("UTC+8", 8*3600))
	seen := make(map[string]bool)
	for range 5 { // all of one second
		seen[newRunName(now)] = true
	}
	require.Greater(t, len(seen), 1)
	for name := range seen {
		require.Regexp(t, `^run-20260301-173000-[a-z2-7]{4}$`, name)
	}
}
