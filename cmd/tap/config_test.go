package main

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/capture/proxy"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/yamlfile"
)

// written is a configuration file of that text.
func written(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "tap.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// commandLine is what `tap run` was given.
func commandLine(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	fs := newRunCommand().Flags()
	require.NoError(t, fs.Parse(append([]string{"--config", "x"}, args...)))
	return fs
}

const twoProxies = `
sources:
  - kind: proxy
    listen: :8080
    upstream: 127.0.0.1:9000
  - kind: proxy
    name: search
    listen: :8081
    upstream: 127.0.0.1:9001
    response-wait: 5s
`

func TestConfigIsTheFlags(t *testing.T) {
	path := written(t, `
name: gateway-2
brokers: [kafka-1:9092, "kafka-2:9092"]
sample: 10%
include:
  - GET /api/**
  - method == "POST" && path startsWith "/x"   # an expression
exclude: GET /health
rate-limit: 500
memory-max: 32MiB
linger: 50ms
workers: 3
pprof: true
capture: off
redact: on
`+twoProxies)
	c, err := loadConfig(path, commandLine(t))
	require.NoError(t, err)
	require.Equal(t, "gateway-2", c.name)
	require.Equal(t, []string{"kafka-1:9092", "kafka-2:9092"}, c.Brokers)
	require.Equal(t, []string{"GET /api/**", `method == "POST" && path startsWith "/x"`}, c.include)
	require.Equal(t, []string{"GET /health"}, c.exclude)
	require.InDelta(t, 500, c.rateLimit, 0)
	require.EqualValues(t, 32<<20, c.memoryMax)
	require.Equal(t, 50*time.Millisecond, c.linger)
	require.Equal(t, 3, c.workers)
	require.True(t, c.Pprof)
	settings, wrong := c.settings()
	require.Empty(t, wrong)
	require.False(t, settings.Capture)
	require.Equal(t, "10%", settings.Sample.String())

	require.Len(t, c.sources, 2)
	require.Equal(t, "proxy", c.sources[0].name)
	search, ok := c.sources[1].source.(*proxyOptions)
	require.True(t, ok)
	require.Equal(t, proxyOptions{
		listen: ":8081", upstream: []string{"127.0.0.1:9001"}, responseWait: 5 * time.Second, drainTimeout: 10 * time.Second, loops: halfOfTheCores(), nice: -10,
		protocolIn: "off", protocolOut: "off", tls: proxy.TLS{ALPN: []string{"http/1.1"}},
	}, *search)
}

func TestCommandLineIsStrongerThanTheFile(t *testing.T) {
	path := written(t, "sample: 10%\nbrokers: a:1,b:2\nexclude: [GET /x]\nlinger: 1s\n"+twoProxies)
	c, err := loadConfig(path, commandLine(t, "--sample", "1%", "--exclude", "GET /a,b", "--exclude", "GET /c"))
	require.NoError(t, err)
	require.Equal(t, "1%", c.sample)
	require.Equal(t, []string{"a:1", "b:2"}, c.Brokers)
	require.Equal(t, []string{"GET /a,b", "GET /c"}, c.exclude)
	require.Equal(t, time.Second, c.linger)
}

func TestEffectiveConfigIsAFileThatSaysTheSame(t *testing.T) {
	t.Setenv("REPRISE_TEST_KEY", "0123456789abcdef0123")
	path := written(t, "redact-key: env:REPRISE_TEST_KEY\ninclude: ['status >= 500', \"path contains \\\"'\\\"\"]\nrate-limit: 0.5\n"+twoProxies)
	c, err := loadConfig(path, commandLine(t))
	require.NoError(t, err)
	text, err := c.effective()
	require.NoError(t, err)
	again, err := loadConfig(written(t, string(text)), nil)
	require.NoError(t, err, string(text))
	require.Empty(t, differ(c.flags, again.flags))
	for i := range c.sources {
		require.Empty(t, differ(c.sources[i].flags, again.sources[i].flags))
		require.Equal(t, c.sources[i].name, again.sources[i].name)
	}
	textAgain, err := again.effective()
	require.NoError(t, err)
	require.Equal(t, string(text), string(textAgain))
}

func TestFlawsAreToldWithTheirPlace(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want []string // at and what, in order
	}{
		"unknown key":        {"smaple: 10%\n" + twoProxies, []string{`:1:1: unknown key "smaple": did you mean sample?`}},
		"far from any":       {"frobnicate: 1\n" + twoProxies, []string{`:1:1: unknown key "frobnicate": want sources, `}},
		"bad share":          {"name: x\nsample: 200%\n" + twoProxies, []string{`:2:1: bad share "200%"`}},
		"bad filter":         {"include:\n  - stat == 1\n" + twoProxies, []string{`:1:1: bad filter "stat == 1"`}},
		"wrong type":         {"workers: many\n" + twoProxies, []string{`:1:10: invalid argument "many" for "--workers"`}},
		"no workers":         {"workers: 0\n" + twoProxies, []string{`:1:1: bad --workers 0`}},
		"no partitions":      {"partitions: -1\n" + twoProxies, []string{`:1:1: bad --partitions -1`}},
		"no linger":          {"linger: -1s\n" + twoProxies, []string{`:1:1: bad --linger -1s`}},
		"no topic's name":    {"topic-prefix: a b\n" + twoProxies, []string{`:1:15: invalid argument "a b" for "--topic-prefix"`}},
		"no spool":           {"spool-max: 2GiB\n" + twoProxies, []string{`:1:1: --spool-max without --spool-dir`}},
		"no wait":            {"sources:\n  - {kind: proxy, listen: \":1\", upstream: \"a:1\", response-wait: 0s}\n", []string{`:2:50: bad --response-wait 0s`}},
		"no loops":           {"sources:\n  - {kind: proxy, listen: \":1\", upstream: \"a:1\", loops: -1}\n", []string{`:2:50: bad --loops -1`}},
		"no nice value":      {"sources:\n  - {kind: proxy, listen: \":1\", upstream: \"a:1\", forward-nice: 1}\n", []string{`:2:50: bad --forward-nice 1`}},
		"no drain":           {"sources:\n  - {kind: ingest, listen: \":1\", drain-timeout: -1s}\n", []string{`:2:34: bad --drain-timeout -1s`}},
		"a list":             {"workers: [1, 2]\n" + twoProxies, []string{`:1:10: workers takes one value`}},
		"a mapping":          {"workers: {a: 1}\n" + twoProxies, []string{`:1:10: workers must be a plain value`}},
		"a list of lists":    {"include: [[GET]]\n" + twoProxies, []string{`:1:11: include must be a plain value`}},
		"no value":           {"exclude:\nname: x\n" + twoProxies, []string{`:1:9: exclude has no value`}},
		"twice":              {"name: a\nname: b\n" + twoProxies, []string{`:2:1: mapping key "name" already defined at [1:1]`}},
		"empty":              {"", []string{`:1:1: no sources`}},
		"only a comment":     {"# nothing\n", []string{`:1:1: no sources`}},
		"no list":            {"sources: proxy\n", []string{`:1:10: sources must be a list`}},
		"empty list":         {"sources: []\n", []string{`:1:1: no sources`}},
		"not a mapping":      {"hello\n", []string{`:1:1: the file must be a mapping`}},
		"a list at the top":  {"- a\n- b\n", []string{`:1:1: the file must be a mapping`}},
		"two documents":      {"name: a\n---\nname: b\n", []string{`:3:5: only one document is read`}},
		"no kind":            {"sources:\n  - name: x\n    listen: :1\n", []string{`:2:5: a source without a kind`}},
		"empty source":       {"sources:\n  - {}\n", []string{`:2:5: an empty source`}},
		"source is a text":   {"sources: [proxy]\n", []string{`:1:11: a source must be a mapping`}},
		"unknown kind":       {"sources:\n  - kind: prxy\n    listen: :1\n", []string{`:2:11: unknown kind of source "prxy": did you mean proxy?`}},
		"lacks upstream":     {"sources:\n  - kind: proxy\n    listen: :1\n", []string{`:2:5: this source lacks upstream`}},
		"bad upstream":       {"sources:\n  - kind: proxy\n    listen: :1\n    upstream: app\n", []string{`:4:5: bad --upstream "app"`}},
		"upstream as a URL":  {"sources:\n  - kind: proxy\n    listen: :1\n    upstream: http://app:9000\n", []string{`:4:5: bad --upstream "http://app:9000": an address is wanted, without a scheme`}},
		"port by name":       {"sources:\n  - {kind: proxy, listen: \":1\", upstream: \"app:http\"}\n", []string{`:2:33: bad --upstream "app:http"`}},
		"port too large":     {"sources:\n  - {kind: mirror, listen: \":70000\", production: \"app:-1\"}\n", []string{`:2:20: bad --listen ":70000"`, `:2:38: bad --production "app:-1"`}},
		"shared in a source": {"sources:\n  - kind: proxy\n    listen: :1\n    upstream: a:1\n    sample: 1%\n", []string{`:5:5: unknown key "sample": want kind, name`}},
		"same name":          {twoProxies + "  - {kind: proxy, name: search, listen: \":1\", upstream: \"a:1\"}\n", []string{`:11:19: another source is named search`}},
		"same address":       {twoProxies + "  - {kind: proxy, listen: \":8081\", upstream: \"a:1\"}\n", []string{`:11:19: source search listens on :8081 already`}},
		"overlapping":        {twoProxies + "  - {kind: proxy, listen: \"127.0.0.1:8081\", upstream: \"a:1\"}\n", []string{`:11:19: source search listens on :8081 already`}},
		"anchor":             {"name: &a x\n" + twoProxies, []string{`:1:7: anchors, aliases, tags`}},
		"tag":                {"name: !!str x\n" + twoProxies, []string{`:1:7: anchors, aliases, tags`}},
		"syntax":             {"name: [x\n", []string{`:1:7: sequence end token ']' not found`}},
		"all at once": {
			"smaple: 1\nworkers: x\nsample: 2\n" + twoProxies,
			[]string{`:1:1: unknown key`, `:2:10: invalid argument`, `:3:1: bad share "2"`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := written(t, test.text)
			_, err := loadConfig(path, commandLine(t))
			require.Equal(t, fault.Usage, fault.Code(err))
			bad, ok := errors.AsType[*yamlfile.Bad](err)
			require.True(t, ok, "%v", err)
			require.Len(t, bad.Flaws, len(test.want), "%q", bad.Flaws)
			for i, want := range test.want {
				require.True(t, strings.HasPrefix(bad.Flaws[i], path+want), "%q, want %s", bad.Flaws[i], want)
			}
		})
	}
}

