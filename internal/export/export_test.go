package export_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/capture/importer"
	"github.com/reprise-io/reprise/internal/export"
	"github.com/reprise-io/reprise/internal/traffic"
)

func fields(pairs ...string) (all []traffic.Field) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, traffic.Field{Name: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	return all
}

func exchange(seq uint64, method, target, body string, headers ...string) *traffic.Exchange {
	return &traffic.Exchange{
		ID: traffic.MakeID([16]byte{0x9f}, seq), CaptureTime: time.Date(2026, 11, 22, 12, 0, int(seq), 0, time.UTC),
		Request: traffic.Request{
			Method: []byte(method), Scheme: []byte("http"), Authority: []byte("shop.example"), Target: []byte(target), Protocol: []byte("HTTP/1.1"),
			Headers: fields(append([]string{"Host", "shop.example"}, headers...)...), Body: []byte(body), BodySize: int64(len(body)),
		},
		Response: &traffic.Response{
			Status: 200, Protocol: []byte("HTTP/1.1"), Headers: fields("Content-Type", "text/plain", "Content-Length", "2"), Body: []byte("ok"), BodySize: 2,
			TTFB: 2 * time.Millisecond, Duration: 3 * time.Millisecond,
		},
	}
}

// awkward are requests that quoting and framing may break.
func awkward() []*traffic.Exchange {
	chunked := exchange(4, "POST", "/up", "abc", "Transfer-Encoding", "chunked", "Content-Type", "text/plain")
	absolute := exchange(5, "GET", "http://shop.example/abs?x=[1]", "")
	return []*traffic.Exchange{
		exchange(1, "GET", "/a'b?q=%27&r={x}", "", "X-Quote", `it's "so" $HOME \n`, "X-Empty", ""),
		exchange(2, "POST", "/text", "line 1\nline '2'\n@file\\", "Content-Type", "text/plain"),
		exchange(3, "PUT", "/binary", "\x00\xff\x01'", "Content-Type", "application/octet-stream"),
		chunked, absolute,
		exchange(6, "HEAD", "/head", ""),
	}
}

func write(t *testing.T, name export.Format, o export.Options, xs ...*traffic.Exchange) (string, int64) {
	t.Helper()
	var b bytes.Buffer
	w, err := export.New(&b, name, o)
	require.NoError(t, err)
	for _, x := range xs {
		require.NoError(t, w.Write(x))
	}
	require.NoError(t, w.Close())
	return b.String(), w.LeftOut()
}

func TestWhatIsNotKnownWholeIsLeftOut(t *testing.T) {
	cut := exchange(1, "POST", "/", "ab")
	cut.Request.BodySize, cut.Flags = 9, traffic.TruncatedRequest
	for _, name := range []export.Format{export.Curl, export.Gor, export.K6} {
		_, left := write(t, name, export.Options{}, cut, exchange(2, "GET", "/", ""))
		require.EqualValues(t, 1, left, name)
	}
	text, left := write(t, export.HAR, export.Options{}, cut)
	require.Zero(t, left)
	require.Contains(t, text, `"_flags":["TRUNCATED_REQUEST"]`)
	_, err := export.New(&bytes.Buffer{}, "xml", export.Options{})
	require.ErrorContains(t, err, `"xml"`)
}

func TestHARIsWhatItsDefinitionSays(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte("unpacked"))
	require.NoError(t, z.Close())
	x := exchange(1, "POST", "/p?a=1&b=%20c", "\xffx", "Cookie", "s=1; t=2", "X-\xe9", "\xe9")
	x.Response.Headers = fields("Content-Encoding", "gzip", "Content-Type", "text/plain", "Set-Cookie", "n=v; Path=/")
	x.Response.Body, x.Response.BodySize = packed.Bytes(), int64(packed.Len())
	silent := exchange(2, "GET", "/", "")
	silent.Response = nil
	text, _ := write(t, export.HAR, export.Options{Creator: "reprise 1.0"}, x, silent)
	var h struct {
		Log struct {
			Version string
			Creator struct{ Name, Version string }
			Entries []map[string]any
		}
	}
	require.NoError(t, json.Unmarshal([]byte(text), &h), text)
	require.Equal(t, "1.2", h.Log.Version)
	require.Equal(t, "reprise", h.Log.Creator.Name)
	require.Len(t, h.Log.Entries, 2)
	for _, e := range h.Log.Entries {
		for _, needed := range []string{"startedDateTime", "time", "request", "response", "cache", "timings"} {
			require.Contains(t, e, needed)
		}
		for _, needed := range []string{"method", "url", "httpVersion", "cookies", "headers", "queryString", "headersSize", "bodySize"} {
			require.Contains(t, e["request"], needed)
		}
		for _, needed := range []string{"status", "statusText", "httpVersion", "cookies", "headers", "content", "redirectURL", "headersSize", "bodySize"} {
			require.Contains(t, e["response"], needed)
		}
	}
	request := h.Log.Entries[0]["request"].(map[string]any)
	require.Equal(t, "http://shop.example/p?a=1&b=%20c", request["url"])
	require.Equal(t, []any{map[string]any{"name": "a", "value": "1"}, map[string]any{"name": "b", "value": " c"}}, request["queryString"])
	require.Equal(t, map[string]any{"mimeType": "application/octet-stream", "text": "/3g=", "_encoding": "base64"}, request["postData"])
	require.Len(t, request["cookies"], 2)
	content := h.Log.Entries[0]["response"].(map[string]any)["content"].(map[string]any)
	require.Equal(t, "unpacked", content["text"])
	require.EqualValues(t, 8, content["size"])
	require.EqualValues(t, 0, h.Log.Entries[1]["response"].(map[string]any)["status"])
}

