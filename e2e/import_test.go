//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// printed is one line of --print or of inspect -o ndjson.
type printed struct {
	ID      string
	Time    time.Time
	Flags   []string
	Request struct {
		Method, Scheme, Authority, Target, Protocol string
		Headers                                     [][2]string
		Body                                        string
		BodyB64                                     string `json:"body_b64"`
		BodySize                                    int    `json:"body_size"`
	}
	Response *struct {
		Status   int
		Body     string
		BodySize int `json:"body_size"`
	}
	Kafka *struct{ Partition, Offset int }
}

func readPrinted(t *testing.T, stdout string) []printed {
	t.Helper()
	var all []printed
	for line := range strings.Lines(stdout) {
		var p printed
		require.NoError(t, json.Unmarshal([]byte(line), &p), line)
		all = append(all, p)
	}
	return all
}

// caseFiles returns the recordings of other projects, which lie beside the repository, in one folder.
func caseFiles(t *testing.T, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(shared.root, "..", "shared", "cases", folder, "*"))
	require.NoError(t, err)
	if len(files) == 0 {
		t.Skip("the cases of other projects are not beside the repository (../shared/cases)")
	}
	var recordings []string
	for _, f := range files {
		if !strings.HasSuffix(f, ".truth.json") {
			recordings = append(recordings, f)
		}
	}
	return recordings
}

func readTruth(t *testing.T, file string, truth any) {
	t.Helper()
	b, err := os.ReadFile(file + ".truth.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, truth))
}

func printFile(t *testing.T, file string) (stdout string, code int, stderr string) {
	t.Helper()
	got := run(t, time.Minute, "tap", "import", file, "--print", "--redact", "off", "--body-max", "64MiB")
	return got.Stdout, got.Code, got.Stderr
}

func TestImportOfGorEqualsItsTruth(t *testing.T) {
	for _, file := range caseFiles(t, "gor") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			var truth struct {
				Payloads int
				Items    []struct {
					TS        string
					FirstLine string `json:"first_line"`
					BodyLen   int    `json:"body_len"`
				}
			}
			readTruth(t, file, &truth)
			stdout, code, stderr := printFile(t, file)
			require.Zero(t, code, stderr)
			got := readPrinted(t, stdout)
			require.Len(t, got, truth.Payloads)
			for i, want := range truth.Items {
				r := got[i].Request
				require.Equal(t, want.FirstLine, r.Method+" "+r.Target+" "+r.Protocol)
				require.Equal(t, want.BodyLen, r.BodySize)
				require.Equal(t, want.TS, strconv.FormatInt(got[i].Time.UnixNano(), 10))
			}
			again, _, _ := printFile(t, file)
			require.Equal(t, stdout, again, "a second import repeats the ids")
		})
	}
}

func TestImportOfHAREqualsItsTruthAndBrokenOnesFailCleanly(t *testing.T) {
	for _, file := range caseFiles(t, "har") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			var truth struct {
				MustFail bool `json:"must_fail_cleanly"`
				Entries  []struct {
					Method, URL string
					Status      *int
					Started     *time.Time
					PostLen     int `json:"post_len"`
				}
			}
			readTruth(t, file, &truth)
			stdout, code, stderr := printFile(t, file)
			if truth.MustFail {
				require.Equal(t, 1, code)
				require.Empty(t, stdout)
				require.Contains(t, stderr, filepath.Base(file))
				require.Contains(t, stderr, "cause")
				return
			}
			require.Zero(t, code, stderr)
			got := readPrinted(t, stdout)
			require.Len(t, got, len(truth.Entries))
			for i, want := range truth.Entries {
				r := got[i].Request
				require.Equal(t, want.Method, r.Method)
				url := r.Scheme + "://" + r.Authority + r.Target
				require.Contains(t, []string{want.URL, want.URL + "/"}, url) // a URL without a path is sent with "/"
				require.Equal(t, want.PostLen, r.BodySize)
				if want.Status == nil {
					require.Nil(t, got[i].Response)
				} else {
					require.Equal(t, *want.Status, got[i].Response.Status)
				}
				if want.Started != nil {
					require.True(t, want.Started.Equal(got[i].Time))
				}
			}
		})
	}
}

// gor writes GoReplay payloads: request and response of each exchange.
func gor(exchanges int) string {
	var b strings.Builder
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC).UnixNano()
	for i := range exchanges {
		id := fmt.Sprintf("%024x", i+1)
		fmt.Fprintf(&b, "1 %s %d 0\nGET /own/%d?token=tok-%d HTTP/1.1\r\nHost: shop.example\r\nX-Api-Key: key-%d\r\n\r\n\n🐵🙈🙉\n",
			id, at+int64(i)*1e6, i, i, i)
		fmt.Fprintf(&b, "2 %s %d 250000\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\n🐵🙈🙉\n", id, at+int64(i)*1e6+25e4)
	}
	return b.String()
}

func TestImportedTrafficIsStoredOnceAndReplayed(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	file := filepath.Join(t.TempDir(), "own.gor")
	require.NoError(t, os.WriteFile(file, []byte(gor(50)), 0o600))
	args := []string{
		"import", file, "--brokers", shared.broker.Addr(), "--topic-prefix", prefix, "--redact-key", "env:E2E_REDACT_KEY",
	}
	got := run(t, time.Minute, "tap", args...)
	require.Zero(t, got.Code, got.Stderr)
	require.Equal(t, 50, stored(t, names.Exchanges))

	cat := run(t, time.Minute, "inspect", "cat", "--brokers", shared.broker.Addr(), "--topic-prefix", prefix, "-o", "ndjson")
	require.Zero(t, cat.Code, cat.Stderr)
	all := readPrinted(t, cat.Stdout)
	require.Len(t, all, 50)
	for _, x := range all {
		require.NotNil(t, x.Kafka)
		require.Equal(t, 200, x.Response.Status)
		require.NotContains(t, x.Request.Target, "tok-", "redaction is on for imports too")
	}
	one := run(t, time.Minute, "inspect", "get", all[7].ID, "--brokers", shared.broker.Addr(), "--topic-prefix", prefix, "-o", "ndjson")
	require.Zero(t, one.Code, one.Stderr)
	require.Equal(t, all[7].ID, readPrinted(t, one.Stdout)[0].ID)

	_, target := serveNothing(t)
	r := replay(t, time.Minute, replayArgs("run", prefix, target, "--run", "imported", "--speed", "max")...)
	require.EqualValues(t, 50, r.Fired)
}

func TestImportOfBrokenFilesFailsCleanly(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"empty.gor":     "",
		"empty.har":     "{}",
		"half.har":      `{"log":{"entries":[{"request":{"method":"GET",`,
		"text.har":      "no JSON at all",
		"header.gor":    "1 id notatime 0\nGET / HTTP/1.1\r\n\r\n\n🐵🙈🙉\n",
		"binary.gor":    "\x00\x01\x02\x03\xff\xfe",
		"truncated.gor": strings.TrimSuffix(gor(3), "ok\n🐵🙈🙉\n"),
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, name)
			require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
			_, code, stderr := printFile(t, file)
			if name == "truncated.gor" { // what is whole is read, and what is not is said
				require.Contains(t, []int{0, 1, 4}, code)
				require.NotEmpty(t, stderr)
				return
			}
			require.Equal(t, 1, code, stderr)
			requireExplained(t, stderr, "tap", name)
		})
	}
	got := run(t, time.Minute, "tap", "import", filepath.Join(dir, "nowhere.gor"), "--print")
	require.NotZero(t, got.Code)
	requireExplained(t, got.Stderr, "tap", "nowhere.gor")
}
