package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
)

func TestDurationsInLogsHaveTheirUnits(t *testing.T) {
	for format, want := range map[string]string{"json": `"lag":"3s"`, "text": `lag=3s`} {
		var out bytes.Buffer
		log, err := (&Shared{LogFormat: format, LogLevel: "info"}).Logger(&out)
		require.NoError(t, err)
		log.Warn("behind", "lag", 3*time.Second)
		require.Contains(t, out.String(), want)
	}
}

func TestTimesAsPeopleGiveThem(t *testing.T) {
	zone := time.FixedZone("UTC+8", 8*3600)
	now := time.Date(2026, 3, 2, 1, 30, 0, 0, zone)
	for in, want := range map[string]string{
		"now":                       "2026-03-01T17:30:00Z",
		"now-1h":                    "2026-03-01T16:30:00Z",
		"now-1h30m":                 "2026-03-01T16:00:00Z",
		"now-2d":                    "2026-02-27T17:30:00Z",
		"now+5m":                    "2026-03-01T17:35:00Z",
		"today":                     "2026-03-01T16:00:00Z", // midnight where the person is
		"yesterday":                 "2026-02-28T16:00:00Z",
		"2026-01-01":                "2025-12-31T16:00:00Z",
		"2026-01-01T00:00:00Z":      "2026-01-01T00:00:00Z",
		"2026-01-01T00:00:00+02:00": "2025-12-31T22:00:00Z",
	} {
		got, err := ParseTime(in, now)
		require.NoError(t, err, in)
		require.Equal(t, want, got.Format(time.RFC3339), in)
	}
	for _, bad := range []string{"", "soon", "now-", "now-x", "12:00", "2026-13-01"} {
		_, err := ParseTime(bad, now)
		require.Equal(t, fault.Usage, fault.Code(err), bad)
		require.ErrorContains(t, err, fmt.Sprintf("%q", bad))
	}
}

func TestSizes(t *testing.T) {
	for in, want := range map[string]Bytes{"0": 0, "17": 17, "64MiB": 64 << 20, "1.5KiB": 1536, "2 GB": 2e9, "10M": 10 << 20, "5B": 5} {
		var b Bytes
		require.NoError(t, b.Set(in), in)
		require.Equal(t, want, b, in)
	}
	for _, bad := range []string{"", "MiB", "-1", "1TiBx", "1e30GiB"} {
		var b Bytes
		require.Error(t, b.Set(bad), bad)
	}
	b := Bytes(64 << 20)
	require.Equal(t, "64MiB", b.String())
	b = 1000
	require.Equal(t, "1000", b.String())
}

func TestErrorSaysWhatCauseAndTry(t *testing.T) {
	var out bytes.Buffer
	PrintError(&out, "tap", fmt.Errorf("wrapped: %w", fault.New("no broker", "refused", "--brokers")))
	require.Equal(t, "tap: no broker\n  cause  refused\n  try    --brokers\n", out.String())
	out.Reset()
	PrintError(&out, "tap", errors.New("plain\nand more"))
	require.Equal(t, "tap: plain; and more\n", out.String())
}

func TestKeyComesFromEnvOrFileOnly(t *testing.T) {
	t.Setenv("REPRISE_TEST_KEY", "0123456789abcdef0123")
	key, random, err := (&Shared{RedactKey: "env:REPRISE_TEST_KEY"}).Key()
	require.NoError(t, err)
	require.False(t, random)
	require.Equal(t, "0123456789abcdef0123", string(key))

	path := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(path, []byte("0123456789abcdef\n"), 0o600))
	key, _, err = (&Shared{RedactKey: "file:" + path}).Key()
	require.NoError(t, err)
	require.Equal(t, "0123456789abcdef", string(key), "the editor's line end is no part of the key")

	_, random, err = (&Shared{}).Key()
	require.NoError(t, err)
	require.True(t, random)

	for _, bad := range []string{"env:REPRISE_NOT_SET", "file:/nowhere", "mysecretkeymysecretkey"} {
		_, _, err := (&Shared{RedactKey: bad}).Key()
		require.Equal(t, fault.Usage, fault.Code(err), bad)
		require.NotContains(t, err.Error(), "mysecret", "a key given by mistake is not repeated")
	}
}

