package redact

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

// shapes are requests into which values are planted: one of our own, and those of browsers and clients in the shared captures.
func shapes(t *testing.T) []*traffic.Exchange {
	t.Helper()
	list := []*traffic.Exchange{{Request: traffic.Request{
		Method: []byte("GET"), Target: []byte("/api/search?page=2"), Protocol: []byte("HTTP/1.1"),
		Headers: []traffic.Field{field("Host", "shop.example"), field("User-Agent", "curl/8.5.0"), field("Accept", "*/*")},
	}}}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(casesDir(t)), "har", "*.har"))
	require.NoError(t, err)
	for _, name := range files {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		var har struct {
			Log struct {
				Entries []struct {
					Request struct {
						Method, URL string
						Headers     []struct{ Name, Value string }
						PostData    struct{ Text string }
					}
				}
			}
		}
		if json.Unmarshal(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), &har) != nil {
			continue // a file that is malformed on purpose
		}
		for _, e := range har.Log.Entries {
			u, err := url.Parse(e.Request.URL)
			if err != nil {
				continue
			}
			x := &traffic.Exchange{Request: traffic.Request{
				Method: []byte(e.Request.Method), Target: []byte(u.RequestURI()), Protocol: []byte("HTTP/1.1"),
				Body: []byte(e.Request.PostData.Text), BodySize: int64(len(e.Request.PostData.Text)),
			}}
			for _, h := range e.Request.Headers {
				if !strings.HasPrefix(h.Name, ":") && !strings.EqualFold(h.Name, "Content-Encoding") { // the file has bodies decoded
					x.Request.Headers = append(x.Request.Headers, field(h.Name, h.Value))
				}
			}
			list = append(list, x)
		}
	}
	t.Logf("values are planted into %d shapes of requests", len(list))
	return list
}

// like returns a request of that shape.
func like(shape *traffic.Exchange) *traffic.Exchange {
	x := *shape
	x.Request.Headers = slices.Clone(x.Request.Headers)
	x.Request.Target = slices.Clone(x.Request.Target)
	return &x
}

// setBody gives x a body in the place of its own.
func setBody(x *traffic.Exchange, contentType, body string) {
	x.Request.Method = []byte("POST")
	x.Request.Headers = slices.DeleteFunc(x.Request.Headers, func(f traffic.Field) bool {
		return traffic.EqualName(f.Name, "Content-Type") || traffic.EqualName(f.Name, "Content-Encoding")
	})
	x.Request.Headers = append(x.Request.Headers, field("Content-Type", contentType))
	x.Request.Body, x.Request.BodySize = []byte(body), int64(len(body))
}

// addQuery gives x a parameter more.
func addQuery(x *traffic.Exchange, key, value string) {
	before := "?"
	if bytes.IndexByte(x.Request.Target, '?') >= 0 {
		before = "&"
	}
	x.Request.Target = append(x.Request.Target, before+key+"="+url.QueryEscape(value)...)
}
