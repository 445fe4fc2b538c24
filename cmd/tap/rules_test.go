package main

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

// openBook gives a tap the flags, and a rules file of that text.
func openBook(t *testing.T, text string, args ...string) (o *captureOptions, b *ruleBook, said *bytes.Buffer) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	o = new(captureOptions)
	fs := pflag.NewFlagSet("tap", pflag.ContinueOnError)
	o.addFlags(fs)
	require.NoError(t, fs.Parse(append(args, "--rules", path)))
	require.NoError(t, o.check().first(), "a bad rules file is no usage error: traffic must pass")
	said = new(bytes.Buffer)
	b, err := o.openRules(slog.New(slog.NewTextHandler(said, nil)))
	require.NoError(t, err)
	return o, b, said
}

func request(target string) *traffic.Exchange {
	return &traffic.Exchange{Request: traffic.Request{Method: []byte("GET"), Target: []byte(target)}}
}

func TestBadRulesAtTheStartRecordNothingUntilTheyAreMended(t *testing.T) {
	o, b, said := openBook(t, "filter: {inclde: [GET /a]}\n")
	require.True(t, b.settings(o).Rules.Unknown)
	require.Contains(t, b.settings(o).Rules.Flaw, "did you mean include?")
	require.Contains(t, said.String(), "THE RULES FILE IS BAD, AND NOTHING IS RECORDED")
	require.False(t, b.changed())

	require.NoError(t, os.WriteFile(b.path, []byte("filter: {include: [GET /a]}\nsample: {rate: 10%}\n"), 0o600))
	require.False(t, b.changed(), "it may still be being written")
	require.True(t, b.changed())
	b.read()()
	require.False(t, b.changed())
	s := b.settings(o)
	require.False(t, s.Rules.Unknown)
	require.Empty(t, s.Rules.Flaw)
	require.NotNil(t, s.Rules.Redactor)
	require.Equal(t, "10%", s.Sample.String())
	keep, _ := s.Rules.Filter.Keep(request("/b"))
	require.False(t, keep)
	require.Contains(t, said.String(), "THE RULES FILE IS GOOD NOW")
}

func TestFileThatGoesBadLeavesTheRulesBeforeInForce(t *testing.T) {
	o, b, said := openBook(t, "filter: {exclude: [GET /a]}\nsample: {rate: 10%, by: request}\n")
	good := b.settings(o)
	for _, text := range []string{"filter: [", "version: x\n"} {
		require.NoError(t, os.WriteFile(b.path, []byte(text), 0o600))
		b.read()()
		now := b.settings(o)
		require.Same(t, good.Rules.Filter, now.Rules.Filter)
		require.Equal(t, good.Sample, now.Sample)
		require.False(t, now.Rules.Unknown)
		require.Contains(t, now.Rules.Flaw, "rules.yaml:1:")
	}
	b.changed()
	require.NoError(t, os.Remove(b.path))
	require.False(t, b.changed(), "it may still be being written")
	require.True(t, b.changed())
	b.read()()
	require.False(t, b.changed())
	require.Contains(t, b.settings(o).Rules.Flaw, "no such file")
	require.Contains(t, said.String(), "the rules before it stay in force")
}

func TestFlagsAreStrongerThanTheRulesFile(t *testing.T) {
	o, b, _ := openBook(t, "sample: {rate: 10%, by: request}\n", "--sample", "50%", "--sample-by", "connection", "--exclude", "GET /x")
	s := b.settings(o)
	require.Equal(t, "50%", s.Sample.String())
	require.EqualValues(t, "connection", s.SampleBy)
	require.Equal(t, []string{"GET /x"}, s.Exclude, "filters of both count")
}

func TestFileIsReadAgainWhenItChanges(t *testing.T) {
	_, b, _ := openBook(t, "version: 1\n")
	require.Positive(t, b.every())
	require.NoError(t, os.Chtimes(b.path, time.Time{}, time.Now().Add(time.Hour)))
	require.False(t, b.changed(), "it may still be being written")
	require.True(t, b.changed())
	b.read()()
	// Put in place of the other, as a ConfigMap's are: same size, same time.
	info, err := os.Stat(b.path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(b.path+".new", []byte("version: 2\n"), 0o600))
	require.NoError(t, os.Chtimes(b.path+".new", time.Time{}, info.ModTime()))
	require.NoError(t, os.Rename(b.path+".new", b.path))
	require.False(t, b.changed(), "it may still be being written")
	require.True(t, b.changed())
	b.read()()
	require.EqualValues(t, 2, b.now.Version)
}

func TestTapWithBadRulesServesAndObeysThemWhenTheyAreMended(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules.yaml")
	write := func(text string) {
		// In place of the other at once: half a file may be a good one.
		require.NoError(t, os.WriteFile(path+".new", []byte(text), 0o600))
		require.NoError(t, os.Rename(path+".new", path))
	}
	write("filter: {inclde: /a}\n")
	listen, admin := freePort(t), ""
	p := startTap(t, []string{"REPRISE_RULES=" + path}, "--listen", listen, "--upstream", newOrigin(t), "--admin", "127.0.0.1:0")
	p.saysWithin(t, "THE RULES FILE IS BAD, AND NOTHING IS RECORDED UNTIL IT IS MENDED")
	p.saysWithin(t, `"msg":"listening"`)
	require.Eventually(t, func() bool {
		m := regexp.MustCompile(`"msg":"admin","listen":"([^"]+)"`).FindStringSubmatch(p.said())
		if m != nil {
			admin = m[1]
		}
		return m != nil
	}, patience, 2*time.Millisecond)

	get := func(address, target string) string {
		res, err := http.Get("http://" + address + target) //nolint:noctx // the test ends with it
		require.NoError(t, err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return string(body)
	}
	counts := func(metric string) func() bool {
		return func() bool { return strings.Contains(get(admin, "/metrics"), metric) }
	}
	require.Equal(t, "/a ", get(listen, "/a"), "traffic passes")
	require.Eventually(t, counts(`reprise_tap_exchanges_total{reason="bad_rules",result="filtered"} 1`), patience, 20*time.Millisecond)
	require.True(t, counts("reprise_tap_rules_bad 1")())

	write("filter: {include: {name: first, path: /a}}\n")
	p.saysWithin(t, "THE RULES FILE IS GOOD NOW")
	get(listen, "/a")
	require.Eventually(t, counts(`reprise_tap_rule_decided_total{list="include",rule="first"} 1`), patience, 20*time.Millisecond)
	require.True(t, counts("reprise_tap_rules_bad 0")())

	write("filter: {include: [}\n")
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
	p.saysWithin(t, "the rules before it stay in force")
	get(listen, "/a")
	require.Eventually(t, counts(`reprise_tap_rule_decided_total{list="include",rule="first"} 2`), patience, 20*time.Millisecond)
	require.True(t, counts("reprise_tap_rules_bad 1")())
}
