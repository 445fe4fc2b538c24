package importer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/traffic"
)

// corpus returns a folder of recordings from public projects, which lie beside the repository.
func corpus(t *testing.T, name string) string {
	t.Helper()
	root, err := os.Getwd()
	require.NoError(t, err)
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		require.NotEqual(t, "/", root, "no go.mod above the test")
		root = filepath.Dir(root)
	}
	folder := filepath.Join(root, "..", "shared", "cases", name)
	if _, err := os.Stat(folder); err != nil {
		t.Skipf("the corpus is not on this machine: %v", err)
	}
	return folder
}

func readTruth(t *testing.T, file string, truth any) {
	t.Helper()
	b, err := os.ReadFile(file + ".truth.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, truth))
}

// readAll imports a file.
func readAll(t *testing.T, path string, o Options) ([]*traffic.Exchange, Stats, error) {
	t.Helper()
	f, err := Open(path, o)
	if err != nil {
		return nil, Stats{}, err
	}
	defer f.Close()
	var xs []*traffic.Exchange
	stats, err := f.Each(context.Background(), func(x *traffic.Exchange) error {
		xs = append(xs, x)
		return nil
	})
	return xs, stats, err
}

func TestEveryGorFileImportsAsItsTruthSays(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(corpus(t, "gor"), "*.gor"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			var truth struct {
				Payloads int
				Items    []struct {
					Type, ID, TS  string
					FirstLine     string `json:"first_line"`
					PayloadLen    int    `json:"payload_len"`
					PayloadSHA256 string `json:"payload_sha256"`
					BodyLen       int    `json:"body_len"`
				}
			}
			readTruth(t, file, &truth)

			content, err := os.Open(file)
			require.NoError(t, err)
			defer content.Close()
			split := newPayloads(content)
			for i, want := range truth.Items {
				at, err := split.next()
				require.NoError(t, err)
				h, message, err := parseHead(at.text)
				require.NoError(t, err)
				require.Equal(t, want.Type, string(h.kind), i)
				require.Equal(t, want.ID, string(h.id), i)
				require.Len(t, message, want.PayloadLen, i)
				sum := sha256.Sum256(message)
				require.Equal(t, want.PayloadSHA256, hex.EncodeToString(sum[:]), i)
			}

			xs, stats, err := readAll(t, file, Options{})
			require.NoError(t, err)
			require.Len(t, xs, truth.Payloads)
			require.Equal(t, Stats{Exchanges: int64(truth.Payloads), First: stats.First, Last: stats.Last}, stats)
			for i, want := range truth.Items {
				x := xs[i]
				line := strings.Join([]string{string(x.Request.Method), string(x.Request.Target), string(x.Request.Protocol)}, " ")
				require.Equal(t, want.FirstLine, line, i)
				ns, err := time.ParseDuration(want.TS + "ns")
				require.NoError(t, err)
				require.Equal(t, time.Unix(0, int64(ns)).UTC(), x.CaptureTime, i)
				require.Len(t, x.Request.Body, want.BodyLen, i)
				require.EqualValues(t, want.BodyLen, x.Request.BodySize, i)
				require.Equal(t, traffic.RequestOnly, x.Flags, i)
				require.EqualValues(t, i+1, x.ID.Seq())
			}
		})
	}
}

func TestEveryHARFileImportsAsItsTruthSays(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(corpus(t, "har"), "*"))
	require.NoError(t, err)
	seen := 0
	for _, file := range files {
		if strings.HasSuffix(file, ".truth.json") {
			continue
		}
		seen++
		t.Run(filepath.Base(file), func(t *testing.T) {
			var truth struct {
				MustFail bool `json:"must_fail_cleanly"`
				Entries  []struct {
					Method, URL  string
					Status       *int
					Started      *string
					PostLen      int     `json:"post_len"`
					RespEncoding *string `json:"resp_encoding"`
				}
			}
			readTruth(t, file, &truth)
			xs, stats, err := readAll(t, file, Options{BodyMax: 64 << 20})
			if truth.MustFail {
				require.Error(t, err)
				require.Equal(t, fault.Failure, fault.Code(err))
				require.Empty(t, xs)
				return
			}
			require.NoError(t, err)
			require.Len(t, xs, len(truth.Entries))
			require.EqualValues(t, len(xs), stats.Exchanges)
			for i, want := range truth.Entries {
				x := xs[i]
				require.Equal(t, want.Method, string(x.Request.Method))
				require.Equal(t, withPath(want.URL), string(x.Request.Scheme)+"://"+string(x.Request.Authority)+string(x.Request.Target))
				require.EqualValues(t, want.PostLen, x.Request.BodySize, want.URL)
				require.Len(t, x.Request.Body, want.PostLen)
				if want.Status == nil {
					require.Nil(t, x.Response)
				} else {
					require.Equal(t, *want.Status, x.Response.Status)
				}
				if want.Started != nil {
					at, err := time.Parse(time.RFC3339Nano, *want.Started)
					require.NoError(t, err)
					require.True(t, at.Equal(x.CaptureTime))
				}
				if want.RespEncoding != nil {
					require.NotEmpty(t, x.Response.Body)
				}
			}
		})
	}
	require.Positive(t, seen)
}

// withPath gives a URL without a path the one that is sent for it.
func withPath(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	if !strings.Contains(rest, "/") {
		return url + "/"
	}
	return url
}

func readText(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}