func TestFlawShowsItsLine(t *testing.T) {
	path := written(t, "name: x\nsmaple: 10%\n"+twoProxies)
	_, err := loadConfig(path, nil)
	require.ErrorContains(t, err, "    2 | smaple: 10%\n      | ^")
}

func TestSecretsAreNotShown(t *testing.T) {
	for _, text := range []string{
		"redact-key: hunter2hunter2hunter2\n" + twoProxies, "redact-kye: hunter2hunter2\nkafka-sasl-pasword: hunter2\n",
		"redact-key: \"hunter2hunter2\n", "redact-key: [hunter2]\n", "{redact-key: hunter2, x: 1}\n",
	} {
		_, err := loadConfig(written(t, text), nil)
		require.Error(t, err)
		if !strings.Contains(text, "kye") { // a key that nobody knows for a secret's
			require.NotContains(t, err.Error(), "hunter2", text)
		}
	}
	c := &config{flags: pflag.NewFlagSet("x", pflag.ContinueOnError)}
	c.flags.String("sasl-password", "hunter2", "")
	c.flags.String("redact-key", "file:/etc/key", "")
	text, err := c.effective()
	require.NoError(t, err)
	require.NotContains(t, string(text), "hunter2")
	require.Contains(t, string(text), "file:/etc/key")
}