// TestCommandsSendWhatWasRecorded runs each line under bash, with a curl that writes down what it was called with.
func TestCommandsSendWhatWasRecorded(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("no bash: commands are not run")
	}
	dir := t.TempDir()
	const spy = "#!/bin/bash\nprintf '%s\\0' \"$@\" > \"$OUT\"\nlast=\nfor a in \"$@\"; do [ \"$a\" = @- ] && cat > \"$OUT.stdin\"; done\nexit 0\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "curl"), []byte(spy), 0o700))
	for i, x := range awkward() {
		line, left := write(t, export.Curl, export.Options{}, x)
		require.Zero(t, left)
		require.Equal(t, 1, strings.Count(line, "\n"), "one line")
		out := filepath.Join(dir, x.ID.String())
		c := exec.Command("bash", "-c", line)
		c.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "OUT="+out)
		said, err := c.CombinedOutput()
		require.NoError(t, err, "%s: %s", line, said)
		raw, err := os.ReadFile(out)
		require.NoError(t, err)
		args := strings.Split(strings.TrimSuffix(string(raw), "\x00"), "\x00")
		require.Contains(t, args, "Reprise-Replay: export")
		switch i {
		case 0:
			require.Contains(t, args, `X-Quote: it's "so" $HOME \n`)
			require.Contains(t, args, "X-Empty;")
			require.Equal(t, "http://shop.example/a'b?q=%27&r={x}", args[len(args)-1])
		case 1:
			require.Contains(t, args, "line 1\nline '2'\n@file\\")
		case 2:
			body, err := os.ReadFile(out + ".stdin")
			require.NoError(t, err)
			require.Equal(t, "\x00\xff\x01'", string(body))
		case 3:
			require.NotContains(t, strings.Join(args, " "), "chunked")
			require.Contains(t, args, "abc")
		case 4:
			require.Equal(t, "http://shop.example/abs?x=[1]", args[len(args)-1])
		case 5:
			require.Contains(t, args, "-I")
		}
	}
	elsewhere, _ := write(t, export.Curl, export.Options{Target: "http://preprod:8080"}, exchange(1, "GET", "/x", ""))
	require.Contains(t, elsewhere, "'http://preprod:8080/x'")
	require.NotContains(t, elsewhere, "shop.example")
}

// TestImportReadsIt holds what comes back from files of other tools' formats against what was written.
func TestImportReadsIt(t *testing.T) {
	for _, name := range []export.Format{export.Gor, export.HAR} {
		text, left := write(t, name, export.Options{}, awkward()...)
		require.Zero(t, left)
		file := filepath.Join(t.TempDir(), "x."+string(name))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		f, err := importer.Open(file, importer.Options{})
		require.NoError(t, err)
		var got []*traffic.Exchange
		_, err = f.Each(t.Context(), func(x *traffic.Exchange) error {
			got = append(got, x)
			return nil
		})
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.Len(t, got, len(awkward()))
		for i, want := range awkward() {
			x := got[i]
			require.Equal(t, string(want.Request.Method), string(x.Request.Method), name)
			require.Equal(t, string(want.Request.Body), string(x.Request.Body), name)
			require.Equal(t, "shop.example", string(x.Request.Authority), name)
			require.True(t, want.CaptureTime.Equal(x.CaptureTime), name)
			require.Equal(t, 200, x.Response.Status, name)
			require.Equal(t, want.Response.Duration, x.Response.Duration, name)
			require.Zero(t, x.Flags.Unreplayable(), name)
			if i != 4 && name == export.Gor { // a HAR has the whole URL
				require.Equal(t, string(want.Request.Target), string(x.Request.Target))
			}
		}
	}
}

func TestScriptGoesNowhereThatIsNotNamed(t *testing.T) {
	text, _ := write(t, export.K6, export.Options{}, awkward()...)
	require.Contains(t, text, `__ENV.TARGET || "";`)
	require.Contains(t, text, "if (!target) throw")
	require.NotContains(t, text, "shop.example")
}

func TestScriptIsJavaScript(t *testing.T) {
	text, left := write(t, export.K6, export.Options{Target: "http://preprod:8080"}, awkward()...)
	require.Zero(t, left)
	require.Contains(t, text, `__ENV.TARGET || "http://preprod:8080"`)
	require.Contains(t, text, `"AP8BJw==", true, 200]`)
	require.Contains(t, text, "[1.000000, \"POST\"")
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no node: the script is not parsed")
	}
	file := filepath.Join(t.TempDir(), "load.mjs")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	said, err := exec.Command(node, "--check", file).CombinedOutput()
	require.NoError(t, err, "%s", said)
}

func FuzzWrite(f *testing.F) {
	f.Add("GET", "/x?y", "X", "a'b", "body\n", uint64(0))
	f.Add("POST", "http://h/\x00", "Content-Length", "9", "\xff\x00", uint64(traffic.Gap))
	f.Fuzz(func(t *testing.T, method, target, name, value, body string, flags uint64) {
		x := exchange(1, method, target, body, name, value)
		x.Flags = traffic.Flags(flags)
		har, _ := write(t, export.HAR, export.Options{}, x)
		require.True(t, json.Valid([]byte(har)))
		line, _ := write(t, export.Curl, export.Options{}, x)
		require.LessOrEqual(t, strings.Count(line, "\n"), 1)
		write(t, export.Gor, export.Options{}, x)
		write(t, export.K6, export.Options{}, x)
	})
}
