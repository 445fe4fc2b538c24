package fire

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2/hpack"

	"github.com/reprise-io/reprise/internal/traffic"
)

// Whatever was recorded, its header block is one request that HTTP/2 allows, to the target, with the fields of the one that
// HTTP/1.1 would have sent.
func FuzzHeaderBlock(f *testing.F) {
	f.Add("GET", "/", "Host", "shop", "A", "1", []byte(nil))
	f.Add("POST", "/x?y", "Transfer-Encoding", "chunked", "TE", "trailers", []byte("x"))
	f.Add("OPTIONS", "*", "Connection", "te, x", "X", " \tspaced\t ", []byte("xx"))
	f.Add("POST", "http://a/b", "content-length", "7", ":path", "/evil", []byte("x"))
	f.Add("GET", "/ HTTP/1.1\r\n", "A", strings.Repeat("v", 300), "te", "x", []byte(nil))
	target := &url.URL{Scheme: "http", Host: "127.0.0.1:8080"}
	g, err := NewGuard(context.Background(), GuardConfig{Target: target, Allow: []string{target.Host}})
	require.NoError(f, err)
	s, err := NewSender(SenderConfig{Target: target, Guard: g, Run: "test", Protocol: OnlyHTTP2})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, method, path, name1, value1, name2, value2 string, body []byte) {
		x := &traffic.Exchange{ID: traffic.MakeID([16]byte{1}, 1), CaptureTime: time.Unix(1, 0)}
		r := &x.Request
		r.Method, r.Target, r.Body, r.BodySize = []byte(method), []byte(path), body, int64(len(body))
		r.Headers = []traffic.Field{
			{Name: []byte(name1), Value: []byte(value1)}, {Name: []byte(name2), Value: []byte(value2)},
		}
		r.Trailers = r.Headers[:len(body)%2]
		shot, _ := s.Prepare(x, Mark{})
		if shot == nil {
			return
		}
		defer s.Recycle(shot)
		require.Equal(t, string(body), string(shot.body()))
		fields, err := hpack.NewDecoder(0, nil).DecodeFull(shot.block)
		require.NoError(t, err)
		line, head, _ := strings.Cut(string(shot.bytes[:shot.bodyFrom]), "\r\n")
		pseudo := map[string]string{}
		for i, field := range fields {
			require.Equal(t, i < 4, field.IsPseudo())
			if field.IsPseudo() {
				pseudo[field.Name] = field.Value
				continue
			}
			require.True(t, token([]byte(field.Name)) && field.Name == strings.ToLower(field.Name), "%q", field.Name)
			require.Equal(t, strings.Trim(field.Value, " \t"), field.Value)
			require.True(t, fieldValue([]byte(field.Value)))
			switch field.Name {
			case "host", "connection", "transfer-encoding", "upgrade", "keep-alive", "proxy-connection":
				t.Fatalf("%s is not for HTTP/2", field.Name)
			case "te":
				require.Equal(t, "trailers", field.Value)
			case "traceparent": // fresh
			default:
				require.Contains(t, "\r\n"+strings.ToLower(head), "\r\n"+field.Name+": ")
			}
		}
		require.Equal(t, method, pseudo[":method"])
		require.Equal(t, "http", pseudo[":scheme"])
		require.Equal(t, target.Host, pseudo[":authority"])
		require.Equal(t, line, method+" "+pseudo[":path"]+" HTTP/1.1")
		trailers, err := hpack.NewDecoder(0, nil).DecodeFull(shot.trailers)
		require.NoError(t, err)
		for _, field := range trailers {
			require.Equal(t, kept, kindOf([]byte(field.Name)))
		}
	})
}