func TestJunkIsRefusedInGoodTime(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	junk := make([]byte, 1<<20)
	for i := range junk {
		junk[i] = byte(random.Uint32())
	}
	deep := func(s string) string { return strings.Repeat(s, yamlfile.MaxBytes/len(s)) }
	began := time.Now()
	for name, text := range map[string]string{
		"a mebibyte": string(junk), "as much as is read": string(junk[:yamlfile.MaxBytes]), "brackets": deep("["), "braces": deep("{a: "),
		"dashes": deep("- "), "question marks": deep("? "), "anchors": deep("&a "), "colons": deep(": "), "letters": deep("a"),
		"zeros": deep("\x00"), "lines": deep("\n"), "keys": deep("a:\n"), "quotes": deep("\""),
	} {
		_, err := loadConfig(written(t, text), nil)
		require.Equal(t, fault.Usage, fault.Code(err), name)
		require.Less(t, len(err.Error()), 16<<10, name)
	}
	require.Less(t, time.Since(began), time.Minute)
	_, err := loadConfig(t.TempDir(), nil)
	require.Equal(t, fault.Usage, fault.Code(err))
	_, err = loadConfig("/nowhere", nil)
	require.ErrorContains(t, err, "no such file")
}

func TestRereadNamesWhatWaitsForARestart(t *testing.T) {
	load := func(text string) *config {
		c, err := loadConfig(written(t, text), nil)
		require.NoError(t, err)
		return c
	}
	r := rereading{started: load("sample: 1%\nname: a\n" + twoProxies)}
	require.Empty(t, r.waits(load("sample: 2%\nname: a\nlog-level: debug\ncapture: off\n"+twoProxies)))
	require.Equal(t, []string{"name"}, r.waits(load("name: b\n"+twoProxies)))
	require.Equal(t, []string{"source proxy: upstream", "source search (not in the file any more)", "source find (new)"}, r.waits(load(`
name: a
sources:
  - {kind: proxy, listen: ":8080", upstream: "127.0.0.1:9009"}
  - {kind: proxy, name: find, listen: ":8081", upstream: "127.0.0.1:9001"}
`)))
}

