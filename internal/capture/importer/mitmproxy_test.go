package importer

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/traffic"
)

// The two dumps were written by mitmproxy 6.0.2 and 12.2.1 from the same flows.
func TestMitmproxyDumpsOfOldAndNewVersions(t *testing.T) {
	for _, name := range []string{"mitmproxy6.flows", "mitmproxy12.flows"} {
		t.Run(name, func(t *testing.T) {
			xs, stats, err := readAll(t, filepath.Join("testdata", name), Options{})
			require.NoError(t, err)
			byTarget := make(map[string]*traffic.Exchange)
			for _, x := range xs {
				byTarget[string(x.Request.Target)] = x
			}
			first := byTarget["/items/1?ref=a%20b"]
			require.Equal(t, time.Date(2023, 11, 14, 22, 13, 21, 250e6, time.UTC), first.CaptureTime)
			require.Equal(t, "http", string(first.Request.Scheme))
			require.Equal(t, "shop.example:8080", string(first.Request.Authority))
			require.Equal(t, "HTTP/1.1", string(first.Request.Protocol))
			require.Equal(t, "X-Twice", string(first.Request.Headers[1].Name))
			require.Equal(t, "x-twice", string(first.Request.Headers[2].Name))
			require.Equal(t, "caf\xe9", string(first.Request.Headers[3].Value))
			require.Equal(t, "127.0.0.1:22", string(first.Connection.Client))
			require.Equal(t, http.StatusOK, first.Response.Status)
			require.JSONEq(t, `{"id":1}`, string(first.Response.Body))
			require.Equal(t, 10*time.Millisecond, first.Response.TTFB)
			require.Equal(t, 20*time.Millisecond, first.Response.Duration)
			require.Zero(t, first.Flags)

			post := byTarget["/items/2?ref=a%20b"]
			require.Len(t, post.Request.Body, 256)
			require.Equal(t, http.StatusCreated, post.Response.Status)
			failed := byTarget["/items/3?ref=a%20b"]
			require.Nil(t, failed.Response)
			require.Equal(t, traffic.NoResponse, failed.Flags)
			h2 := byTarget["/items/4?ref=a%20b"]
			require.Equal(t, "HTTP/2.0", string(h2.Request.Protocol))
			require.Equal(t, "user-agent", string(h2.Request.Headers[0].Name))
			streamed := byTarget["/items/6?ref=a%20b"]
			require.Equal(t, traffic.TruncatedRequest|traffic.TruncatedResponse, streamed.Flags)
			require.EqualValues(t, 9, streamed.Request.BodySize)
			require.EqualValues(t, 7, streamed.Response.BodySize)
			if name == "mitmproxy12.flows" {
				require.True(t, byTarget["/ws"].Flags.Has(traffic.Upgraded))
				require.EqualValues(t, 1, stats.Ignored, "tcp")
			} else {
				require.EqualValues(t, 2, stats.Ignored, "tcp, and a websocket apart from its handshake")
			}
		})
	}
}

// tnet writes text, numbers, nil, lists and dicts as tnetstrings do.
func tnet(v any) string {
	switch v := v.(type) {
	case nil:
		return "0:~"
	case string:
		return fmt.Sprintf("%d:%s,", len(v), v)
	case int, int64:
		s := fmt.Sprint(v)
		return fmt.Sprintf("%d:%s#", len(s), s)
	case float64:
		s := fmt.Sprint(v)
		return fmt.Sprintf("%d:%s^", len(s), s)
	case []any:
		var b strings.Builder
		for _, e := range v {
			b.WriteString(tnet(e))
		}
		return fmt.Sprintf("%d:%s]", b.Len(), b.String())
	case map[string]any:
		var b strings.Builder
		for k, e := range v {
			b.WriteString(tnet(k) + tnet(e))
		}
		return fmt.Sprintf("%d:%s}", b.Len(), b.String())
	}
	panic(v)
}

func flow(path string) string {
	return tnet(map[string]any{"type": "http", "version": 21, "request": map[string]any{
		"method": "GET", "path": path, "host": "a", "port": 80, "scheme": "http", "timestamp_start": 1.7e9, "content": "",
		"http_version": "HTTP/1.1", "headers": []any{},
	}})
}

func TestMitmproxyDumpThatIsBroken(t *testing.T) {
	for name, row := range map[string]struct {
		content   string
		exchanges int
		says      string
		code      int
	}{
		"cut off":           {flow("/1") + flow("/2")[:40], 1, "broken off behind flow 1", fault.Incomplete},
		"garbage behind":    {flow("/1") + "nonsense", 1, "does not begin with its length", fault.Incomplete},
		"a flow in between": {flow("/1") + "8:1:a,1:b,}" + "3:abc?" + flow("/2"), 2, "1 of 4 flows could not be read, the first is flow 3", fault.Incomplete},
		"path with a space": {flow("/1") + flow("/a b"), 1, "request has path", fault.Incomplete},
		"only other flows":  {tnet(map[string]any{"type": "tcp"}), 0, "there is no HTTP flow in it", fault.Failure},
		"before 1.0":        {flow("/1") + tnet(map[string]any{"version": []any{0, 18}}), 1, "mitmdump", fault.Incomplete},
		"too deep":          {flow("/1") + strings.Repeat("9:", 40), 1, "broken off", fault.Incomplete},
	} {
		t.Run(name, func(t *testing.T) {
			xs, _, err := readAll(t, write(t, "x", row.content), Options{Format: "mitmproxy"})
			require.Error(t, err)
			require.ErrorContains(t, err, row.says)
			require.Equal(t, row.code, fault.Code(err))
			require.Len(t, xs, row.exchanges)
		})
	}
}

func TestTnetstringsTooLongAreSkipped(t *testing.T) {
	r := bufio.NewReader(strings.NewReader("9:123456789,1:a,"))
	data, kind, err := readTnet(r, 5)
	require.NoError(t, err)
	require.Nil(t, data)
	require.Equal(t, byte(','), kind)
	data, _, err = readTnet(r, 5)
	require.NoError(t, err)
	require.Equal(t, "a", string(data))
}

func FuzzMitmproxy(f *testing.F) {
	for _, name := range []string{"mitmproxy6.flows", "mitmproxy12.flows"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(f, err)
		f.Add(b)
	}
	f.Add([]byte(flow("/1")))
	f.Add([]byte(strings.Repeat("3:", 50)))
	f.Fuzz(func(t *testing.T, content []byte) {
		xs, stats, err := readAll(t, write(t, "x", string(content)), Options{Format: "mitmproxy", BodyMax: 64})
		checkImport(t, xs, stats, err)
	})
}

// checkImport is what holds for every file.
func checkImport(t *testing.T, xs []*traffic.Exchange, stats Stats, err error) {
	t.Helper()
	require.EqualValues(t, len(xs), stats.Exchanges)
	if err == nil {
		require.NotEmpty(t, xs)
		require.Zero(t, stats.Broken)
	}
	seen := make(map[traffic.ID]bool)
	for _, x := range xs {
		require.NotZero(t, x.ID.Seq())
		require.False(t, seen[x.ID], "an id comes twice")
		seen[x.ID] = true
		require.NotEmpty(t, x.Request.Method)
		require.NotEmpty(t, x.Request.Target)
		require.False(t, bytes.ContainsFunc(x.Request.Target, isSpaceOrControl))
		require.False(t, x.CaptureTime.IsZero())
		require.LessOrEqual(t, len(x.Request.Body), 64)
		if int64(len(x.Request.Body)) < x.Request.BodySize {
			require.True(t, x.Flags.Has(traffic.TruncatedRequest))
		}
	}
}