func tree() *cobra.Command {
	root := &cobra.Command{Use: "prog"}
	sub := &cobra.Command{Use: "capture", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return nil }}
	sub.Flags().Int("n", 0, "")
	sub.Flags().String("dir", "", "")
	sub.Flags().StringSlice("at", nil, "")
	sub.Flags().Duration("wait", 0, "")
	sub.Flags().Bool("all", false, "")
	sub.Flags().Var(new(Bytes), "size", "")
	root.AddCommand(sub)
	prepare(root)
	root.SetOut(new(bytes.Buffer))
	return root
}

func TestUsageErrorsHaveCode2(t *testing.T) {
	for _, args := range [][]string{{"captur"}, {"capture", "--m"}, {"capture", "--n", "x"}, {"capture", "extra"}} {
		root := tree()
		root.SetArgs(args)
		require.Equal(t, fault.Usage, fault.Code(root.Execute()), args)
	}
	root := tree()
	root.SetArgs([]string{"captur"})
	e, ok := errors.AsType[*fault.Error](root.Execute())
	require.True(t, ok)
	require.Equal(t, "prog capture", e.Try, "the nearest name is offered")
}

func TestAFlagWithoutItsValueDoesNotTakeTheNextFlagForIt(t *testing.T) {
	for _, args := range [][]string{{"--dir", "--n", "5"}, {"--dir", "--n=5"}, {"--at", "--dir"}, {"--dir=--n"}} {
		root := tree()
		root.SetArgs(append([]string{"capture"}, args...))
		e, ok := errors.AsType[*fault.Error](root.Execute())
		require.True(t, ok, args)
		require.Equal(t, fault.Usage, e.Code)
		require.Contains(t, e.Error(), "needs a value")
	}
	root := tree()
	root.SetArgs([]string{"capture", "--dir", "--other", "--at", "-1,--x"})
	require.NoError(t, root.Execute(), "no flag is called that")
}

func TestAMistypedFlagIsToldTheNearestOne(t *testing.T) {
	for flag, try := range map[string]string{
		"--hepl":       "--help\nprog capture --help",
		"--helq":       "--help\nprog capture --help",
		"--quite-else": "prog capture --help",
		"-z":           "prog capture --help",
	} {
		root := tree()
		root.SetArgs([]string{"capture", flag})
		e, ok := errors.AsType[*fault.Error](root.Execute())
		require.True(t, ok, flag)
		require.Equal(t, try, e.Try, flag)
	}
}

func TestABadValueIsToldWhatItHasToBe(t *testing.T) {
	for flag, want := range map[string]string{
		"--n=x": "want a number", "--n=99999999999999999999": "too large", "--wait=5": "500ms, 10s or 1m", "--all=x": "true or false", "--size=1XB": "64MiB",
	} {
		root := tree()
		root.SetArgs([]string{"capture", flag})
		e, ok := errors.AsType[*fault.Error](root.Execute())
		require.True(t, ok, flag)
		name, value, _ := strings.Cut(flag, "=")
		require.Equal(t, fmt.Sprintf("bad %s %q", name, value), e.What)
		require.Contains(t, e.Cause, want, flag)
	}
}

func TestAllRequiredFlagsThatAreMissingAreNamed(t *testing.T) {
	for given, what := range map[string]string{"": "no --dir and no --n given", "--dir=x": "no --n given"} {
		root := tree()
		capture, _, err := root.Find([]string{"capture"})
		require.NoError(t, err)
		for _, name := range []string{"dir", "n"} {
			require.NoError(t, capture.MarkFlagRequired(name))
		}
		root.SetArgs(append([]string{"capture"}, strings.Fields(given)...))
		e, ok := errors.AsType[*fault.Error](root.Execute())
		require.True(t, ok)
		require.Equal(t, what, e.What)
		require.Equal(t, fault.Usage, e.Code)
		require.Contains(t, e.Try, "prog capture [flags]\n")
	}
}

func TestWrongArgumentsAreShownTheRightOnes(t *testing.T) {
	root := tree()
	root.SetArgs([]string{"capture", "extra"})
	e, ok := errors.AsType[*fault.Error](root.Execute())
	require.True(t, ok)
	require.Contains(t, e.Try, "prog capture [flags]\n")
}
