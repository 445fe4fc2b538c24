package importer

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/traffic"
)

func write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func zip(t testing.TB, content string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(content))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.String()
}

const (
	oneRequest = "1 a 1568139746437296000\nGET /a HTTP/1.1\r\nHost: shop\r\n\r\n\n🐵🙈🙉\n"
	oneEntry   = `{"log":{"entries":[{"request":{"method":"GET","url":"http://shop/a"}}]}}`
)

func TestFormatIsToldByTheContent(t *testing.T) {
	for name, row := range map[string]struct{ file, content, want string }{
		"gor":                            {"x.gor", oneRequest, "gor"},
		"gor with another name":          {"capture.har", oneRequest, "gor"},
		"gor in gzip":                    {"x.gor.gz", zip(t, oneRequest), "gor"},
		"gor in gzip, name without":      {"x.gor", zip(t, oneRequest), "gor"},
		"gor with CRLF and a BOM":        {"x.gor", bom + "1 a 1568139746437296000 0\r\nGET / HTTP/1.1\r\n\r\n", "gor"},
		"har":                            {"x.har", oneEntry, "har"},
		"har with BOM and blanks":        {"x", bom + "\r\n  " + oneEntry, "har"},
		"har in gzip":                    {"x.har.gz", zip(t, oneEntry), "har"},
		"two gzip members, as cat makes": {"x.gz", zip(t, oneRequest) + zip(t, oneRequest), "gor"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Open(write(t, row.file, row.content), Options{})
			require.NoError(t, err)
			defer f.Close()
			require.Equal(t, row.want, f.Format())
			require.Equal(t, row.file, f.Name())
			require.EqualValues(t, len(row.content), f.Size())
			stats, err := f.Each(context.Background(), func(*traffic.Exchange) error { return nil })
			require.NoError(t, err)
			require.Positive(t, stats.Exchanges)
			require.Equal(t, f.Size(), f.read.Load())
		})
	}
}

func TestWhatCannotBeImportedIsSaidWithWhatCan(t *testing.T) {
	for name, row := range map[string]struct{ content, cause string }{
		"xz":             {"\xfd7zXZ\x00", "xz -dk"},
		"zstd":           {"\x28\xb5\x2f\xfd\x00", "zstd -d"},
		"bzip2":          {"BZh91AY", "bzip2 -dk"},
		"UTF-16":         {"\xff\xfe{\x00", "UTF-16"},
		"zip":            {"PK\x03\x04", "compressed"},
		"own log":        {`[22/Nov/2026] GET / 200 5`, "access log"},
		"anything":       {"hello", "none of the formats"},
		"payload type 7": {"7 a 1568139746437296000\nPOST / HTTP/1.1\r\n\r\n", "none of the formats"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(write(t, "x.gor", row.content), Options{})
			e, ok := errors.AsType[*fault.Error](err)
			require.True(t, ok, err)
			require.Contains(t, e.Cause, row.cause)
			require.Contains(t, e.Try, ".gor")
			require.Contains(t, e.Try, "HAR")
			require.Equal(t, fault.Failure, fault.Code(err))
		})
	}
	_, err := Open(write(t, "x.gor", " \n"), Options{})
	require.ErrorContains(t, err, "x.gor is empty")
	_, err = Open(write(t, "x.gor", oneRequest), Options{Format: "tape"})
	require.Equal(t, fault.Usage, fault.Code(err))
	_, err = Open(filepath.Join(t.TempDir(), "none.har"), Options{})
	require.ErrorContains(t, err, "none.har: no such file or directory")
	_, err = Open(t.TempDir(), Options{})
	require.ErrorContains(t, err, "not a regular file")
	_, err = Open(write(t, "x.gz", "\x1f\x8b\x08"), Options{})
	require.ErrorContains(t, err, "gzip")
}

func TestFormatCanBeForced(t *testing.T) {
	// A first payload that cannot be read keeps the content from telling the format.
	path := write(t, "x", "broken\n🐵🙈🙉\n"+oneRequest)
	_, err := Open(path, Options{})
	require.Error(t, err)
	xs, stats, err := readAll(t, path, Options{Format: "gor"})
	require.Len(t, xs, 1)
	require.EqualValues(t, 1, stats.Broken)
	require.Equal(t, fault.Incomplete, fault.Code(err))
}

func TestIDsAreThoseOfTheContent(t *testing.T) {
	two := oneRequest + strings.ReplaceAll(oneRequest, "1 a", "1 b")
	ids := func(name, content string) (ids []traffic.ID) {
		xs, _, err := readAll(t, write(t, name, content), Options{})
		require.NoError(t, err)
		for _, x := range xs {
			ids = append(ids, x.ID)
		}
		return ids
	}
	first := ids("x.gor", two)
	require.Equal(t, first, ids("y.gor", two), "another name")
	require.Equal(t, first, ids("x.gor.gz", zip(t, two)), "compressed")
	require.Equal(t, first[0].Tap(), first[1].Tap())
	require.EqualValues(t, 1, first[0].Seq())
	require.EqualValues(t, 2, first[1].Seq())
	require.NotEqual(t, first[0].Tap(), ids("x.gor", two+oneRequest)[0].Tap(), "another content")
}

func TestEachCanBeRepeated(t *testing.T) {
	f, err := Open(write(t, "x.har", oneEntry), Options{})
	require.NoError(t, err)
	defer f.Close()
	var ids []traffic.ID
	for range 2 {
		_, err := f.Each(context.Background(), func(x *traffic.Exchange) error { ids = append(ids, x.ID); return nil })
		require.NoError(t, err)
	}
	require.Len(t, ids, 2)
	require.Equal(t, ids[0], ids[1])
}

func TestEachStopsWhenPutFailsOrTheContextEnds(t *testing.T) {
	full := errors.New("full")
	for _, content := range []string{strings.Repeat(oneRequest, 3), `{"log":{"entries":[` + strings.Repeat(entry(`"GET"`, `"http://a/"`)+",", 2) + entry(`"GET"`, `"http://a/"`) + `]}}`} {
		f, err := Open(write(t, "x", content), Options{})
		require.NoError(t, err)
		defer f.Close()
		calls := 0
		_, err = f.Each(context.Background(), func(*traffic.Exchange) error { calls++; return full })
		require.Equal(t, full, err)
		require.Equal(t, 1, calls)

		ctx, cancel := context.WithCancelCause(context.Background())
		calls = 0
		_, err = f.Each(ctx, func(*traffic.Exchange) error { calls++; cancel(full); return nil })
		require.ErrorIs(t, err, full)
		require.Equal(t, 1, calls)
		_, err = f.Each(ctx, func(*traffic.Exchange) error { calls++; return nil })
		require.ErrorIs(t, err, full)
		require.Equal(t, 1, calls)
	}
}