func TestEveryKindOfSourceCanBeMade(t *testing.T) {
	for _, kind := range kindNames() {
		s := newSource(kind)
		require.NotNil(t, s, kind)
		fs := pflag.NewFlagSet(kind, pflag.ContinueOnError)
		fs.SetOutput(io.Discard)
		s.addFlags(fs)
		for _, taken := range []string{"kind", "name"} {
			require.Nil(t, fs.Lookup(taken), "%s has a flag that is a key of every source", kind)
		}
		shared := pflag.NewFlagSet("shared", pflag.ContinueOnError)
		new(captureOptions).addFlags(shared)
		fs.VisitAll(func(flag *pflag.Flag) { require.Nil(t, shared.Lookup(flag.Name), flag.Name) })
	}
	require.Nil(t, newSource("frobnicate"))
}

func FuzzConfig(f *testing.F) {
	f.Add("name: x\n" + twoProxies)
	f.Add("include: [GET, {a: b}]\nsources:\n  - kind: proxy\n  - - -\n")
	f.Add("a: |\n  text\nb: >-\n  folded\n? c\n: d\n--- x\n")
	f.Add("\"quoted\": 'x'\n%TAG ! x\n!t &a *a <<: *b\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 {
			return
		}
		file := newConfigFile("tap.yaml")
		c := file.build(text, nil)
		err := file.Err()
		if err == nil {
			require.NotEmpty(t, c.sources)
			_, err := c.effective()
			require.NoError(t, err)
			return
		}
		require.Equal(t, fault.Usage, fault.Code(err))
	})
}
